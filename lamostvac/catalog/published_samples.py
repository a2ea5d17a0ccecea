"""Sizes of the samples that the two papers give (`config/published_samples.yaml`), beside a run's."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lamostvac.core.messages import read_model
from lamostvac.core.paths import PUBLISHED_SAMPLES_PATH


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingStars(_Entry):
    """Stars of a training set, before any is clipped."""

    all: int
    train: int
    test: int | None = None
    source: str


class LibrarySpectra(_Entry):
    """Spectra of a library."""

    spectra: int
    source: str


class Among(_Entry):
    """The rows that shares refer to, and how many a paper has of them."""

    rows: str
    published: int


class Count(_Entry):
    """Rows that fulfil a condition, and how many a paper has of them."""

    name: str
    rows: str
    published: int
    meaning: str


class MetalPoor(_Entry):
    """The very metal-poor stars of Wang et al. (2022), section 5."""

    source: str
    columns: tuple[str, ...]
    rows: str
    among: Among
    counts: tuple[Count, ...]


class PublishedSamples(_Entry):
    """The file; its keys are documented there."""

    training_sets: dict[str, TrainingStars]
    libraries: dict[str, LibrarySpectra]
    metal_poor: MetalPoor


def published_samples(path: str | Path = PUBLISHED_SAMPLES_PATH) -> PublishedSamples:
    """The sizes that the papers give.

    Raises
    ------
    UserError
        One sentence with the key that is wrong.
    """
    return read_model(path, "the published sample sizes", PublishedSamples)


def beside(what: str, n: int, published: int, source: str) -> str:
    """A sentence for a log: how far off a size is."""
    off = f"{100 * (n / published - 1):+.1f} %"
    return f"{what}: {n:,}; {source} has {published:,}, so this run is off by {off}"


def training_stars(steps: Mapping[str, int]) -> dict[str, int]:
    """Stars in all, for training and for tests, from what the accounting of a set has.

    `steps` is step to number of stars. Stars that were clipped count among those for training, as
    in the papers' numbers.
    """
    found = {
        name: sum(steps.get(f"split {part}", 0) for part in parts)
        for name, parts in (("train", ("train", "binary", "clipped")), ("test", ("test",)))
    }
    return {"all": sum(found.values()), **found}


def published_training() -> dict[str, int]:
    """Number of training stars that the papers have, by training set."""
    return {name: one.train for name, one in published_samples().training_sets.items()}
