"""Physical constants (CGS unless said otherwise) and small spectroscopic formulas."""

import numpy as np

SPEED_OF_LIGHT = 299_792.458  # km/s
HC_OVER_K = 1.438777e8  # Angstrom K
BOLTZMANN_EV = 8.617333e-5  # eV/K
BOLTZMANN = 1.380649e-16  # erg/K
PLANCK_LIGHT2 = 2 * 6.62607e-27 * 2.997925e10**2  # 2 h c^2
CLASSICAL_CROSS_SECTION = (
    8.852e-21  # pi e^2 / (m c^2) x 1e-8, cm^2 per Angstrom^-1 ... see line_opacity
)
SOLAR_TEFF = 5772.0
SOLAR_LOGG = 4.438


def air_to_vacuum(wave_air: np.ndarray) -> np.ndarray:
    """Vacuum wavelength of an air wavelength, both in Angstrom (Morton 2000, IAU standard)."""
    sigma2 = (1e4 / np.asarray(wave_air, dtype=float)) ** 2
    index = 1 + 8.34254e-5 + 2.406147e-2 / (130 - sigma2) + 1.5998e-4 / (38.9 - sigma2)
    return np.asarray(wave_air) * index


def planck(wave: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Planck function B_lambda in arbitrary, constant units; wave in Angstrom, temperature in K."""
    exponent = np.minimum(HC_OVER_K / (wave * temperature), 80.0)
    return (wave / 5000.0) ** -5 / np.expm1(exponent)
