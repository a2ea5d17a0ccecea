"""The simulated stars: labels, masses, luminosities, distances, reddening, velocities.

The sample is stratified: each spectral type gets its configured number of stars, because a small
demonstration drawn from the real mixture would have no O star and no M giant. Inside a type, dwarfs
follow the main sequence of Pecaut & Mamajek (2013) with evolution above it, giants a red giant
branch that shifts with metallicity, and the chemistry that of the Galactic discs and halo.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from lamostvac.core.extinction_coefficients import COEFFICIENTS
from lamostvac.core.vocabulary import TYPE_ORDER
from lamostvac.simulate.constants import SOLAR_LOGG, SOLAR_TEFF
from lamostvac.simulate.settings import SimulationSettings

_SECTION = SimulationSettings()  # for defaults of parameters

TEFF_RANGE = {
    "OB": (10200.0, 36000.0),
    "A": (7400.0, 10200.0),
    "F": (6000.0, 7400.0),
    "G": (5150.0, 6000.0),
    "K": (3950.0, 5150.0),
    "M": (2900.0, 3950.0),
}

# Main sequence: Teff in K, log10 L/Lsun, mass in Msun (Pecaut & Mamajek 2013, rounded)
_SEQUENCE = np.array(
    [
        (2700, -3.15, 0.09), (2900, -2.85, 0.12), (3060, -2.52, 0.16), (3210, -2.14, 0.23), (3420, -1.77, 0.37),
        (3560, -1.54, 0.44), (3700, -1.36, 0.50), (3870, -1.16, 0.57), (4050, -1.04, 0.62), (4330, -0.89, 0.68),
        (4620, -0.71, 0.74), (5000, -0.49, 0.81), (5270, -0.33, 0.87), (5660, -0.05, 0.98), (5930, 0.13, 1.07),
        (6240, 0.32, 1.18), (6550, 0.51, 1.31), (6900, 0.68, 1.44), (7220, 0.84, 1.57), (7650, 0.98, 1.70),
        (8080, 1.10, 1.81), (8750, 1.27, 1.98), (9700, 1.52, 2.25), (10700, 1.82, 2.65), (12500, 2.24, 3.4),
        (15700, 2.86, 4.9), (20000, 3.52, 7.3), (25000, 4.10, 11.0), (30000, 4.55, 16.0), (36000, 5.0, 23.0),
        (42000, 5.4, 35.0),
    ]
)  # fmt: skip

# Extinction in V over E(B-V), and G over E(B-V) for a solar-type star
R_V = 3.1
R_G = COEFFICIENTS["g_gaia"].value


@dataclass
class Stars:
    """Properties of n stars, every field an array (n,); labels in K and dex, others as below.

    mass, luminosity: Sun's; radius: Sun's; distance: pc; rv: km/s; vsini: km/s; abs_mag_g and
    g_mag: mag; secondary_*: of the companion, NaN when single; emission: "" or the kind of emission
    lines. ra, dec: degrees at epoch 2000; pmra (with cos dec), pmdec: mas/yr; sample: "field" or
    the training set the star was added for; fault: "" or the cut of the training sets that it must
    fail (`samples.FAULTS`).
    """

    spectral_type: np.ndarray
    teff: np.ndarray
    logg: np.ndarray
    feh: np.ndarray
    alpha_fe: np.ndarray
    c_fe: np.ndarray
    n_fe: np.ndarray
    mass: np.ndarray
    luminosity: np.ndarray
    radius: np.ndarray
    vsini: np.ndarray
    rv: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    distance: np.ndarray
    ebv: np.ndarray
    abs_mag_g: np.ndarray
    g_mag: np.ndarray
    secondary_teff: np.ndarray
    secondary_logg: np.ndarray
    secondary_radius: np.ndarray
    secondary_rv_amplitude: np.ndarray
    emission: np.ndarray
    pmra: np.ndarray
    pmdec: np.ndarray
    sample: np.ndarray
    fault: np.ndarray

    def table(self) -> pd.DataFrame:
        """The stars as a table, one row each."""
        return pd.DataFrame({field.name: getattr(self, field.name) for field in fields(self)})


def concatenate(parts: list[Stars]) -> Stars:
    """The stars of all parts, in order."""
    return Stars(
        **{
            item.name: np.concatenate([getattr(part, item.name) for part in parts])
            for item in fields(Stars)
        }
    )


def main_sequence(teff: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log g, mass and luminosity (Sun's units) on the zero-age main sequence at Teff (n,)."""
    log_luminosity = np.interp(teff, _SEQUENCE[:, 0], _SEQUENCE[:, 1])
    log_mass = np.interp(teff, _SEQUENCE[:, 0], np.log10(_SEQUENCE[:, 2]))
    logg = SOLAR_LOGG + log_mass + 4 * np.log10(teff / SOLAR_TEFF) - log_luminosity
    return logg, 10**log_mass, 10**log_luminosity


