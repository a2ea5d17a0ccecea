"""2MASS, AllWISE, APASS and SDSS of the simulated stars, and the extinction at their positions."""

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord

from lamostvac.simulate.measurement import (
    EPOCH,
    blurred,
    designation_of,
    magnitude_errors,
    source_id,
    spoiled,
    with_noise,
)
from lamostvac.simulate.population import Stars


def twomass_table(
    rng: np.random.Generator, stars: Stars, magnitudes: dict[str, np.ndarray]
) -> pd.DataFrame:
    """The 2MASS Point Source Catalog, one row per star."""
    n = stars.teff.size
    ra, dec = blurred(rng, stars, EPOCH["twomass"], 0.07)
    columns: dict[str, np.ndarray] = {
        "ra": ra,
        "dec": dec,
        "designation": np.array(
            [designation_of(a, d, 2, dots=False) for a, d in zip(ra, dec, strict=True)], dtype="U16"
        ),
    }
    quality = np.full((n, 3), "A")
    for k, (band, name, faint) in enumerate(
        (("j", "abs_mag_j", 16.2), ("h", "abs_mag_h", 15.4), ("k", "abs_mag_ks", 15.0))
    ):
        error = magnitude_errors(rng, magnitudes[name], 0.0215, faint, 0.08)
        fault = {"j": "err_j", "h": "err_h", "k": "err_ks"}[band]
        value, error = with_noise(rng, magnitudes[name], spoiled(rng, stars, fault, error, 0.03))
        quality[:, k] = np.select(
            [error < 0.109, error < 0.155, error < 0.217], ["A", "B", "C"], "D"
        )
        limit = (stars.fault == "no_ks") & (band == "k")
        quality[limit, k] = "U"
        columns[f"{band}_m"] = value
        columns[f"{band}_msigcom"] = np.where(limit, np.nan, error)
    columns["ph_qual"] = np.array(["".join(row) for row in quality], dtype="U3")
    return pd.DataFrame(columns)


def wise_table(
    rng: np.random.Generator, stars: Stars, magnitudes: dict[str, np.ndarray]
) -> pd.DataFrame:
    """AllWISE; a few stars are not in it."""
    n = stars.teff.size
    ra, dec = blurred(rng, stars, EPOCH["wise"], 0.06)
    columns: dict[str, np.ndarray] = {
        "designation": np.array(
            ["J" + designation_of(a, d, 2, dots=True) for a, d in zip(ra, dec, strict=True)],
            dtype="U19",
        ),
        "ra": ra,
        "dec": dec,
    }
    for band, faint in (("w1", 17.0), ("w2", 16.2)):
        true = magnitudes[f"abs_mag_{band}"]
        error = magnitude_errors(rng, true, 0.0225 if band == "w1" else 0.0215, faint, 0.06)
        # saturated
        error = np.hypot(error, 0.03 * np.clip(7.5 - true, 0, 5))
        error = spoiled(rng, stars, f"err_{band}", error, 0.035)
        columns[f"{band}mpro"], columns[f"{band}sigmpro"] = with_noise(rng, true, error)
    flags = np.array(["0000", "0000", "0000", "0000", "h000", "D000", "dd00"])
    columns["cc_flags"] = flags[np.where(rng.random(n) < 0.15, rng.integers(0, 7, n), 0)]
    there = (stars.fault != "no_wise") & ((rng.random(n) < 0.98) | (stars.sample == "lgmwas"))
    return pd.DataFrame(columns)[there].reset_index(drop=True)


APASS_COLUMNS = (
    (
        "RAJ2000", "DEJ2000", "Bmag", "e_Bmag", "Vmag", "e_Vmag", "g'mag", "e_g'mag", "r'mag", "e_r'mag", "i'mag",
        "e_i'mag",
    ),
    ("deg", "deg", *["mag"] * 10),
)  # fmt: skip


