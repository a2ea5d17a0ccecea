"""The S/N below which chi2 does not measure noise (Liang et al. 2024, section 4.4 and Figure 11).

chi2 is their equation 2, a sum of squared differences of normalised flux that is not divided by
errors: it falls with S/N as the noise does, down to the emulator's own error. The paper reads from
a figure the S/N below which that relation no longer holds. Here this threshold is fitted. With
x = S/N, the median chi2 is

    F + B x^-g                      above the threshold t
    (F + B t^-g) (x / t)^k          below it, with k >= 0: chi2 is level, or falls with the noise

so that t is a property of the relation. With a test for correlation in a window of S/N instead, t
would fall with the number of stars, and the level part at high S/N, where F dominates, would be
taken for unreliable spectra.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

Array = NDArray[np.float64]

_PER_BIN = 12
_MOST_BINS = 60
_FEWEST_STARS = 240
_FEWEST_BINS = 10  # for five numbers
# Median of n Gaussian values: 1.2533 sigma / sqrt n.
_MEDIAN_ERROR = 1.2533
# Thresholds are tried between bins, with at least this many bins on either side.
_SIDE = 2
_THRESHOLDS = 80
# Least improvement of chi2 by a relation over none, and by a threshold over none: with three and
# two more parameters, each has a probability of 1e-3 by chance.
_RELATION = 16.3
_END = 13.8
_EXPONENTS = (0.1, 4.0)
_LARGEST_SLOPE = 4.0  # of chi2 below the threshold
_LARGEST_ODDS = 12.0  # logarithm
_STEPS = 100  # at most, of the search for the numbers at a threshold


@dataclass(frozen=True)
class SnrThreshold:
    """The S/N at which the relation of chi2 and S/N ends.

    Attributes
    ----------
    found : whether it ends within the data
    value : S/N; NaN when not found
    low, high : S/N between which the threshold lies with 68 % confidence; when chi2 follows S/N
        through all data, high is the lowest S/N of the data and low is 0
    n : stars used
    reason : empty when found, else `few stars`, `no relation` or `no end`
    """

    found: bool
    value: float
    low: float
    high: float
    n: int
    reason: str = ""


def snr_by_chi2(snr: ArrayLike, chi2: ArrayLike, n_bins: int = 30) -> tuple[Array, Array]:
    """The green curve of Figure 11: mean S/N in bins of chi2 with equal numbers of stars.

    Parameters
    ----------
    snr, chi2 : (n,); stars with either missing or not positive are left out

    Returns
    -------
    chi2, snr : (k,) median chi2 and mean S/N of each bin; k is less than `n_bins` for fewer stars
        than bins
    """
    noise, level = _usable(snr, chi2)
    order = np.lexsort((noise, level))
    parts = [part for part in np.array_split(order, n_bins) if len(part)]
    return (
        np.array([np.median(level[part]) for part in parts]),
        np.array([noise[part].mean() for part in parts]),
    )


def _usable(snr: ArrayLike, chi2: ArrayLike) -> tuple[Array, Array]:
    noise, level = np.asarray(snr, np.float64), np.asarray(chi2, np.float64)
    with np.errstate(invalid="ignore"):
        use = (noise > 0) & (level > 0) & np.isfinite(noise) & np.isfinite(level)
    return noise[use], level[use]


def chi2_by_snr(snr: ArrayLike, chi2: ArrayLike) -> tuple[Array, Array, Array]:
    """What the threshold is fitted to: median ln chi2 in bins of S/N.

    Parameters
    ----------
    snr, chi2 : (n,); stars with either missing or not positive are left out

    Returns
    -------
    snr : (k,) geometric mean. Bins are equally wide in ln S/N, sixty from the lowest to the
        highest; a bin with fewer than twelve stars is joined with the next
    level, error : (k,) median ln chi2 and its standard error
    """
    noise, level = _usable(snr, chi2)
    order = np.lexsort((level, noise))
    centres, medians, widths, numbers = [], [], [], []
    for part in _split(np.log(noise[order]), order):
        values = np.log(level[part])
        median = np.median(values)
        centres.append(np.exp(np.log(noise[part]).mean()))
        medians.append(median)
        widths.append(1.4826 * np.median(np.abs(values - median)))
        numbers.append(len(part))
    # The width of a dozen values is too uncertain for a weight; the median of neighbours is used.
    smooth = (
        median_filter(np.array(widths, np.float64), 7, mode="nearest") if widths else np.empty(0)
    )
    error = _MEDIAN_ERROR * smooth / np.sqrt(np.array(numbers, np.float64))
    return np.array(centres), np.array(medians), np.maximum(error, 1e-6)


def _split(log_snr: Array, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Bins of stars; `log_snr` (n,) is sorted, `order` (n,) the stars in that order."""
    if len(order) < _PER_BIN:
        return []
    edges = np.linspace(log_snr[0], log_snr[-1], _MOST_BINS + 1)[1:-1]
    ends = [*np.searchsorted(log_snr, edges).tolist(), len(order)]
    cuts = [0]
    for end in ends:
        if end - cuts[-1] >= _PER_BIN:
            cuts.append(end)
    # The remaining stars at the highest S/N join the last bin.
    cuts[-1] = len(order)
    return [order[start:stop] for start, stop in itertools.pairwise(cuts)]


