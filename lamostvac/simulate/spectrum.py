"""Synthesis of stellar spectra from labels: continuum, atomic lines, molecular bands.

The flux is continuum x hydrogen and other strong lines (profiles integrated through the
atmosphere) x weak lines (equivalent widths from a curve of growth) x molecular bands. Every step
is vectorised over stars and smooth in the labels. See docs/simulation.md for what is left out.
"""

from functools import lru_cache

import numpy as np
import scipy.sparse

from lamostvac.simulate import atmosphere as atm
from lamostvac.simulate.constants import (
    BOLTZMANN,
    CLASSICAL_CROSS_SECTION,
    HC_OVER_K,
    SPEED_OF_LIGHT,
    planck,
)
from lamostvac.simulate.line_strength import (
    MASSES,
    curve_of_growth,
    damping_constants,
    lower_density,
    voigt_function,
)
from lamostvac.simulate.linelist import (
    ELEMENT_NAMES,
    ELEMENTS,
    HELIUM_II_LINES,
    HYDROGEN_LINES,
    MOLECULES,
    STRONG_LINES,
    WEAK_LINES,
    LineList,
    hydrogenic_f,
    hydrogenic_wavelength,
)
from lamostvac.simulate.molecules import BAND_STRENGTH, band_means, band_shapes, molecule_fractions
from lamostvac.simulate.synthesis_grid import (
    INTRINSIC_SIGMA,
    LOG_STEP,
    LOG_WAVE,
    STEP_VELOCITY,
    WAVE,
    broaden,
    resample,
)

# Velocities from the line centre at which profiles of strong lines are computed, km/s
_PROFILE_VELOCITY = np.array(
    [
        0,
        12,
        25,
        40,
        60,
        90,
        130,
        180,
        250,
        340,
        460,
        620,
        830,
        1100,
        1450,
        1900,
        2500,
        3300,
        4400,
        6000.0,
    ]
)

# Free parameters, set by comparison with MILES and LAMOST spectra (docs/simulation.md)
STARK_WING = 4.0  # Holtsmark wing 0.75 times that by ions and electrons together
HAZE = 1.3e-15  # cm2 per excited iron atom at 4200 A: lines that are too many to be listed
HAZE_EXCITATION = 2.5  # eV
BAND_HAZE = 0.8  # share of the molecular opacity between the bands' structure
HAZE_SLOPE = -7.5  # lines per Angstrom rise to the blue
WEAK_LAYERS = [int(np.searchsorted(atm.LOG_TAU, -1.6)), int(np.searchsorted(atm.LOG_TAU, -0.5))]
WEAK_WEIGHTS = (0.5, 0.5)

# Range in which molecules and ionised helium are computed; their strength is zero at its end
_BANDS_BELOW, _HELIUM_II_ABOVE = 8500.0, 15000.0


def microturbulence(teff: np.ndarray, logg: np.ndarray) -> np.ndarray:
    """Microturbulent velocity in km/s: 1 in the Sun, 2 in giants and A stars, more in OB stars."""
    giant = 0.25 * (4.4 - logg)
    hot = 1.2 * np.exp(-(((teff - 8000) / 1800) ** 2)) + 3.0 / (1 + np.exp(-(teff - 18000) / 3000))
    return np.clip(1.0 + giant + hot, 0.6, 8.0)


@lru_cache(maxsize=256)
def _profile_matrix(centre: float) -> tuple[int, int, np.ndarray]:
    """Pixels [i, j) within the profile's reach and the matrix (n_velocity, j-i) to interpolate it.

    Each pixel is the mean over seven points, so that narrow cores keep their equivalent width.
    """
    reach = np.log10(1 + _PROFILE_VELOCITY[-1] / SPEED_OF_LIGHT)
    i = max(int(np.ceil((np.log10(centre) - reach - LOG_WAVE[0]) / LOG_STEP)), 0)
    j = min(int((np.log10(centre) + reach - LOG_WAVE[0]) / LOG_STEP) + 1, LOG_WAVE.size)
    sub = (np.arange(7) - 3) / 7
    velocity = np.abs(
        (LOG_WAVE[i:j, None] + sub * LOG_STEP - np.log10(centre)) * np.log(10) * SPEED_OF_LIGHT
    )
    identity = np.eye(_PROFILE_VELOCITY.size)
    matrix = np.stack(
        [np.interp(velocity, _PROFILE_VELOCITY, row).mean(axis=1) for row in identity]
    )
    return i, j, matrix.astype(np.float32)


