"""Recommended values beside each system alone, against the truth of a simulated run, by spectral type.

`python tools/recommended_truth.py RESULTS [DEFINITIONS]` after a simulated run; RESULTS is its folder. Relations are
fitted anew from the tables of the types, so that other definitions (config/recommended.yaml) can be tried on a
finished run. Single stars without emission that no network learned from; prints a line per label and type for all
stars of each column and for those that both systems share, with number, median and robust sigma of the difference
and the robust width of the pulls, then the relations and correlations.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.recommend.combine import combine
from lamostvac.recommend.definitions import load_definitions, result_columns
from lamostvac.recommend.relations import fit
from lamostvac.recommend.settings import Recommended, Settings
from lamostvac.validation.networks import repeat_pairs
from lamostvac.validation.statistics import pull_statistics, statistics

SETTINGS = Settings(snr_band="snrr", **Recommended().model_dump(exclude={"definitions"}))


def rows_of(results: Path, spectral_type: str) -> dict[str, np.ndarray]:
    """The columns of a type's table; those of recommended values are there even if it has none."""
    table = Table.read(results / "catalog" / f"{spectral_type}.fits", memmap=False)
    columns = {name: np.asarray(table[name]) for name in table.colnames}
    for label in ("teff", "logg", "feh", "alpha_fe"):
        columns |= {name: np.full(len(table), np.nan) for name in result_columns(label)}
    return columns


def truth_of(results: Path) -> pd.DataFrame:
    """True labels by spectrum, with `ordinary`: single, without emission, not of a star in a training set."""
    table = Table.read(results / "simulated" / "truth.fits", character_as_bytes=False).to_pandas()
    trained: set[str] = set()
    for path in sorted((results / "training").glob("*.fits")):
        training = Table.read(path, character_as_bytes=False).to_pandas()
        trained |= set(training.loc[training["split"] == "train", "spectrum_id"])
    table["ordinary"] = (
        ~table["is_binary"].astype(bool)
        & ~table["is_emission"].astype(bool)
        & ~table["star_id"].isin(table.loc[table["spectrum_id"].isin(trained), "star_id"])
    )
    return table.set_index("spectrum_id")


def lines(
    label: str, columns: dict[str, Any], sources: list[str], truth: pd.DataFrame, both: np.ndarray
) -> Iterator[dict[str, Any]]:
    """Statistics of the recommended label and each source on their stars and on those of both systems."""
    for stars, chosen in (("all", np.ones(len(truth), bool)), ("both", both)):
        chosen = chosen & truth["ordinary"].to_numpy()
        for name in (f"{label}_rec", *sources):
            value = np.where(chosen, columns[name], np.nan)
            found = statistics(value, truth[label])
            pulls = pull_statistics(value, columns[f"{name}_err"], truth[label])
            yield {
                "stars": stars, "column": name, "n": found["n"], "offset": found["offset"],
                "robust_sigma": found["robust_sigma"], "pull_width": pulls["width"],
            }  # fmt: skip


def main(results: Path, path: Path) -> None:
    truth = truth_of(results)
    table, relations = [], []
    for spectral_type in TYPE_ORDER:
        columns = rows_of(results, spectral_type)
        definitions = load_definitions(path, list(columns))
        pairs = repeat_pairs(columns["ra"], columns["dec"], columns["lmjd"])
        fitted = fit(columns, definitions, SETTINGS, pairs)
        found = truth.loc[columns["spectrum_id"].astype(str)]
        for definition, item in zip(definitions, fitted, strict=True):
            label = definition.label
            values = combine(columns, definition, item, SETTINGS.disagreement)
            columns |= dict(zip(result_columns(label), values, strict=True))
            both = np.ones(len(found), bool)
            for system in ("emulator", "networks"):
                bits = sum(1 << s.bit for s in definition.sources if s.system == system)
                both &= (values[2] & bits) > 0
            sources = [source.column for source in definition.sources]
            for line in lines(label, columns, sources, found, both):
                table.append({"type": spectral_type, "label": label} | line)
            for name, relation in item.relations.items():
                rounded = np.round(relation.coefficients, 4).tolist()
                relations.append(
                    {"type": spectral_type, "label": label, "source": name, "scale": item.scale}
                    | {"n": relation.n, "scatter": relation.scatter, "coefficients": rounded}
                    | {"disagree": float(values[3][both].mean()) if both.any() else np.nan}
                )
            for (a, b), correlation in item.correlations.items():
                shares = tuple(round(share, 2) for share in correlation.shares)
                print(
                    f"{spectral_type} {a} {b}: rho {correlation.rho:.2f}, shares {shares}, {correlation.n} pairs"
                )
    for what in (table, relations):
        print(pd.DataFrame(what).to_string(index=False, float_format=lambda x: f"{x:.4g}"))


if __name__ == "__main__":
    shipped = Path(__file__).resolve().parent.parent / "config" / "recommended.yaml"
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else shipped)
