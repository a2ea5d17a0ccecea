"""The configuration's section errors."""

import itertools
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    PositiveInt,
)

from lamostvac.core.settings import Section


class PairTolerance(Section):
    """How alike the S/N of two spectra of one star must be for their labels to be compared."""

    networks: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="For the labels of networks; a share of the larger S/N (Wang et al. 2022, section 4.1).",
    )
    emulator: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="For the labels of the emulator; a share of the larger S/N (Liang et al. 2024, section 4.3).",
    )


def _edges(bins: int | list[float]) -> int | list[float]:
    if isinstance(bins, int):
        if bins < 4:
            raise ValueError(f"{bins} bins are too few for three coefficients; give at least 4")
    elif (
        len(bins) < 5
        or any(not low < high for low, high in itertools.pairwise(bins))
        or bins[0] < 0
    ):
        raise ValueError(
            "the edges must be at least five increasing numbers, the first not negative"
        )
    return bins


class Errors(Section):
    """Errors of the catalogue: how they are found (docs/errors.md)."""

    pair_snr_tolerance: PairTolerance = Field(
        PairTolerance(),
        description="How alike the S/N of two spectra of one star must be for their labels to be compared.",
    )
    emulator: Literal["calibrated", "published", "covariance"] = Field(
        "calibrated",
        description=(
            "Errors of the emulator's labels: covariance, those that the fit predicts for each star; calibrated, these "
            "corrected by repeats and cross-validation as functions of labels and S/N; published, such functions alone "
            "(Liang et al. 2024, equations 5 and 6)."
        ),
    )
    networks: Literal["calibrated", "published", "left_out"] = Field(
        "calibrated",
        description=(
            "Errors of network labels: left_out, the scatter of left-out training stars with noise added to each "
            "spectrum's S/N, and the members' spread (docs/networks.md); calibrated, these corrected by repeats and "
            "left-out stars as functions of labels and S/N; published, a + c / SNR^b from repeats and a method error "
            "in quadrature (Wang et al. 2022, section 4.1)."
        ),
    )
    method_error: Literal["published", "left_out"] = Field(
        "left_out",
        description=(
            "Method error with networks: published. published: standard deviation of the training residuals; left_out: "
            "robust width of left-out stars less the reference's error and the random error."
        ),
    )
    bins: Annotated[int | list[float], AfterValidator(_edges)] = Field(
        20,
        description=(
            "Bins of S/N that a, b, c are fitted to: a number of bins with equally many pairs (fewer when these would "
            "be less than 25 each), or the bins' edges."
        ),
    )
    width: Literal["robust", "deviation"] = Field(
        "robust",
        description=(
            "Width of a bin's differences: robust, 1.4826 times their median size, or deviation, the root of their "
            "mean square (Wang et al.)."
        ),
    )
    min_pairs: PositiveInt = Field(
        200, description="Pairs of spectra that a label needs for a random error of its own."
    )
    max_pairs: PositiveInt = Field(
        50_000,
        description=(
            "Pairs of spectra that the dependence of a label's random error on labels and S/N is learned from at most; "
            "which ones follows from the spectra's names. a, b, c of the networks are fitted to all."
        ),
    )
    few_repeats: Literal["published", "training", "none"] = Field(
        "training",
        description=(
            "Errors of a network's label with fewer pairs than min_pairs: published, Table 2 of Wang et al. "
            "(config/published_errors.yaml; training for labels it does not have); training, the scatter of left-out "
            "training stars at each S/N; none, no error."
        ),
    )
