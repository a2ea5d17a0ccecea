"""The simulated stars as other surveys publish them: PASTEL, APOGEE, Gaia, 2MASS, AllWISE, APASS, SDSS, extinction.

Files have the columns and formats of the archives. Measured values scatter by the errors that stand beside them. Every
catalogue holds rows that a published cut must remove: those of the stars with a `fault` (`samples.FAULTS`), and what
comes by itself (faint stars, distant stars, binaries). Positions are at each survey's epoch.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord
from astropy.io import fits

from lamostvac.core.atomic import atomic
from lamostvac.simulate import photometry
from lamostvac.simulate.population import Stars

PASTEL = "pastel/pastel.tsv"
APOGEE = "apogee/allStar-r12-l33.fits"
GAIA = "gaia/gaia_edr3.csv"
DISTANCES = "gaia/bailer_jones_edr3.csv"
TWOMASS = "twomass/twomass.csv"
WISE = "wise/allwise.csv"
APASS = "apass/apass_dr9.tsv"
SDSS = "sdss/sdss_dr12.csv"
EXTINCTION = "extinction/ebv.csv"
NAMES = (PASTEL, APOGEE, GAIA, DISTANCES, TWOMASS, WISE, APASS, SDSS, EXTINCTION)

# Mean epochs; LAMOST's input catalogue, PASTEL (VizieR) and 2MASS are close to 2000
EPOCH = {"gaia": 2016.0, "wise": 2010.6, "sdss": 2004.0, "twomass": 2000.0}

# Shares of the other stars that a survey has seen
APOGEE_SHARE, PASTEL_SHARE, NEIGHBOUR_SHARE = 0.25, 0.03, 0.12
N_REFERENCES = 25
# Scatter between references, and typical random error of a measurement
REFERENCE_OFFSET = {"Teff": 60.0, "logg": 0.10, "[Fe/H]": 0.06}
MEASUREMENT_ERROR = {"Teff": 60.0, "logg": 0.10, "[Fe/H]": 0.06}

# Bits of ASPCAPFLAG; the others are set on good stars too
STAR_WARN, STAR_BAD = 1 << 7, 1 << 23
HARMLESS_FLAGS = (0, 1 << 8, 1 << 16, 0b111, 0b10111, (1 << 8) | (1 << 9))
EXTRATARG_DUPLICATE = 1 << 4

_SERIES = (
    "pastel",
    "apogee",
    "gaia",
    "distances",
    "twomass",
    "wise",
    "apass",
    "sdss",
    "extinction",
    "neighbours",
)


def source_id(star: int | np.ndarray) -> int | np.ndarray:
    """Gaia's source_id of a star by its number."""
    return 1_000_000_000_000_000_000 + 4_567_891 * star


def write_catalogues(folder: str | Path, stars: Stars, seed: int) -> None:
    """Write the nine files below `folder`; every star is one source, in the order of `stars`."""
    folder = Path(folder)
    # each catalogue has its own random numbers, so that a change in one leaves the others alone
    rng = {name: np.random.default_rng([seed, 20 + k]) for k, name in enumerate(_SERIES)}
    magnitudes = photometry.apparent_magnitudes(stars)
    gaia = gaia_table(rng["gaia"], rng["neighbours"], stars, magnitudes)
    twomass = twomass_table(rng["twomass"], stars, magnitudes)
    _write_csv(folder / GAIA, gaia)
    _write_csv(folder / DISTANCES, distance_table(rng["distances"], gaia, stars))
    _write_csv(folder / TWOMASS, twomass)
    _write_csv(folder / WISE, wise_table(rng["wise"], stars, magnitudes))
    _write_csv(folder / SDSS, sdss_table(rng["sdss"], stars, magnitudes))
    _write_csv(folder / EXTINCTION, extinction_table(rng["extinction"], stars))
    _write_tsv(
        folder / APASS,
        "II/336/apass9",
        apass_table(rng["apass"], stars, magnitudes),
        *_APASS_COLUMNS,
    )
    table = pastel_table(rng["pastel"], stars, magnitudes, references(seed))
    _write_tsv(folder / PASTEL, "B/pastel/pastel", table, *_PASTEL_COLUMNS)
    _write_fits(folder / APOGEE, apogee_table(rng["apogee"], stars, twomass))


