"""Redshift and spectral type of a spectrum whose header has none, by templates of the emulator.

A template d = 1 - spectrum, moved to a trial velocity, explains the observed absorption r = 1 - flux
with a free strength a; the gain in chi2 over no lines at all, (sum w r d)^2 / sum w d^2, is the
square of the cross-correlation that weighs each pixel by its inverse variance w (Tonry and Davis
1979; Zucker 2003). Trial velocities lie so close that a parabola leads from the best one to the
maximum; the template is then moved there itself, and the curvature there gives the error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from lamostvac.core.vocabulary import TYPE_LIMITS, spectral_type_of
from lamostvac.emulator.model import Emulator
from lamostvac.spectra.grid import GRID, SPEED_OF_LIGHT
from lamostvac.spectra.normalise import prepare_spectrum
from lamostvac.spectra.settings import Preparation

MAX_VELOCITY = 1000.0
"""Largest velocity that is tried, km/s."""
PER_TYPE = 8
"""Templates of a spectral type; a power of two."""
RELIABLE = 5.0
"""Least quality of a redshift to be used; no real star with more was wrong by 300 km/s
(docs/method.md)."""
TEMPLATE_ERROR = 5.0
"""Error of a velocity by the difference between star and template, km/s (docs/method.md)."""
_STEP = 50.0  # km/s between trial velocities; lines of LAMOST are 170 km/s wide
_FINE = 15.0  # km/s, for the parabola at the maximum
_OTHER = 300.0  # km/s from the maximum on, another velocity is another answer


@dataclass(frozen=True)
class Templates:
    """Emulated spectra of stars of all types, at rest and at all trial velocities.

    Attributes
    ----------
    types : (t,) spectral type of each
    teff : (t,) K
    pixels : (p,) pixels of the common grid that all templates cover at all velocities
    velocities : (s,) km/s
    depths : (t * s, p) float32, 1 - flux, velocities of a template one after the other
    squares : (t * s, p) float32, of `depths`
    splines : (t,) depth as a function of rest wavelength
    """

    types: NDArray[np.str_]
    teff: NDArray[np.float64]
    pixels: NDArray[np.int64]
    velocities: NDArray[np.float64]
    depths: NDArray[np.float32]
    squares: NDArray[np.float32]
    splines: tuple[CubicSpline, ...]

    def moved(self, template: int, velocity: float) -> NDArray[np.float64]:
        """Depth (p,) of a template at a velocity (km/s)."""
        depth: NDArray[np.float64] = self.splines[template](
            GRID[self.pixels] / (1.0 + velocity / SPEED_OF_LIGHT)
        )
        return depth


@dataclass(frozen=True)
class Redshifts:
    """Redshifts of n spectra.

    Attributes
    ----------
    z, z_err : (n,) the error is that of the noise, enlarged where the best template does not fit,
        and `TEMPLATE_ERROR`
    type : (n,) spectral type of the best template
    template : (n,) its number
    quality : (n,) by how many sigma the best velocity is better than all others that are more
        than 300 km/s away: below `RELIABLE` it may be wrong altogether
    """

    z: NDArray[np.float64]
    z_err: NDArray[np.float64]
    type: NDArray[np.str_]
    template: NDArray[np.int64]
    quality: NDArray[np.float64]


def templates_of(
    emulators: Sequence[Emulator],
    per_type: int = PER_TYPE,
    max_velocity: float = MAX_VELOCITY,
) -> Templates:
    """Templates at the labels of some stars of the emulators' libraries.

    Of each emulator and spectral type those stars are taken that lie in the middle of `per_type`
    groups, halves of halves by the label that differs most.
    """
    depths, teffs = [], []
    covered = np.ones(len(GRID), bool)
    for emulator in emulators:
        scaled = _nodes(emulator, per_type)
        flux = emulator.process.predict(scaled) @ emulator.basis[: emulator.n_signal]
        inside = np.flatnonzero(emulator.pixels)
        depths += [np.interp(GRID, GRID[inside], 1.0 - emulator.mean - one) for one in flux]
        teffs.append(emulator.from_scaled(scaled.copy())[:, 0])
        covered &= emulator.pixels
    teff = np.concatenate(teffs)
    pixels = _always_covered(covered, max_velocity)
    count = 2 * int(max_velocity // _STEP) + 1
    velocities = np.linspace(-max_velocity, max_velocity, count)
    splines = tuple(CubicSpline(GRID, depth) for depth in depths)
    at = GRID[pixels] / (1.0 + velocities[:, None] / SPEED_OF_LIGHT)
    moved = np.concatenate([spline(at) for spline in splines]).astype(np.float32)
    return Templates(spectral_type_of(teff), teff, pixels, velocities, moved, moved**2, splines)


def _nodes(emulator: Emulator, per_type: int) -> NDArray[np.float64]:
    """(m, d) scaled labels of the stars of an emulator's library that become templates."""
    scaled = emulator.library_scaled
    types = spectral_type_of(emulator.from_scaled(scaled.copy())[:, 0])
    groups = [np.flatnonzero(types == name) for name in TYPE_LIMITS]
    halves = [half for group in groups for half in _divided(scaled, group, per_type)]
    return np.asarray(scaled[[_middle(scaled, half) for half in halves]])


