"""Effects on a star's light on the way to a released LAMOST spectrum.

Dust, the Earth's atmosphere, the two arms of the spectrograph with the dichroic between them, the
flux calibration, photon and read noise, sky subtraction, cosmic rays and dead pixels. Functions of
one spectrum on the survey's log-wavelength grid.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lamostvac.simulate.constants import SPEED_OF_LIGHT, air_to_vacuum
from lamostvac.simulate.linelist import hydrogenic_wavelength

# LAMOST's grid: COEFF0, COEFF1 of nearly every file, and the largest number of pixels
COEFF0, COEFF1, N_PIXELS = 3.5682, 0.0001, 3909
LAMOST_WAVE = 10.0 ** (COEFF0 + COEFF1 * np.arange(N_PIXELS))

# Photometric bands of the S/N columns, Angstrom
SNR_BANDS = {
    "u": (3800.0, 4000.0),
    "g": (4000.0, 5500.0),
    "r": (5600.0, 7000.0),
    "i": (6900.0, 8200.0),
    "z": (8200.0, 9000.0),
}
DICHROIC = (5700.0, 6050.0)

# Telluric absorption, vacuum Angstrom: first, last, depth of the O2 and H2O bands at R 1800
_TELLURIC = (
    (6868.0, 6884.0, 0.30), (6884.0, 6944.0, 0.13), (7594.0, 7622.0, 0.58), (7622.0, 7700.0, 0.33),
    (7168.0, 7340.0, 0.10), (8130.0, 8200.0, 0.08), (8200.0, 8340.0, 0.11), (8940.0, 9100.0, 0.22),
    (9100.0, 9800.0, 0.35),    (6278.0, 6312.0, 0.03),
)  # fmt: skip

# Night sky: wavelength in vacuum Angstrom, relative strength (Osterbrock et al. 1996; Hanuschik
# 2003)
_SKY_LINES = np.array(
    [
        (4047.7, 0.6), (4359.6, 1.5), (5462.3, 1.2), (5578.9, 12.0), (5891.6, 2.0), (5897.6, 1.5), (6302.0, 3.0),
        (6365.5, 1.0), (6500.5, 0.5), (6534.9, 0.8), (6555.5, 0.6), (6866.1, 1.2), (6925.1, 0.9), (6951.0, 0.8),
        (7242.3, 1.6), (7278.3, 2.2), (7318.2, 2.4), (7342.9, 2.6), (7371.4, 1.4), (7526.0, 0.8), (7716.0, 1.4),
        (7752.8, 2.5), (7796.2, 2.8), (7823.4, 2.6), (7843.0, 1.0), (7915.8, 3.2), (7966.8, 3.6), (7995.6, 3.0),
        (8027.7, 1.6), (8290.7, 2.4), (8301.7, 1.6), (8346.9, 3.8), (8384.9, 1.2), (8401.5, 4.4), (8417.5, 1.5),
        (8432.5, 4.0), (8454.6, 2.0), (8467.7, 3.5), (8495.4, 1.8), (8507.2, 1.9), (8541.3, 1.6), (8552.0, 1.5),
        (8764.3, 1.4), (8770.4, 2.0), (8780.8, 4.5), (8793.5, 4.0), (8829.5, 5.0), (8838.6, 2.4), (8852.4, 3.0),
        (8870.2, 3.2), (8888.3, 4.2), (8905.6, 2.2), (8922.1, 5.0), (8945.9, 3.5), (8960.5, 4.4), (8991.0, 3.0),
        (9004.3, 2.2), (9040.5, 3.2), (9052.0, 2.6),
    ]
)  # fmt: skip


def extinction(wave: np.ndarray, r_v: float = 3.1) -> np.ndarray:
    """A(lambda)/A(V), mean Galactic law (Cardelli et al. 1989, O'Donnell 1994), 3100 to 20000 A."""
    x = 1e4 / np.asarray(wave, dtype=float)
    y = x - 1.82
    a = np.polynomial.polynomial.polyval(
        y, [1, 0.104, -0.609, 0.701, 1.137, -1.718, -0.827, 1.647, -0.505]
    )
    b = np.polynomial.polynomial.polyval(
        y, [0, 1.952, 2.908, -3.989, -7.985, 11.102, 5.491, -10.805, 3.347]
    )
    infrared = x < 1.1
    a = np.where(infrared, 0.574 * x**1.61, a)
    b = np.where(infrared, -0.527 * x**1.61, b)
    return a + b / r_v


def interstellar(wave: np.ndarray, ebv: float, velocity: float, sigma: float) -> np.ndarray:
    """Transmission of interstellar Na D, Ca II and the strong diffuse bands; sigma: LSF in km/s."""
    # air wavelength, equivalent width at E(B-V) = 1 in Angstrom, saturation, intrinsic sigma in
    # Angstrom
    features = (
        (3933.66, 0.55, 0.25, 0.2), (3968.47, 0.32, 0.25, 0.2), (5889.95, 0.85, 0.20, 0.2), (5895.92, 0.65, 0.25, 0.2),
        (4428.2, 2.0, 9.0, 8.0), (5780.5, 0.50, 9.0, 1.0), (5797.1, 0.15, 9.0, 0.6), (6283.8, 0.95, 9.0, 2.0),
        (6613.6, 0.22, 9.0, 0.6), (8620.4, 0.35, 9.0, 2.0),
    )  # fmt: skip
    tau = np.zeros_like(wave)
    for air, width, saturation, intrinsic in features:
        centre = float(air_to_vacuum(np.array(air))) * (1 + velocity / SPEED_OF_LIGHT)
        equivalent = width * saturation * (1 - np.exp(-ebv / saturation))
        spread = np.hypot(centre * sigma / SPEED_OF_LIGHT, intrinsic)
        _add_lines(tau, wave, [(centre, equivalent / (2.5066 * spread), spread)])
    return np.exp(-tau)


@lru_cache(maxsize=1)
def _telluric_depth() -> tuple[np.ndarray, np.ndarray]:
    """Wavelength in the frame of the Earth and optical depth of the O2 and H2O bands."""
    at = np.arange(3500.0, 10800.0, 0.5)
    tau = np.zeros_like(at)
    for first, last, depth in _TELLURIC:
        soft = 2.0 + 0.04 * (last - first)
        shape = 0.25 * (1 + np.tanh((at - first) / 2.0)) * (1 + np.tanh((last - at) / soft))
        # the bands consist of pairs of lines 15 to 30 A apart, half resolved
        tau -= np.log1p(-depth) * shape * (1 + 0.35 * np.cos(2 * np.pi * (at - first) / 23.0))
    return at, tau


def telluric(wave: np.ndarray, amount: float, velocity: float) -> np.ndarray:
    """Transmission of the atmosphere; `velocity` is the bands' shift by heliocentric correction.

    LAMOST's pipeline divides by the bands of standard stars, so that a small `amount` of either
    sign remains in a released spectrum.
    """
    return np.exp(-amount * np.interp(wave / (1 + velocity / SPEED_OF_LIGHT), *_telluric_depth()))


def _add_lines(
    target: np.ndarray, wave: np.ndarray, lines: Iterable[tuple[float, float, float]]
) -> None:
    """Add Gaussians (centre, height, sigma in Angstrom) to `target` in place."""
    for centre, height, spread in lines:
        i, j = np.searchsorted(wave, (centre - 6 * spread, centre + 6 * spread))
        target[i:j] += height * np.exp(-0.5 * ((wave[i:j] - centre) / spread) ** 2)


def response(wave: np.ndarray) -> np.ndarray:
    """Relative efficiency of spectrograph, atmosphere and telescope; the dip is the dichroic."""
    blue = np.exp(-0.5 * ((wave - 5000.0) / 620.0) ** 2) / (1 + np.exp((wave - 5880.0) / 45.0))
    red = (
        np.exp(-0.5 * ((wave - 7300.0) / 1150.0) ** 2) * 1.5 / (1 + np.exp(-(wave - 5840.0) / 45.0))
    )
    return blue + red + 0.01


def sky_spectrum(wave: np.ndarray, moon: float, sigma: float) -> np.ndarray:
    """Sky brightness, 1 per pixel in the dark green; moon from 0 to 1; sigma: LSF in km/s."""
    continuum = 1.0 + moon * 3.0 * (wave / 4500.0) ** -1.5 + 0.6 * ((wave - 3700.0) / 5400.0) ** 2
    lines = np.zeros_like(wave)
    sky = (
        (centre, 6.0 * strength, centre * sigma / SPEED_OF_LIGHT) for centre, strength in _SKY_LINES
    )
    _add_lines(lines, wave, sky)
    return continuum + lines


def smooth_error(rng: np.random.Generator, wave: np.ndarray, amplitude: float) -> np.ndarray:
    """Multiplicative error of the flux calibration: smooth, different in the two arms.

    The arms are joined in the dichroic, where the error of each is largest.
    """

    def curve(low: float, high: float) -> np.ndarray:
        x = np.clip(2 * (wave - low) / (high - low) - 1, -1.1, 1.1)
        coefficients = amplitude * rng.standard_normal(6) / np.array([1e9, 1.0, 1.3, 2.0, 3.0, 4.0])
        return np.polynomial.legendre.legval(x, coefficients)

    blue, red = curve(3700.0, 5900.0), curve(5850.0, 9100.0)
    step = amplitude * 0.1 * rng.standard_normal()
    weight = 1 / (1 + np.exp(-(wave - 5880.0) / 25.0))
    # both arms are faint in the dichroic and often joined with a bump
    centre, width = rng.uniform(5840, 5980), rng.uniform(25, 60)
    bump = amplitude * rng.standard_normal() * np.exp(-0.5 * ((wave - centre) / width) ** 2)
    return np.exp(blue * (1 - weight) + (red + step) * weight + bump)


def emission_lines(
    rng: np.random.Generator, kind: str, wave: np.ndarray, rv: float, sigma: float
) -> np.ndarray:
    """Emission in units of the local continuum to be added to 1: kind "Be", "dMe" or "nebula"."""
    balmer = [hydrogenic_wavelength(2, n) for n in (3, 4, 5, 6)]
    if kind == "Be":
        width, base = rng.uniform(80, 180), rng.uniform(4.0, 30.0)
        lines = [
            (centre, base * ratio, width)
            for centre, ratio in zip(balmer, (1, 0.12, 0.05, 0.02), strict=True)
        ]
    elif kind == "dMe":
        base = rng.uniform(2.0, 9.0)
        lines = [
            (centre, base * ratio, 20.0)
            for centre, ratio in zip(balmer, (1, 1.0, 1.1, 1.2), strict=True)
        ]
        lines += [(3934.77, 1.5 * base, 20.0), (3969.59, 1.2 * base, 20.0)]
    else:
        rv, base = rv * 0.2 + rng.normal(0, 15), rng.uniform(1.0, 12.0)
        lines = [
            (balmer[0], base, 15.0), (balmer[1], 0.3 * base, 15.0), (6549.86, 0.13 * base, 15.0),
            (6585.27, 0.4 * base, 15.0), (6718.29, 0.25 * base, 15.0), (6732.67, 0.2 * base, 15.0),
            (4960.30, 0.1 * base, 15.0), (5008.24, 0.3 * base, 15.0),
        ]  # fmt: skip
    added = np.zeros_like(wave)
    for centre, equivalent_width, intrinsic in lines:
        at = centre * (1 + rv / SPEED_OF_LIGHT)
        spread = at * np.hypot(sigma, intrinsic) / SPEED_OF_LIGHT
        _add_lines(added, wave, [(at, equivalent_width / (2.5066 * spread), spread)])
    return added


@dataclass
class Observation:
    """One observed spectrum: arrays (n_pixels,) float32, and what was done to it.

    expected: noiseless flux in the same units, with all systematic errors; snr: measured S/N per
    pixel by band name; n_cosmic: cosmic rays that no mask records.
    """

    flux: np.ndarray
    ivar: np.ndarray
    andmask: np.ndarray
    ormask: np.ndarray
    expected: np.ndarray
    snr: dict[str, float]
    n_cosmic: int


def observe(
    rng: np.random.Generator,
    wave: np.ndarray,
    flux: np.ndarray,
    snr_g: float,
    *,
    sigma: float,
    moon: float,
    velocity: float,
    calibration_error: float,
    cosmic_rays: float,
    dead_pixels: float,
    level: float = 1000.0,
) -> Observation:
    """Observe a spectrum that already has its radial velocity, resolution and reddening.

    wave (n,) Angstrom; flux (n,) > 0, any units; snr_g: S/N per pixel wanted in the g band; sigma:
    LSF in km/s for the sky; velocity: heliocentric correction in km/s; level: median flux of the
    result.
    """
    band = (wave > SNR_BANDS["g"][0]) & (wave < SNR_BANDS["g"][1])
    star = flux / np.median(flux) * telluric(wave, 0.12 * rng.standard_normal(), velocity)
    efficiency = response(wave) * wave / 5000.0  # photons, not energy
    rate = star * efficiency
    sky = sky_spectrum(wave, moon, sigma) * efficiency * rng.uniform(25.0, 60.0)
    read_noise2 = rng.uniform(15.0, 40.0)

    # Exposure that gives the wanted S/N at the median g-band pixel: s r = S/N sqrt(s r + sky +
    # read^2)
    typical, background = np.median(rate[band]), np.median(sky[band]) + read_noise2
    snr2 = snr_g**2
    exposure = (snr2 + np.sqrt(snr2**2 + 4 * snr2 * background)) / 2 / typical
    counts = exposure * rate
    # light absorbed by the air becomes noise in the corrected spectrum
    variance = (counts + sky + read_noise2) / telluric(wave, 1.0, velocity)
    # sky lines leave residuals that the pipeline's variance covers only in part
    bright = np.maximum(sky - np.median(sky) * 1.5, 0.0)
    residual = (
        0.012 * bright * rng.standard_normal() * (1 + 0.5 * np.sin(wave / rng.uniform(2.0, 4.0)))
    )
    residual += 0.01 * bright * rng.standard_normal(wave.size)
    variance_known = variance + (0.01 * bright) ** 2
    observed = counts + residual + np.sqrt(variance) * rng.standard_normal(wave.size)

    calibration = smooth_error(rng, wave, calibration_error)
    unit = level * calibration / (exposure * efficiency)
    unit = unit / np.median(counts * unit) * level
    result, ivar = observed * unit, 1.0 / (variance_known * unit**2)
    expected = counts * unit
    andmask, ormask = np.zeros(wave.size, dtype=np.int32), np.zeros(wave.size, dtype=np.int32)

    def runs(mean: float, longest: int) -> list[slice]:
        starts = rng.integers(0, wave.size, rng.poisson(mean))
        return [slice(int(i), int(i) + int(rng.integers(1, longest + 1))) for i in starts]

    # recorded cosmic rays: in one of the exposures, so only ORMASK is set
    for run in runs(3.0, 3):
        ormask[run] = 1
        result[run] += 0.5 * rng.standard_normal() / np.sqrt(ivar[run])
    # unrecorded ones
    n_cosmic = 0
    for run in runs(cosmic_rays, 2):
        result[run] += rng.uniform(6, 40) / np.sqrt(ivar[run])
        n_cosmic += 1
    # dead pixels: no exposure has them
    for run in runs(dead_pixels / 2.5, 4):
        result[run], ivar[run] = 0.0, 0.0
        andmask[run] = ormask[run] = 1
    # not every fibre covers the red end
    tail = int(rng.integers(0, 12))
    if tail:
        result[-tail:], ivar[-tail:] = 0.0, 0.0
        ormask[-tail:] = 1
    snr = {}
    for name, (low, high) in SNR_BANDS.items():
        good = (wave > low) & (wave < high) & (ivar > 0)
        snr[name] = float(np.median(result[good] * np.sqrt(ivar[good]))) if good.any() else 0.0
    return Observation(
        result.astype(np.float32),
        ivar.astype(np.float32),
        andmask,
        ormask,
        expected.astype(np.float32),
        snr,
        n_cosmic,
    )
