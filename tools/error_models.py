"""Pulls of the emulator's labels with every kind of error, against injected truth and night against night.

    python tools/error_models.py results [type ...]

`results` is the folder of a finished run; with a simulated one the truth is beside it. Printed are robust widths
of (label - truth) / error and of (later - earlier) / random error for: `covariance`, the errors of the fits alone;
`published`, Gaussian processes of labels and S/N (Liang+ 2024 equation 6); `calibrated`, the covariance corrected
by such processes. An error that is right has the width 1.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.catalog.files import read_fields
from lamostvac.catalog.registry import load_registry, network_labels
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.numerics.statistics import robust_sigma
from lamostvac.training.load import load_training_sets
from lamostvac.uncertainty.models import learn, library_residuals, pair_residuals, systematic_part
from lamostvac.uncertainty.repeats import similar_pairs

SNR_BAND = "snrr"  # survey.snr_band of the shipped configurations
LABELS = ("teff", "logg", "feh", "alpha_fe")
BINS = (10, 20, 40, 80, 1000)


def width(pull: np.ndarray) -> str:
    pull = pull[np.isfinite(pull)]
    return f"{robust_sigma(pull):5.2f}" if len(pull) >= 10 else "    -"


def labels_of(results: Path):
    """Those of the shipped networks' labels that a run has a network of, simulated or real."""
    config = Path(__file__).resolve().parent.parent / "config"
    files = ("training_sets.yaml", "training_sets_real.yaml")
    sets = [entry for name in files for entry in load_training_sets(config / name)]
    entries = [
        {
            "label": label.name,
            "set": entry.name,
            "snr_band": entry.snr_band,
            **label.model_dump(include={"unit", "ucd", "description"}),
        }
        for entry in sets
        for label in entry.labels
        if (results / "networks" / f"{label.name}.h5").exists()
    ]
    return network_labels(entries)


def main(results: Path, types: list[str]) -> None:
    registry = load_registry(labels_of(results))
    (cross,) = [
        path
        for path in (results / "emulator").glob("*_crossvalidation.csv")
        if "imig" not in path.name
    ]
    library = pd.read_csv(cross)
    truth_path = results / "simulated" / "truth.fits"
    truth = None
    if truth_path.exists():
        from lamostvac.validation.truth import read_truth

        truth = read_truth(truth_path).set_index("spectrum_id")
    print(
        "type label      | pairs, widths of repeats: covariance published calibrated | S/N bin: widths against truth"
    )
    for name in types:
        path = results / "collected" / f"{name}.fits"
        if not path.exists():
            continue
        columns = [f"{label}{part}" for label in LABELS for part in ("", "_err", "_err_random")]
        table = read_fields(
            path, registry, ["spectrum_id", "ra", "dec", "lmjd", SNR_BAND, "fit_status", *columns]
        )
        theta = [label for label in LABELS if label in library]
        points = np.column_stack([table[label] for label in theta]).astype(float)
        points[table["fit_status"] != 0] = np.nan
        snr = table[SNR_BAND].astype(float)
        pairs = similar_pairs(table["ra"], table["dec"], table["lmjd"], snr, 0.2)
        earlier, later = pairs.earlier, pairs.later
        known = None
        if truth is not None:
            known = truth.reindex(table["spectrum_id"].astype(str))
            single = ~(known["binary"].fillna(True) | known["emission"].fillna(True)).to_numpy(bool)
        for label in theta:
            value = table[label].astype(float)
            random, error = (
                table[f"{label}_err_random"].astype(float),
                table[f"{label}_err"].astype(float),
            )
            repeats = pair_residuals(value, points, random, pairs)
            errors = {"covariance": (error, random)}
            for kind in ("published", "calibrated"):
                model = learn(
                    label, theta, kind, SNR_BAND, repeats,
                    library_residuals(library, name, label, theta),
                )  # fmt: skip
                errors[kind] = model.apply(points, snr, random, systematic_part(error, random))
            good = table["fit_status"] == 0
            both = good[earlier] & good[later]
            line = f"{name:2} {label:8} | {both.sum():4d} "
            for _, part in errors.values():
                pull = (value[later] - value[earlier]) / np.hypot(part[earlier], part[later])
                line += width(pull[both]) + " "
            if known is not None:
                for low, high in itertools.pairwise(BINS):
                    use = good & single & (snr >= low) & (snr < high)
                    offset = (value - known[f"ref_{label}"].to_numpy())[use]
                    line += f"| {low:3d} {use.sum():4d} " + " ".join(
                        width(offset / whole[use]) for whole, _ in errors.values()
                    )
            print(line)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:] or list(TYPE_ORDER))
