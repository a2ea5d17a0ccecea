"""The simulated stars in catalogues of config/comparisons.yaml that no training set uses.

Values scatter about the truth by their quoted errors; LASPM has the offsets that Liang et
al. (2024, section 4.6.1) find. Each table has rows that a published cut must remove. Everything is
made from the truth, with its own random numbers, so that nothing else in the survey depends on it.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table

from lamostvac.core.atomic import atomic
from lamostvac.simulate.reference_files import (
    CLUSTERS,
    GAIA_ESO,
    HOTPAYNE,
    LASP,
    LASPM,
    SEISMIC,
    VMP_HIGH,
    VMP_LOW,
)

# The simulated sky has no clusters: members are stars whose true [Fe/H] is this near the cluster's.
CLUSTER_WIDTH = 0.015
CLUSTER_FEH = {
    "alphaPer": 0.05,
    "Pleiades": 0.0,
    "Praesepe": 0.18,
    "NGC2682": -0.04,
    "NGC2168": -0.15,
}
# Offsets of LASPM for dwarfs and giants: log g and [M/H] (Liang et al. 2024, 4.6.1, against
# APOGEE).
LASPM_OFFSETS = {"dwarf": (0.35, -0.27), "giant": (2.07, -0.59)}
_FAINT = 1.5  # S/N below which a release's pipeline gives no labels


def write_references(folder: str | Path, truth: pd.DataFrame, seed: int) -> None:
    """Write the eight files below `folder`.

    Parameters
    ----------
    truth : one row per spectrum, as `survey.simulate_survey` returns it
    """
    folder = Path(folder)
    spectra = truth[truth["star_id"] >= 0].reset_index(drop=True)
    stars = spectra.drop_duplicates("star_id").reset_index(drop=True)
    makers: tuple[
        tuple[str, Callable[[np.random.Generator, pd.DataFrame], pd.DataFrame], pd.DataFrame], ...
    ] = (
        (GAIA_ESO, gaia_eso, stars),
        (SEISMIC, seismic, stars),
        (VMP_LOW, metal_poor, stars),
        (VMP_HIGH, metal_poor_high, stars),
        (LASP, lasp, spectra),
        (LASPM, laspm, spectra),
        (HOTPAYNE, hotpayne, spectra),
        (CLUSTERS, cluster_members, stars),
    )
    for number, (name, make, rows) in enumerate(makers):
        # Each table has its own random numbers, so that a change in one does not affect the others.
        _write(folder / name, make(np.random.default_rng([seed, 60 + number]), rows))


def _write(path: Path, table: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        if path.suffix == ".fits":
            buffer = io.BytesIO()
            Table.from_pandas(table).write(buffer, format="fits")
            temporary.write_bytes(buffer.getvalue())
            return
        separator = "\t" if path.suffix == ".tsv" else ","
        table.round(6).to_csv(temporary, sep=separator, index=False, lineterminator="\n")


def _measured(
    rng: np.random.Generator, rows: pd.DataFrame, typical: dict[str, float | np.ndarray]
) -> dict[str, np.ndarray]:
    """Each label and its error (n,), which itself scatters by a fifth about the typical one."""
    values: dict[str, np.ndarray] = {}
    for label, scale in typical.items():
        error = scale * np.exp(0.2 * rng.standard_normal(len(rows)))
        values[label] = rows[label].to_numpy(np.float64) + error * rng.standard_normal(len(rows))
        values[f"{label}_err"] = error
    return values


def gaia_eso(rng: np.random.Generator, stars: pd.DataFrame) -> pd.DataFrame:
    """A sixth of the stars with the errors of DR3 (Wang et al. 2022, 4.2), larger in K for hot
    ones.
    """
    rows = stars[rng.random(len(stars)) < 1 / 6]
    found = _measured(
        rng, rows, {"teff": 0.01 * rows["teff"].to_numpy(np.float64), "logg": 0.12, "feh": 0.07}
    )
    columns: dict[str, Any] = {"RA": rows["ra"], "DEC": rows["dec"]}
    for label in ("teff", "logg", "feh"):
        columns |= {label.upper(): found[label], f"E_{label.upper()}": found[f"{label}_err"]}
    return pd.DataFrame(columns).reset_index(drop=True)


def seismic(rng: np.random.Generator, stars: pd.DataFrame) -> pd.DataFrame:
    """Oscillating stars, a third of the cool ones; the published cut removes one in eight."""
    cool = stars["teff"].between(3800, 6700) & (stars["logg"] > 1)
    rows = stars[cool & (rng.random(len(stars)) < 1 / 3)]
    error = np.where(rng.random(len(rows)) < 1 / 8, rng.uniform(0.06, 0.2, len(rows)), 0.03)
    logg = rows["logg"].to_numpy(np.float64) + error * rng.standard_normal(len(rows))
    return pd.DataFrame(
        {"_RAJ2000": rows["ra"], "_DEJ2000": rows["dec"], "logg": logg, "e_logg": error}
    )


def metal_poor(rng: np.random.Generator, stars: pd.DataFrame) -> pd.DataFrame:
    """Very metal-poor stars from spectra of low resolution: errors of 0.15 dex."""
    rows = stars[stars["feh"] < -2]
    feh = _measured(rng, rows, {"feh": 0.15})["feh"]
    return pd.DataFrame({"RAJ2000": rows["ra"], "DEJ2000": rows["dec"], "[Fe/H]": feh})


def metal_poor_high(rng: np.random.Generator, stars: pd.DataFrame) -> pd.DataFrame:
    """Two of three metal-poor stars, with one to three rows (one per paper); errors of 0.1 dex."""
    rows = stars[(stars["feh"] < -1.4) & (rng.random(len(stars)) < 2 / 3)]
    rows = rows.loc[np.repeat(rows.index, rng.integers(1, 4, len(rows)))]
    found = _measured(rng, rows, {"feh": 0.1})
    return pd.DataFrame(
        {"ra": rows["ra"], "dec": rows["dec"], "feh": found["feh"], "feh_err": found["feh_err"]}
    )


def _pipeline(
    rng: np.random.Generator, rows: pd.DataFrame, typical: dict[str, float]
) -> pd.DataFrame:
    """Labels of spectra with errors that grow below S/N 50; one in fifty failed, written -9999."""
    growth = np.sqrt(1 + (50 / np.maximum(rows["snrg"].to_numpy(np.float64), 1)) ** 2)
    found = _measured(rng, rows, {label: scale * growth for label, scale in typical.items()})
    table = pd.DataFrame(found)
    table.loc[rng.random(len(rows)) < 0.02, :] = -9999.0
    table.insert(0, "obsid", rows["obsid"].to_numpy())
    return table


def lasp(rng: np.random.Generator, spectra: pd.DataFrame) -> pd.DataFrame:
    """The release's catalogue of A, F, G and K stars."""
    rows = spectra[spectra["spectral_type"].isin(["A", "F", "G", "K"]) & (spectra["snrg"] > _FAINT)]
    table = _pipeline(rng, rows, {"teff": 50.0, "logg": 0.08, "feh": 0.05})
    # Of each spectrum, with the errors that LASP quotes: 4 km/s at high S/N.
    error = np.hypot(4.0, 150.0 / rows["snrg"].to_numpy(np.float64))
    known = (table["teff"] > -999).to_numpy()
    velocity = rows["rv"].to_numpy(np.float64) + error * rng.standard_normal(len(rows))
    table["rv"] = np.where(known, velocity, -9999.0)
    table["rv_err"] = np.where(known, error, -9999.0)
    return table