def find_threshold(snr: ArrayLike, chi2: ArrayLike) -> SnrThreshold:
    """The S/N threshold of one spectral type from its stars' chi2.

    The thresholds tried are spaced evenly in ln S/N; for each the other numbers are fitted. Bins
    scatter by more than their errors where stars of a type differ, so misfits are in units of the
    best fit's, if that is above 1.

    Parameters
    ----------
    snr : (n,) in the band of flag_snr
    chi2 : (n,) of the fit

    Returns
    -------
    SnrThreshold; not found with fewer than 240 stars or ten bins, when chi2 does not fall with S/N
    anywhere, or when it does so down to the lowest S/N of the data
    """
    x, level, error = chi2_by_snr(snr, chi2)
    n = len(_usable(snr, chi2)[0])
    if n < _FEWEST_STARS or len(x) < _FEWEST_BINS:
        return SnrThreshold(False, np.nan, np.nan, np.nan, n, "few stars")
    logs = np.log(x)
    unbroken = float(_misfits(logs, level, error, logs[:1])[0])
    # Between the bins that leave enough of them on either side.
    trials = np.exp(
        np.linspace(logs[_SIDE - 1 : _SIDE + 1].mean(), logs[-_SIDE - 1 :][:2].mean(), _THRESHOLDS)
    )
    misfit = _misfits(logs, level, error, np.log(trials))
    best = int(np.argmin(misfit))
    # Without a relation: chi2 constant above the threshold, constant or rising below.
    under = np.minimum(logs - np.log(trials)[:, None], 0)
    constant = float(_line(under, level, error)[2].min())
    unit = max(1.0, misfit[best] / max(len(x) - 5, 1))
    if (constant - min(misfit[best], unbroken)) / unit < _RELATION:
        return SnrThreshold(False, np.nan, np.nan, np.nan, n, "no relation")
    # The first threshold tried has no data below it, the last one none above.
    if best == len(trials) - 1:
        return SnrThreshold(False, np.nan, np.nan, np.nan, n, "no relation")
    if best == 0 or (unbroken - misfit[best]) / unit < _END:
        return SnrThreshold(False, np.nan, 0.0, float(np.min(_usable(snr, chi2)[0])), n, "no end")
    rise = (misfit - misfit[best]) / unit
    value, low, high = _interval(np.log(trials), rise, best)
    # Within a bin the threshold could be anywhere.
    inside = float(np.interp(value, 0.5 * (logs[1:] + logs[:-1]), np.diff(logs))) / np.sqrt(12)
    low, high = value - np.hypot(value - low, inside), value + np.hypot(high - value, inside)
    return SnrThreshold(True, float(np.exp(value)), float(np.exp(low)), float(np.exp(high)), n)


def _interval(x: Array, rise: Array, best: int) -> tuple[float, float, float]:
    """Minimum of a sampled curve and where it has risen by 1 on either side, or the ends of x."""
    value = float(x[best])
    if 0 < best < len(x) - 1:
        left, right = rise[best - 1], rise[best + 1]
        if left + right > 0:
            value += 0.5 * (x[1] - x[0]) * (left - right) / (left + right)
    ends = []
    for side in (range(best, -1, -1), range(best, len(x))):
        end = float(x[side[-1]])
        for inner, outer in itertools.pairwise(side):
            if rise[outer] >= 1:
                share = (1 - rise[inner]) / (rise[outer] - rise[inner])
                end = float(x[inner] + share * (x[outer] - x[inner]))
                break
        ends.append(end)
    return value, min(ends[0], value), max(ends[1], value)


def _model(p: Array, above: Array) -> tuple[Array, Array]:
    """ln chi2 (m, k) and its derivatives (m, k, 4) at ln S/N `above` (m, k) thresholds.

    p (m, 4) is ln chi2 at the threshold, ln of the ratio of its noise part to the rest, g, k.
    """
    top, odds, g, k = p.T[:, :, None]
    over, under = np.maximum(above, 0), np.minimum(above, 0)
    share = 1 / (1 + np.exp(-odds))
    fall = np.exp(-g * over)
    rest = 1 - share + share * fall
    by_odds = share * (1 - share) * (fall - 1) / rest
    by_g = -over * share * fall / rest
    slopes = np.stack([np.ones_like(over), by_odds, by_g, under], axis=-1)
    return top + np.log(rest) + k * under, slopes