def _divided(
    scaled: NDArray[np.float64], rows: NDArray[np.int64], count: int
) -> list[NDArray[np.int64]]:
    """Rows in at most `count` groups of equal size: halves by the label that differs most, again."""
    if count < 2 or len(rows) < 2:
        return [rows] if len(rows) else []
    label = int(np.ptp(scaled[rows], axis=0).argmax())
    ordered = rows[np.argsort(scaled[rows, label], kind="stable")]
    halves = np.array_split(ordered, 2)
    return [group for half in halves for group in _divided(scaled, half, count // 2)]


def _middle(scaled: NDArray[np.float64], rows: NDArray[np.int64]) -> int:
    """The row that is nearest to the medians of some."""
    apart = ((scaled[rows] - np.median(scaled[rows], axis=0)) ** 2).sum(axis=1)
    return int(rows[apart.argmin()])


def _always_covered(covered: NDArray[np.bool_], max_velocity: float) -> NDArray[np.int64]:
    """Pixels that stay within what is `covered` (4901,) at every velocity up to the largest."""
    z = max_velocity / SPEED_OF_LIGHT
    gaps = np.concatenate([[0], np.cumsum(~covered)])
    low, high = GRID / (1.0 + z) - GRID[0], GRID / (1.0 - z) - GRID[0]
    first, last = np.floor(low).astype(int), np.ceil(high).astype(int) + 1
    inside = (first >= 0) & (last <= len(GRID))
    first, last = np.maximum(first, 0), np.minimum(last, len(GRID))
    return np.flatnonzero(inside & (gaps[last] == gaps[first]))


def estimate(
    wave: NDArray[np.float64],
    flux: NDArray[np.floating],
    ivar: NDArray[np.floating],
    templates: Templates,
    settings: Preparation,
) -> tuple[float, float, str, float]:
    """Redshift, its error, spectral type and quality (`Redshifts`) of a released spectrum.

    Parameters
    ----------
    wave : (n,) A, vacuum, observed (heliocentric) frame, increasing
    flux, ivar : (n,) as for `prepare_spectrum`, whose `SpectrumRejected` it raises
    """
    prepared = prepare_spectrum(wave, flux, ivar, 0.0, settings)
    found = estimate_prepared(prepared[0][None], prepared[1][None], templates)
    return float(found.z[0]), float(found.z_err[0]), str(found.type[0]), float(found.quality[0])


def estimate_prepared(
    flux: NDArray[np.floating], ivar: NDArray[np.floating], templates: Templates
) -> Redshifts:
    """Redshifts of spectra (n, 4901) that were prepared as if their redshift was 0.

    NaN, with quality 0, for a spectrum that has no pixel in common with the templates, or in which
    no template finds any absorption.
    """
    observed = (1.0 - flux[:, templates.pixels]).astype(np.float32)
    weight = ivar[:, templates.pixels].astype(np.float32)
    across = (weight * observed) @ templates.depths.T
    norm = weight @ templates.squares.T
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(across > 0, across**2 / norm, 0.0)
    gain = np.nan_to_num(gain, posinf=0.0).reshape(len(flux), len(templates.types), -1)
    template = gain.max(axis=2).argmax(axis=1)
    n = len(flux)
    z, z_err, quality = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
    for row in range(n):
        best = gain[row, template[row]]
        if best.max() > 0:
            start = _peak(templates.velocities, best)
            velocity, error, most, excess = _refine(
                observed[row], weight[row], templates, int(template[row]), start
            )
            away = np.abs(templates.velocities - velocity) > _OTHER
            second = gain[row][:, away].max(initial=0.0)
            z[row], z_err[row] = velocity / SPEED_OF_LIGHT, error / SPEED_OF_LIGHT
            quality[row] = np.sqrt(max(most - second, 0.0) / excess)
    return Redshifts(z, z_err, templates.types[template], template, quality)


def _peak(x: NDArray[np.float64], y: NDArray[np.floating]) -> float:
    """Where the parabola through the largest of y (s,) and its neighbours is largest."""
    top = min(max(int(np.argmax(y)), 1), len(y) - 2)
    before, here, after = (float(value) for value in y[top - 1 : top + 2])
    bend = before - 2.0 * here + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(x[top] + min(max(shift, -1.0), 1.0) * (x[1] - x[0]))


def _refine(
    observed: NDArray[np.float32],
    weight: NDArray[np.float32],
    templates: Templates,
    template: int,
    start: float,
) -> tuple[float, float, float, float]:
    """Velocity and error (km/s) near a trial one, gain there, and chi2 per pixel if above 1."""
    trials = start + _FINE * np.array([-1.0, 0.0, 1.0])
    gains = np.empty(3)
    for number, velocity in enumerate(trials):
        depth = templates.moved(template, velocity)
        gains[number] = (weight * observed) @ depth / np.sqrt(weight @ depth**2)
    gains = np.maximum(gains, 0.0) ** 2
    velocity = _peak(trials, gains)
    curvature = -(gains[0] - 2.0 * gains[1] + gains[2]) / _FINE**2
    used = int(np.count_nonzero(weight))
    left = float(weight @ observed.astype(np.float64) ** 2) - gains[1]
    excess = max(left / max(used, 1), 1.0)
    error = np.hypot(np.sqrt(2.0 * excess / curvature), TEMPLATE_ERROR) if curvature > 0 else np.nan
    return velocity, float(error), float(gains.max()), excess
