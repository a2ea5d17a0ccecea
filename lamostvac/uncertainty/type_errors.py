"""Errors of the labels of one spectral type, estimated from its stars."""

from collections.abc import Mapping, Sequence
from copy import copy
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.exceptions import MADE_ANEW
from lamostvac.core.hdf5 import atomic_hdf5, read_number, whole_file, write_attributes
from lamostvac.core.vocabulary import CONVERGED, LABELS
from lamostvac.spectra.names import RowsByName, values_at
from lamostvac.uncertainty.models import (
    Kind,
    LabelErrors,
    Residuals,
    learn,
    left_out_residuals,
    library_residuals,
    pair_residuals,
    read_errors,
    write_errors,
)
from lamostvac.uncertainty.repeats import Alike, RepeatPairs, pairs_of_labels
from lamostvac.uncertainty.scale_process import COARSE, Bases
from lamostvac.uncertainty.snr_curve import RandomErrorModel, network_curve

Array = NDArray[np.float64]
Scatter = tuple[NDArray[np.floating], NDArray[np.floating]]
_NOTHING = Residuals(np.empty((0, 0)), *[np.empty(0)] * 6)


class TypeErrors:
    """The errors of a type's labels, from its n spectra.

    Parameters
    ----------
    columns : `spectrum_id` (bytes), `ra dec lmjd`, the S/N, each label with `{label}_err_random`, and
        how fits of further emulators ended, all (n,)
    conditions : label to the S/N that its errors are functions of, and how alike the S/N of two
        spectra of one star must be
    theta : labels that the scale of errors depends on, of `LABELS`
    converged : (n,) whether the labels of a spectrum may be used for this
    settings : section `errors` of the configuration
    """

    def __init__(
        self,
        columns: Mapping[str, NDArray[Any]],
        conditions: Mapping[str, Alike],
        theta: Sequence[str],
        converged: NDArray[np.bool_],
        settings: Mapping[str, Any],
    ) -> None:
        self.columns, self.settings = columns, settings
        self.conditions = conditions
        self._depend_on(theta, converged, "fit_status")
        self.row_of = RowsByName(columns["spectrum_id"])
        self.pairs: dict[str, RepeatPairs] = pairs_of_labels(
            columns, conditions, self.row_of.fingerprints
        )

    def _depend_on(self, theta: Sequence[str], converged: NDArray[np.bool_], status: str) -> None:
        self.theta, self.status = list(theta), status
        points = np.empty((len(self.columns["ra"]), len(self.theta)))
        for number, label in enumerate(self.theta):
            points[:, number] = self.columns[label]
        points[~converged] = np.nan
        self.points: Array = points
        self._bases = Bases()

    def further_labels(
        self,
        columns: Mapping[str, str],
        status: str,
        crossvalidation: pd.DataFrame,
        spectral_type: str,
    ) -> dict[str, LabelErrors | None]:
        """`emulator_label` of each label of an emulator beside the first, by its column.

        The scale of these errors depends on this emulator's own labels.

        Parameters
        ----------
        columns : label to its column, for each label of the emulator's library
        status : the column that says how its fits ended
        crossvalidation : of its library
        """
        own = copy(self)
        theta = [columns[label] for label in theta_labels(crossvalidation)]
        own._depend_on(theta, self.columns[status] == CONVERGED, status)
        return {
            column: own.emulator_label(column, crossvalidation, spectral_type, label)
            for label, column in columns.items()
        }

    def _learn(
        self,
        label: str,
        kind: Kind,
        known: Residuals,
        amplitudes: Sequence[float] | None = None,
    ) -> LabelErrors:
        identity = self.row_of.fingerprints
        pairs = self.pairs[label].sample(self.settings["max_pairs"], identity)
        random = self.columns[f"{label}_err_random"]
        repeats = pair_residuals(self.columns[label], self.points, random, pairs)
        band = self.conditions[label].snr_band
        return learn(
            label, self.theta, kind, band, repeats, known, self._bases, self.status, amplitudes
        )

    def emulator_label(
        self, label: str, crossvalidation: pd.DataFrame, spectral_type: str, name: str
    ) -> LabelErrors | None:
        """Errors of an emulator's label, or None where there are no data to learn them from.

        Parameters
        ----------
        crossvalidation : of the emulator's library, in which the label is called `name`
        """
        if self.settings["emulator"] == "covariance" or name not in crossvalidation:
            return None
        labels = theta_labels(crossvalidation)
        known = library_residuals(crossvalidation, spectral_type, name, labels)
        kind: Kind = self.settings["emulator"]
        return self._learn(label, kind, known)

    def network_label(self, label: str, left_out: pd.DataFrame | None) -> LabelErrors | None:
        """Errors of a network's label, or None where they are taken as published.

        Parameters
        ----------
        left_out : stars of all types that members were not trained on; None for a network from
            elsewhere
        """
        if self.settings["networks"] != "calibrated":
            return None
        known = _NOTHING
        if left_out is not None:
            rows = self.row_of(left_out["spectrum_id"])
            known = left_out_residuals(left_out, rows, self.points)
        # What a network's error is without these processes is one number at one S/N, but for the
        # members' spread, where a giant's may be five times a dwarf's.
        return self._learn(label, "calibrated", known, COARSE)

    def network_curve(
        self,
        label: str,
        unit: str,
        left_out: pd.DataFrame | None,
        scatter: Scatter | None,
        published: Mapping[str, RandomErrorModel],
    ) -> RandomErrorModel:
        """Random error of a network's label against S/N; parameters of
        `snr_curve.network_curve`.
        """
        value = self.columns[label].astype(np.float64)
        seen = None
        if left_out is not None:
            seen = left_out.assign(value=values_at(value, self.row_of(left_out["spectrum_id"])))
        pairs, band = self.pairs[label], self.conditions[label].snr_band
        return network_curve(
            label, unit, band, pairs, value, self.settings, published, seen, scatter
        )


def theta_labels(crossvalidation: pd.DataFrame) -> list[str]:
    """The labels that the scale of errors depends on: the catalogue's labels in the library."""
    return [label for label in LABELS if label in crossvalidation]


def write_type_errors(
    path: str | PathLike[str],
    errors: Mapping[str, LabelErrors],
    snr_threshold: float,
) -> None:
    """Write what was learned of a type as HDF5; `snr_threshold` is NaN where none was found."""
    with atomic_hdf5(path) as handle:
        write_errors(handle.create_group("errors"), errors)
        write_attributes(handle, {"snr_threshold": snr_threshold})


def read_type_errors(
    path: str | PathLike[str],
) -> tuple[dict[str, LabelErrors], float]:
    """Errors and threshold that `write_type_errors` wrote, checked.

    Raises `UserError` when the file is no such file.
    """
    with whole_file(path, "the file of error models", MADE_ANEW) as handle:
        return read_errors(handle["errors"]), read_number(
            handle.attrs, "snr_threshold", finite=False
        )
