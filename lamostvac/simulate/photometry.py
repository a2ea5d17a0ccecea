"""Absolute magnitudes of stars in the 14 bands of Wang et al. (2022), and their extinction.

Colours of dwarfs at [Fe/H] = 0 follow the sequence of Pecaut & Mamajek (2013, version of 2024,
rounded; Gaia, Johnson, 2MASS and WISE in Vega magnitudes, Sloan in AB). Giants differ below 4500 K
(after Bessell & Brett 1988): their H- opacity minimum makes J-H red and H-K a little redder, TiO
makes V fainter. Metal-poor stars are bluer at fixed Teff because they lack lines, more so in bluer
bands; below [Fe/H] of about -2 hardly any lines are left, so colours change little.
"""

import numpy as np
from scipy.interpolate import PchipInterpolator

from lamostvac.core.extinction_coefficients import COEFFICIENTS
from lamostvac.simulate.constants import SOLAR_TEFF
from lamostvac.simulate.population import Stars, bolometric_correction_g

# Name of each absolute magnitude: A(band) / E(B-V), and the source of the number. Each is as its
# paper prints it, although they belong to two scales of E(B-V): `extinction.scale: mixed`.
EXTINCTION = {
    f"abs_mag_{band}": (coefficient.value, coefficient.source)
    for band, coefficient in COEFFICIENTS.items()
}
BANDS = tuple(EXTINCTION)