def laspm(rng: np.random.Generator, spectra: pd.DataFrame) -> pd.DataFrame:
    """The release's catalogue of M stars, with its offsets."""
    rows = spectra[(spectra["spectral_type"] == "M") & (spectra["snrg"] > _FAINT)]
    table = _pipeline(rng, rows, {"teff": 60.0, "logg": 0.15, "feh": 0.15})
    known = table["logg"] > -999
    giant = rows["logg"].to_numpy() < 3.8
    for column, number in (("logg", 0), ("feh", 1)):
        offset = np.where(giant, LASPM_OFFSETS["giant"][number], LASPM_OFFSETS["dwarf"][number])
        table[column] = table[column].where(~known, table[column] + offset)
    return table.rename(columns={"feh": "m_h", "feh_err": "m_h_err"})


def hotpayne(rng: np.random.Generator, spectra: pd.DataFrame) -> pd.DataFrame:
    """Stars hotter than 7500 K; the published cut removes one in twenty, with wrong labels."""
    rows = spectra[(spectra["teff"] > 7500) & (spectra["snrg"] > _FAINT)]
    table = _pipeline(rng, rows, {"teff": 150.0, "logg": 0.1, "feh": 0.15})
    bad = rng.random(len(rows)) < 0.05
    table["teff"] = np.where(bad & (table["teff"] > 0), table["teff"] * 1.3, table["teff"])
    table["snr_g"] = rows["snrg"].to_numpy(np.float64)
    table["chi2ratio"] = np.where(
        bad, rng.uniform(11, 30, len(rows)), rng.uniform(0.8, 3, len(rows))
    )
    return table


def cluster_members(rng: np.random.Generator, stars: pd.DataFrame) -> pd.DataFrame:
    """Stars of one true [Fe/H] as members of clusters in Gaia Collaboration (2018), at 2015.5.

    There are at most 90 per cluster, and stars of a further cluster, which an entry leaves out.
    """
    years = 15.5
    parts = []
    chosen = pd.Series(False, stars.index)
    for name, feh in (CLUSTER_FEH | {"Hyades": 0.13}).items():
        near = np.flatnonzero(
            (np.abs(stars["feh"] - feh) <= CLUSTER_WIDTH) & ~stars["is_binary"] & ~chosen
        )
        members = stars.iloc[np.sort(rng.permutation(near)[:90])]
        chosen.loc[members.index] = True
        dec = members["dec"] + years * members["pmdec"] / 3.6e6
        ra = (
            members["ra"] + years * members["pmra"] / 3.6e6 / np.cos(np.radians(members["dec"]))
        ) % 360
        columns = {
            "Cluster": name,
            "Gmag": members["g_mag"],
            "SourceId": members["star_id"],
            "dec": dec,
        }
        parts.append(pd.DataFrame(columns | {"par": 1000 / members["distance"], "ra": ra}))
    return pd.concat(parts, ignore_index=True)