# --- positions and names -------------------------------------------------------------------------


def positions(stars: Stars, epoch: float) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination (n,) in degrees at an epoch; `stars` has them at 2000."""
    years = epoch - 2000.0
    dec = stars.dec + stars.pmdec * years / 3.6e6
    ra = (stars.ra + stars.pmra * years / 3.6e6 / np.cos(np.radians(stars.dec))) % 360
    return ra, dec


def _blurred(
    rng: np.random.Generator, stars: Stars, epoch: float, arcsec: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions at an epoch with an error per axis."""
    ra, dec = positions(stars, epoch)
    error = arcsec / 3600 * rng.standard_normal((2, ra.size))
    return (ra + error[0] / np.cos(np.radians(dec))) % 360, dec + error[1]


def _designation(ra: float, dec: float, decimals: int, dots: bool) -> str:
    """hhmmss.ss+ddmmss.s, truncated; decimals of the seconds of right ascension, one less in declination."""
    hours = int(ra / 15 * 3600 * 10**decimals) % (24 * 3600 * 10**decimals)
    arcsec = int(abs(dec) * 3600 * 10 ** (decimals - 1))
    parts = []
    for value, places in ((hours, decimals), (arcsec, decimals - 1)):
        unit = 10**places
        first, second, third = (
            value // (3600 * unit),
            value // (60 * unit) % 60,
            value // unit % 60,
        )
        point = "." if dots and places else ""
        parts.append(f"{first:02d}{second:02d}{third:02d}{point}{value % unit:0{places}d}")
    return parts[0] + ("-" if dec < 0 else "+") + parts[1]


# --- photometry ----------------------------------------------------------------------------------


def _errors(
    rng: np.random.Generator,
    magnitude: np.ndarray,
    floor: float,
    faint: float,
    scatter: float = 0.15,
) -> np.ndarray:
    """Errors of magnitudes (n,): a floor and the noise of the sky, which is 0.1 mag at the magnitude `faint`."""
    noise = 0.1 * 10 ** (0.4 * (magnitude - faint))
    return np.hypot(floor * np.exp(scatter * rng.standard_normal(magnitude.size)), noise)


