"""The configuration's section networks."""

from typing import ClassVar

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from lamostvac.core.settings import PathText, Section
from lamostvac.spectra.settings import NetworkWindows

PACK_SUFFIX = ".lvpack"
"""End of the name of a model pack."""


class NetworkFiles(Section):
    """Where training sets and networks are."""

    training_sets: PathText | None = Field(
        "config/training_sets.yaml",
        description=(
            "YAML file that defines the training sets and their labels; null: no networks. The shipped one has the "
            "published sets."
        ),
    )
    root: PathText | None = Field(
        None,
        description=(
            "Folder that the training sets' files are relative to; null takes survey.root; a simulated run brings "
            "its own."
        ),
    )
    pretrained: PathText | None = Field(
        None,
        description=(
            "Networks trained by another run, used instead of training: its model pack (.lvpack, docs/label.md), or a "
            "folder with {label}.h5; null trains."
        ),
    )


class NetworkTraining(Section):
    """How networks are trained."""

    layers: list[PositiveInt] = Field(
        [512, 256, 64],
        min_length=1,
        description="Neurons of the hidden layers; a set may have its own.",
    )
    members: PositiveInt = Field(
        5,
        description=(
            "Networks per label, different in their first weights and in the stars kept for validation; the label is "
            "their mean, their spread is in the catalogue. 1 is the published method."
        ),
    )
    validation_fraction: float = Field(
        0.2,
        gt=0,
        le=0.5,
        description="Share of the training stars that each member keeps for early stopping.",
    )
    input_components: int = Field(
        150,
        ge=0,
        description=(
            "Principal components of a set's training spectra that the first layers see, the same for all its labels; "
            "0: they see pixels, which is the published method."
        ),
    )
    augmentation_snr: NonNegativeFloat = Field(
        10.0,
        description=(
            "Training spectra get noise added as if observed at S/N between this and their own, new in every epoch; 0 "
            "adds none, which is the published method."
        ),
    )
    epochs: PositiveInt = Field(100, description="Most passes over the training stars.")
    patience: PositiveInt = Field(
        40, description="Passes without a better validation loss after which training stops."
    )
    batch_size: PositiveInt = Field(64, description="Spectra per step of the optimiser.")
    learning_rate: PositiveFloat = Field(
        1e-3,
        description="Step size of the optimiser (Adam) at the start; it falls to 0 as a cosine.",
    )
    weight_decay: NonNegativeFloat = Field(
        0.0, description="Decay of the weights per step, in units of the learning rate (AdamW)."
    )
    cloud_quantile: float = Field(
        0.98,
        gt=0.5,
        lt=1,
        description=(
            "A spectrum is outside the training cloud when it is farther from it than this share of the training "
            "spectra themselves."
        ),
    )


class Networks(NetworkTraining, NetworkWindows, NetworkFiles):
    """Labels from networks trained on stars with known labels (Wang et al. 2022)."""

    not_in_rows: ClassVar = frozenset({"root", "training_sets"})