def _haze_ratio(star: atm.Atmosphere, wave: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Quasi-continuous opacity of unlisted lines over the Rosseland opacity, (n, L, w).

    ratio: the continuous opacity over the Rosseland opacity, (n, L, w). The atomic part is
    proportional to the square root of the number of excited iron atoms per continuous opacity,
    because its lines are partly saturated; the molecular part is the bands' mean. Since the haze is
    an opacity, and not absorption afterwards, it both lowers the blue flux and makes the listed
    lines shallower, as crowded lines do.
    """
    iron = ELEMENT_NAMES.index("Fe")
    fractions = atm.stage_fractions("Fe", star.temperature, star.electron_pressure)
    excited = (
        star.abundances[:, iron, None]
        * fractions[..., 0]
        * atm.boltzmann(HAZE_EXCITATION, star.temperature)
    )
    linear = (excited / star.rosseland)[:, :, None] * (HAZE / ELEMENTS["Fe"][3][0])
    haze = np.sqrt(linear * ratio) * (wave / 4200.0) ** HAZE_SLOPE
    # in the blue of M dwarfs, hydrides and oxides add more than the iron atoms indicate
    dwarf = 1 / (1 + np.exp(-(star.logg - 3.0) / 0.5))
    haze = haze * (1 + 2.5 * dwarf / (1 + np.exp((star.teff - 4050) / 120)))[:, None, None]
    fade = np.clip((4600 - star.teff) / 400, 0, 1)
    if np.any(fade > 0):
        fraction = molecule_fractions(star, slice(None))
        shapes = band_means(wave)
        for name in ("TiO", "CaH", "VO", "MgH"):
            per_atom = 10.0 ** BAND_STRENGTH[name] * fraction[name] / star.rosseland
            haze = (
                haze
                + (BAND_HAZE * fade[:, None] * per_atom)[:, :, None] * shapes[MOLECULES.index(name)]
            )
    return np.asarray(haze)


class _Canvas:
    """Flux of a batch relative to the continuum, and the data for drawing lines on it."""

    def __init__(self, star: atm.Atmosphere, vmic: np.ndarray) -> None:
        self.star, self.vmic = star, vmic
        self.knots = atm.CONTINUUM_WAVE
        self.ratio = atm.continuum_opacities(star, self.knots)  # (n, L, w)
        self.log_clear = np.log(
            self.ratio * star.rosseland[:, :, None]
        )  # without the unlisted lines
        self.ratio = self.ratio + _haze_ratio(star, self.knots, self.ratio)
        self.source = planck(self.knots, star.temperature[:, :, None])
        self.knot_flux = atm.emergent_flux(self.source, self.ratio)
        self.clear_flux = atm.emergent_flux(
            self.source, np.exp(self.log_clear) / star.rosseland[:, :, None]
        )
        self.log_opacity = np.log(self.ratio * star.rosseland[:, :, None])
        self.flux = np.ones((star.teff.size, WAVE.size), dtype=np.float32)

    def at(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Index and weight that interpolate the knots at the wavelengths."""
        i = np.clip(np.searchsorted(self.knots, wave) - 1, 0, self.knots.size - 2)
        return i, (wave - self.knots[i]) / (self.knots[i + 1] - self.knots[i])

    def opacity(self, wave: np.ndarray, layers: slice | list[int]) -> np.ndarray:
        """Continuous opacity per hydrogen nucleus, (n, n_layers, n_wave)."""
        i, f = self.at(wave)
        part = self.log_opacity[:, layers]
        return np.exp(part[..., i] * (1 - f) + part[..., i + 1] * f)

    def continuum(self, wave: np.ndarray) -> np.ndarray:
        """Continuum flux over pi, (n, n_wave)."""
        i, f = self.at(wave)
        log = np.log(self.knot_flux)
        return np.exp(log[:, i] * (1 - f) + log[:, i + 1] * f)

    def blanketed(self, wave: np.ndarray) -> np.ndarray:
        """Continuum flux over pi with the unlisted lines' share of the blanketing, (n, n_wave).

        The unlisted lines have gaps between them and are not a true continuum: at full strength
        they make K stars too red, so the flux is the geometric mean with and without them
        (M stars: with them).
        """
        i, f = self.at(wave)
        share = (0.5 + 0.5 / (1 + np.exp((self.star.teff - 4000) / 120)))[:, None]
        log = share * np.log(self.knot_flux) + (1 - share) * np.log(self.clear_flux)
        return np.exp(log[:, i] * (1 - f) + log[:, i + 1] * f)

    def draw_profile(self, centre: float, line_opacity: np.ndarray) -> None:
        """Multiply in one line: opacity per hydrogen nucleus at the velocities, (n, L, v)."""
        one = np.array([centre])
        continuous = self.opacity(one, slice(None))  # (n, L, 1)
        scale = 1.0 / self.star.rosseland[:, :, None]
        source = planck(one, self.star.temperature[:, :, None]).astype(np.float32)
        total = ((continuous + line_opacity) * scale).astype(np.float32)
        flux = atm.emergent_flux(np.broadcast_to(source, total.shape), total)
        # relative to the flux computed alike without the line, so that far wings meet the continuum
        base = atm.emergent_flux(source, (continuous * scale).astype(np.float32))
        i, j, matrix = _profile_matrix(centre)
        depth = np.maximum(1 - flux / base, 0)
        depth -= depth[:, -1:]  # the profile ends at the last velocity
        self.flux[:, i:j] *= 1 - np.maximum(depth, 0) @ matrix


def _hydrogen_lines(canvas: _Canvas) -> None:
    """Balmer and Paschen lines: Holtsmark-like Stark, Doppler core, resonance broadening."""
    star = canvas.star
    temperature = star.temperature
    field = 1.25e-9 * star.electrons ** (2 / 3)
    doppler = np.sqrt(2 * BOLTZMANN * temperature / 1.6735e-24) / 1e5
    doppler = np.sqrt(doppler**2 + canvas.vmic[:, None] ** 2)
    # Without line blanketing and convection the deep layers of cool stars are too cool for their
    # Balmer lines, which also have chromospheric cores: raise the excitation temperature there.
    cool = (
        1
        / (1 + np.exp((star.teff - 7300) / 500))
        * (1 + 0.6 / (1 + np.exp((star.teff - 4900) / 200)))
    )
    excitation_temperature = temperature * (1 + 0.05 * cool[:, None])
    # levels dissolve in the plasma's field: the lines fade where the series merge
    n_max = 10 ** ((23.26 - np.log10(np.maximum(star.electrons, 1e5))) / 7.5)
    for lower, upper in HYDROGEN_LINES:
        centre = hydrogenic_wavelength(lower, upper)
        f = hydrogenic_f(lower, upper)
        excitation = 13.598 * (1 - 1 / lower**2)
        level = lower**2 * atm.boltzmann(excitation, excitation_temperature) * star.neutral
        stimulated = 1 - np.exp(-HC_OVER_K / (centre * temperature))
        survival = 1 / (1 + (upper / np.clip(n_max, 4, 60)) ** 8)
        total = (
            CLASSICAL_CROSS_SECTION * centre**2 * f * level * stimulated * survival
        )  # cm2 x Angstrom

        offset = centre * _PROFILE_VELOCITY / SPEED_OF_LIGHT
        width = 5.5e-5 * (lower * upper) ** 4 / (upper**2 - lower**2) / (1 + 0.13 / (upper - lower))
        scale = width * field  # Angstrom per unit of the Holtsmark argument
        wing = 0.75 * STARK_WING
        b = (wing * 2.6426) ** (2 / 3)  # normalises wing / (b^2.5 + beta^2.5)
        core = np.sqrt(scale**2 * b**2 + (centre * doppler / SPEED_OF_LIGHT) ** 2)[:, :, None]
        x = offset / core
        shape = x**2.5
        stark = 1 / (2.6426 * core) / (1 + shape)
        # beyond the core keep the true wing coefficient for any Doppler width
        far = wing * (scale[:, :, None] ** 1.5) / np.maximum(offset, 1e-3) ** 2.5
        profile = np.where(x > 1.5, np.minimum(stark, far), stark)
        # broadening by neutral hydrogen matters in cool stars (Barklem et al. 2000)
        gamma = {3: 0.9e-7, 4: 1.8e-7, 5: 3.0e-7}.get(upper, 4.5e-7) * star.hydrogen * star.neutral
        lorentz = (gamma * centre**2 / (4 * np.pi * 2.998e18) / np.pi)[:, :, None]
        profile = profile + lorentz / (offset**2 + core**2)
        canvas.draw_profile(centre, total[:, :, None] * profile)


def _helium_ii_lines(canvas: _Canvas) -> None:
    star = canvas.star
    helium = ELEMENT_NAMES.index("He")
    fractions = atm.stage_fractions("He", star.temperature, star.electron_pressure)
    field = 1.25e-9 * star.electrons ** (2 / 3)
    for lower, upper in HELIUM_II_LINES:
        centre = hydrogenic_wavelength(lower, upper, charge=2)
        excitation = 54.418 * (1 - 1 / lower**2)
        level = 2 * lower**2 / 2 * atm.boltzmann(excitation, star.temperature) * fractions[..., 1]
        level = level * star.abundances[:, helium, None]
        level = level * np.clip((star.teff - _HELIUM_II_ABOVE) / 4000, 0, 1)[:, None]
        total = CLASSICAL_CROSS_SECTION * centre**2 * hydrogenic_f(lower, upper) * level
        width = 5.5e-5 * (lower * upper) ** 4 / (upper**2 - lower**2) / 16
        core = np.sqrt((width * field * 2) ** 2 + (centre * 12 / SPEED_OF_LIGHT) ** 2)[:, :, None]
        profile = (
            1 / (2.6426 * core) / (1 + (centre * _PROFILE_VELOCITY / SPEED_OF_LIGHT / core) ** 2.5)
        )
        canvas.draw_profile(centre, total[:, :, None] * profile)


def _strong_lines(canvas: _Canvas) -> None:
    """Metal and He I lines with damping wings, one at a time."""
    star = canvas.star
    lower = lower_density(STRONG_LINES, star, slice(None))
    damping = damping_constants(STRONG_LINES, STRONG_LINES.wave, star, slice(None))
    for k in range(len(STRONG_LINES)):
        centre = float(STRONG_LINES.wave[k])
        thermal = 2 * BOLTZMANN * star.temperature / (1.6605e-24 * MASSES[STRONG_LINES.element[k]])
        doppler = np.sqrt(thermal / 1e10 + canvas.vmic[:, None] ** 2)  # km/s
        width = centre * doppler / SPEED_OF_LIGHT
        stimulated = 1 - np.exp(-HC_OVER_K / (centre * star.temperature))
        total = CLASSICAL_CROSS_SECTION * centre**2 * lower[..., k] * stimulated
        gamma = damping[..., k]
        if ELEMENT_NAMES[STRONG_LINES.element[k]] == "He":
            # the upper levels are nearly hydrogenic: linear-like Stark effect in the diffuse lines
            gamma = gamma + 4.0e-4 * star.electrons
        a = gamma * centre**2 / (4 * np.pi * 2.998e18) / width
        v = _PROFILE_VELOCITY / doppler[:, :, None]
        profile = voigt_function(v, np.minimum(a, 3.0)[:, :, None]) / (1.77245 * width[:, :, None])
        canvas.draw_profile(centre, total[:, :, None] * profile)


@lru_cache(maxsize=1)
def _weak_matrix() -> scipy.sparse.csr_matrix:
    """(n_lines, n_wave): a unit-area Gaussian per line, in 1/Angstrom."""
    sigma = INTRINSIC_SIGMA / STEP_VELOCITY
    reach = int(np.ceil(4 * sigma))
    position = (np.log10(WEAK_LINES.wave) - LOG_WAVE[0]) / LOG_STEP
    column = np.round(position).astype(int)[:, None] + np.arange(-reach, reach + 1)
    value = np.exp(-0.5 * ((column - position[:, None]) / sigma) ** 2)
    pixel = WEAK_LINES.wave * np.log(10) * LOG_STEP
    value /= value.sum(axis=1, keepdims=True) * pixel[:, None]
    row = np.repeat(np.arange(len(WEAK_LINES)), column.shape[1])
    shape = (len(WEAK_LINES), WAVE.size)
    return scipy.sparse.csr_matrix(
        (value.ravel().astype(np.float32), (row, column.ravel())), shape=shape
    )


def _growth_widths(canvas: _Canvas, lines: LineList) -> np.ndarray:
    """Equivalent widths in Angstrom, (n, n_lines), from the curve of growth in two layers."""
    star = canvas.star
    wave = lines.wave
    layers = WEAK_LAYERS
    temperature = star.temperature[:, layers, None]
    lower = lower_density(lines, star, layers)
    thermal = 2 * BOLTZMANN * temperature / (1.6605e-24 * MASSES[lines.element])
    width = wave * np.sqrt(thermal / 1e10 + canvas.vmic[:, None, None] ** 2) / SPEED_OF_LIGHT
    stimulated = 1 - np.exp(-HC_OVER_K / (wave * temperature))
    centre = CLASSICAL_CROSS_SECTION * wave**2 * lower * stimulated / (1.77245 * width)
    eta = centre / canvas.opacity(wave, layers)
    a = damping_constants(lines, wave, star, layers) * wave**2 / (4 * np.pi * 2.998e18) / width
    growth = curve_of_growth(np.log10(np.maximum(eta, 1e-30)), np.log10(a))
    surface = planck(wave, star.temperature[:, 4, None])
    depth = np.clip(1 - surface / canvas.continuum(wave), 0.02, 1.0)
    return depth * np.tensordot(growth * width, np.array(WEAK_WEIGHTS), axes=(1, 0))


def _weak_lines(canvas: _Canvas) -> None:
    widths = _growth_widths(canvas, WEAK_LINES).astype(np.float32)
    canvas.flux *= np.exp(-(_weak_matrix().T @ widths.T).T)


def _bands(canvas: _Canvas) -> None:
    """Molecular bands: opacity over continuum where they form, saturated like a mixture of lines.

    They form higher in giants, whose outer layers are cool and extended.
    """
    star = canvas.star
    height = -1.2 - 0.40 * np.clip(4.6 - star.logg, -0.5, 4.5)
    weight = np.exp(-0.5 * ((atm.LOG_TAU - height[:, None]) / 0.3) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    fractions = molecule_fractions(star, slice(None))
    i, f = canvas.at(WAVE)

    def inverse_opacity(table: np.ndarray) -> np.ndarray:
        log_opacity = np.einsum("nl,nlw->nw", weight, table)
        return np.exp(-(log_opacity[:, i] * (1 - f) + log_opacity[:, i + 1] * f)).astype(np.float32)

    # the dense bands of CH and CN stand out of the haze, the oxides and hydrides are part of it
    inverse = {True: inverse_opacity(canvas.log_clear), False: inverse_opacity(canvas.log_opacity)}
    shapes = band_shapes().astype(np.float32)
    # the cores of the bands form in high layers, where the source function is small
    surface = planck(WAVE, star.temperature[:, 6, None]) / canvas.continuum(WAVE)
    depth = np.clip(1 - surface, 0.02, 0.97).astype(np.float32)
    for k, molecule in enumerate(MOLECULES):
        active = np.flatnonzero(shapes[k] > 1e-4)
        mean = np.exp((weight * np.log(np.maximum(fractions[molecule], 1e-40))).sum(axis=1))
        strength = (
            10.0 ** BAND_STRENGTH[molecule]
            * mean
            * np.clip((_BANDS_BELOW - star.teff) / 1500, 0, 1)
        )
        eta = (
            strength[:, None].astype(np.float32)
            * shapes[k, active]
            * inverse[molecule in ("CH", "CN", "C2")][:, active]
        )
        canvas.flux[:, active] *= 1 - depth[:, active] * eta / (1 + eta)


def _synthesize_batch(labels: np.ndarray) -> np.ndarray:
    teff, logg, feh, alpha_fe, c_fe, n_fe = labels
    star = atm.build(teff, logg, feh, alpha_fe, c_fe, n_fe)
    canvas = _Canvas(star, microturbulence(teff, logg))
    _hydrogen_lines(canvas)
    if np.any(teff > _HELIUM_II_ABOVE):
        _helium_ii_lines(canvas)
    _strong_lines(canvas)
    _weak_lines(canvas)
    if np.any(teff < _BANDS_BELOW):
        _bands(canvas)
    return (canvas.flux * canvas.blanketed(WAVE)).astype(np.float32)


def synthesize_native(
    teff: np.ndarray,
    logg: np.ndarray,
    feh: np.ndarray,
    alpha_fe: np.ndarray,
    c_fe: np.ndarray,
    n_fe: np.ndarray,
    *,
    batch: int = 96,
) -> np.ndarray:
    """Surface flux on the grid `WAVE` (vacuum, rest frame), (n, WAVE.size) float32.

    Units are those of `constants.planck` and the same for all stars, so that the sum of two spectra
    weighted with the stars' areas is a binary's. Lines have the width `INTRINSIC_SIGMA`; `broaden`
    converts them to a spectrograph's resolution.
    """
    columns = [
        np.atleast_1d(np.asarray(x, dtype=float)) for x in (teff, logg, feh, alpha_fe, c_fe, n_fe)
    ]
    labels = np.stack(np.broadcast_arrays(*columns))
    flux = np.empty((labels.shape[1], WAVE.size), dtype=np.float32)
    for start in range(0, labels.shape[1], batch):
        flux[start : start + batch] = _synthesize_batch(labels[:, start : start + batch])
    return flux


def synthesize(
    wave: np.ndarray,
    teff: np.ndarray,
    logg: np.ndarray,
    feh: np.ndarray,
    alpha_fe: np.ndarray | float = 0.0,
    c_fe: np.ndarray | float = 0.0,
    n_fe: np.ndarray | float = 0.0,
    resolution: float = 1800.0,
) -> np.ndarray:
    """Noiseless spectra at rest on a wavelength grid.

    wave: vacuum Angstrom (w,), inside 3600 to 10400; labels: numbers or (n,); resolution:
    R = lambda / FWHM. Returns (n, w) float32, surface flux per Angstrom in arbitrary but common
    units. Raises ValueError when `wave` leaves the synthesis' range.
    """
    wave = np.asarray(wave, dtype=float)
    if wave.min() < 3600 or wave.max() > 10400:
        raise ValueError("wave must lie between 3600 and 10400 A")
    labels = [np.asarray(x, dtype=float) for x in (teff, logg, feh, alpha_fe, c_fe, n_fe)]
    flux = synthesize_native(*labels)
    sigma = np.full(flux.shape[0], SPEED_OF_LIGHT / resolution / 2.3548)
    flux = broaden(flux, sigma, sigma, np.zeros(flux.shape[0]))
    return resample(flux, wave)
