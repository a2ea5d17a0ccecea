"""Errors of networks' labels as functions of S/N alone, over all spectral types (Wang+ 2022 4.1).

The paper has one a, b, c and sigma_m per label, whatever the star. `type_errors` has a type's own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.spectra.names import RowsByName, values_at
from lamostvac.uncertainty.repeats import Alike, pairs_of_labels
from lamostvac.uncertainty.snr_curve import RandomErrorModel, network_curve
from lamostvac.uncertainty.widths import Array

Scatter = tuple[NDArray[np.floating], NDArray[np.floating]]


class Label(Protocol):
    """What is needed of a network's label (`catalog.registry.NetworkLabel`)."""

    @property
    def label(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def snr_band(self) -> str: ...
    @property
    def flags(self) -> tuple[str, str]: ...


def curves_of_all_types(
    column: Callable[[str], NDArray[Any]],
    labels: Sequence[Label],
    settings: Mapping[str, Any],
    published: Mapping[str, RandomErrorModel],
    left_out: Mapping[str, pd.DataFrame],
    scatter: Mapping[str, Scatter],
) -> list[RandomErrorModel]:
    """Equation 2 and the method error of each label, from all spectra together.

    Flagged labels (beyond the training grid, or unlike the training spectra) are left out, as in
    the paper. Memory holds a few columns at a time.

    Parameters
    ----------
    column : reads one column (n,) of all spectra: `spectrum_id ra dec lmjd`, the S/N, and each
        label with its flags
    settings : section `errors` of the configuration
    published : `load_published_errors`
    left_out : label to training stars `spectrum_id reference reference_err left_out snr`; labels of
        networks from elsewhere have none
    scatter : label to S/N levels (k,) and the scatter (k,) of left-out training stars there
    """
    tolerance = settings["pair_snr_tolerance"]["networks"]
    conditions = {one.label: Alike(one.snr_band, tolerance) for one in labels}
    names = ["ra", "dec", "lmjd", *(one.snr_band for one in labels)]
    pairs = pairs_of_labels({name: column(name) for name in dict.fromkeys(names)}, conditions)
    row_of = RowsByName(column("spectrum_id"))
    models = []
    for label in labels:
        name = label.label
        value: Array = column(name).astype(np.float64)
        for flag in label.flags:
            value[column(flag) != 0] = np.nan
        known = left_out.get(name)
        if known is not None:
            known = known.assign(value=values_at(value, row_of(known["spectrum_id"])))
        models.append(
            network_curve(
                name, label.unit, label.snr_band, pairs[name], value, settings,
                published, known, scatter.get(name),
            )
        )  # fmt: skip
    return models