def _line(
    under: Array, target: Array, error: Array, largest: float = np.inf
) -> tuple[Array, Array, Array]:
    """The best top + k under, k from 0 to `largest`: top, k and the misfit (m,).

    `under` is (m, n), `target` (n,) or (m, n), `error` (n,).
    """
    weight = error**-2
    mean, base = under @ weight / weight.sum(), target @ weight / weight.sum()
    apart = under - mean[:, None]
    spread = (apart * apart) @ weight
    k = (apart * (target - np.asarray(base)[..., None])) @ weight
    k = np.clip(np.divide(k, spread, where=spread > 0, out=np.zeros_like(k)), 0, largest)
    top = base - k * mean
    misfit = ((target - top[:, None] - k[:, None] * under) ** 2) @ weight
    return top, k, misfit


def _misfits(logs: Array, level: Array, error: Array, thresholds: Array) -> Array:
    """Best misfit (sum of squares) with the threshold at each of `thresholds` (m,), ln S/N.

    Levenberg-Marquardt for all of them together, each from the best of a grid of the two numbers
    that do not enter linearly.
    """
    above = logs - thresholds[:, None]
    low = np.array([-np.inf, -_LARGEST_ODDS, _EXPONENTS[0], 0.0])
    high = np.array([np.inf, _LARGEST_ODDS, _EXPONENTS[1], _LARGEST_SLOPE])
    p = _best_of_grid(above, level, error)
    model, slopes = _model(p, above)
    residual = (level - model) / error
    misfit = np.einsum("mk,mk->m", residual, residual)
    damping = np.full(len(p), 1e-3)
    for _ in range(_STEPS):
        weighted = slopes / error[:, None]
        gradient = np.einsum("mki,mk->mi", weighted, residual)
        # A number at its bound stays there while the misfit falls beyond it.
        free = ~(((p <= low) & (gradient < 0)) | ((p >= high) & (gradient > 0)))
        matrix = np.einsum("mki,mkj->mij", weighted, weighted)
        matrix *= free[:, :, None] & free[:, None, :]
        diagonal = np.einsum("mii->mi", matrix)
        diagonal += damping[:, None] * diagonal + np.where(free, 1e-12, 1.0)
        step = np.linalg.solve(matrix, (gradient * free)[..., None])[..., 0]
        trial = np.clip(p + step, low, high)
        model, slopes_there = _model(trial, above)
        there = (level - model) / error
        squares = np.einsum("mk,mk->m", there, there)
        better = squares <= misfit
        settled = misfit - squares < 1e-6
        p, slopes = (
            np.where(better[:, None], trial, p),
            np.where(better[:, None, None], slopes_there, slopes),
        )
        residual = np.where(better[:, None], there, residual)
        misfit = np.where(better, squares, misfit)
        damping = np.where(better, damping / 5, damping * 5)
        if (settled & (better | (damping > 1e8))).all():
            break
    return misfit


def _best_of_grid(above: Array, level: Array, error: Array) -> Array:
    """Numbers (m, 4) to begin with at each of m thresholds."""
    best = np.full(len(above), np.inf)
    p = np.empty((len(above), 4))
    over, under = np.maximum(above, 0), np.minimum(above, 0)
    for odds in np.linspace(-6, 8, 8):
        share = 1 / (1 + np.exp(-odds))
        for g in np.geomspace(0.3, 4, 6):
            target = level - np.log(1 - share + share * np.exp(-g * over))
            top, k, misfit = _line(under, target, error, _LARGEST_SLOPE)
            here = misfit < best
            best = np.where(here, misfit, best)
            numbers = [top, np.full_like(top, odds), np.full_like(top, g), k]
            p[here] = np.stack(numbers, axis=-1)[here]
    return p


def threshold_in_use(configured: tuple[float, float], found: float) -> tuple[float, float]:
    """S/N thresholds of dwarfs and giants: the one found for the type, or the configured ones.

    Parameters
    ----------
    configured : thresholds of the configuration (`SnrFlagThresholds.of`)
    found : `SnrThreshold.value`; NaN where none was found or none is wanted
    """
    return (found, found) if np.isfinite(found) else configured


def thresholds_table(found: dict[str, SnrThreshold]) -> list[dict[str, object]]:
    """Rows `type found value low high n reason`, one per type."""
    return [
        {
            "type": name,
            "found": threshold.found,
            "value": threshold.value,
            "low": threshold.low,
            "high": threshold.high,
            "n": threshold.n,
            "reason": threshold.reason,
        }
        for name, threshold in found.items()
    ]