def _measure(
    rng: np.random.Generator, magnitude: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return magnitude + error * rng.standard_normal(magnitude.size), error


def _spoil(
    rng: np.random.Generator, stars: Stars, fault: str, error: np.ndarray, limit: float
) -> np.ndarray:
    """Raise the errors of the stars with a fault over the limit of its cut."""
    return np.where(stars.fault == fault, limit * rng.uniform(1.2, 2.5, error.size), error)


def gaia_table(
    rng: np.random.Generator,
    rng_neighbours: np.random.Generator,
    stars: Stars,
    magnitudes: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Gaia EDR3 rows of the stars, then those of their fainter neighbours on the sky, 1 to 5 arcsec away.

    Parallaxes and errors in mas as the archive has them, without the zero point.
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
        error = _errors(rng, magnitudes[name], floor, faint)
        fault = "err_g_gaia" if band == "g" else f"err_{band}"
        error = _spoil(rng, stars, fault, error, 0.01)
        value, error = _measure(rng, magnitudes[name], error)
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

    Every second star of large proper motion has one where the star itself was in 2000.
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
        columns[f"phot_{band}_mean_flux_over_error"] = 1.0857362 / _errors(rng, value, 0.003, 20.0)
        columns[f"phot_{band}_mean_mag"] = value
    return pd.DataFrame(columns)[list(gaia.columns)]


def distance_table(rng: np.random.Generator, gaia: pd.DataFrame, stars: Stars) -> pd.DataFrame:
    """Distances after Bailer-Jones et al. (2021) in pc: medians and 16 and 84 % quantiles.

    geo: posterior of the parallax with a prior of exponentially decreasing density (1.35 kpc). photogeo: with a
    photometric distance of 12 % error on top. Both miss the true distance by their errors.
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
    # even in the logarithm: fine at great distances, where a poor parallax leaves the prior to decide
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


def twomass_table(
    rng: np.random.Generator, stars: Stars, magnitudes: dict[str, np.ndarray]
) -> pd.DataFrame:
    """The 2MASS Point Source Catalog, one row per star."""
    n = stars.teff.size
    ra, dec = _blurred(rng, stars, EPOCH["twomass"], 0.07)
    columns: dict[str, np.ndarray] = {
        "ra": ra,
        "dec": dec,
        "designation": np.array(
            [_designation(a, d, 2, dots=False) for a, d in zip(ra, dec, strict=True)], dtype="U16"
        ),
    }
    quality = np.full((n, 3), "A")
    for k, (band, name, faint) in enumerate(
        (("j", "abs_mag_j", 16.2), ("h", "abs_mag_h", 15.4), ("k", "abs_mag_ks", 15.0))
    ):
        error = _errors(rng, magnitudes[name], 0.0215, faint, 0.08)
        fault = {"j": "err_j", "h": "err_h", "k": "err_ks"}[band]
        value, error = _measure(rng, magnitudes[name], _spoil(rng, stars, fault, error, 0.03))
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
    ra, dec = _blurred(rng, stars, EPOCH["wise"], 0.06)
    columns: dict[str, np.ndarray] = {
        "designation": np.array(
            ["J" + _designation(a, d, 2, dots=True) for a, d in zip(ra, dec, strict=True)],
            dtype="U19",
        ),
        "ra": ra,
        "dec": dec,
    }
    for band, faint in (("w1", 17.0), ("w2", 16.2)):
        true = magnitudes[f"abs_mag_{band}"]
        error = _errors(rng, true, 0.0225 if band == "w1" else 0.0215, faint, 0.06)
        # saturated
        error = np.hypot(error, 0.03 * np.clip(7.5 - true, 0, 5))
        error = _spoil(rng, stars, f"err_{band}", error, 0.035)
        columns[f"{band}mpro"], columns[f"{band}sigmpro"] = _measure(rng, true, error)
    flags = np.array(["0000", "0000", "0000", "0000", "h000", "D000", "dd00"])
    columns["cc_flags"] = flags[np.where(rng.random(n) < 0.15, rng.integers(0, 7, n), 0)]
    there = (stars.fault != "no_wise") & ((rng.random(n) < 0.98) | (stars.sample == "lgmwas"))
    return pd.DataFrame(columns)[there].reset_index(drop=True)


_APASS_COLUMNS = (
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
    ra, dec = _blurred(rng, stars, 2011.0, 0.25)
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
        # errors come from few nights, so they scatter much
        error = _errors(rng, true, 0.019, 17.0, 0.3)
        if fault:
            error = _spoil(rng, stars, fault, error, 0.035)
        value, error = _measure(rng, true, error)
        gone = (rng.random(n) < 0.03) & ~kept
        gone |= (stars.fault == "no_b_apass") & (band == "B")
        columns[f"{band}mag"] = np.where(gone, np.nan, np.round(value, 3))
        columns[f"e_{band}mag"] = np.where(gone, np.nan, np.round(error, 3))
    v = magnitudes["abs_mag_v_apass"]
    return pd.DataFrame(columns)[(v > 10) & (v < 17)].reset_index(drop=True)


def sdss_table(
    rng: np.random.Generator, stars: Stars, magnitudes: dict[str, np.ndarray]
) -> pd.DataFrame:
    """SDSS DR12 PhotoPrimary: Galactic latitudes over 21 degrees, g from 14 to 22, and brighter stars saturated.

    The pipeline gives saturated stars small errors all the same; without them Wang et al. could not have had giants
    within 2 kpc. Their magnitudes here are 0.02 mag worse than the errors say.
    """
    n = stars.teff.size
    ra, dec = _blurred(rng, stars, EPOCH["sdss"], 0.05)
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
        error = _errors(rng, true, 0.0065, 22.3, 0.15)
        error = _spoil(rng, stars, f"err_{band}_sdss", error, 0.01)
        columns[f"psfMag_{band}"], columns[f"psfMagErr_{band}"] = _measure(
            rng, true + saturated[k], error
        )
    there = (np.abs(latitude) > 21) & (g < 22) & (g > 8) & (stars.fault != "no_sdss")
    return pd.DataFrame(columns)[there].reset_index(drop=True)


def extinction_table(rng: np.random.Generator, stars: Stars) -> pd.DataFrame:
    """E(B-V) of the stars as a star-pair method would give it; may come out negative, as there."""
    n = stars.teff.size
    # fifty pairs a star; a fifth of what a map gets wrong
    error = np.hypot(0.0025 * np.exp(0.2 * rng.standard_normal(n)), 0.05 * stars.ebv)
    columns = {
        "source_id": np.asarray(source_id(np.arange(n, dtype=np.int64))),
        "ebv": stars.ebv + error * rng.standard_normal(n),
        "ebv_err": error,
    }
    there = (stars.fault != "no_ebv") & ((rng.random(n) < 0.98) | (stars.sample == "lgmwas"))
    return pd.DataFrame(columns)[there].reset_index(drop=True)


# --- APOGEE --------------------------------------------------------------------------------------


def apogee_table(rng: np.random.Generator, stars: Stars, twomass: pd.DataFrame) -> pd.DataFrame:
    """allStar of DR16: the sample's stars and a quarter of the other cool ones, some of them twice.

    A second row of a star (EXTRATARG bit 4) has lower S/N and values of its own.
    """
    n = stars.teff.size
    cool = (stars.teff > 3800) & (stars.teff < 6500) & (stars.feh > -2.9)
    seen = (stars.sample == "apogee") | (cool & (rng.random(n) < APOGEE_SHARE))
    first = np.flatnonzero(seen)
    good = stars.fault[first] == ""
    duplicated = first[good & (rng.random(first.size) < 0.06)]
    if not duplicated.size:
        duplicated = first[good][:1]
    index = np.concatenate([first, duplicated])
    second = np.arange(index.size) >= first.size
    m = index.size
    fault = np.where(second | (stars.sample[index] != "apogee"), "", stars.fault[index])

    snr = np.clip(220 * 10 ** (0.25 * rng.standard_normal(m)), 30, 900)
    own = (stars.sample[index] == "apogee") & ~second
    snr = np.where(own, np.maximum(snr, 75 + 20 * rng.random(m)), snr)
    snr = np.where(second, np.minimum(snr, 70 + 30 * rng.random(m)), snr)
    snr = np.where(fault == "apogee_snr", rng.uniform(25, 68, m), snr)

    teff, feh = stars.teff[index], stars.feh[index]
    alpha, carbon, nitrogen = stars.alpha_fe[index], stars.c_fe[index], stars.n_fe[index]
    noise = np.sqrt(0.6 + 0.4 * (150 / snr) ** 2)
    # lines are weaker in hot and metal-poor stars
    weak = 10 ** (0.18 * np.clip(-feh - 0.3, 0, 3)) * np.interp(teff, [4500, 6500], [1.0, 1.6])
    faults_of = {
        "TEFF": ("teff_err", 150.0), "LOGG": ("logg_err", 0.15), "FE_H": ("fe_h_err", 0.1),
        "ALPHA_M": ("alpha_m_err", 0.03), "C_FE": ("c_fe_err", 0.2), "N_FE": ("n_fe_err", 0.2),
    }  # fmt: skip
    truth = {
        "TEFF": (teff, 85.0), "LOGG": (stars.logg[index], 0.05), "M_H": (feh, 0.008),
        "ALPHA_M": (alpha, 0.008), "FE_H": (feh, 0.010), "C_FE": (carbon, 0.015), "N_FE": (nitrogen, 0.025),
    }  # fmt: skip
    columns: dict[str, np.ndarray] = {}
    # ASPCAP gives nothing at all outside of its grid, and often no [C/Fe] and [N/Fe] for metal-poor stars
    failed = (fault == "missing") | (feh < -2.5)
    for name, (value, typical) in truth.items():
        growth = np.sqrt(weak) if name in ("TEFF", "LOGG") else weak
        error = typical * noise * growth * np.exp(0.15 * rng.standard_normal(m))
        if name in ("TEFF", "LOGG"):
            # calibrated: mostly a floor
            error = typical * np.exp(0.1 * rng.standard_normal(m)) * np.sqrt(0.7 + 0.3 * noise**2)
        if name in faults_of:
            label, limit = faults_of[name]
            error = np.where(fault == label, limit * rng.uniform(1.1, 2.0, m), error)
        if name == "C_FE":
            error = np.where(fault == "c_fe_label", rng.uniform(0.06, 0.15, m), error)
        if name == "N_FE":
            error = np.where(fault == "n_fe_label", rng.uniform(0.09, 0.18, m), error)
        measured = value + error * rng.standard_normal(m)
        gone = failed.copy()
        if name in ("C_FE", "N_FE"):
            gone |= (feh < -1.8) & (rng.random(m) < 0.3)
        columns[name] = np.where(gone, -9999.0, measured).astype(np.float32)
        columns[f"{name}_ERR"] = np.where(gone, -9999.0, error).astype(np.float32)

    harmless = np.array(HARMLESS_FLAGS)
    flag = np.where(rng.random(m) < 0.25, harmless[rng.integers(0, harmless.size, m)], 0)
    # each of them at least once, while there are good stars
    plain = np.flatnonzero((fault == "") & ~second)
    for k, value in zip(plain, HARMLESS_FLAGS, strict=False):
        flag[k] = value
    flag = np.where(fault == "star_warn", flag | STAR_WARN, flag)
    flag = np.where(fault == "star_bad", flag | STAR_BAD, flag)
    flag = np.where(feh < -2.5, flag | STAR_BAD, flag)
    target = np.where(second, EXTRATARG_DUPLICATE, np.where(rng.random(m) < 0.1, 1, 0))
    ids = source_id(index.astype(np.int64))
    # DR16 has the source_id of Gaia DR2, which a few stars have lost since
    lost = rng.random(m)
    ids = np.where(lost < 0.01, 0, np.where(lost < 0.04, np.asarray(ids) + 1_234_567, ids))
    near = twomass.iloc[index]
    result: dict[str, np.ndarray] = {
        "APOGEE_ID": np.array([f"2M{name}" for name in near["designation"]], dtype="S18"),
        "TELESCOPE": np.full(m, b"apo25m", dtype="S8"),
        "RA": near["ra"].to_numpy(),
        "DEC": near["dec"].to_numpy(),
    }
    for band in "jhk":
        result[band.upper()] = near[f"{band}_m"].to_numpy().astype(np.float32)
        error = near[f"{band}_msigcom"].fillna(-9999.99).to_numpy()
        result[f"{band.upper()}_ERR"] = error.astype(np.float32)
    result["NVISITS"] = rng.integers(1, 8, m).astype(np.int32)
    result["SNR"] = snr.astype(np.float32)
    result["STARFLAG"] = np.where(rng.random(m) < 0.1, 1 << 3, 0).astype(np.int64)
    result["EXTRATARG"] = target.astype(np.int32)
    result["VHELIO_AVG"] = (stars.rv[index] + 0.1 * rng.standard_normal(m)).astype(np.float32)
    result["GAIA_SOURCE_ID"] = ids.astype(np.int64)
    result["ASPCAPFLAG"] = flag.astype(np.int64)
    result |= columns
    # allStar is sorted by position, and the two rows of a star stand together
    order = np.lexsort((second, result["APOGEE_ID"]))
    return pd.DataFrame({name: value[order] for name, value in result.items()})


# --- PASTEL --------------------------------------------------------------------------------------


def references(seed: int) -> pd.DataFrame:
    """The literature: per reference its systematic offsets `Teff logg [Fe/H]` and a factor on its errors."""
    rng = np.random.default_rng([seed, 19])
    rows = []
    for k in range(N_REFERENCES):
        year, volume, page = (
            rng.integers(1992, 2020),
            rng.integers(10, 900),
            rng.integers(100, 9999),
        )
        rows.append(
            {
                "Author": f"Simulated{k + 1:02d}",
                "bibcode": f"{year}Simul.{volume:.>3d}.{page:.>4d}{chr(65 + k)}",
                **{name: size * rng.standard_normal() for name, size in REFERENCE_OFFSET.items()},
                "factor": rng.uniform(0.5, 1.3),
                # a share of the literature has temperatures alone
                "teff_only": k >= N_REFERENCES - 3,
                "quotes_errors": rng.random() < 0.75,
            }
        )
    return pd.DataFrame(rows)


_PASTEL_COLUMNS = (
    (
        "_RAJ2000", "_DEJ2000", "ID", "Bmag", "Vmag", "Jmag", "Hmag", "Ksmag", "Teff", "e_Teff", "logg", "e_logg",
        "[Fe/H]", "e_[Fe/H]", "Author", "bibcode",
    ),
    (
        "deg", "deg", "", "mag", "mag", "mag", "mag", "mag", "K", "K", "[cm/s2]", "[cm/s2]", "[Sun]", "[Sun]", "", "",
    ),
)  # fmt: skip


def pastel_table(
    rng: np.random.Generator,
    stars: Stars,
    magnitudes: dict[str, np.ndarray],
    literature: pd.DataFrame,
) -> pd.DataFrame:
    """PASTEL: one row per measurement, one to six a star, each by another of the references."""
    n = stars.teff.size
    inside = (stars.teff > 3500) & (stars.teff < 10000)
    seen = np.flatnonzero((stars.sample == "pastel") | (inside & (rng.random(n) < PASTEL_SHARE)))
    full = np.flatnonzero(~literature["teff_only"].to_numpy())
    bare = np.flatnonzero(literature["teff_only"].to_numpy())
    rows = []
    offsets = {name: literature[name].to_numpy() for name in REFERENCE_OFFSET}
    factor = literature["factor"].to_numpy()
    decimals = {"Teff": 0, "logg": 2, "[Fe/H]": 2}
    for i in seen:
        count = int(rng.choice(6, p=[0.40, 0.25, 0.15, 0.10, 0.06, 0.04])) + 1
        if stars.fault[i] == "teff_only":
            chosen = rng.choice(bare, min(count, bare.size), replace=False)
        else:
            # the first has everything
            later = rng.choice(np.concatenate([full, bare]), count, replace=False)
            head = rng.choice(full)
            chosen = np.concatenate([[head], later[later != head][: count - 1]])
        # the literature is less sure of cool, hot and metal-poor stars
        hard = (
            1.0
            + 0.6 * (stars.teff[i] < 4200)
            + 0.8 * (stars.teff[i] > 7500)
            + 0.4 * (stars.feh[i] < -2)
        )
        truth = {"Teff": stars.teff[i], "logg": stars.logg[i], "[Fe/H]": stars.feh[i]}
        name = _pastel_id(rng, int(i), float(stars.dec[i]))
        first = {
            "_RAJ2000": f"{stars.ra[i]:.5f}",
            "_DEJ2000": f"{stars.dec[i]:+.5f}",
            "ID": name,
            **{
                column: f"{magnitudes[key][i] + 0.01 * rng.standard_normal():.3f}"
                for column, key in (
                    ("Bmag", "abs_mag_b_apass"), ("Vmag", "abs_mag_v_apass"), ("Jmag", "abs_mag_j"),
                    ("Hmag", "abs_mag_h"), ("Ksmag", "abs_mag_ks"),
                )
            },
        }  # fmt: skip
        for k in chosen:
            row = dict(first)
            for label, value in truth.items():
                error = MEASUREMENT_ERROR[label] * factor[k] * hard
                noise = rng.standard_normal()
                if label != "Teff" and literature["teff_only"].iloc[k]:
                    row[label] = row[f"e_{label}"] = ""
                    continue
                places = decimals[label]
                row[label] = f"{value + offsets[label][k] + error * noise:.{places}f}"
                row[f"e_{label}"] = (
                    f"{error:.{places}f}" if literature["quotes_errors"].iloc[k] else ""
                )
            row["Author"], row["bibcode"] = (
                literature["Author"].iloc[k],
                literature["bibcode"].iloc[k],
            )
            rows.append(row)
    return pd.DataFrame(rows, columns=list(_PASTEL_COLUMNS[0]), dtype=object)


def _pastel_id(rng: np.random.Generator, star: int, dec: float) -> str:
    """The kinds of names that stars have there."""
    zone = f"{'-' if dec < 0 else '+'}{int(abs(dec)):02d}"
    kinds: Sequence[Callable[[], str]] = (
        lambda: f"HD {300000 + star}",
        lambda: f"BD{zone} {1000 + star}",
        lambda: f"TYC {star % 9500 + 1}-{star % 1800 + 1}-1",
        lambda: f"Cl* SIM {1 + star % 90} {star}",
    )
    return kinds[int(rng.choice(4, p=[0.5, 0.25, 0.2, 0.05]))]()


# --- writing -------------------------------------------------------------------------------------

_DECIMALS = {
    "ref_epoch": 1, "parallax": 5, "parallax_error": 5, "pmra": 5, "pmdec": 5, "pmra_error": 5, "pmdec_error": 5,
    "ruwe": 4, "ebv": 5, "ebv_err": 5, "j_m": 3, "h_m": 3, "k_m": 3, "j_msigcom": 3, "h_msigcom": 3, "k_msigcom": 3,
    "w1mpro": 3, "w2mpro": 3, "w1sigmpro": 3, "w2sigmpro": 3, "ra": 9, "dec": 9,
}  # fmt: skip


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    """Comma-separated, empty where nothing is known."""
    table = table.copy()
    for name in table.columns:
        if table[name].dtype.kind == "f":
            places = _DECIMALS.get(str(name), 5)
            table[name] = [
                f"{value:.{places}f}" if np.isfinite(value) else "" for value in table[name]
            ]
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def _write_tsv(
    path: Path, catalogue: str, table: pd.DataFrame, columns: Iterable[str], units: Iterable[str]
) -> None:
    """A table as VizieR's asu-tsv has it: comments, names, units, dashes, rows."""
    text = {}
    for name in columns:
        values = table[name]
        if values.dtype.kind == "f":
            places = 6 if name.endswith("J2000") else 3
            text[name] = [f"{value:.{places}f}" if np.isfinite(value) else "" for value in values]
        else:
            text[name] = [str(value) for value in values]
    width = {name: max([len(name), *map(len, column)]) for name, column in text.items()}
    lines = [
        "#",
        "#   VizieR Astronomical Server vizier.cds.unistra.fr",
        "#   Simulated by lamost-vac; no star of it exists",
        "#",
        "#Coosys\tJ2000:\teq_FK5 J2000",
        "",
        f"#RESOURCE=yCat_{catalogue.split('/')[0]}",
        f"#Name: {catalogue.rpartition('/')[0]}",
        f"#Table\t{catalogue.replace('/', '_')}:",
        f"#Name: {catalogue}",
        *(f"#Column\t{name}" for name in text),
        "\t".join(text),
        "\t".join(units),
        "\t".join("-" * width[name] for name in text),
    ]
    lines += ["\t".join(row) for row in zip(*text.values(), strict=True)]
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n\n", encoding="utf-8")


def _write_fits(path: Path, table: pd.DataFrame) -> None:
    """One binary table in the first extension."""
    names = {"RA": "deg", "DEC": "deg", "TEFF": "K", "TEFF_ERR": "K", "VHELIO_AVG": "km/s"}
    columns = []
    for name in table.columns:
        values = table[name].to_numpy()
        if values.dtype.kind == "O":
            values = np.array(list(values), dtype="S18" if name == "APOGEE_ID" else "S8")
        code = {"S": f"{values.dtype.itemsize}A", "f8": "D", "f4": "E", "i8": "K", "i4": "J"}
        form = code.get(values.dtype.str[1:]) or code[values.dtype.kind]
        columns.append(fits.Column(name=name, format=form, array=values, unit=names.get(name)))
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(buffer)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
