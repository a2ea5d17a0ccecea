"""Pulls of networks' labels: errors learned and used in one band of S/N, and with bands mixed.

    python tools/network_errors.py results [type ...]

`results` is the folder of a finished run whose networks were trained in it. For each type and label are printed
the number of repeats, and robust widths of (later - earlier) / random error, and of (label - truth) / error where the
run is simulated, of single stars that no network was trained on. An error that is right has the width 1. Columns:

    predicted    the networks' own errors (errors.networks: left_out)
    one band     corrected by repeats and stars left out, all in the S/N of the networks' training set (calibrated)
    mixed        the same with repeats and the catalogue in snrr, the stars left out in snrg: as until November 2026
    curve        a + c / SNR^b and a method error over all types (published), in the S/N of the training set
    curve mixed  the same with repeats and the catalogue in snrr
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from error_models import labels_of

from lamostvac.catalog.files import read_fields
from lamostvac.catalog.registry import NetworkLabel, load_registry
from lamostvac.catalog.rows import apply_curves, apply_errors
from lamostvac.core.vocabulary import CONVERGED, LABELS, TYPE_ORDER
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.uncertainty.all_types import curves_of_all_types
from lamostvac.uncertainty.repeats import Alike
from lamostvac.uncertainty.settings import Errors
from lamostvac.uncertainty.type_errors import TypeErrors
from lamostvac.validation.truth import read_truth

OTHER = "snrr"
SETTINGS = Errors().model_dump()
KINDS = ("predicted", "one band", "mixed", "curve", "curve mixed")


def in_band(label: NetworkLabel, band: str | None) -> NetworkLabel:
    return NetworkLabel(**{**vars(label), "snr_band": band or label.snr_band})


def rows_of(path: Path, registry, labels: list[NetworkLabel]) -> np.ndarray:
    """A type's spectra as rows of the catalogue."""
    parts = [f"{one.label}{part}" for one in labels for part in ("", "_err", "_err_random")]
    flags = [flag for one in labels for flag in one.flags]
    names = ["spectrum_id", "ra", "dec", "lmjd", "snrg", "snrr", "fit_status", *LABELS]
    table = read_fields(path, registry, [*names, *parts, *flags])
    rows = np.zeros(len(table["ra"]), [(name, table[name].dtype) for name in table])
    for name, values in table.items():
        rows[name] = values
    return rows


def errors_of(rows, labels, left_out, curves) -> dict[str, np.ndarray]:
    """Rows with each kind of error."""
    found = {"predicted": rows}
    columns = {name: rows[name] for name in rows.dtype.names}
    for kind, band in (("one band", None), ("mixed", OTHER)):
        here = [in_band(one, band) for one in labels]
        alike = {one.label: Alike(one.snr_band, 0.1) for one in here}
        learner = TypeErrors(
            columns, alike, theta_of(rows), rows["fit_status"] == CONVERGED, SETTINGS
        )
        models = {one: learner.network_label(one, left_out[one]) for one in alike}
        apply_errors(found.setdefault(kind, rows.copy()), models)
    for kind, models in curves.items():
        apply_curves(found.setdefault(kind, rows.copy()), models, keep=True)
    return found


def theta_of(rows) -> list[str]:
    """The labels that the run's library has."""
    return [name for name in LABELS if np.isfinite(rows[name]).any()]


def width(pull: np.ndarray) -> str:
    pull = pull[np.isfinite(pull)]
    return f"{robust_sigma(pull):6.2f}" if len(pull) >= 10 else "     -"


def main(results: Path, types: list[str]) -> None:
    labels = labels_of(results)
    registry = load_registry(labels)
    left_out = {
        one.label: pd.read_parquet(results / "networks" / f"{one.label}_left_out.parquet")
        for one in labels
    }
    truth_path = results / "simulated" / "truth.fits"
    truth = None
    if truth_path.exists():
        truth = read_truth(truth_path, labels).set_index("spectrum_id")
    of_type = {
        name: rows_of(results / "collected" / f"{name}.fits", registry, labels)
        for name in types
        if (results / "collected" / f"{name}.fits").exists()
    }
    everything = np.concatenate(list(of_type.values()))
    curves = {}
    for kind, band in (("curve", None), ("curve mixed", OTHER)):
        found = curves_of_all_types(
            lambda name: everything[name], [in_band(one, band) for one in labels],
            SETTINGS, {}, left_out, {},
        )  # fmt: skip
        curves[kind] = {one.label: one for one in found}
    print("type label | repeats |", " | ".join(KINDS), "| stars |", " | ".join(KINDS))
    for name, rows in of_type.items():
        kinds = errors_of(rows, labels, left_out, curves)
        columns = {key: rows[key] for key in rows.dtype.names}
        pairs = TypeErrors(
            columns, {"all": Alike("snrg", 0.1)}, theta_of(rows), np.ones(len(rows), bool), SETTINGS
        ).pairs["all"]
        known = truth.reindex(rows["spectrum_id"].astype(str)) if truth is not None else None
        for one in labels:
            value = rows[one.label].astype(float)
            value[(rows[one.flags[0]] != 0) | (rows[one.flags[1]] != 0)] = np.nan
            residual = pairs.residual(value)
            line = f"{name:2} {one.label:15} | {np.isfinite(residual).sum():5d} |"
            for kind in KINDS:
                random = kinds[kind][f"{one.label}_err_random"].astype(float)
                both = np.hypot(random[pairs.earlier], random[pairs.later]) / np.sqrt(2)
                line += width(residual / both)
            if known is not None:
                single = ~(known["binary"].fillna(True) | known["emission"].fillna(True))
                trained = known["star"].isin(
                    known["star"][
                        np.isin(rows["spectrum_id"].astype(str), left_out[one.label]["spectrum_id"])
                    ]
                )
                offset = np.where(single & ~trained, value - known[f"ref_{one.label}"], np.nan)
                line += f" | {np.isfinite(offset).sum():5d} |"
                for kind in KINDS:
                    line += width(offset / kinds[kind][f"{one.label}_err"].astype(float))
            print(line)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:] or list(TYPE_ORDER))
