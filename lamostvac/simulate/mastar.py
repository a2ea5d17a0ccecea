"""A simulated MaStar library: goodspec spectra and the table of stellar parameters (DR17 formats).

Spectra are at rest, in vacuum, on 4563 log-wavelength pixels from 3622 to 10354 A. Labels are the
truth with realistic errors, given as medians over the values of four teams.
"""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from lamostvac.core.atomic import atomic
from lamostvac.simulate import instrument, population, spectrum, synthesis_grid
from lamostvac.simulate.constants import SPEED_OF_LIGHT
from lamostvac.simulate.settings import SimulationSettings

SPECTRA_NAME = "mastar-goodspec-v3_1_1-v1_7_7.fits.gz"
PARAMETERS_NAME = "mastar-goodvisits-v3_1_1-v1_7_7-params-v2.fits"
MASTAR_WAVE = 10.0 ** (3.5589 + 1e-4 * np.arange(4563))
TEAMS = ("JI", "DL", "LH", "YC")
MISSING = -999.0

# Share of the spectral types: dense where the labels change the spectrum most
_SHARE = {"OB": 0.12, "A": 0.14, "F": 0.17, "G": 0.20, "K": 0.22, "M": 0.15}
# One team's errors (Teff relative; the rest in dex); the median of four has about 0.6 of them
_TEAM_ERROR = {"TEFF": 0.012, "LOGG": 0.12, "FEH": 0.08, "ALPHA": 0.05}


def _label_tables(
    rng: np.random.Generator,
    stars: population.Stars,
    star: np.ndarray,
    bad: np.ndarray,
    scale: float,
) -> dict[str, np.ndarray]:
    """Label columns per visit (n,): values of each team, their medians, errors and validity."""
    n = star.size
    truth = {
        "TEFF": stars.teff[star],
        "LOGG": stars.logg[star],
        "FEH": stars.feh[star],
        "ALPHA": stars.alpha_fe[star],
    }
    hot = np.interp(truth["TEFF"], [6500, 9000, 15000, 30000], [1.0, 1.6, 2.5, 3.0])
    columns: dict[str, np.ndarray] = {}
    valid = rng.random((n, 4)) < np.array([0.95, 0.9, 0.9, 0.85])
    valid[~valid.any(axis=1), 0] = True
    valid[bad] = False
    groups = valid.sum(axis=1)
    for name, value in truth.items():
        size = _TEAM_ERROR[name] * hot * (value if name == "TEFF" else 1.0) * scale
        team_values = value[:, None] + size[:, None] * rng.standard_normal((n, 4))
        with np.errstate(all="ignore"):
            masked = np.where(valid, team_values, np.nan)
            filled = np.where(groups[:, None] > 0, masked, 0.0)
            median = np.nanmedian(filled, axis=1)
        error = 1.25 * size / np.sqrt(np.maximum(groups, 1))
        columns[f"{name}_MED"] = np.where(groups > 0, median, MISSING)
        columns[f"{name}_MED_ERR"] = np.where(groups > 0, error, MISSING)
        for j, team in enumerate(TEAMS):
            columns[f"{name}_{team}"] = np.where(valid[:, j], team_values[:, j], MISSING)
            columns[f"{name}_ERR_{team}"] = np.where(valid[:, j], size, MISSING)
    # FEH_MED is the teams' value; FEH_CAL_MED is on the scale of the literature
    good = groups > 0
    columns["FEH_CAL_MED"] = columns["FEH_MED"].copy()
    columns["FEH_MED"] = np.where(good, 0.97 * columns["FEH_CAL_MED"] - 0.04, MISSING)
    columns["FEH_CAL_MED_ERR"] = columns["FEH_MED_ERR"].copy()
    for j, team in enumerate(TEAMS):
        columns[f"VALID_{team}"] = valid[:, j].astype(np.int16)
    columns["NGROUPS"] = groups.astype(np.int16)
    return columns


