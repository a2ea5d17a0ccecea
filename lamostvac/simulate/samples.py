"""The stars in common between LAMOST and the surveys on which networks are trained.

Real training sets are not random samples of the survey: PASTEL's stars are bright and many are
metal-poor, APOGEE's are cool and well exposed, and Wang et al. (2022) took stars within 2 kpc and
outside the dust for absolute magnitudes. Part of each sample is made to fail a published cut
(their section 3), so that every cut has stars to remove.
"""

import numpy as np

from lamostvac.simulate import population
from lamostvac.simulate.population import Stars

SAMPLES = ("pastel", "apogee", "lgmwas")

# Sample: cut that a star can be made to fail -> its fault
FAULTS: dict[str, dict[str, str]] = {
    "pastel": {
        "lamost_snr": "S/N of the LAMOST spectrum below 20",
        "teff_only": "no reference gives log g or [Fe/H]",
    },
    "apogee": {
        "lamost_snr": "S/N of the LAMOST spectrum below 80",
        "apogee_snr": "SNR below 70",
        "star_warn": "ASPCAPFLAG has bit 7",
        "star_bad": "ASPCAPFLAG has bit 23",
        "teff_err": "TEFF_ERR above 150 K",
        "logg_err": "LOGG_ERR above 0.15",
        "fe_h_err": "FE_H_ERR above 0.1",
        "alpha_m_err": "ALPHA_M_ERR above 0.03",
        "c_fe_err": "C_FE_ERR above 0.2",
        "n_fe_err": "N_FE_ERR above 0.2",
        "c_fe_label": "C_FE_ERR between 0.05 and 0.2: no [C/Fe] label",
        "n_fe_label": "N_FE_ERR between 0.08 and 0.2: no [N/Fe] label",
        "missing": "parameters are -9999",
    },
    "lgmwas": {
        "lamost_snr": "S/N of the LAMOST spectrum below 100",
        "distance": "farther than 2 kpc",
        "distance_err": "relative error of the distance above 15 %",
        "latitude": "Galactic latitude below 30 degrees",
        "ebv": "E(B-V) above 0.02",
        "no_ebv": "not in the table of extinctions",
        "galaxy": "SDSS type 3",
        "err_g_gaia": "error of G above 0.01",
        "err_bp": "error of BP above 0.01",
        "err_rp": "error of RP above 0.01",
        "err_j": "error of J above 0.03",
        "err_h": "error of H above 0.03",
        "err_ks": "error of Ks above 0.03",
        "err_w1": "error of W1 above 0.035",
        "err_w2": "error of W2 above 0.035",
        "err_b_apass": "error of APASS B above 0.035",
        "err_v_apass": "error of APASS V above 0.035",
        "err_r_apass": "error of APASS r above 0.035",
        "err_g_sdss": "error of SDSS g above 0.01",
        "err_r_sdss": "error of SDSS r above 0.01",
        "err_i_sdss": "error of SDSS i above 0.01",
        "no_bp": "no BP and RP magnitudes in Gaia",
        "no_ks": "no error of Ks, ph_qual U",
        "no_wise": "no source in AllWISE",
        "no_b_apass": "no B in APASS",
        "no_sdss": "no source in SDSS",
    },
}

Labels = tuple[
    np.ndarray, ...
]  # spectral type, Teff, log g, mass, [Fe/H], [alpha/Fe], [C/Fe], [N/Fe], population

_SHARES = {
    "pastel": {"A": 0.09, "F": 0.28, "G": 0.33, "K": 0.22, "M": 0.08},
    "apogee": {"F": 0.12, "G": 0.33, "K": 0.46, "M": 0.09},
    "lgmwas": {"A": 0.07, "F": 0.25, "G": 0.29, "K": 0.28, "M": 0.11},
}
_TEFF = {"pastel": (3500.0, 10000.0), "apogee": (3800.0, 6500.0), "lgmwas": (2900.0, 10200.0)}
_FEH = {"pastel": -1.0, "apogee": -2.3, "lgmwas": -2.6}


