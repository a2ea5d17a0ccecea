"""A simulated ELODIE library with known labels: one FITS file per spectrum as in version 3.1.

The low-resolution form, 3900-6800 A in air with 0.2 A per pixel, at rest: primary image with the
flux, NaN where masked, image NOISE, labels and their quality flags in the header. The lines of the
simulated stars are no sharper than R = 3180 (40 km/s, simulate/spectrum.py) where ELODIE's have
R = 10,000.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.atomic import atomic
from lamostvac.simulate import population, spectrum, synthesis_grid
from lamostvac.simulate.constants import SPEED_OF_LIGHT, air_to_vacuum

WAVE: NDArray[np.float64] = 3900.0 + 0.2 * np.arange(14501, dtype=np.float64)
RESOLVING_POWER = SPEED_OF_LIGHT / (synthesis_grid.INTRINSIC_SIGMA * 2.3548)
QUALITY = {
    "teff": "Q_TEFF",
    "logg": "Q_LOGG",
    "feh": "Q_FE_H",
}  # invented: the real names are not known here
_KEYWORDS = {"teff": "I_TEFF", "logg": "I_LOGG", "feh": "I_FE_H"}
_SHARE = {"OB": 0.08, "A": 0.12, "F": 0.30, "G": 0.25, "K": 0.20, "M": 0.05}
_DOUBTFUL = 0.1  # share of the labels with a flag of 0
_UNKNOWN = 0.05  # share of the stars without [Fe/H]


def write_spectrum(
    path: Path,
    wave: NDArray[np.float64],
    flux: ArrayLike,
    noise: ArrayLike | None = None,
    cards: Mapping[str, object] | None = None,
) -> Path:
    """Write one file: `wave` (p,), A, even steps; `flux`, `noise` (p,); further header `cards`."""
    primary = fits.PrimaryHDU(np.asarray(flux, dtype=np.float32))
    primary.header.update(
        {
            "CTYPE1": "WAVE-WAV",
            "CUNIT": "10**(-10)m",
            "CRPIX1": 1.0,
            "CRVAL1": float(wave[0]),
            "CDELT1": float(round(wave[1] - wave[0], 9)),
            "BUNIT": "erg/cm^2/s/0.1nm",
            **(cards or {}),
        }
    )
    hdus = fits.HDUList([primary])
    if noise is not None:
        hdus.append(fits.ImageHDU(np.asarray(noise, dtype=np.float32), name="NOISE"))
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return path


def write_library(
    folder: Path, n_stars: int, seed: int, repeat_fraction: float = 0.3, snr: float = 100.0
) -> dict[str, NDArray[Any]]:
    """Write `n_stars` stars, some of them twice, as 00001.fits and so on.

    Returns the truth per file (arrays of one length): `file`, `star`, `teff`, `logg`, `feh`,
    `alpha_fe`, and the flags `{label}_quality`, 0 for a doubtful label, which is then wrong by
    several times its usual error.
    """
    rng = np.random.default_rng([seed, 11])
    counts = {name: round(n_stars * share) for name, share in _SHARE.items()}
    counts["F"] += n_stars - sum(counts.values())
    stars = population.draw(rng, counts, uniform=True)
    labels = (stars.teff, stars.logg, stars.feh, stars.alpha_fe, stars.c_fe, stars.n_fe)
    clean = spectrum.synthesize(air_to_vacuum(WAVE), *labels, resolution=RESOLVING_POWER)
    clean /= np.median(clean, axis=1, keepdims=True)
    row = np.sort(
        np.concatenate([np.arange(n_stars), np.flatnonzero(rng.random(n_stars) < repeat_fraction)])
    )
    quality = {
        name: np.where(rng.random(n_stars) < _DOUBTFUL, 0, rng.integers(1, 5, n_stars))
        for name in QUALITY
    }
    unknown = rng.random(n_stars) < _UNKNOWN
    size = {"teff": 0.01 * stars.teff, "logg": np.full(n_stars, 0.1), "feh": np.full(n_stars, 0.06)}
    stated = {}
    for name in QUALITY:
        error = size[name] * np.where(quality[name] == 0, 5.0, 1.0) * rng.standard_normal(n_stars)
        stated[name] = getattr(stars, name) + error
    for number, star in enumerate(row, start=1):
        noise = np.sqrt(np.clip(clean[star], 0.05, None)) / snr
        flux = clean[star] + noise * rng.standard_normal(len(WAVE))
        for start in rng.integers(0, len(WAVE) - 20, 3):
            flux[start : start + 15] = np.nan  # telluric lines and glitches are masked
        cards: dict[str, object] = {
            "OBJECT": f"HD {10000 + 7 * star:06d}",
            "SPTYPE": str(stars.spectral_type[star]),
        }
        for name, keyword in _KEYWORDS.items():
            cards[keyword] = round(float(stated[name][star]), 3)
            cards[QUALITY[name]] = int(quality[name][star])
        if unknown[star]:
            del cards["I_FE_H"]
        write_spectrum(folder / f"{number:05d}.fits", WAVE, flux, noise, cards)
    return {
        "file": np.array([f"{number:05d}" for number in range(1, len(row) + 1)]),
        "star": row,
        **{name: getattr(stars, name)[row] for name in ("teff", "logg", "feh", "alpha_fe")},
        **{f"{name}_stated": stated[name][row] for name in QUALITY},
        **{f"{name}_quality": quality[name][row] for name in QUALITY},
        "feh_unknown": unknown[row],
    }
