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
from scipy.optimize import least_squares

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
    unbroken, start = _fit(x, level, error, x[0], None)
    logs = np.log(x)
    # Between the bins that leave enough of them on either side.
    trials = np.exp(
        np.linspace(logs[_SIDE - 1 : _SIDE + 1].mean(), logs[-_SIDE - 1 :][:2].mean(), _THRESHOLDS)
    )
    misfit = np.empty(len(trials))
    for number, trial in enumerate(trials):
        misfit[number], start = _fit(x, level, error, trial, start)
    # In both directions: each fit begins with its neighbour's result, which may give a better one.
    for number in range(len(trials) - 1, -1, -1):
        again, start = _fit(x, level, error, trials[number], start)
        misfit[number] = min(misfit[number], again)
    best = int(np.argmin(misfit))
    constant = min(_fit_level(logs - np.log(trial), level, error) for trial in trials)
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


def _model(p: Array, x: Array, t: float) -> Array:
    """ln chi2 (k,); p is ln chi2 at t, ln of the ratio of its noise part to the rest, g, k."""
    top, odds, g, k = p
    above = np.log(x / t)
    share = 1 / (1 + np.exp(-odds))
    upper = np.log(1 - share + share * np.exp(-g * np.maximum(above, 0)))
    return top + upper + k * np.minimum(above, 0)


def _fit_level(above: Array, level: Array, error: Array) -> float:
    """Best misfit without a relation: chi2 constant above the threshold, constant or rising
    below.
    """
    design = np.column_stack([np.ones_like(above), np.minimum(above, 0)]) / error[:, None]
    numbers, squares = np.linalg.lstsq(design, level / error, rcond=None)[:2]
    if numbers[1] >= 0 and len(squares):
        return float(squares[0])
    return float(np.sum(((level - np.average(level, weights=error**-2)) / error) ** 2))


def _misfit(p: Array, x: Array, t: float, level: Array, error: Array) -> Array:
    return (_model(p, x, t) - level) / error


def _fit(
    x: Array, level: Array, error: Array, t: float, start: Array | None
) -> tuple[float, Array]:
    """Best misfit (sum of squares) with the threshold at t, and the numbers that give it."""
    low = np.array([-np.inf, -12.0, _EXPONENTS[0], 0.0])
    high = np.array([np.inf, 12.0, _EXPONENTS[1], 4.0])
    if start is None:
        start = np.array([level[:2].mean(), 2.0, 1.5, 0.1])
    first = np.clip(start, low + 1e-6, high - 1e-6)
    fitted = least_squares(
        _misfit,
        first,
        args=(x, t, level, error),
        bounds=(low, high),
        x_scale=np.array([1, 1, 1, 0.5]),
    )
    return float(2 * fitted.cost), fitted.x


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
