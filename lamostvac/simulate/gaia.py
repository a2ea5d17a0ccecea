"""Gaia EDR3 of the simulated stars and their neighbours; distances of Bailer-Jones et
al. (2021).
"""

import numpy as np
import pandas as pd

from lamostvac.simulate.measurement import (
    EPOCH,
    magnitude_errors,
    positions,
    source_id,
    spoiled,
    with_noise,
)
from lamostvac.simulate.population import Stars

# Share of the stars that have a neighbour
NEIGHBOUR_SHARE = 0.12


def gaia_table(
    rng: np.random.Generator,
    rng_neighbours: np.random.Generator,
    stars: Stars,
    magnitudes: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Gaia EDR3 rows of the stars, then of their fainter neighbours at 1 to 5 arcsec.

    Parallaxes and errors are in mas as in the archive, without the zero point.
    """
    n = stars.teff.size
    ra, dec = positions(stars, EPOCH["gaia"])
    g_true = magnitudes["abs_mag_g_gaia"]
    parallax_error = _parallax_error(rng, g_true)
    parallax_error = np.where(
        stars.fault == "distance_err",
        1000 / stars.distance * rng.uniform(0.20, 0.30, n),
        parallax_error,
    )
    parallax = 1000 / stars.distance + parallax_error * rng.standard_normal(n)
    motion_error = parallax_error * rng.uniform(0.9, 1.2, n)
    columns: dict[str, np.ndarray] = {
        "source_id": np.asarray(source_id(np.arange(n, dtype=np.int64))),
        "ref_epoch": np.full(n, EPOCH["gaia"]),
        "ra": ra,
        "ra_error": parallax_error,
        "dec": dec,
        "dec_error": parallax_error,
        "parallax": parallax,
        "parallax_error": parallax_error,
        "pmra": stars.pmra + motion_error * rng.standard_normal(n),
        "pmra_error": motion_error,
        "pmdec": stars.pmdec + motion_error * rng.standard_normal(n),
        "pmdec_error": motion_error,
    }
    binary = np.isfinite(stars.secondary_teff)
    ruwe = (
        1.0 + 0.05 * np.abs(rng.standard_normal(n)) + np.where(binary, rng.exponential(0.3, n), 0.0)
    )
    columns["ruwe"] = np.where(stars.fault == "distance_err", ruwe + rng.uniform(1.0, 4.0, n), ruwe)
    for band, name, floor, faint in (
        ("g", "abs_mag_g_gaia", 0.0028, 22.0),
        ("bp", "abs_mag_bp", 0.0031, 20.0),
        ("rp", "abs_mag_rp", 0.0040, 19.8),
    ):
        error = magnitude_errors(rng, magnitudes[name], floor, faint)
        fault = "err_g_gaia" if band == "g" else f"err_{band}"
        error = spoiled(rng, stars, fault, error, 0.01)
        value, error = with_noise(rng, magnitudes[name], error)
        gone = (stars.fault == "no_bp") & (band != "g")
        # the archive gives flux over error; an error in magnitudes is its inverse times 2.5 / ln 10
        columns[f"phot_{band}_mean_flux_over_error"] = np.where(gone, np.nan, 1.0857362 / error)
        columns[f"phot_{band}_mean_mag"] = np.where(gone, np.nan, value)
    table = pd.DataFrame(columns)
    return pd.concat([table, _neighbours(rng_neighbours, stars, table)], ignore_index=True)


def _parallax_error(rng: np.random.Generator, g: np.ndarray) -> np.ndarray:
    """Errors of EDR3's parallaxes (n,) in mas (Lindegren et al. 2021)."""
    typical = np.interp(
        g, [6, 9, 13, 15, 17, 18, 20, 21], [0.025, 0.018, 0.015, 0.025, 0.07, 0.12, 0.5, 1.3]
    )
    return typical * np.exp(0.15 * rng.standard_normal(g.size))


def _neighbours(rng: np.random.Generator, stars: Stars, gaia: pd.DataFrame) -> pd.DataFrame:
    """Gaia rows of unrelated stars close to some of the stars, with their own source_id.

    Every second star of large proper motion has one at its own position in 2000.
    """
    n = stars.teff.size
    fast = np.hypot(stars.pmra, stars.pmdec) > 250
    has = np.where(fast, rng.random(n) < 0.5, rng.random(n) < NEIGHBOUR_SHARE)
    index = np.flatnonzero(has)
    m = index.size
    distance, angle = rng.uniform(1, 5, m) / 3600, rng.uniform(0, 2 * np.pi, m)
    dec = stars.dec[index] + distance * np.sin(angle)
    ra = (stars.ra[index] + distance * np.cos(angle) / np.cos(np.radians(dec))) % 360
    g = gaia["phot_g_mean_mag"].to_numpy()[index] + rng.uniform(0.8, 5.0, m)
    error = _parallax_error(rng, g)
    motion = 4.0 * rng.standard_normal((2, m))
    colour = rng.uniform(0.7, 1.8, m)
    columns = {
        "source_id": 2_000_000_000_000_000_000 + 7_654_321 * index.astype(np.int64),
        "ref_epoch": np.full(m, EPOCH["gaia"]),
        "ra": ra,
        "ra_error": error,
        "dec": dec,
        "dec_error": error,
        "parallax": rng.uniform(0.1, 1.0, m) + error * rng.standard_normal(m),
        "parallax_error": error,
        "pmra": motion[0],
        "pmra_error": error,
        "pmdec": motion[1],
        "pmdec_error": error,
        "ruwe": 1.0 + 0.05 * np.abs(rng.standard_normal(m)),
    }
    for band, value in (("g", g), ("bp", g + 0.55 * colour), ("rp", g - 0.45 * colour)):
        columns[f"phot_{band}_mean_flux_over_error"] = 1.0857362 / magnitude_errors(
            rng, value, 0.003, 20.0
        )
        columns[f"phot_{band}_mean_mag"] = value
    return pd.DataFrame(columns)[list(gaia.columns)]


def distance_table(rng: np.random.Generator, gaia: pd.DataFrame, stars: Stars) -> pd.DataFrame:
    """Distances after Bailer-Jones et al. (2021) in pc: medians and 16 and 84 % quantiles.

    geo: posterior of the parallax with a prior of exponentially decreasing density (1.35 kpc).
    photogeo: with a photometric distance of 12 % error on top. Both differ from the true distance
    by their errors.
    """
    parallax, error = gaia["parallax"].to_numpy(), gaia["parallax_error"].to_numpy()
    median, low, high = _posterior(parallax, error)
    n = stars.teff.size
    truth = np.concatenate([stars.distance, median[n:]])
    guess = truth * np.exp(0.12 * rng.standard_normal(truth.size))
    sigma = np.maximum(np.log(high / low) / 2, 1e-6)
    weight = 1 / sigma**2 / (1 / sigma**2 + 1 / 0.12**2)
    centre = np.exp(weight * np.log(median) + (1 - weight) * np.log(guess))
    shrink = np.sqrt(weight)
    no_colour = gaia["phot_bp_mean_mag"].isna().to_numpy()
    photogeo = (centre, centre * (low / median) ** shrink, centre * (high / median) ** shrink)
    columns = {
        "source_id": gaia["source_id"].to_numpy(),
        "r_med_geo": median,
        "r_lo_geo": low,
        "r_hi_geo": high,
    }
    for name, value in zip(
        ("r_med_photogeo", "r_lo_photogeo", "r_hi_photogeo"), photogeo, strict=True
    ):
        columns[name] = np.where(no_colour, np.nan, value)
    columns["flag"] = np.where(no_colour, "10099", "10033")
    return pd.DataFrame(columns)


def _posterior(
    parallax: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median, 16 and 84 % quantile (n,) of the distance in pc; parallax and error in mas."""
    scale = 1.35  # kpc
    lowest = 0.02  # mas: 50 kpc
    bottom = np.maximum(parallax - 6 * error, lowest)
    top = np.maximum(parallax + 6 * error, lowest + 3 * error)
    # evenly spaced in the logarithm: fine at large distances, where for a poor parallax the prior
    # decides
    grid = bottom[:, None] * (top / bottom)[:, None] ** np.linspace(0, 1, 801)
    # p(r) dr with r = 1 / w: r^2 exp(-r / L) dr = w^-3 exp(-1 / (w L)) dln(w)
    log_p = (
        -0.5 * ((grid - parallax[:, None]) / error[:, None]) ** 2
        - 3 * np.log(grid)
        - 1 / (grid * scale)
    )
    density = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    total = np.cumsum(0.5 * (density[:, 1:] + density[:, :-1]), axis=1)
    total = np.concatenate([np.zeros((parallax.size, 1)), total], axis=1) / total[:, -1:]
    # large parallax is small distance
    quantiles = [
        np.array([np.interp(1 - q, total[i], grid[i]) for i in range(parallax.size)])
        for q in (0.5, 0.158655, 0.841345)
    ]
    median, low, high = (1000 / w for w in quantiles)
    return median, low, high
