"""Strengths and profiles of atomic lines: lower level, damping, Voigt function, curve of growth."""

from functools import lru_cache

import numpy as np
import scipy.special

from lamostvac.simulate import atmosphere as atm
from lamostvac.simulate.linelist import (
    ELEMENT_NAMES,
    ELEMENTS,
    LineList,
)


@lru_cache(maxsize=1)
def _growth_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Curve of growth: log eta0, log a, and log10 of W / (depth x Doppler width).

    The line's residual flux is 1 - D eta/(1+eta) (Milne-Eddington), eta = eta0 H(a, v).
    """
    log_eta = np.arange(-5.0, 9.01, 0.25)
    log_a = np.arange(-5.0, 1.01, 0.5)
    v = np.concatenate([np.linspace(0, 6, 240), np.geomspace(6.05, 3e4, 160)])
    table = np.empty((log_eta.size, log_a.size))
    for j, la in enumerate(log_a):
        voigt = scipy.special.wofz(v + 1j * 10**la).real
        for i, le in enumerate(log_eta):
            eta = 10**le * voigt
            table[i, j] = np.log10(2 * np.trapezoid(eta / (1 + eta), v))
    return log_eta, log_a, table


def curve_of_growth(log_eta: np.ndarray, log_a: np.ndarray) -> np.ndarray:
    """W / (depth x Doppler width), bilinear in the table's logarithms; arrays of one shape."""
    grid_eta, grid_a, table = _growth_table()
    x = np.clip((log_eta - grid_eta[0]) / 0.25, 0, grid_eta.size - 1.001)
    y = np.clip((log_a - grid_a[0]) / 0.5, 0, grid_a.size - 1.001)
    i, j = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - i, y - j
    value = (
        table[i, j] * (1 - fx) * (1 - fy) + table[i + 1, j] * fx * (1 - fy)
        + table[i, j + 1] * (1 - fx) * fy + table[i + 1, j + 1] * fx * fy
    )  # fmt: skip
    # below the table the curve is linear
    return 10.0 ** (value + np.minimum(log_eta - grid_eta[0], 0.0))


_ATOMIC_MASS = {
    "He": 4, "Li": 7, "C": 12, "N": 14, "O": 16, "Na": 23, "Mg": 24, "Al": 27, "Si": 28, "S": 32, "K": 39, "Ca": 40,
    "Sc": 45, "Ti": 48, "V": 51, "Cr": 52, "Mn": 55, "Fe": 56, "Co": 59, "Ni": 59, "Zn": 65, "Rb": 85, "Sr": 88,
    "Y": 89, "Zr": 91, "Ba": 137, "La": 139, "Eu": 152,
}  # fmt: skip
MASSES = np.array([_ATOMIC_MASS[name] for name in ELEMENT_NAMES], dtype=float)


def lower_density(lines: LineList, star: atm.Atmosphere, layers: slice | list[int]) -> np.ndarray:
    """gf x number of atoms in the lower level over U, per hydrogen nucleus,
    (n, n_layers, n_lines).
    """
    temperature, pe = star.temperature[:, layers], star.electron_pressure[:, layers]
    result = np.empty((*temperature.shape, len(lines)))
    for element in np.unique(lines.element):
        name = ELEMENT_NAMES[element]
        fractions = atm.stage_fractions(name, temperature, pe)
        for stage in np.unique(lines.stage[lines.element == element]):
            which = np.flatnonzero((lines.element == element) & (lines.stage == stage))
            partition = ELEMENTS[name][3][stage]
            population = fractions[..., stage, None] * atm.boltzmann(
                lines.excitation[which], temperature[..., None]
            )
            gf = 10 ** lines.log_gf[which] / partition
            result[..., which] = star.abundances[:, element, None, None] * population * gf
    return result


def damping_constants(
    lines: LineList, wave: np.ndarray, star: atm.Atmosphere, layers: slice | list[int]
) -> np.ndarray:
    """Damping constant in rad/s, (n, n_layers, n_lines): radiative, van der Waals, Stark.

    van der Waals after Unsoeld with a typical constant that grows with excitation; quadratic Stark
    for ions and high levels.
    """
    temperature = star.temperature[:, layers, None]
    neutral = (star.neutral * star.hydrogen)[:, layers, None]
    electrons = star.electrons[:, layers, None]
    radiative = 2.2e15 / wave**2 * 3.0
    log_vdw = -7.75 + 0.06 * np.minimum(lines.excitation, 5.0)
    # with the tabulated constant (-7.6) the triplet's wings are too strong in dwarfs
    triplet = np.array([name == "Ca II" for name in lines.species]) & (lines.excitation > 1)
    log_vdw = np.where(triplet, -8.0, log_vdw)
    # it also makes the resonance lines of K and M dwarfs too broad
    resonance = np.isin(lines.species, ("Na I", "K I", "Ca I")) & (lines.excitation < 0.1)
    log_vdw = np.where(resonance, -8.0, log_vdw)
    log_stark = np.where(lines.excitation > 8.0, -4.9, -5.9)
    return (
        radiative + 10**log_vdw * neutral * (temperature / 1e4) ** 0.3 + 10**log_stark * electrons
    )


def voigt_function(v: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Voigt function H(a, v) for a < 1: Gaussian core and Lorentz wing (error below 3 %)."""
    v2 = v * v
    return np.exp(-np.minimum(v2, 80.0)) + a / 1.77245 * v2 / (v2 * v2 + 0.5 * v2 + 1.0)
