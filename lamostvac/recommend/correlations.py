"""How the errors of two sources of a label are correlated, from repeat observations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lamostvac.recommend.settings import Settings

MAX_CORRELATION = 0.95  # nearer to 1, weights would depend on the last digits of the errors


@dataclass(frozen=True)
class Correlation:
    """How the errors of two sources are correlated.

    Attributes
    ----------
    rho : correlation of their random errors
    shares : random part of each source's quoted error, as repeats of a star show it
    n : number of pairs of repeats used
    systematic : correlation of the parts that are the same in every spectrum of a star
    """

    rho: float
    shares: tuple[float, float]
    n: int = 0
    systematic: float = 0.0

    @property
    def total(self) -> float:
        """Correlation of the quoted errors."""
        first, second = self.shares
        fixed = np.sqrt(max(1.0 - first**2, 0.0) * max(1.0 - second**2, 0.0))
        return float(self.rho * first * second + self.systematic * fixed)


def fit_correlation(
    a: NDArray[np.float64], b: NDArray[np.float64], known: float = 0.0, weight: int = 30
) -> Correlation:
    """Correlation of two sources' random errors from repeats.

    Parameters
    ----------
    a, b : (n,) differences of a star's two spectra over sqrt(e1^2 + e2^2) of the quoted errors, by
        either source

    Returns
    -------
    Correlation : from robust widths of a, b and of the sum and difference of a and b each in units
        of its width (Gnanadesikan & Kettenring 1972), combined with the correlation `known` and
        shares of 1 as if these had been measured in `weight` pairs
    """
    n = len(a)
    widths = [1.4826 * float(np.median(np.abs(values))) if n else 0.0 for values in (a, b)]
    if min(widths) <= 0:
        return Correlation(known, (1.0, 1.0), 0)
    plus, minus = (
        float(np.median(np.abs(a / widths[0] + sign * b / widths[1]))) ** 2 for sign in (1, -1)
    )
    rho = (n * (plus - minus) / (plus + minus) + weight * known) / (n + weight)
    first, second = (min(1.0, (n * width + weight) / (n + weight)) for width in widths)
    return Correlation(float(np.clip(rho, -MAX_CORRELATION, MAX_CORRELATION)), (first, second), n)


def correlation_from_repeats(
    a: str,
    b: str,
    values: Mapping[str, NDArray[np.float64]],
    errors: Mapping[str, NDArray[np.float64]],
    core: Mapping[str, NDArray[np.bool_]],
    pairs: tuple[NDArray[np.integer], NDArray[np.integer]] | None,
    settings: Settings,
) -> Correlation:
    fixed = settings.systematic_correlation
    if pairs is None:
        return Correlation(settings.correlation, (1.0, 1.0), 0, fixed)
    first, second = (np.asarray(part, np.int64) for part in pairs)
    good = core[a] & core[b]
    used = good[first] & good[second]
    first, second = first[used], second[used]
    da, db = (
        (values[s][first] - values[s][second]) / np.hypot(errors[s][first], errors[s][second])
        for s in (a, b)
    )
    return replace(
        fit_correlation(da, db, settings.correlation, settings.min_pairs), systematic=fixed
    )


def between(correlations: Mapping[tuple[str, str], Correlation], a: str, b: str) -> Correlation:
    return correlations[(a, b)] if (a, b) in correlations else correlations[(b, a)]