def draw(
    rng: np.random.Generator,
    sample: str,
    n: int,
    *,
    binary_fraction: float,
    ebv_scale: float,
    snr_max: float,
) -> tuple[Stars, np.ndarray]:
    """n stars of a sample and the S/N of their LAMOST spectra (n,)."""
    if sample == "pastel":
        n_poor = int(np.ceil(0.28 * n))
        parts = [_ordinary(rng, sample, n - n_poor), _metal_poor(rng, n_poor)]
        columns = tuple(np.concatenate(pair) for pair in zip(*parts, strict=True))
    else:
        columns = _ordinary(rng, sample, n)
    order = rng.permutation(n)
    kind, teff, logg, mass, *chemistry = (column[order] for column in columns)
    fault = _faults(sample, n)
    magnitude: tuple[np.ndarray | float, float, float, float] = (12.5, 1.2, 8.0, 15.0)
    nearest, farthest = np.full(n, 5.0), np.full(n, 60000.0)
    latitude = None
    if sample == "pastel":
        magnitude = (np.where(chemistry[0] < -1, 11.5, 9.5), 1.3, 6.5, 14.0)
    elif sample == "lgmwas":
        magnitude = (13.0, 1.0, 8.0, 15.0)
        # only giants can be both bright and far
        fault = _move_to(fault, "distance", logg < 3.0)
        farthest[fault != "distance"] = 1900.0
        nearest[fault == "distance"], farthest[fault == "distance"] = 2300.0, 5000.0
        latitude = np.degrees(np.arcsin(rng.uniform(0.55, 1.0, n)))
        ebv_scale = 0.4 * ebv_scale
    stars = population.complete(
        rng, kind, teff, logg, mass, tuple(chemistry),
        binary_fraction=binary_fraction, emission_fraction=0.0, ebv_scale=ebv_scale,
        magnitude=magnitude, distances=(nearest, farthest), latitude=latitude,
    )  # fmt: skip
    stars.sample[:], stars.fault[:] = sample, fault
    dusty = fault == "ebv"
    ebv = np.where(dusty, rng.uniform(0.05, 0.15, n), stars.ebv)
    stars.g_mag += population.R_G * (ebv - stars.ebv)
    stars.ebv = ebv
    return stars, np.minimum(_snr(rng, sample, fault), snr_max)


def _ordinary(rng: np.random.Generator, sample: str, n: int) -> Labels:
    """Labels of n stars of the Galactic mixture inside the sample's limits."""
    low, high = _TEFF[sample]
    parts = []
    for spectral_type, share in _SHARES[sample].items():
        count = int(np.ceil(3.0 * share * n)) + 2
        teff, logg, mass, chemistry = population.labels(rng, spectral_type, count, False)
        parts.append((np.full(count, spectral_type), teff, logg, mass, *chemistry))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    teff, logg, feh = columns[1], columns[2], columns[4]
    fits = np.flatnonzero((teff > low) & (teff < high) & (feh > _FEH[sample]) & (logg < 5.2))
    if sample == "lgmwas":
        # M dwarfs would have to be within some parsecs to be bright enough
        fits = fits[(teff[fits] > 3700) | (logg[fits] < 3.5)]
    if sample == "apogee":
        # a survey of giants
        weight = np.where(logg[fits] < 3.6, 2.0, 1.0)
        chosen = rng.choice(fits, min(n, fits.size), replace=False, p=weight / weight.sum())
    else:
        chosen = rng.permutation(fits)[:n]
    if chosen.size < n:
        chosen = np.concatenate([chosen, rng.choice(fits, n - chosen.size)])
    return tuple(column[chosen] for column in columns)


