"""Model atmospheres: temperature, pressure and ionisation with depth, and the continuum.

A grey temperature structure (Hopf function, with a cooler surface where metal lines cool it),
hydrostatic equilibrium on the Rosseland optical depth, Saha equilibrium for hydrogen, helium and
twelve electron donors, molecular hydrogen, and the continuous opacities of H, H-, electrons and
Rayleigh scattering (Gray, The Observation and Analysis of Stellar Photospheres, ch. 8). LTE, plane
parallel, no convection, no line blanketing in the structure. It is much simpler than MARCS: effects
have the right sign, and the right size within a few tens of per cent, from 2800 to 40000 K.
"""

from dataclasses import dataclass

import numpy as np

from lamostvac.simulate.constants import BOLTZMANN, BOLTZMANN_EV, HC_OVER_K, planck
from lamostvac.simulate.linelist import ELEMENT_NAMES, ELEMENTS

# Rosseland optical depths of the layers
LOG_TAU = np.linspace(-4.6, 1.6, 26)
TAU = 10.0**LOG_TAU

# Two-point quadrature of the flux integral over the angle (Gauss-Legendre for mu dmu on 0..1)
_MU = np.array([0.3550510, 0.8449489])
_MU_WEIGHT = np.array([0.1819586, 0.3180414]) * 2.0

# Knots of the continuum in Angstrom: dense near the Balmer and Paschen limits
CONTINUUM_WAVE = np.concatenate(
    [
        np.arange(3500, 3950, 15.0),
        np.arange(3950, 8150, 150.0),
        np.arange(8150, 8800, 25.0),
        np.arange(8800, 10601, 150.0),
    ]
)
_ROSSELAND_WAVE = np.geomspace(400.0, 40000.0, 36)

_DONORS = ("C", "Na", "Mg", "Al", "Si", "S", "K", "Ca", "Ti", "Cr", "Fe", "Ni")
_DONOR_INDEX = np.array([ELEMENT_NAMES.index(name) for name in _DONORS])
_HELIUM_ABUNDANCE = 10 ** (ELEMENTS["He"][0] - 12)


@dataclass(frozen=True)
class Atmosphere:
    """Atmospheres of n stars with L layers; CGS units.

    temperature, gas_pressure, electron_pressure, rosseland: (n, L); hydrogen: number density of
    hydrogen nuclei (n, L); neutral: fraction of the nuclei in atomic H I (n, L); molecular:
    fraction in H2 (n, L); abundances: number of atoms per hydrogen nucleus (n, n_elements); teff,
    logg: (n,).
    """

    teff: np.ndarray
    logg: np.ndarray
    abundances: np.ndarray
    temperature: np.ndarray
    gas_pressure: np.ndarray
    electron_pressure: np.ndarray
    hydrogen: np.ndarray
    neutral: np.ndarray
    molecular: np.ndarray
    rosseland: np.ndarray

    @property
    def electrons(self) -> np.ndarray:
        """Number density of electrons per cm3 (n, L)."""
        return self.electron_pressure / (BOLTZMANN * self.temperature)


def abundances(
    feh: np.ndarray, alpha_fe: np.ndarray, c_fe: np.ndarray, n_fe: np.ndarray
) -> np.ndarray:
    """Atoms per hydrogen nucleus, (n, n_elements) in the order of `ELEMENT_NAMES`."""
    shift = {"he": 0.0 * feh, "fe": feh, "alpha": feh + alpha_fe, "c": feh + c_fe, "n": feh + n_fe}
    return np.stack(
        [10 ** (ELEMENTS[name][0] - 12 + shift[ELEMENTS[name][1]]) for name in ELEMENT_NAMES],
        axis=1,
    )


def log_saha(temperature: np.ndarray, energy: float, ratio: float) -> np.ndarray:
    """log10 of N(upper) Pe / N(lower), CGS; ratio: partition function upper over lower."""
    return -0.1762 + np.log10(ratio) + 2.5 * np.log10(temperature) - 5039.78 / temperature * energy


def stage_fractions(
    element: str, temperature: np.ndarray, electron_pressure: np.ndarray
) -> np.ndarray:
    """Fractions of the ionisation stages of an element, shape temperature.shape + (n_stages,)."""
    energies, partition = ELEMENTS[element][2], ELEMENTS[element][3]
    log_pe = np.log10(electron_pressure)
    log_ratio = [np.zeros_like(temperature)]
    for i, energy in enumerate(energies):
        step = log_saha(temperature, energy, partition[i + 1] / partition[i]) - log_pe
        log_ratio.append(log_ratio[-1] + step)
    stacked = np.stack(log_ratio, axis=-1)
    stacked -= stacked.max(axis=-1, keepdims=True)
    ratio = 10.0 ** np.maximum(stacked, -300)
    return ratio / ratio.sum(axis=-1, keepdims=True)