def bolometric_correction_g(teff: np.ndarray) -> np.ndarray:
    """Bolometric correction to Gaia G, mag, at Teff (n,), for dwarfs (Andrae et al. 2018, MIST)."""
    grid = [
        2800,
        3200,
        3600,
        4000,
        4500,
        5000,
        5772,
        6500,
        7500,
        9000,
        11000,
        15000,
        20000,
        30000,
        40000,
    ]
    value = [
        -2.6,
        -1.9,
        -1.25,
        -0.75,
        -0.35,
        -0.12,
        0.08,
        0.08,
        0.03,
        -0.12,
        -0.45,
        -1.15,
        -1.8,
        -2.8,
        -3.5,
    ]
    return np.interp(teff, grid, value)


def _chemistry(
    rng: np.random.Generator, spectral_type: str, giant: np.ndarray, uniform: bool
) -> tuple[np.ndarray, ...]:
    """[Fe/H], [alpha/Fe], [C/Fe], [N/Fe] and the population (0 thin disc, 1 thick disc, 2 halo).

    uniform: half of the stars are spread evenly in [Fe/H], as a library's targets are chosen.
    """
    n = giant.size
    young = spectral_type in ("OB", "A")
    share = (
        [0.97, 0.02, 0.01]
        if spectral_type == "OB"
        else [0.90, 0.04, 0.06]
        if young
        else [0.62, 0.22, 0.16]
    )
    if spectral_type == "M":
        share = [0.78, 0.17, 0.05]
    population = rng.choice(3, size=n, p=share)
    centre = np.array([0.0 if young else -0.10, -0.55, -1.55])[population]
    width = np.array([0.15 if young else 0.22, 0.25, 0.50])[population]
    feh = np.clip(centre + width * rng.standard_normal(n), -3.0, 0.5)
    if uniform:
        low = {"OB": -0.6, "A": -1.8, "M": -1.2}.get(spectral_type, -2.4)
        spread = rng.uniform(low, 0.45, n)
        chosen = rng.random(n) < 0.5
        feh = np.where(chosen, spread, feh)
        population = np.where(chosen, np.digitize(-feh, [0.45, 1.1]), population)
    feh = np.where(spectral_type == "M", np.maximum(feh, -1.5), feh)
    return (feh, *abundances(rng, feh, population, giant), population)


