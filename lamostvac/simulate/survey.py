"""The whole simulated survey: plates and nights, spectra, catalogue, library, truth."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.table import Table
from astropy.time import Time

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.simulate import (
    broken,
    counterparts,
    instrument,
    mastar,
    measurement,
    photometry,
    population,
    references,
    release,
    spectrum,
    synthesis_grid,
)
from lamostvac.simulate.constants import SPEED_OF_LIGHT
from lamostvac.simulate.observing_plan import plan
from lamostvac.simulate.settings import SimulationSettings

Row = dict[str, Any]

CATALOGUE_NAME = "lamost/catalogue.csv"
TRUTH_NAME = "truth.fits"
BATCH = 96

_STAR_TRUTH = (
    "spectral_type", "teff", "logg", "feh", "alpha_fe", "c_fe", "n_fe", "mass", "luminosity", "radius", "vsini",
    "distance", "ebv", "abs_mag_g", "g_mag", "secondary_teff", "pmra", "pmdec", "sample", "fault",
)  # fmt: skip
_UNITS = {
    **dict.fromkeys(("teff", "secondary_teff"), "K"),
    **dict.fromkeys(("rv", "vsini", "sigma_lsf"), "km/s"),
    **dict.fromkeys(("ra", "dec"), "deg"),
    **dict.fromkeys(("ebv", "abs_mag_g", "g_mag", *photometry.BANDS), "mag"),
    **dict.fromkeys(("pmra", "pmdec"), "mas/yr"),
    "mass": "solMass",
    "luminosity": "solLum",
    "radius": "solRad",
    "distance": "pc",
}

# Wavelength, width (A) and strength over the continuum of a quasar's broad lines, at rest
_QSO_LINES = ((1549, 25, 1.0), (1909, 25, 0.4), (2799, 30, 0.7), (4862, 40, 0.5), (6565, 50, 1.5))


def simulate_survey(
    folder: str | Path,
    settings: SimulationSettings,
    seed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """`simulate_release`, and the library (`mastar/*`, see `mastar.write_library`)."""
    table = simulate_release(folder, settings, seed, progress)
    seed = settings.seed if seed is None else seed
    mastar.write_library(Path(folder) / "mastar", settings, seed, progress)
    return table


def simulate_release(
    folder: str | Path,
    settings: SimulationSettings,
    seed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Write a simulated release below `folder` and return the truth, one row per spectrum.

    Files: `lamost/catalogue.csv`, `lamost/{night}/{plan}/spec-*.fits.gz`, `catalogs/*` (see
    `counterparts` and `references`), `truth.fits`. seed: `settings.seed` when None. progress:
    called with a number of spectra that have been made. The bytes depend on settings and seed only.

    Raises UserError when there is nothing to simulate.
    """
    folder = Path(folder)
    seed = settings.seed if seed is None else seed
    if not sum(settings.n_stars.values()):
        raise UserError(
            "simulation.n_stars asks for no star at all; give at least one type a number above 0"
        )
    rng = np.random.default_rng([seed, 1])
    stars, visits = plan(rng, settings)
    rows, truth = _observe_stars(folder, settings, seed, stars, visits, progress)
    other_rows, other_truth = _observe_others(folder, settings, seed, rng, visits, len(rows))
    rows, truth = rows + other_rows, truth + other_truth
    order = np.lexsort(
        (
            [row["fiberid"] for row in rows],
            [row["spid"] for row in rows],
            [row["planid"] for row in rows],
        )
    )
    rows, truth = [rows[i] for i in order], [truth[i] for i in order]
    if settings.n_broken:
        rows, truth = broken.break_release(folder / "lamost", rows, truth, settings.n_broken, seed)
    release.write_catalogue(folder / CATALOGUE_NAME, rows)
    counterparts.write_catalogues(folder / "catalogs", stars, seed)
    table = pd.DataFrame(truth)
    references.write_references(folder / "catalogs", table, seed)
    _write_truth(folder / TRUTH_NAME, table)
    return table