def apass_table(
    rng: np.random.Generator, stars: Stars, magnitudes: dict[str, np.ndarray]
) -> pd.DataFrame:
    """APASS DR9: V from 10 to 17."""
    n = stars.teff.size
    ra, dec = blurred(rng, stars, 2011.0, 0.25)
    columns: dict[str, np.ndarray] = {"RAJ2000": np.round(ra, 6), "DEJ2000": np.round(dec, 6)}
    kept = stars.sample == "lgmwas"
    for band, name, fault in (
        ("B", "abs_mag_b_apass", "err_b_apass"),
        ("V", "abs_mag_v_apass", "err_v_apass"),
        ("g'", "abs_mag_g_sdss", ""),
        ("r'", "abs_mag_r_apass", "err_r_apass"),
        ("i'", "abs_mag_i_sdss", ""),
    ):
        true = magnitudes[name]
        # errors come from few nights, so they scatter strongly
        error = magnitude_errors(rng, true, 0.019, 17.0, 0.3)
        if fault:
            error = spoiled(rng, stars, fault, error, 0.035)
        value, error = with_noise(rng, true, error)
        gone = (rng.random(n) < 0.03) & ~kept
        gone |= (stars.fault == "no_b_apass") & (band == "B")
        columns[f"{band}mag"] = np.where(gone, np.nan, np.round(value, 3))
        columns[f"e_{band}mag"] = np.where(gone, np.nan, np.round(error, 3))
    v = magnitudes["abs_mag_v_apass"]
    return pd.DataFrame(columns)[(v > 10) & (v < 17)].reset_index(drop=True)


def sdss_table(
    rng: np.random.Generator, stars: Stars, magnitudes: dict[str, np.ndarray]
) -> pd.DataFrame:
    """SDSS DR12 PhotoPrimary: latitudes over 21 degrees, g 14 to 22, and saturated brighter stars.

    The pipeline gives saturated stars small errors too; without such stars Wang et al. could not
    have had giants within 2 kpc. Their magnitudes here are 0.02 mag worse than the errors say.
    """
    n = stars.teff.size
    ra, dec = blurred(rng, stars, EPOCH["sdss"], 0.05)
    latitude = SkyCoord(stars.ra, stars.dec, unit="deg").galactic.b.deg
    columns: dict[str, np.ndarray] = {
        "objid": 1_237_650_000_000_000_000 + 65_537 * np.arange(n, dtype=np.int64),
        "ra": ra,
        "dec": dec,
        "type": np.where(stars.fault == "galaxy", 3, np.where(rng.random(n) < 0.005, 3, 6)),
    }
    g = magnitudes["abs_mag_g_sdss"]
    saturated = 0.02 * rng.standard_normal((3, n)) * (g < 14)
    for k, band in enumerate("gri"):
        true = magnitudes[f"abs_mag_{band}_sdss"]
        error = magnitude_errors(rng, true, 0.0065, 22.3, 0.15)
        error = spoiled(rng, stars, f"err_{band}_sdss", error, 0.01)
        columns[f"psfMag_{band}"], columns[f"psfMagErr_{band}"] = with_noise(
            rng, true + saturated[k], error
        )
    there = (np.abs(latitude) > 21) & (g < 22) & (g > 8) & (stars.fault != "no_sdss")
    return pd.DataFrame(columns)[there].reset_index(drop=True)


def extinction_table(rng: np.random.Generator, stars: Stars) -> pd.DataFrame:
    """E(B-V) of the stars as from a star-pair method; as there, it may be negative."""
    n = stars.teff.size
    # fifty pairs per star; a fifth of a map's error
    error = np.hypot(0.0025 * np.exp(0.2 * rng.standard_normal(n)), 0.05 * stars.ebv)
    columns = {
        "source_id": np.asarray(source_id(np.arange(n, dtype=np.int64))),
        "ebv": stars.ebv + error * rng.standard_normal(n),
        "ebv_err": error,
    }
    there = (stars.fault != "no_ebv") & ((rng.random(n) < 0.98) | (stars.sample == "lgmwas"))
    return pd.DataFrame(columns)[there].reset_index(drop=True)
