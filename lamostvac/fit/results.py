"""Results of a chunk's fit: columns of labels, rejected spectra, a few examples with their
models.
"""

from collections import Counter
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.core.hdf5 import atomic_hdf5, write_columns
from lamostvac.core.manifest import rejected_table
from lamostvac.core.vocabulary import LABELS, STATUS_NAMES
from lamostvac.emulator.model import label_columns
from lamostvac.fit.fitter import StarFits, StarFitter
from lamostvac.fit.lines import LIGHT
from lamostvac.spectra.grid import GRID

N_EXAMPLES = 3  # of a chunk, for the report
_LOOKED_AT = 1024  # spectra of a chunk that the examples are chosen from


def fit_columns(names: tuple[str, ...], fits: StarFits) -> dict[str, NDArray[Any]]:
    """Columns of the fit; NaN for labels that are not among the library's `names`."""
    missing = np.full(len(fits.status), np.nan)
    columns: dict[str, NDArray[Any]] = {
        f"{label}{suffix}": missing
        for label in LABELS
        for suffix in ("", "_err", "_err_random", "_first", "_bound")
    }
    columns |= label_columns(names, fits.labels) | label_columns(names, fits.errors, "_err")
    columns |= label_columns(names, fits.random, "_err_random")
    columns |= label_columns(names, fits.first, "_first")
    columns |= label_columns(names, fits.bound, "_bound")
    return columns | {
        "chi2": fits.chi2,
        "chi2_first": fits.chi2_first,
        "n_pixels": fits.n_pixels.astype(np.int32),
        "n_outliers": fits.n_outliers.astype(np.int32),
        "outlier_fraction": fits.n_outliers / np.maximum(fits.n_pixels + fits.n_outliers, 1),
        "n_iterations": fits.n_iterations.astype(np.int32),
        "fit_status": fits.status,
    }


def line_columns(fits: StarFits, z: NDArray[np.floating]) -> dict[str, NDArray[Any]]:
    """Velocity and width of the lines, km/s, of spectra brought to rest with the redshifts z (n,).

    Widths are dispersions beyond the library's in quadrature, negative for narrower lines.
    """
    width = np.sqrt(np.abs(fits.variance))
    # The root has no linear error near 0: there it is that of the variance.
    error = fits.variance_err / (2.0 * np.maximum(width, np.sqrt(0.5 * fits.variance_err)))
    return {
        "rv_fit": LIGHT * ((1.0 + z) * (1.0 + fits.velocity / LIGHT) - 1.0),
        "rv_fit_err": fits.velocity_err,
        "line_width": np.copysign(width, fits.variance),
        "line_width_err": error,
    }


def rejections(identity: pd.DataFrame, fits: StarFits, max_outlier_fraction: float) -> pd.DataFrame:
    """The spectra whose labels are not to be used, with the reason.

    An error that cannot be computed means that the spectrum does not constrain the labels; without
    a pixel in the emulator's range only the prior does. A spectrum most of which is unlike any star
    is taken not to be a star's.

    Parameters
    ----------
    identity : `spectrum_id obsid` of the n spectra, in the order of `fits`
    max_outlier_fraction : the largest share of the pixels seen that may be left out as outliers

    Returns
    -------
    Table `spectrum_id obsid stage reason detail`; its index are the rows of `identity`.
    """
    unknown = ~(np.isfinite(fits.labels).all(axis=1) & np.isfinite(fits.errors).all(axis=1))
    unknown |= fits.n_pixels == 0
    seen = np.maximum(fits.n_pixels + fits.n_outliers, 1)
    spoiled = ~unknown & (fits.n_outliers > max_outlier_fraction * seen)
    rows = np.flatnonzero(unknown | spoiled)
    names, numbers = identity["spectrum_id"].to_numpy(), identity["obsid"].to_numpy()
    table = rejected_table(
        [
            (names[i], numbers[i], "fit", "fit_failed", "labels not constrained")
            if unknown[i]
            else (
                names[i], numbers[i], "fit", "too_many_outliers",
                f"{fits.n_outliers[i]} of {seen[i]} pixels",
            )
            for i in rows
        ]
    )  # fmt: skip
    return table.set_axis(rows, axis=0)