def _catalogue_row(
    rng: np.random.Generator, stars: population.Stars, visit: pd.Series, index: int, g: float
) -> Row:
    """A visit's catalogue row before the spectrum is measured; g: Gaia G with the companion."""
    i = int(visit["star"])
    night = Time(int(visit["lmjd"]), format="mjd").to_datetime().strftime("%Y-%m-%d")
    ra, dec = float(stars.ra[i]), float(stars.dec[i])
    colour = float(
        np.interp(
            stars.teff[i], [3000, 4000, 5000, 6000, 8000, 15000], [1.6, 1.1, 0.65, 0.4, 0.0, -0.4]
        )
    )
    slopes = {"g": 0.45, "r": -0.05, "i": -0.3, "z": -0.42, "y": -0.48}
    return {
        "obsid": 10_000_000 + 101 * index + int(visit["spid"]),
        "uid": f"G{14_000_000_000_000 + 977 * i}",
        "gp_id": i + 1,
        "designation": release.designation(ra, dec),
        "obsdate": night,
        "lmjd": int(visit["lmjd"]),
        "mjd": int(visit["lmjd"]) - 1,
        "planid": visit["planid"],
        "spid": int(visit["spid"]),
        "fiberid": int(visit["fiberid"]),
        "ra_obs": ra,
        "dec_obs": dec,
        "ra": ra,
        "dec": dec,
        "ps_id": 100_000_000_000_000_000 + 12_345 * i,
        **{
            f"mag_ps_{band}": g + slope * colour if rng.random() > 0.1 else -999.0
            for band, slope in slopes.items()
        },
        "gaia_source_id": measurement.source_id(i),
        "gaia_g_mean_mag": g,
        "tsource": "LEGUE_LCH",
        "fibertype": "Obj",
        "tfrom": "LCH000003",
        "tcomment": str(20_000_000 + i),
        "offsets": "F",
        "offset_v": 0.0,
        "fibermask": int(64 * (rng.random() < 0.03)),
        "with_norm_flux": 0,
        "helio_rv": float(visit["helio_rv"]),
    }