def _metal_poor(rng: np.random.Generator, n: int) -> Labels:
    """Labels of n halo stars with [Fe/H] -1 to -3.8: half giants, half turn-off stars,
    subgiants.
    """
    # one star in each n-th of the distribution, so that small samples have the tail too
    feh = -1.0 - 2.8 * rng.permutation((np.arange(n) + rng.random(n)) / max(n, 1)) ** 1.3
    giant = rng.random(n) < 0.5
    teff = np.where(giant, rng.uniform(4500, 5350, n), rng.uniform(5300, 6500, n))
    logg, mass, _ = population.main_sequence(teff)
    logg = logg - 0.06 * feh - rng.uniform(0, 0.3, n)
    logg = np.where(rng.random(n) < 0.3, rng.uniform(3.4, 3.9, n), logg)
    # the red giant branch of `population.labels`
    branch = np.interp(
        teff + 300 * np.maximum(feh, -2.5), [2900, 3300, 3950, 5400], [-0.1, 0.25, 1.10, 4.15]
    )
    logg = np.where(giant, branch + 0.12 * rng.standard_normal(n), logg)
    halo = np.full(n, 2)
    chemistry = (feh, *population.abundances(rng, feh, halo, giant), halo)
    edges = np.array([5150.0, 6000.0])
    kind = np.array(["K", "G", "F"])[np.searchsorted(edges, teff, side="right")]
    return (kind, teff, np.clip(logg, 0.3, 5.0), np.where(giant, 0.8, 0.8 * mass), *chemistry)


def _faults(sample: str, n: int) -> np.ndarray:
    """Every fourth star fails a cut, the cuts in turn; more often when the sample is small."""
    names = list(FAULTS[sample])
    step = 12 if sample == "pastel" else int(np.clip(n // len(names), 2, 4))
    fault = np.full(n, "", dtype="U16")
    where = np.arange(1, n, step)
    fault[where] = [names[k % len(names)] for k in range(where.size)]
    return fault


def _move_to(fault: np.ndarray, name: str, able: np.ndarray) -> np.ndarray:
    """Swap faults so that `name` is given to stars that can have it, as far as possible."""
    fault = fault.copy()
    free = [int(i) for i in np.flatnonzero(able & (fault != name))]
    for i in np.flatnonzero((fault == name) & ~able):
        if free:
            j = free.pop(0)
            fault[i], fault[j] = fault[j], fault[i]
    return fault


def _snr(rng: np.random.Generator, sample: str, fault: np.ndarray) -> np.ndarray:
    """S/N wanted in the g band (n,)."""
    n = fault.size
    median, dex = {"pastel": (95.0, 0.15), "apogee": (140.0, 0.10), "lgmwas": (150.0, 0.07)}[sample]
    snr = median * 10 ** (dex * rng.standard_normal(n))
    if sample == "pastel":
        # the test part of Wang et al.
        snr = np.where(rng.random(n) < 0.25, rng.uniform(21, 49, n), np.maximum(snr, 52))
        low = (8.0, 18.0)
    else:
        snr = np.maximum(snr, 85.0 if sample == "apogee" else 106.0)
        low = (30.0, 75.0) if sample == "apogee" else (40.0, 92.0)
    return np.where(fault == "lamost_snr", rng.uniform(*low, n), snr)


def proper_motions(rng: np.random.Generator, stars: Stars) -> tuple[np.ndarray, np.ndarray]:
    """pmra (with cos dec), pmdec (n,) in mas/yr; one star in sixty moves 0.3 to 2 arcsec a year."""
    n = stars.teff.size
    dispersion = np.interp(stars.feh, [-1.6, -0.9, -0.5, 0.0], [130.0, 70.0, 45.0, 28.0])
    scale = 1000.0 / 4.74 / stars.distance
    pmra, pmdec = dispersion * scale * rng.standard_normal((2, n))
    # the nearest stars would be faster than Barnard's star
    slower = np.minimum(1.0, 2000.0 / np.maximum(np.hypot(pmra, pmdec), 1e-9))
    pmra, pmdec = slower * pmra, slower * pmdec
    fast = rng.random(n) < 1 / 60
    # each sample has one for any numbers of stars
    for sample in np.unique(stars.sample):
        near = np.flatnonzero((stars.sample == sample) & (stars.fault == ""))
        if near.size:
            fast[near[np.argmin(stars.distance[near])]] = True
    total = rng.uniform(300, 2000, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.where(fast, total * np.sin(angle), pmra), np.where(fast, total * np.cos(angle), pmdec)