def fit_tables(
    identity: pd.DataFrame,
    names: tuple[str, ...],
    fits: StarFits,
    fold: NDArray[np.int64],
    max_outlier_fraction: float,
) -> dict[str, pd.DataFrame]:
    """A chunk's fits as two tables: `fit`, a row for each spectrum with labels, and `rejected`.

    Parameters
    ----------
    identity : `spectrum_id obsid` of the n spectra; with `redshift`, `fit` has `line_columns` too
    names : labels of the emulator's library
    fold : (n,) of the library's star that each spectrum shows, -1 for others
    max_outlier_fraction : as for `rejections`
    """
    rejected = rejections(identity, fits, max_outlier_fraction)
    table = identity[["spectrum_id"]].assign(**fit_columns(names, fits), in_library=fold >= 0)
    if "redshift" in identity:
        table = table.assign(**line_columns(fits, identity["redshift"].to_numpy(np.float64)))
    return {"fit": table.drop(index=rejected.index), "rejected": rejected}


def described(fits: StarFits, rejected: pd.DataFrame) -> list[str]:
    """How the fits ended, in sentences for a log; `rejected` as by `rejections`."""
    counts = Counter(np.delete(fits.status, rejected.index).tolist())
    n_spoiled, n_left_out = np.count_nonzero(fits.n_outliers), fits.n_outliers.sum()
    return [
        ", ".join(f"{counts[code]} {name}" for code, name in enumerate(STATUS_NAMES)),
        f"{n_spoiled} spectra with outliers, {n_left_out} pixels of them left out",
        f"{len(rejected)} without labels of the emulator",
    ]


@dataclass(frozen=True)
class Examples:
    """A few prepared spectra of a chunk: their rows (k,), `flux` and `ivar` (k, 4901)."""

    rows: NDArray[np.int64]
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]


def choose_examples(ivar: NDArray[np.floating]) -> NDArray[np.int64]:
    """Rows, increasing, of the least noisy spectra, which show best where the model fails.

    `ivar` (n, 4901); only the first thousand are considered.
    """
    noise = np.median(1.0 / np.maximum(ivar[:_LOOKED_AT], 1e-6), axis=1)
    return np.sort(np.argsort(noise, kind="stable")[:N_EXAMPLES])


def write_fit(
    path: str | PathLike[str],
    columns: dict[str, NDArray[Any]],
    rejected: pd.DataFrame,
    examples: Examples,
    labels: NDArray[np.floating],
    fitter: StarFitter,
    spectral_type: str,
) -> None:
    """Write a chunk's fit as HDF5, groups `fit rejected examples`.

    Parameters
    ----------
    columns : of all n spectra; the rows in the index of `rejected` are left out
    labels : (n, L) that the models of the examples have
    fitter, spectral_type : by which these were found
    """
    accepted = np.ones(len(labels), bool)
    accepted[rejected.index] = False
    shown = accepted[examples.rows]
    best = examples.rows[shown]
    flux, ivar = examples.flux[shown], examples.ivar[shown]
    models = np.ones((len(best), len(GRID)), dtype=np.float32)
    if len(best):
        models = fitter.residuals(flux, ivar, labels[best], spectral_type).whole_model
    used = (ivar > 0) & fitter.emulator.pixels
    with atomic_hdf5(path) as handle:
        kept = {name: values[accepted] for name, values in columns.items()}
        write_columns(handle.create_group("fit"), kept)
        write_columns(handle.create_group("rejected"), rejected)
        group = handle.create_group("examples")
        write_columns(group, {"spectrum_id": columns["spectrum_id"][best]})
        for name, values in (("flux", flux), ("model", models), ("used", used)):
            group.create_dataset(name, data=values, track_times=False)
