"""Other surveys' measurements of a simulated star: positions at their epochs, names by position,
magnitudes with errors.
"""

import numpy as np

from lamostvac.simulate.population import Stars

# Mean epochs; LAMOST's input catalogue, PASTEL (VizieR) and 2MASS are close to 2000
EPOCH = {"gaia": 2016.0, "wise": 2010.6, "sdss": 2004.0, "twomass": 2000.0}


def source_id(star: int | np.ndarray) -> int | np.ndarray:
    """Gaia's source_id of a star by its number."""
    return 1_000_000_000_000_000_000 + 4_567_891 * star


def positions(stars: Stars, epoch: float) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination (n,) in degrees at an epoch; `stars` has them at 2000."""
    years = epoch - 2000.0
    dec = stars.dec + stars.pmdec * years / 3.6e6
    ra = (stars.ra + stars.pmra * years / 3.6e6 / np.cos(np.radians(stars.dec))) % 360
    return ra, dec


def blurred(
    rng: np.random.Generator, stars: Stars, epoch: float, arcsec: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions at an epoch with an error per axis."""
    ra, dec = positions(stars, epoch)
    error = arcsec / 3600 * rng.standard_normal((2, ra.size))
    return (ra + error[0] / np.cos(np.radians(dec))) % 360, dec + error[1]


def designation_of(ra: float, dec: float, decimals: int, dots: bool) -> str:
    """hhmmss.ss+ddmmss.s, truncated; `decimals` in right ascension, one less in declination."""
    hours = int(ra / 15 * 3600 * 10**decimals) % (24 * 3600 * 10**decimals)
    arcsec = int(abs(dec) * 3600 * 10 ** (decimals - 1))
    parts = []
    for value, places in ((hours, decimals), (arcsec, decimals - 1)):
        unit = 10**places
        first, second, third = (
            value // (3600 * unit),
            value // (60 * unit) % 60,
            value // unit % 60,
        )
        point = "." if dots and places else ""
        parts.append(f"{first:02d}{second:02d}{third:02d}{point}{value % unit:0{places}d}")
    return parts[0] + ("-" if dec < 0 else "+") + parts[1]


def magnitude_errors(
    rng: np.random.Generator,
    magnitude: np.ndarray,
    floor: float,
    faint: float,
    scatter: float = 0.15,
) -> np.ndarray:
    """Errors of magnitudes (n,): a floor, and sky noise, which is 0.1 mag at magnitude `faint`."""
    noise = 0.1 * 10 ** (0.4 * (magnitude - faint))
    return np.hypot(floor * np.exp(scatter * rng.standard_normal(magnitude.size)), noise)


def with_noise(
    rng: np.random.Generator, magnitude: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return magnitude + error * rng.standard_normal(magnitude.size), error


def spoiled(
    rng: np.random.Generator, stars: Stars, fault: str, error: np.ndarray, limit: float
) -> np.ndarray:
    """Raise the errors of the stars with a fault above the limit of its cut."""
    return np.where(stars.fault == fault, limit * rng.uniform(1.2, 2.5, error.size), error)