def abundances(
    rng: np.random.Generator, feh: np.ndarray, population: np.ndarray, giant: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[alpha/Fe], [C/Fe], [N/Fe], each (n,), by population (0 thin disc, 1 thick disc, 2 halo)."""
    n = feh.size
    thin = np.clip(0.02 - 0.18 * feh, -0.05, 0.15)
    thick = np.clip(0.26 - 0.20 * (feh + 0.55), 0.08, 0.34)
    halo = np.clip(0.30 - 0.10 * (feh + 1.5), 0.15, 0.40)
    # some accreted halo stars have little alpha, so that [Fe/H] and [alpha/Fe] are not degenerate
    halo = np.where(rng.random(n) < 0.3, halo - 0.18, halo)
    alpha_fe = np.choose(population, [thin, thick, halo]) + 0.04 * rng.standard_normal(n)
    c_fe = 0.35 * alpha_fe + 0.08 * rng.standard_normal(n)
    n_fe = 0.05 + 0.10 * rng.standard_normal(n)
    # first dredge-up: giants have turned carbon into nitrogen, more in more massive ones
    dredge = np.where(giant, rng.uniform(0.05, 0.30, n), 0.0)
    c_fe, n_fe = c_fe - dredge, n_fe + 1.4 * dredge
    rich = (feh < -1.8) & (rng.random(n) < 0.15)
    c_fe = np.where(rich, c_fe + rng.uniform(0.5, 1.4, n), c_fe)
    return alpha_fe, c_fe, n_fe


def labels(
    rng: np.random.Generator, spectral_type: str, n: int, uniform: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Teff, log g, mass and chemistry of n stars of a type."""
    low, high = TEFF_RANGE[spectral_type]
    giants = {"OB": 0.0, "A": 0.0, "F": 0.0, "G": 0.28, "K": 0.50, "M": 0.38}[spectral_type]
    giant = rng.random(n) < giants
    chemistry = _chemistry(rng, spectral_type, giant, uniform)
    feh = chemistry[0]
    if spectral_type == "OB":
        # more stars at the cool end, as in the mass function
        position = rng.random(n) if uniform else rng.random(n) ** 1.7
        teff = low * (high / low) ** position
    else:
        teff = rng.uniform(low, high, n)
    logg, mass, _ = main_sequence(teff)
    # evolution off the main sequence, possible where the main-sequence life is shorter than the
    # disc's age
    reach = np.interp(
        teff, [4800, 5300, 5800, 6300, 7000, 9000, 20000], [0.03, 0.12, 0.35, 0.55, 0.6, 0.7, 0.55]
    )
    logg = logg - reach * rng.random(n)
    # metal-poor dwarfs are denser at the same temperature
    logg = logg + np.where(teff < 6500, -0.06 * feh, 0.0)
    if spectral_type in ("F", "G"):
        subgiant = ~giant & (rng.random(n) < 0.15)
        logg = np.where(subgiant, rng.uniform(3.4, 4.0, n), logg)
    if spectral_type in ("OB", "A", "F"):
        # a few evolved stars and, among the metal-poor, horizontal-branch stars
        evolved = rng.random(n) < 0.10
        floor = {"OB": 2.6, "A": 1.8, "F": 1.5}[spectral_type] + np.where(
            spectral_type == "OB", 2.2 * np.log10(teff / 15000), 0.0
        )
        logg = np.where(evolved, rng.uniform(floor, 3.6, n), logg)
        horizontal = (feh < -1.0) & (teff > 7000) & (teff < 14000)
        logg = np.where(
            horizontal, 3.1 + 1.2 * np.log10(teff / 8000) * 3 + 0.1 * rng.standard_normal(n), logg
        )
        mass = np.where(horizontal, 0.6, mass)
    if giant.any():
        # red giant branch: Teff falls with log g; the branch is hotter for metal-poor stars
        teff_g = rng.uniform(max(low, 3280.0), min(high, 5250.0), n)
        shift = np.clip(feh, -2.5, 0.4)
        logg_g = np.interp(teff_g + 300 * shift, [2900, 3300, 3950, 5400], [-0.1, 0.25, 1.10, 4.15])
        clump = rng.random(n) < (0.25 if spectral_type in ("G", "K") else 0.0)
        logg_g = np.where(clump & (teff_g > 4500), 2.45 + 0.08 * rng.standard_normal(n), logg_g)
        logg_g = np.clip(logg_g + 0.12 * rng.standard_normal(n), 0.1, 3.7)
        teff = np.where(giant, teff_g, teff)
        logg = np.where(giant, logg_g, logg)
        mass = np.where(giant, rng.uniform(0.85, 1.9, n), mass)
    if spectral_type == "M":
        feh = np.where(giant, np.maximum(feh, -1.0), feh)
        chemistry = (feh, *chemistry[1:])
    return teff, np.clip(logg, 0.1, 5.4), mass, chemistry


def draw(
    rng: np.random.Generator,
    counts: dict[str, int],
    *,
    binary_fraction: float = 0.0,
    emission_fraction: float = 0.0,
    ebv_scale: float = _SECTION.ebv_scale,
    uniform: bool = False,
) -> Stars:
    """Draw `counts[type]` stars of each type, in the order of `TYPE_ORDER`.

    uniform: spread hot stars evenly in log Teff and half of all stars in [Fe/H], as in a library.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    for spectral_type in TYPE_ORDER:
        n = counts.get(spectral_type, 0)
        if not n:
            continue
        teff, logg, mass, (feh, alpha_fe, c_fe, n_fe, population) = labels(
            rng, spectral_type, n, uniform
        )
        parts.append(
            (np.full(n, spectral_type), teff, logg, mass, feh, alpha_fe, c_fe, n_fe, population)
        )
    if not parts:
        parts.append(tuple(np.empty(0, dtype=t) for t in ("U2", *["f8"] * 7, "i8")))
    kind, teff, logg, mass, feh, alpha_fe, c_fe, n_fe, population = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return complete(
        rng, kind, teff, logg, mass, (feh, alpha_fe, c_fe, n_fe, population),
        binary_fraction=binary_fraction, emission_fraction=emission_fraction, ebv_scale=ebv_scale,
    )  # fmt: skip


def complete(
    rng: np.random.Generator,
    kind: np.ndarray,
    teff: np.ndarray,
    logg: np.ndarray,
    mass: np.ndarray,
    chemistry: tuple[np.ndarray, ...],
    *,
    binary_fraction: float,
    emission_fraction: float,
    ebv_scale: float,
    magnitude: tuple[float | np.ndarray, float, float, float] = (14.0, 1.5, 9.5, 17.5),
    distances: tuple[float | np.ndarray, float | np.ndarray] = (5.0, 60000.0),
    latitude: np.ndarray | None = None,
) -> Stars:
    """The rest of the properties of stars with known labels, all arrays (n,).

    kind: spectral type; chemistry: as `_chemistry` returns it; magnitude: mean, standard deviation
    and limits of Gaia G; distances: limits in pc, which have precedence over the magnitude;
    latitude: of the dust, degrees, random when None.
    """
    feh, alpha_fe, c_fe, n_fe, population = chemistry
    n = teff.size
    luminosity = mass * (teff / SOLAR_TEFF) ** 4 / 10 ** (logg - SOLAR_LOGG)
    radius = np.sqrt(luminosity) * (SOLAR_TEFF / teff) ** 2
    abs_mag_g = 4.74 - 2.5 * np.log10(luminosity) - bolometric_correction_g(teff)

    # The apparent magnitude that LAMOST observes decides the distance; dust grows along the way
    mean, deviation, brightest, faintest = magnitude
    g_mag = np.clip(rng.normal(mean, deviation, n), brightest, faintest)
    if latitude is None:
        latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, n))) * np.where(
            population == 0, 0.6, 1.0
        )
    ebv = np.zeros(n)
    noise = np.exp(0.5 * rng.standard_normal(n))
    distance = np.full(n, 1000.0)
    for _ in range(6):
        scale_height = 120.0 / np.maximum(np.abs(np.sin(np.radians(latitude))), 0.02)
        path = scale_height * (1 - np.exp(-distance / scale_height))
        ebv = np.clip(ebv_scale * path / 1000.0 * noise, 0, 1.5)
        distance = np.clip(10 ** ((g_mag - abs_mag_g - R_G * ebv + 5) / 5), *distances)
    g_mag = abs_mag_g + R_G * ebv + 5 * np.log10(distance) - 5

    ra = rng.uniform(0, 360, n)
    dec = np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(-9)), np.sin(np.radians(58)), n)))
    dispersion = np.array([28.0, 55.0, 130.0])[population] if n else np.empty(0)
    rv = np.where(population == 2, -20.0, 0.0) + dispersion * rng.standard_normal(n)
    # rotation: fast above the Kraft break
    typical = np.interp(
        teff, [5800, 6400, 7400, 9000, 20000, 36000], [3.0, 15.0, 80.0, 130.0, 130.0, 100.0]
    )
    vsini = np.clip(typical * np.abs(rng.normal(1.0, 0.45, n)), 1.0, 330.0)
    vsini = np.where(logg < 3.2, np.minimum(vsini, 60.0), vsini)

    # Companions: main-sequence stars of lower mass, bright enough to be in the spectrum
    secondary_teff, secondary_logg, secondary_radius, amplitude = (
        np.full(n, np.nan) for _ in range(4)
    )
    single_giant = (logg < 3.5) & (teff < 6000)
    is_binary = (rng.random(n) < binary_fraction) & ~single_giant
    ratio = rng.uniform(0.5, 1.0, n)
    order = np.argsort(_SEQUENCE[:, 2])
    teff_2 = np.interp(ratio * mass, _SEQUENCE[order, 2], _SEQUENCE[order, 0])
    teff_2 = np.clip(np.minimum(teff_2, teff), 2900, 40000)
    logg_2, _, luminosity_2 = main_sequence(teff_2)
    radius_2 = np.sqrt(luminosity_2) * (SOLAR_TEFF / teff_2) ** 2
    secondary_teff[is_binary] = teff_2[is_binary]
    secondary_logg[is_binary] = np.clip(logg_2, 3.5, 5.3)[is_binary]
    secondary_radius[is_binary] = radius_2[is_binary]
    draw_amplitude = np.minimum(np.exp(rng.normal(np.log(25.0), 1.0, n)), 200.0)
    amplitude[is_binary] = draw_amplitude[is_binary]

    emission = np.full(n, "", dtype="U8")
    has = rng.random(n) < emission_fraction
    kind_of = np.where(teff > 9000, "Be", np.where((teff < 4200) & (logg > 4), "dMe", "nebula"))
    emission[has] = kind_of[has]
    return Stars(
        kind, teff, logg, feh, alpha_fe, c_fe, n_fe, mass, luminosity,
        radius, vsini, rv, ra, dec, distance, ebv,
        abs_mag_g, g_mag, secondary_teff, secondary_logg, secondary_radius, amplitude, emission,
        np.zeros(n), np.zeros(n), np.full(n, "field", dtype="U8"), np.full(n, "", dtype="U16"),
    )  # fmt: skip


# Subclass boundaries for dwarfs: hottest first, (lower Teff, subclass)
_SUBCLASSES = [
    (34000, "O8"), (31500, "O9"), (27000, "B0"), (23000, "B1"), (19500, "B2"), (17200, "B3"), (15500, "B5"),
    (14200, "B6"), (12800, "B7"), (11700, "B8"), (10200, "B9"), (9500, "A0"), (9150, "A1"), (8800, "A2"),
    (8500, "A3"), (8150, "A5"), (7900, "A6"), (7650, "A7"), (7400, "A9"), (7050, "F0"), (6800, "F2"), (6650, "F3"),
    (6400, "F5"), (6280, "F6"), (6150, "F7"), (6000, "F9"), (5880, "G0"), (5770, "G2"), (5690, "G3"), (5560, "G5"),
    (5430, "G7"), (5300, "G8"), (5150, "G9"), (5020, "K0"), (4880, "K1"), (4630, "K3"), (4420, "K4"), (4150, "K5"),
    (3950, "K7"), (3780, "M0"), (3630, "M1"), (3490, "M2"), (3330, "M3"), (3190, "M4"), (3050, "M5"), (0, "M6"),
]  # fmt: skip


def subclass(rng: np.random.Generator, teff: np.ndarray, logg: np.ndarray) -> np.ndarray:
    """SUBCLASS as the LAMOST pipeline writes it, with its scatter: G5, K3, A2V, dM3, gM0, B6, O9.

    The classifier has an error of about 1.5 % in Teff. A stars carry a luminosity class half of the
    time, M stars a prefix d or g. Returns strings (n,).
    """
    seen = teff * (1 + 0.012 * rng.standard_normal(teff.size))
    edges = np.array([edge for edge, _ in _SUBCLASSES[:-1]], dtype=float)
    names = np.array([name for _, name in _SUBCLASSES])
    label = names[np.searchsorted(-edges, -seen)].astype("U8")
    with_class = rng.random(teff.size) < 0.5
    for i in range(teff.size):
        if label[i][0] == "A" and with_class[i]:
            label[i] += "V" if logg[i] > 3.8 else "IV" if logg[i] > 3.3 else "III"
        elif label[i][0] == "M":
            label[i] = ("gM" if logg[i] < 3.5 else "dM") + label[i][1]
    return label
