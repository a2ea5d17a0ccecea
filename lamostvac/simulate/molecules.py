"""Molecules in cool atmospheres: their numbers, and the shapes of their bands."""

from functools import lru_cache

import numpy as np
import scipy.ndimage
import scipy.special

from lamostvac.simulate import atmosphere as atm
from lamostvac.simulate.constants import BOLTZMANN
from lamostvac.simulate.linelist import (
    BANDS,
    ELEMENT_NAMES,
    MOLECULES,
)
from lamostvac.simulate.synthesis_grid import WAVE

BAND_LAYER = int(np.searchsorted(atm.LOG_TAU, -1.2))
# log10 of strength per molecule per hydrogen nucleus (absorbs f-values, partition functions,
# widths)
BAND_STRENGTH = {
    "CH": -17.5, "CN": -17.3, "CNred": -18.8, "C2": -17.4, "MgH": -17.7, "TiO": -18.0, "VO": -18.3, "CaH": -17.8,
}  # fmt: skip


@lru_cache(maxsize=2)
def _band_means_cached(wave: tuple[float, ...]) -> np.ndarray:
    smooth = scipy.ndimage.gaussian_filter1d(band_shapes(), 150.0, axis=1)
    return np.stack([np.interp(wave, WAVE, row) for row in smooth])


def band_means(wave: np.ndarray) -> np.ndarray:
    """The bands' opacity without its structure, (n_molecules, w)."""
    return _band_means_cached(tuple(wave.tolist()))


# Tsuji (1973): log10 of the dissociation constants in dyn/cm2, polynomials in theta = 5040/T
_DISSOCIATION = {
    "CO": (13.820, -11.795, 0.17217, -0.022888, 1.1349e-3),
    "N2": (13.590, -10.585, 0.22067, -0.029997, 1.4993e-3),
    "CH": (12.135, -4.0760, 0.12768, -0.015473, 7.2661e-4),
    "CN": (12.805, -8.2793, 0.064162, -0.0073627, 3.4666e-4),
    "C2": (12.804, -6.5178, 0.097719, -0.012739, 6.2603e-4),
    "MgH": (11.285, -2.7164, 0.19658, -0.027310, 1.3816e-3),
    "TiO": (13.398, -8.5956, 0.40873, -0.057937, 2.9287e-3),
    "VO": (13.811, -8.6622, 0.40859, -0.057937, 2.9287e-3),
    "CaH": (11.340, -3.0144, 0.42349, -0.061467, 3.1639e-3),
    "SiO": (13.413, -8.8710, 0.15042, -0.019581, 9.4828e-4),
}


def molecule_fractions(
    star: atm.Atmosphere, layer: int | slice = BAND_LAYER
) -> dict[str, np.ndarray]:
    """Molecules per hydrogen nucleus, each (n,) in one layer or (n, L) in a slice of layers.

    Carbon and oxygen are bound in CO first, nitrogen in N2, silicon takes oxygen as SiO.
    """
    temperature, pe = star.temperature[:, layer], star.electron_pressure[:, layer]
    theta = 5039.78 / temperature
    constant = {
        name: 10 ** np.clip(sum(c * theta**k for k, c in enumerate(row)), -12, 25)
        for name, row in _DISSOCIATION.items()
    }
    unit = (
        star.hydrogen[:, layer] * BOLTZMANN * temperature
    )  # pressure of one particle per H nucleus
    hydrogen = star.neutral[:, layer] * unit

    def neutral_and_total(name: str) -> tuple[np.ndarray, np.ndarray]:
        abundance = star.abundances[:, ELEMENT_NAMES.index(name)]
        neutral = atm.stage_fractions(name, temperature, pe)[..., 0]
        return neutral, abundance if temperature.ndim == 1 else abundance[:, None]

    def atoms(name: str) -> np.ndarray:
        neutral, abundance = neutral_and_total(name)
        return np.asarray(abundance * neutral)

    carbon, nitrogen, oxygen = (atoms(name) * unit for name in ("C", "N", "O"))
    silicon = atoms("Si") * unit
    # CO: (C - x)(O - x) = K x
    total = carbon + oxygen + constant["CO"]
    co = 2 * carbon * oxygen / (total + np.sqrt(np.maximum(total**2 - 4 * carbon * oxygen, 0)))
    carbon_free = np.maximum(carbon - co, 1e-12 * carbon)
    oxygen_free = np.maximum(oxygen - co, 1e-4 * oxygen)
    # the free carbon when CO has taken nearly all of it follows from the constant
    carbon_free = np.maximum(
        carbon_free, constant["CO"] * co / np.maximum(oxygen_free, 1e-300) * 0.999
    )
    total = silicon + oxygen_free + constant["SiO"]
    sio = (
        2
        * silicon
        * oxygen_free
        / (total + np.sqrt(np.maximum(total**2 - 4 * silicon * oxygen_free, 0)))
    )
    oxygen_free = np.maximum(oxygen_free - sio, 1e-3 * oxygen_free)
    # N2: n + 2 n^2/K = N
    nitrogen_free = 2 * nitrogen / (1 + np.sqrt(1 + 8 * nitrogen / constant["N2"]))

    def oxide(metal: str, name: str) -> np.ndarray:
        # the metal's ions do not bind, so the fraction bound depends on its neutral part alone
        x = oxygen_free / constant[name]
        neutral, abundance = neutral_and_total(metal)
        return np.asarray(abundance * neutral * x / (1 + neutral * x))

    return {
        "CH": carbon_free * hydrogen / constant["CH"] / unit,
        "CN": carbon_free * nitrogen_free / constant["CN"] / unit,
        "CNred": carbon_free * nitrogen_free / constant["CN"] / unit,
        "C2": carbon_free**2 / constant["C2"] / unit,
        "MgH": atoms("Mg") * hydrogen / constant["MgH"],
        "CaH": atoms("Ca") * hydrogen / constant["CaH"],
        "TiO": oxide("Ti", "TiO"),
        "VO": oxide("V", "VO"),
    }


@lru_cache(maxsize=1)
def band_shapes() -> np.ndarray:
    """(n_molecules, n_wave): relative opacity of each molecule, with the rise at the head resolved.

    The smooth shading is modulated by rotational groups whose spacing grows away from the head, as
    in real bands at this resolution.
    """
    shapes = np.zeros((len(MOLECULES), WAVE.size))
    for band in BANDS:
        x = (WAVE - band.head) * np.sign(band.length)  # distance into the band, Angstrom
        rise = 0.5 * (1 + scipy.special.erf(x / 2.0))
        inside = np.maximum(x, 0.0)
        shading = np.exp(-inside / abs(band.length))
        comb = 1 + 0.25 * np.cos(2 * np.pi * np.sqrt(inside / 2.5)) * np.exp(-inside / 120.0)
        shapes[MOLECULES.index(band.molecule)] += band.strength * rise * shading * comb
    return shapes