_COLOURS = ("bp_rp", "g_rp", "g_v", "v_ks", "j_h", "h_ks", "ks_w1", "w1_w2", "b_v", "g_r", "r_i")
# Teff and the colours in the order above, for dwarfs of solar metallicity
_DWARFS = np.array(
    [
        (2810, 4.16, 1.43, -2.37, 7.10, 0.605, 0.352, 0.225, 0.21, 2.01, 1.60, 2.11),
        (3060, 3.35, 1.33, -1.70, 5.95, 0.580, 0.312, 0.210, 0.17, 1.83, 1.55, 1.85),
        (3210, 2.94, 1.24, -1.40, 5.25, 0.565, 0.280, 0.180, 0.16, 1.65, 1.50, 1.50),
        (3430, 2.50, 1.13, -1.10, 4.60, 0.579, 0.252, 0.150, 0.14, 1.53, 1.45, 1.15),
        (3660, 2.09, 1.00, -0.81, 4.00, 0.614, 0.222, 0.130, 0.08, 1.485, 1.40, 0.815),
        (3850, 1.84, 0.92, -0.69, 3.65, 0.627, 0.190, 0.120, 0.01, 1.42, 1.35, 0.66),
        (4090, 1.70, 0.86, -0.59, 3.35, 0.619, 0.164, 0.110, -0.04, 1.34, 1.22, 0.50),
        (4440, 1.43, 0.74, -0.43, 2.88, 0.568, 0.132, 0.092, -0.073, 1.15, 1.03, 0.36),
        (4870, 1.19, 0.64, -0.31, 2.35, 0.490, 0.110, 0.079, -0.071, 0.99, 0.835, 0.25),
        (5100, 1.08, 0.60, -0.25, 2.13, 0.427, 0.098, 0.073, -0.068, 0.884, 0.718, 0.21),
        (5290, 0.983, 0.55, -0.21, 1.953, 0.387, 0.091, 0.070, -0.063, 0.816, 0.640, 0.18),
        (5480, 0.900, 0.50, -0.185, 1.768, 0.342, 0.082, 0.065, -0.057, 0.73, 0.560, 0.155),
        (5770, 0.823, 0.459, -0.155, 1.564, 0.293, 0.073, 0.061, -0.048, 0.65, 0.455, 0.115),
        (6050, 0.719, 0.399, -0.14, 1.335, 0.236, 0.063, 0.057, -0.041, 0.56, 0.370, 0.08),
        (6550, 0.587, 0.329, -0.11, 1.079, 0.173, 0.054, 0.052, -0.030, 0.44, 0.240, 0.02),
        (7020, 0.434, 0.252, -0.07, 0.819, 0.117, 0.047, 0.050, -0.027, 0.33, 0.115, -0.025),
        (7590, 0.320, 0.204, -0.04, 0.601, 0.070, 0.042, 0.048, -0.028, 0.25, 0.030, -0.06),
        (8100, 0.194, 0.130, -0.015, 0.403, 0.031, 0.038, 0.046, -0.030, 0.16, -0.07, -0.10),
        (8840, 0.068, 0.050, 0.0, 0.178, -0.012, 0.034, 0.044, -0.034, 0.07, -0.17, -0.15),
        (9700, -0.037, -0.010, 0.015, 0.041, -0.032, 0.028, 0.042, -0.041, 0.0, -0.25, -0.20),
        (10700, -0.120, -0.040, 0.02, -0.121, -0.050, 0.016, 0.038, -0.045, -0.07, -0.28, -0.22),
        (12300, -0.170, -0.070, 0.02, -0.254, -0.067, 0.003, 0.033, -0.045, -0.109, -0.33, -0.24),
        (15700, -0.250, -0.110, 0.013, -0.380, -0.084, -0.010, 0.029, -0.045, -0.156, -0.41, -0.28),
        (20600, -0.320, -0.150, 0.01, -0.602, -0.113, -0.032, 0.023, -0.045, -0.215, -0.47, -0.31),
        (26000, -0.390, -0.180, 0.005, -0.874, -0.148, -0.059, 0.018, -0.045, -0.278, -0.49, -0.33),
        (31400, -0.430, -0.200, 0.0, -0.958, -0.159, -0.067, 0.016, -0.045, -0.301, -0.57, -0.35),
        (42000, -0.460, -0.220, 0.0, -1.030, -0.165, -0.070, 0.015, -0.045, -0.325, -0.60, -0.37),
    ]
)  # fmt: skip
# Differences of a giant's colours
_GIANTS = np.array(
    [
        (2810, 1.20, 0.25, -1.1, 2.3, 0.35, 0.04, 0.03, -0.15, 0.05, 0.10, 0.95),
        (3250, 0.80, 0.18, -0.8, 1.75, 0.37, 0.03, 0.02, -0.18, 0.10, 0.10, 0.70),
        (3560, 0.25, 0.07, -0.35, 0.85, 0.30, 0.02, 0.0, -0.20, 0.10, 0.08, 0.20),
        (3850, 0.06, 0.02, -0.06, 0.20, 0.20, 0.0, 0.0, -0.12, 0.09, 0.06, 0.05),
        (4250, 0.0, 0.0, 0.0, 0.0, 0.09, 0.0, 0.0, -0.04, 0.05, 0.03, 0.0),
        (4800, 0.0, 0.0, 0.0, 0.0, 0.03, 0.0, 0.0, -0.02, 0.0, 0.0, 0.0),
        (5600, 0.0, 0.0, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (42000, *[0.0] * 11),
    ]
)
# Change per dex of metallicity (Casagrande et al. 2010, rounded)
_METALS = np.array([0.040, 0.010, 0.010, -0.020, 0.010, 0.005, 0.0, 0.0, 0.120, 0.080, 0.015])

_dwarf_colours = PchipInterpolator(np.log10(_DWARFS[:, 0]), _DWARFS[:, 1:])
_giant_colours = PchipInterpolator(np.log10(_GIANTS[:, 0]), _GIANTS[:, 1:])


def colours(teff: np.ndarray, logg: np.ndarray, feh: np.ndarray) -> dict[str, np.ndarray]:
    """Colours (n,) without extinction: bp_rp g_rp g_v (Gaia G - Johnson V) v_ks j_h h_ks ks_w1
    w1_w2 b_v g_r r_i.
    """
    log_teff = np.log10(np.clip(teff, _DWARFS[0, 0], _DWARFS[-1, 0]))
    giant = 1 / (1 + np.exp((np.asarray(logg, dtype=float) - 3.6) / 0.2))
    # hot stars have few lines; very metal-poor stars have hardly any left
    cool = np.clip((9500.0 - teff) / 3000.0, 0.0, 1.0)
    metals = 1.8 * np.tanh(feh / 1.8) * cool
    values = (
        _dwarf_colours(log_teff)
        + giant[:, None] * _giant_colours(log_teff)
        + metals[:, None] * _METALS[None]
    )
    return dict(zip(_COLOURS, values.T, strict=True))


def absolute_magnitudes(
    teff: np.ndarray, logg: np.ndarray, feh: np.ndarray, luminosity: np.ndarray
) -> dict[str, np.ndarray]:
    """Absolute magnitudes (n,) in `BANDS` of single stars; luminosity in the Sun's.

    abs_mag_g_gaia is the `abs_mag_g` of `population.Stars`.
    """
    teff, logg, feh = (np.atleast_1d(np.asarray(x, dtype=float)) for x in (teff, logg, feh))
    colour = colours(teff, logg, feh)
    g_gaia = 4.74 - 2.5 * np.log10(np.atleast_1d(luminosity)) - bolometric_correction_g(teff)
    rp = g_gaia - colour["g_rp"]
    v = g_gaia - colour["g_v"]
    ks = v - colour["v_ks"]
    h = ks + colour["h_ks"]
    w1 = ks - colour["ks_w1"]
    # V = g - 0.5784 (g - r) - 0.0038 (Lupton 2005)
    g = v + 0.5784 * colour["g_r"] + 0.0038
    r = g - colour["g_r"]
    values = (
        g_gaia, rp + colour["bp_rp"], rp, h + colour["j_h"], h, ks, w1, w1 - colour["w1_w2"],
        v + colour["b_v"], v, r, g, r, r - colour["r_i"],
    )  # fmt: skip
    # copies: some bands share an array
    return {name: value.copy() for name, value in zip(BANDS, values, strict=True)}


def primary_magnitudes(stars: Stars) -> dict[str, np.ndarray]:
    """Absolute magnitudes (n,) of stars without their companions, as in `truth.fits`."""
    return absolute_magnitudes(stars.teff, stars.logg, stars.feh, stars.luminosity)


def system_magnitudes(stars: Stars) -> dict[str, np.ndarray]:
    """Absolute magnitudes (n,) of the stars and their unresolved companions together."""
    magnitudes = primary_magnitudes(stars)
    pair = np.flatnonzero(np.isfinite(stars.secondary_teff))
    if pair.size:
        luminosity = (
            stars.secondary_radius[pair] ** 2 * (stars.secondary_teff[pair] / SOLAR_TEFF) ** 4
        )
        second = absolute_magnitudes(
            stars.secondary_teff[pair], stars.secondary_logg[pair], stars.feh[pair], luminosity
        )
        for name, value in magnitudes.items():
            value[pair] = -2.5 * np.log10(10 ** (-0.4 * value[pair]) + 10 ** (-0.4 * second[name]))
    return magnitudes


def apparent_magnitudes(stars: Stars) -> dict[str, np.ndarray]:
    """Apparent magnitudes (n,) in `BANDS`, with companion, distance and dust."""
    modulus = 5 * np.log10(stars.distance) - 5
    return {
        name: value + modulus + EXTINCTION[name][0] * stars.ebv
        for name, value in system_magnitudes(stars).items()
    }
