"""Models of random errors as tables and in files."""

from collections.abc import Iterable
from os import PathLike
from typing import Any

import h5py
import numpy as np
import pandas as pd

from lamostvac.core.hdf5 import open_hdf5, read_columns, write_columns
from lamostvac.uncertainty.snr_curve import RandomErrorModel

_COVARIANCES = {"cov_ab": (0, 1), "cov_ac": (0, 2), "cov_bc": (1, 2)}
_NUMBERS = ("a", "b", "c", "sigma_m", "sigma_m_err", "scale", "n_pairs", "n_bins", "chi2", "source",
    "snr_band",
)  # fmt: skip


def models_table(models: Iterable[RandomErrorModel]) -> pd.DataFrame:
    """One row per model with all its numbers.

    `label a a_err b b_err c c_err sigma_m sigma_m_err scale n_pairs n_bins chi2 source snr_band
    cov_ab cov_ac cov_bc`
    """
    rows = []
    for model in models:
        row: dict[str, Any] = {"label": model.label}
        for name, error in zip("abc", model.errors, strict=True):
            row |= {name: getattr(model, name), f"{name}_err": error}
        row |= {name: getattr(model, name) for name in _NUMBERS[3:]}
        rows.append(row | {name: model.covariance[at] for name, at in _COVARIANCES.items()})
    errors = [f"{name}{suffix}" for name in "abc" for suffix in ("", "_err")]
    return pd.DataFrame(rows, columns=["label", *errors, *_NUMBERS[3:], *_COVARIANCES])


def write_models(group: h5py.Group, models: Iterable[RandomErrorModel]) -> None:
    """Write models into an HDF5 group, as the table of `models_table`."""
    write_columns(group, models_table(models))


def load_models(path: str | PathLike[str]) -> dict[str, RandomErrorModel]:
    """The models of a file that `write_models` wrote at its root."""
    with open_hdf5(path) as handle:
        return read_models(handle)


def read_models(group: h5py.Group) -> dict[str, RandomErrorModel]:
    """The models that `write_models` wrote, by label, in their order."""
    models = {}
    for row in read_columns(group).to_dict("records"):
        covariance = np.diag([row[f"{name}_err"] ** 2 for name in "abc"])
        for name, (i, j) in _COVARIANCES.items():
            covariance[i, j] = covariance[j, i] = row[name]
        numbers = {name: row[name] for name in _NUMBERS}
        models[str(row["label"])] = RandomErrorModel(
            str(row["label"]),
            covariance=covariance,
            **{str(name): value for name, value in numbers.items()},
        )
    return models