def _log_k_h2(temperature: np.ndarray) -> np.ndarray:
    """log10 of the dissociation constant of H2 in dyn/cm2 (Tsuji 1973)."""
    theta = 5039.78 / temperature
    return 12.739 - 5.1172 * theta + 0.12572 * theta**2 - 0.014149 * theta**3 + 6.3021e-4 * theta**4


def equation_of_state(
    temperature: np.ndarray, gas_pressure: np.ndarray, donors: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Electron pressure, hydrogen nuclei per cm3, fraction in H I, fraction in H2; all (n,).

    temperature (n,), gas_pressure (n,) in dyn/cm2, donors (n, n_donors) atoms per hydrogen nucleus.
    """
    phi_h = log_saha(temperature, 13.598, 0.5)
    phi_he1 = log_saha(temperature, 24.587, 2.0)
    phi_he2 = log_saha(temperature, 54.418, 0.5)
    phi_1, phi_2 = [], []
    for name in _DONORS:
        energies, partition = ELEMENTS[name][2], ELEMENTS[name][3]
        phi_1.append(log_saha(temperature, energies[0], partition[1] / partition[0]))
        phi_2.append(log_saha(temperature, energies[1], partition[2] / partition[1]))
    phi_first, phi_second = 10 ** np.stack(phi_1, axis=1), 10 ** np.stack(phi_2, axis=1)
    phi_h, phi_he1, phi_he2 = 10**phi_h, 10**phi_he1, 10**phi_he2

    # Molecular hydrogen, from the neutral hydrogen alone (its ions are negligible where H2 exists)
    k_h2 = 10 ** np.minimum(_log_k_h2(temperature), 25.0)

    def nuclei(pe: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        x_h = phi_h / (phi_h + pe)
        pressure_h = (gas_pressure - pe) / (1 + _HELIUM_ABUNDANCE) * (1 - x_h)
        # the neutral atoms' partial pressure p from p + p^2/K = pressure (particles)
        atoms = 2 * pressure_h / (1 + np.sqrt(1 + 4 * pressure_h / k_h2))
        in_h2 = 2 * atoms / k_h2 / (1 + 2 * atoms / k_h2)  # fraction of neutral nuclei
        molecular = in_h2 * (1 - x_h)
        he1 = phi_he1 / pe
        he_electrons = he1 * (1 + 2 * phi_he2 / pe) / (1 + he1 * (1 + phi_he2 / pe))
        r1 = phi_first / pe[:, None]
        r2 = phi_second / pe[:, None]
        metals = (donors * r1 * (1 + 2 * r2) / (1 + r1 * (1 + r2))).sum(axis=1)
        per_nucleus = x_h + _HELIUM_ABUNDANCE * he_electrons + metals
        heavy = 1 + _HELIUM_ABUNDANCE - molecular / 2
        return per_nucleus, heavy, x_h, molecular

    low = np.log(gas_pressure) - 30.0
    high = np.log(gas_pressure) + np.log(0.6)
    for _ in range(22):
        middle = 0.5 * (low + high)
        pe = np.exp(middle)
        per_nucleus, heavy, _, _ = nuclei(pe)
        too_few = (
            pe / (gas_pressure - pe) < per_nucleus / heavy
        )  # more electrons are released than assumed
        low, high = np.where(too_few, middle, low), np.where(too_few, high, middle)
    pe = np.exp(0.5 * (low + high))
    _, heavy, x_h, molecular = nuclei(pe)
    hydrogen = (gas_pressure - pe) / (BOLTZMANN * temperature * heavy)
    return pe, hydrogen, 1 - x_h - molecular, molecular


def continuum_opacity(
    wave: np.ndarray,
    temperature: np.ndarray,
    electron_pressure: np.ndarray,
    hydrogen: np.ndarray,
    neutral: np.ndarray,
    molecular: np.ndarray,
) -> np.ndarray:
    """Opacity in cm2 per hydrogen nucleus; wave (w,) in Angstrom, the others (n,); result (n, w).

    Bound-free edges of the Balmer and Paschen series are moved to the wavelength where the series
    merge (Inglis & Teller 1939), so that there is no step where the lines have dissolved into the
    continuum.
    """
    t, pe = temperature[:, None], electron_pressure[:, None]
    theta = 5039.78 / t
    stimulated = 1 - np.exp(-np.minimum(HC_OVER_K / (wave * t), 80.0))
    ne = pe / (BOLTZMANN * t)

    # H I bound-free
    log_n_max = (23.26 - np.log10(np.maximum(ne, 1e5))) / 7.5
    n_max = np.clip(10**log_n_max, 7.0, 30.0)
    bound_free = np.zeros(np.broadcast_shapes(wave.shape, t.shape))
    for n in range(1, 9):
        limit = 911.76 * n**2
        merged = limit / (1 - (n / n_max) ** 2) if n < 5 else limit * 1.02
        # one below the limit, falling smoothly to zero where the series merge
        ramp = np.clip((merged - wave) / (merged - limit), 0.0, 1.0)
        edge = ramp * ramp * (3 - 2 * ramp)
        bound_free = bound_free + edge / n**3 * 10 ** (-theta * 13.598 * (1 - 1 / n**2))
    hydrogen_scale = 1.0449e-26 * wave**3
    rest = 0.43429 / (2 * theta * 13.598)
    high_levels = rest * (10 ** (-theta * 13.598 * (1 - 1 / 81)) - 10 ** (-theta * 13.598))
    free_free = rest * 10 ** (-theta * 13.598)
    h_atom = hydrogen_scale * (bound_free + high_levels + free_free) * stimulated

    # H- (Gray 1992, eqs 8.11-8.13)
    w = np.clip(wave, 2250.0, 15000.0)
    alpha = (
        1.99654 - 1.18267e-5 * w + 2.64243e-6 * w**2 - 4.40524e-10 * w**3
        + 3.23992e-14 * w**4 - 1.39568e-18 * w**5 + 2.78701e-23 * w**6
    )  # fmt: skip
    alpha = np.where(wave < 16400, np.maximum(alpha, 0.0), 0.0)
    h_minus_bf = 4.158e-28 * alpha * pe * theta**2.5 * 10 ** (0.754 * theta) * stimulated
    log_w = np.log10(np.clip(wave, 2600.0, 113900.0))
    f0 = -2.2763 - 1.6850 * log_w + 0.76661 * log_w**2 - 0.0533464 * log_w**3
    f1 = 15.2827 - 9.2846 * log_w + 1.99381 * log_w**2 - 0.142631 * log_w**3
    f2 = -197.789 + 190.266 * log_w - 67.9775 * log_w**2 + 10.6913 * log_w**3 - 0.625151 * log_w**4
    log_theta = np.log10(np.clip(theta, 0.3, 2.5))
    h_minus_ff = 1e-26 * pe * 10 ** (f0 + f1 * log_theta + f2 * log_theta**2)

    rayleigh_wave = np.maximum(wave, 1400.0)
    rayleigh = 5.799e-13 / rayleigh_wave**4 + 1.422e-6 / rayleigh_wave**6 + 2.784 / rayleigh_wave**8
    rayleigh_h2 = 8.14e-13 / rayleigh_wave**4 + 1.28e-6 / rayleigh_wave**6 + 1.61 / rayleigh_wave**8
    thomson = 6.6524e-25 * ne / hydrogen[:, None]
    return (
        neutral[:, None] * (h_atom + h_minus_bf + h_minus_ff + rayleigh)
        + 0.5 * molecular[:, None] * rayleigh_h2
        + thomson
    )


def _temperatures(teff: np.ndarray, logg: np.ndarray, feh: np.ndarray) -> np.ndarray:
    """Temperature structure (n, L): grey, with a surface cooled by metal lines."""
    hopf = 0.7104 - 0.1331 * np.exp(-3.4488 * TAU)
    # solar-like stars have T0 about 0.74 Teff rather than the grey 0.81; metal-poor ones are nearer
    # grey
    cooling = 0.16 * np.clip(1.0 + 0.30 * feh, 0.25, 1.2)
    # in M dwarfs chromospheres heat the surface back, so that lines never reach zero flux
    cooling = cooling * (
        1 - 0.8 / (1 + np.exp((teff - 4250) / 150)) / (1 + np.exp(-(logg - 3.0) / 0.5))
    )
    q = hopf - cooling[:, None] * np.exp(-np.sqrt(TAU / 0.03))
    return teff[:, None] * (0.75 * (TAU + q)) ** 0.25


def build(
    teff: np.ndarray,
    logg: np.ndarray,
    feh: np.ndarray,
    alpha_fe: np.ndarray,
    c_fe: np.ndarray,
    n_fe: np.ndarray,
) -> Atmosphere:
    """Atmospheres of n stars; every argument has shape (n,); teff in K, the rest in dex."""
    composition = abundances(feh, alpha_fe, c_fe, n_fe)
    donors = composition[:, _DONOR_INDEX]
    temperature = _temperatures(teff, logg, feh)
    gravity = 10.0**logg
    metals = 10.0 ** (0.6 * feh)
    # mass per hydrogen nucleus, g
    mass = 1.6735e-24 * (1 + 4 * _HELIUM_ABUNDANCE)
    n = teff.size
    shape = (n, TAU.size)
    gas, electron, nuclei, neutral, molecular, rosseland = (np.zeros(shape) for _ in range(6))
    opacity = np.full(n, 1e-26)  # per nucleus; replaced by the first iteration
    for layer in range(TAU.size):
        t = temperature[:, layer]
        weight = (
            planck(_ROSSELAND_WAVE, 1.01 * t[:, None]) - planck(_ROSSELAND_WAVE, t[:, None])
        ) * _ROSSELAND_WAVE
        weight /= weight.sum(axis=1, keepdims=True)
        # what lines and molecules (TiO, H2O) add to the Rosseland mean (Ferguson et al. 2005,
        # rounded)
        molecules = 1.2e-25 * metals / (1 + np.exp(np.clip((t - 3500) / 150, -50, 50)))
        if layer:
            guess = gas[:, layer - 1] + gravity * mass * (TAU[layer] - TAU[layer - 1]) / opacity
        else:
            guess = gravity * mass * TAU[0] / opacity
        for _ in range(8 if layer == 0 else 2):
            pe, hydrogen, h1, h2 = equation_of_state(t, guess, donors)
            kappa = continuum_opacity(_ROSSELAND_WAVE, t, pe, hydrogen, h1, h2)
            here = 1.0 / (weight / kappa).sum(axis=1)
            here = (
                here * (1 + 0.8 * metals / (1 + np.exp((t - 5500) / 500)))
                + molecules * np.minimum(guess / 1e5, 10.0) ** 0.4
            )
            if layer == 0:
                guess = np.sqrt(guess * gravity * mass * TAU[0] / here)
            else:
                mean = np.sqrt(here * rosseland[:, layer - 1])
                guess = gas[:, layer - 1] + gravity * mass * (TAU[layer] - TAU[layer - 1]) / mean
        opacity = here
        gas[:, layer], electron[:, layer], nuclei[:, layer] = guess, pe, hydrogen
        neutral[:, layer], molecular[:, layer], rosseland[:, layer] = h1, h2, here
    return Atmosphere(
        teff, logg, composition, temperature, gas, electron, nuclei, neutral, molecular, rosseland
    )


def emergent_flux(source: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Emergent flux over pi of a source function with depth.

    source: (n, L, w); ratio: opacity over the Rosseland opacity, (n, L, w). The optical depth is
    integrated over the Rosseland depths; the result (n, w) equals the source if that is constant.
    """
    tau = np.empty_like(ratio)
    tau[:, 0] = ratio[:, 0] * TAU[0]
    step = np.diff(TAU).astype(ratio.dtype)[None, :, None]
    # geometric mean: opacities vary exponentially with depth
    np.cumsum(np.sqrt(ratio[:, 1:] * ratio[:, :-1]) * step, axis=1, out=tau[:, 1:])
    tau[:, 1:] += tau[:, :1]
    flux = np.zeros_like(source[:, 0])
    for mu, weight in zip(_MU, _MU_WEIGHT, strict=True):
        transmission = np.exp(np.maximum(-tau / source.dtype.type(mu), -80))
        mean = 0.5 * (source[:, 1:] + source[:, :-1])
        intensity = source[:, 0] * (1 - transmission[:, 0]) + source[:, -1] * transmission[:, -1]
        intensity += (mean * (transmission[:, :-1] - transmission[:, 1:])).sum(axis=1)
        flux += source.dtype.type(weight) * intensity
    return flux


def continuum_opacities(atmosphere: Atmosphere, wave: np.ndarray) -> np.ndarray:
    """Continuous opacity over the Rosseland opacity in every layer, (n, L, w)."""
    n, layers = atmosphere.temperature.shape
    flat = continuum_opacity(
        wave,
        atmosphere.temperature.ravel(),
        atmosphere.electron_pressure.ravel(),
        atmosphere.hydrogen.ravel(),
        atmosphere.neutral.ravel(),
        atmosphere.molecular.ravel(),
    )
    return flat.reshape(n, layers, wave.size) / atmosphere.rosseland[:, :, None]


def boltzmann(excitation: float | np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """exp(-E/kT) with the energy in eV."""
    return np.exp(-np.minimum(excitation / (BOLTZMANN_EV * temperature), 300.0))