def _light(
    stars: population.Stars,
    part: slice,
    star: np.ndarray,
    lsf: tuple[np.ndarray, np.ndarray],
    phase: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra of a batch's visits as they reach the telescope (n_visits, n_pixels), and RV.

    part: the batch; star (n_visits,): index of each visit's star; lsf: sigma in km/s in the blue
    and the red (n_visits,); phase: of the binaries' orbits, -1 to 1 (n_visits,).
    """
    columns = (stars.teff, stars.logg, stars.feh, stars.alpha_fe, stars.c_fe, stars.n_fe)
    paired = np.flatnonzero(np.isfinite(stars.secondary_teff[part]))
    n = part.stop - part.start
    labels = [np.concatenate([x[part], x[part][paired]]) for x in columns]
    labels[0][n:] = stars.secondary_teff[part][paired]
    labels[1][n:] = stars.secondary_logg[part][paired]
    native = spectrum.synthesize_native(*labels)
    second_of = {int(i): n + k for k, i in enumerate(paired)}

    blue, red = (np.hypot(sigma, stars.vsini[star] / 2.0) for sigma in lsf)
    swing = np.nan_to_num(stars.secondary_rv_amplitude[star]) * phase
    rv = stars.rv[star] + swing
    area = (stars.radius[star, None] ** 2).astype(np.float32)
    light = synthesis_grid.broaden(native[star - part.start], blue, red, rv) * area
    double = np.flatnonzero([int(i) - part.start in second_of for i in star])
    if double.size:
        i = star[double]
        which = np.array([second_of[int(k) - part.start] for k in i])
        mass_ratio = np.clip(stars.secondary_radius[i] / stars.radius[i], 0.3, 1.0)
        rv_2 = stars.rv[i] - swing[double] / mass_ratio
        second = synthesis_grid.broaden(native[which], blue[double], red[double], rv_2)
        light[double] += second * (stars.secondary_radius[i, None] ** 2).astype(np.float32)
    law = instrument.extinction(synthesis_grid.WAVE)
    light *= (10 ** (-0.4 * population.R_V * stars.ebv[star, None] * law)).astype(np.float32)
    return synthesis_grid.resample(light, instrument.LAMOST_WAVE), rv


def _observe_stars(
    folder: Path,
    settings: SimulationSettings,
    seed: int,
    stars: population.Stars,
    visits: pd.DataFrame,
    progress: Callable[[int], None] | None,
) -> tuple[list[Row], list[Row]]:
    """Make and write the spectra of all stars; returns catalogue and truth rows by visit."""
    rows: list[Row] = []
    truth: list[Row] = []
    wave = instrument.LAMOST_WAVE
    visits_star = visits["star"].to_numpy()
    apparent_g = photometry.apparent_magnitudes(stars)["abs_mag_g_gaia"]
    magnitudes = photometry.primary_magnitudes(stars)
    for start in range(0, stars.teff.size, BATCH):
        part = slice(start, min(start + BATCH, stars.teff.size))
        index = np.flatnonzero((visits_star >= part.start) & (visits_star < part.stop))
        # each visit has its own random numbers, so that results do not depend on batches
        generators = [np.random.default_rng([seed, 2, int(k)]) for k in index]
        # line-spread function: R 1600 in the blue, 1850 in the red, from fibre to fibre 5 %
        # different
        quality = np.array([1 + 0.05 * r.standard_normal() for r in generators]).clip(0.85, 1.15)
        lsf = (
            SPEED_OF_LIGHT / (1600 * quality) / 2.3548,
            SPEED_OF_LIGHT / (1850 * quality) / 2.3548,
        )
        phase = np.array([np.sin(r.uniform(0, 2 * np.pi)) for r in generators])
        light, rv = _light(stars, part, visits_star[index], lsf, phase)
        for k, visit_index in enumerate(index):
            visit, own = visits.iloc[int(visit_index)], generators[k]
            i = int(visit["star"])
            sigma = float(0.5 * (lsf[0][k] + lsf[1][k]))
            flux = light[k] * instrument.interstellar(
                wave, float(stars.ebv[i]), own.normal(0, 10), sigma
            )
            if stars.emission[i]:
                # kind and strength belong to the star, not to the night
                lines = np.random.default_rng([seed, 3, i])
                added = instrument.emission_lines(
                    lines, str(stars.emission[i]), wave, float(rv[k]), sigma
                )
                flux *= 1 + added
            row = _catalogue_row(own, stars, visit, int(visit_index), float(apparent_g[i]))
            level = 3000.0 * 10 ** (-0.4 * (float(stars.g_mag[i]) - 14.0))
            seen = _expose(own, settings, visit, flux, float(visit["snr"]), sigma, level)
            row["class"] = "STAR"
            row["subclass"] = str(
                population.subclass(own, stars.teff[i : i + 1], stars.logg[i : i + 1])[0]
            )
            _measure(own, row, seen, float(rv[k]), hot=float(stars.teff[i]) > 7500)
            _write_spectrum(folder, row, str(visit["layout"]), seen, own)
            rows.append(row)
            truth.append(
                {
                    **_truth_keys(row),
                    "star_id": i,
                    "visit": int(visit["visit"]),
                    **{name: getattr(stars, name)[i] for name in _STAR_TRUTH},
                    **{name: value[i] for name, value in magnitudes.items()},
                    "rv": rv[k],
                    "is_binary": bool(np.isfinite(stars.secondary_teff[i])),
                    "is_emission": bool(stars.emission[i]),
                    "peculiarity": str(stars.emission[i]),
                    "n_cosmic": seen.n_cosmic,
                    "sigma_lsf": sigma,
                    "layout": str(visit["layout"]),
                    "low_snr": bool(visit["low_snr"]),
                    "expected_reason": "",
                }
            )
        if progress:
            progress(index.size)
    return rows, truth


def _expose(
    rng: np.random.Generator,
    settings: SimulationSettings,
    visit: pd.Series,
    flux: np.ndarray,
    snr: float,
    sigma: float,
    level: float,
) -> instrument.Observation:
    """`instrument.observe` with the settings and the visit's sky."""
    return instrument.observe(
        rng,
        instrument.LAMOST_WAVE,
        flux,
        snr,
        sigma=sigma,
        moon=float(visit["moon"]),
        velocity=float(visit["helio_rv"]),
        calibration_error=settings.flux_calibration_error,
        cosmic_rays=settings.cosmic_rays,
        dead_pixels=settings.dead_pixels,
        level=level,
    )


def _truth_keys(row: Row) -> Row:
    keys = ("obsid", "lmjd", "planid", "spid", "fiberid", "ra", "dec")
    return {
        "spectrum_id": release.spectrum_id(row),
        **{name: row[name] for name in keys},
        "designation": row["designation"],
        "gaia_source_id": row["gaia_source_id"],
        "class": row["class"],
        "subclass": row["subclass"],
        **{f"snr{band}": row[f"snr{band}"] for band in "ugriz"},
    }


def _measure(
    rng: np.random.Generator, row: Row, seen: instrument.Observation, rv: float, hot: bool
) -> None:
    """Put the measured S/N and redshift into a catalogue row."""
    for band, value in seen.snr.items():
        row[f"snr{band}"] = round(value, 2)
    error = np.hypot(3.0, (250.0 if hot else 120.0) / max(seen.snr["g"], 1.0))
    error = min(error, 60.0)
    row["z"] = round((rv + error * rng.standard_normal()) / SPEED_OF_LIGHT, 8)
    row["z_err"] = round(error / SPEED_OF_LIGHT, 8)


def _write_spectrum(
    folder: Path, row: Row, layout: str, seen: instrument.Observation, rng: np.random.Generator
) -> None:
    # most files have 3909 pixels, some lose a few at the red end
    n = instrument.N_PIXELS - int(rng.choice([0, 0, 0, 1, 3, 5, 6, 7, 8, 9]))
    arrays = (instrument.LAMOST_WAVE, seen.flux, seen.ivar, seen.andmask, seen.ormask)
    wave, flux, ivar, andmask, ormask = (array[:n] for array in arrays)
    data = release.spectrum_bytes(row, layout, wave, flux, ivar, andmask, ormask)
    release.write_gzip(folder / "lamost" / release.file_name(row), data)


def _observe_others(
    folder: Path,
    settings: SimulationSettings,
    seed: int,
    rng: np.random.Generator,
    visits: pd.DataFrame,
    offset: int,
) -> tuple[list[Row], list[Row]]:
    """Galaxies, quasars and unknown objects in the catalogue, which must not be selected."""
    rows: list[Row] = []
    truth: list[Row] = []
    n = settings.n_other
    if not n:
        return rows, truth
    labels = [np.array([x]) for x in (4600.0, 2.2, 0.0, 0.1, 0.0, 0.0)]
    giant = spectrum.synthesize_native(*labels)
    giant = synthesis_grid.broaden(giant, np.array([150.0]), np.array([150.0]), np.zeros(1))[0]
    plates = visits.drop_duplicates("planid").reset_index(drop=True)
    used = set(zip(visits["planid"], visits["spid"], visits["fiberid"], strict=True))
    objects = population.draw(rng, {"G": n})
    wave = instrument.LAMOST_WAVE
    for k in range(n):
        own = np.random.default_rng([seed, 4, k])
        visit = plates.iloc[int(own.integers(len(plates)))].copy()
        while True:
            visit["spid"], visit["fiberid"] = int(own.integers(1, 17)), int(own.integers(1, 251))
            if (key := (visit["planid"], visit["spid"], visit["fiberid"])) not in used:
                used.add(key)
                break
        visit["star"] = k
        objects.ra[k] = (visit["field_ra"] + own.uniform(-2, 2)) % 360
        objects.dec[k] = visit["field_dec"] + own.uniform(-2, 2)
        row = _catalogue_row(own, objects, visit, offset + k, float(objects.g_mag[k]))
        row["gp_id"], row["gaia_source_id"] = -1, 3_000_000_000_000_000_000 + k
        kind = ("GALAXY", "QSO", "Unknown")[k % 3]
        redshift = float(
            {"GALAXY": own.uniform(0.03, 0.2), "QSO": own.uniform(0.5, 2.2), "Unknown": 0.0}[kind]
        )
        if kind == "QSO":
            flux = (wave / 5000) ** -1.2
            for line, width, strength in _QSO_LINES:
                flux = flux * (
                    1 + strength * np.exp(-0.5 * ((wave / (1 + redshift) - line) / width) ** 2)
                )
        else:
            flux = np.interp(wave / (1 + redshift), synthesis_grid.WAVE, giant)
        snr = float(own.uniform(1.0, 4.0) if kind == "Unknown" else own.uniform(4, 25))
        seen = _expose(own, settings, visit, flux, snr, 75.0, 100.0)
        row["class"], row["subclass"] = kind, "Non"
        _measure(own, row, seen, 0.0, hot=False)
        row["z"] = round(redshift, 8) if kind != "Unknown" else -9999.0
        _write_spectrum(folder, row, str(visit["layout"]), seen, own)
        rows.append(row)
        texts = ("spectral_type", "sample", "fault")
        nothing = dict.fromkeys((*_STAR_TRUTH, *photometry.BANDS), np.nan) | dict.fromkeys(
            texts, ""
        )
        truth.append(
            {
                **_truth_keys(row),
                "star_id": -1, "visit": 0, **nothing, "rv": np.nan, "is_binary": False,
                "is_emission": False, "peculiarity": "", "n_cosmic": seen.n_cosmic, "sigma_lsf": 75.0,
                "layout": str(visit["layout"]), "low_snr": False, "expected_reason": "not_a_star",
            }
        )  # fmt: skip
    return rows, truth


def _write_truth(path: Path, table: pd.DataFrame) -> None:
    """The truth as a FITS table with units; strings as fixed-length characters."""
    out = Table()
    for name in table.columns:
        values = table[name].to_numpy()
        if values.dtype.kind in "OUT":
            values = values.astype(str)
        out[str(name)] = values
        if name in _UNITS:
            out[str(name)].unit = _UNITS[str(name)]
    buffer = io.BytesIO()
    out.write(buffer, format="fits")
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