def write_library(
    folder: Path,
    settings: SimulationSettings,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Write the two MaStar files into `folder`; returns the truth per visit (arrays of one length).

    `progress` is called with the number of spectra made.
    """
    rng = np.random.default_rng([seed, 7])
    counts = {name: round(settings.n_library * share) for name, share in _SHARE.items()}
    counts["K"] += settings.n_library - sum(counts.values())
    stars = population.draw(rng, counts, ebv_scale=settings.ebv_scale * 0.4, uniform=True)
    n_stars = stars.teff.size
    twice = np.flatnonzero(rng.random(n_stars) < settings.library_repeat_fraction)
    star = np.concatenate([np.arange(n_stars), twice])
    order = np.lexsort((np.arange(star.size) >= n_stars, star))
    star, visit = star[order], (np.arange(star.size) >= n_stars).astype(int)[order]
    n = star.size

    # rows that a quality cut must remove: in turn bad MJDQUAL, no labels, low S/N
    bad = rng.random(n) < settings.library_bad_fraction
    kind = np.where(bad, np.arange(n) % 3, -1)
    snr = np.clip(settings.library_snr_median * np.exp(0.45 * rng.standard_normal(n)), 40, 600)
    snr[kind == 2] = rng.uniform(3, 12, int((kind == 2).sum()))
    quality = np.where(kind == 0, rng.choice([2, 32, 64, 512], n), 0).astype(np.int32)

    flux = np.empty((n, MASTAR_WAVE.size), dtype=np.float32)
    ivar = np.empty_like(flux)
    mask = np.zeros(flux.shape, dtype=np.int32)
    bad_fraction = np.zeros(n, dtype=np.float32)
    law = instrument.extinction(MASTAR_WAVE)
    batch = 96
    for start in range(0, n_stars, batch):
        stop = min(start + batch, n_stars)
        columns = (stars.teff, stars.logg, stars.feh, stars.alpha_fe, stars.c_fe, stars.n_fe)
        native = spectrum.synthesize_native(*[x[start:stop] for x in columns])
        which = np.flatnonzero((star >= start) & (star < stop))
        local = star[which] - start
        scatter = 1 + 0.02 * rng.standard_normal(which.size)
        rotation2 = (stars.vsini[star[which]] / 2.0) ** 2
        blue = np.sqrt((SPEED_OF_LIGHT / (1550 * scatter) / 2.3548) ** 2 + rotation2)
        red = np.sqrt((SPEED_OF_LIGHT / (2050 * scatter) / 2.3548) ** 2 + rotation2)
        residual_rv = 2.5 * rng.standard_normal(which.size)
        shaped = synthesis_grid.resample(
            synthesis_grid.broaden(native[local], blue, red, residual_rv), MASTAR_WAVE
        )
        for k, row in enumerate(which):
            own = np.random.default_rng([seed, 8, int(row)])
            clean = shaped[k] * 10 ** (-0.4 * 3.1 * stars.ebv[star[row]] * law)
            clean = clean / np.median(clean)
            clean = clean * instrument.telluric(
                MASTAR_WAVE, 0.05 * own.standard_normal(), own.uniform(-25, 25)
            )
            photons = clean * (instrument.response(MASTAR_WAVE) + 0.15) * MASTAR_WAVE
            photons /= np.median(photons[(MASTAR_WAVE > 4000) & (MASTAR_WAVE < 8500)])
            local_snr = snr[row] * photons / np.sqrt(photons + 0.02 + 40.0 / snr[row] ** 2)
            sigma = clean / np.maximum(local_snr, 1e-3)
            error = instrument.smooth_error(own, MASTAR_WAVE, 0.3 * settings.flux_calibration_error)
            level = 10 ** (-0.4 * (stars.g_mag[star[row]] - 15.0)) * 30.0
            flux[row] = (clean + sigma * own.standard_normal(sigma.size)) * error * level
            ivar[row] = 1 / (sigma * error * level) ** 2
            for pixel in own.integers(0, MASTAR_WAVE.size, own.poisson(4)):
                span = slice(int(pixel), int(pixel) + int(own.integers(1, 4)))
                ivar[row, span], mask[row, span] = 0.0, 1
            bad_fraction[row] = np.mean(ivar[row] <= 0)
        if progress:
            progress(which.size)

    mangaid = np.array([f"{7 if i % 3 else 60}-{10000000 + 137 * i}" for i in range(n_stars)])
    plate = 8000 + (star % 97) * 11 + 500 * visit
    mjd = 57500 + (star * 7) % 1500 + 40 * visit
    design = np.array([f"{(127, 91, 61, 37, 19)[i % 5]}{i % 12 + 1:02d}" for i in star])
    keys = {
        "MANGAID": mangaid[star],
        "PLATE": plate.astype(np.int32),
        "IFUDESIGN": design,
        "MJD": mjd.astype(np.int32),
    }

    column = fits.Column
    ra, dec = stars.ra[star], stars.dec[star]
    n_pixels = MASTAR_WAVE.size
    spectra = [
        column("DRPVER", "8A", array=np.full(n, "v3_1_1")),
        column("MPROCVER", "8A", array=np.full(n, "v1_7_7")),
        *_key_columns(keys),
        column("RA", "D", array=ra),
        column("DEC", "D", array=dec),
        column("EXPTIME", "E", array=np.full(n, 900.0)),
        column("NEXP_VISIT", "I", array=np.full(n, 3)),
        column("HELIOV", "E", array=stars.rv[star]),
        column("VERR", "E", array=np.full(n, 2.5)),
        column("V_ERRCODE", "I", array=np.zeros(n)),
        column("MJDQUAL", "J", array=quality),
        column("S2N", "E", array=snr),
        column("S2N10", "E", array=0.5 * snr),
        column("BADPIXFRAC", "E", array=bad_fraction),
        column("WAVE", f"{n_pixels}D", array=np.broadcast_to(MASTAR_WAVE, (n, n_pixels))),
        column("FLUX", f"{n_pixels}E", array=flux, unit="1E-17 erg/s/cm^2/Ang"),
        column("IVAR", f"{n_pixels}E", array=ivar),
        column("MASK", f"{n_pixels}J", array=mask),
    ]
    _write(folder / SPECTRA_NAME, spectra, "GOODSPEC")

    labels = _label_tables(rng, stars, star, kind == 1, settings.library_label_error_scale)
    # the tables must be joined by their keys: the rows of the parameters are in another order
    shuffled = np.argsort(rng.random(n))
    parameters = [*_key_columns({name: values[shuffled] for name, values in keys.items()})]
    parameters += [column("RA", "D", array=ra[shuffled]), column("DEC", "D", array=dec[shuffled])]
    for name, values in labels.items():
        form = "I" if values.dtype.kind == "i" else "E"
        parameters.append(column(name, form, array=values[shuffled]))
    _write(folder / PARAMETERS_NAME, parameters, "GOODVISITS")
    return {
        **keys,
        **{
            name: getattr(stars, name)[star]
            for name in ("teff", "logg", "feh", "alpha_fe", "c_fe", "n_fe", "ebv")
        },
        "snr": snr,
        "bad": bad,
    }


def _key_columns(keys: dict[str, np.ndarray]) -> list[fits.Column]:
    forms = {"MANGAID": "12A", "PLATE": "J", "IFUDESIGN": "6A", "MJD": "J"}
    return [fits.Column(name, forms[name], array=values) for name, values in keys.items()]


def _write(path: Path, columns: list[fits.Column], name: str) -> None:
    """One table as FITS, gzipped when the name says so; equal input gives equal bytes."""
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name=name)])
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    with atomic(path) as temporary:
        if path.suffix == ".gz":
            with (
                open(temporary, "wb") as handle,
                gzip.GzipFile("", "wb", 1, handle, mtime=0) as packed,
            ):
                packed.write(buffer.getbuffer())
        else:
            temporary.write_bytes(buffer.getvalue())
