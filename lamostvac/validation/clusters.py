"""Members of a cluster have one composition, so that their scatter is error (Wang+ 2022 4.4.3 and
4.5.2, Liang+ 2024 4.6.4).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from astropy.stats import sigma_clip
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from lamostvac.core.vocabulary import GIANT_LOGG
from lamostvac.numerics.statistics import resampled_weights, robust_sigma, star_index
from lamostvac.validation.subsets import warned

CLUSTER_COLUMNS = [
    "dataset", "cluster", "label", "n", "n_stars", "median", "sigma", "robust_sigma", "typical_error", "intrinsic",
    "slope_teff", "slope_teff_err", "slope_logg", "slope_logg_err", "dwarfs", "n_dwarfs", "giants", "n_giants",
]  # fmt: skip
_FEWEST = 5


def intrinsic_scatter(value: ArrayLike, error: ArrayLike) -> float:
    """Scatter of values (n,) beyond errors (n,), by maximum likelihood; 0 if errors explain all.

    NaN for fewer than three values with positive finite errors.
    """
    x, sigma = np.asarray(value, np.float64), np.asarray(error, np.float64)
    good = np.isfinite(x) & np.isfinite(sigma) & (sigma > 0)
    x, sigma = x[good], sigma[good]
    if len(x) < 3:
        return float("nan")

    def loss(scatter: float) -> float:
        variance = sigma**2 + scatter**2
        mean = np.average(x, weights=1 / variance)
        # The likelihood is integrated over the mean.
        return float(
            np.sum((x - mean) ** 2 / variance + np.log(variance)) + np.log(np.sum(1 / variance))
        )

    top = 3 * max(float(np.std(x)), 1e-12)
    found = minimize_scalar(
        loss, bounds=(0.0, top), method="bounded", options={"xatol": 1e-5 * top}
    )
    return 0.0 if loss(0.0) <= found.fun else float(found.x)


def outlying(value: ArrayLike, group: ArrayLike, n_sigma: float = 3.0) -> NDArray[np.int8]:
    """-1 for values (n,) far below their group's, 1 for those far above, else 0 (n,).

    Far is beyond `n_sigma` standard deviations about the mean of those that are not, until none is
    left (Wang et al. 2022, Figures 11 and 18). Values that are not finite are 0.
    """
    x, groups = np.asarray(value, np.float64), np.asarray(group)
    side = np.zeros(len(x), np.int8)
    for name in np.unique(groups):
        members = np.flatnonzero((groups == name) & np.isfinite(x))
        if len(members) < _FEWEST:
            continue
        clipped = sigma_clip(x[members], sigma=n_sigma, maxiters=None, cenfunc="mean")
        middle = float(np.mean(x[members][~clipped.mask]))
        side[members] = np.where(clipped.mask, np.sign(x[members] - middle), 0)
    return side


def slope(x: ArrayLike, y: ArrayLike, star: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """Slope of a line through points (n,) and its error from resampling stars; NaN for too few.

    Points farther than 4 robust widths from the median of y are left out: non-members and failed
    fits.
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    use = np.isfinite(a) & np.isfinite(b)
    if use.any():
        use &= np.abs(b - np.median(b[use])) <= max(4 * robust_sigma(b[use]), 1e-9)
    a, b = a[use], b[use]
    index, n_stars = star_index(np.asarray(star)[use])
    if n_stars < _FEWEST or not np.ptp(a) > 0:
        return float("nan"), float("nan")
    weights = np.vstack([np.ones(len(a)), resampled_weights(index, n_stars, seed)])
    total = weights.sum(axis=1)
    a = a - a.mean()
    b = b - b.mean()
    mean_a, mean_b = weights @ a / total, weights @ b / total
    spread = weights @ a**2 / total - mean_a**2
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = (weights @ (a * b) / total - mean_a * mean_b) / spread
    drawn = slopes[1:][np.isfinite(slopes[1:])]
    return float(slopes[0]), float(np.std(drawn, ddof=1)) if len(drawn) > 1 else float("nan")


def one_per_star(table: pd.DataFrame, snr_band: str) -> pd.DataFrame:
    """The spectrum with the highest S/N of each star; of equal ones the first by spectrum_id."""
    ordered = table.sort_values([snr_band, "spectrum_id"], ascending=[False, True], kind="stable")
    single = ordered["star"] < 0
    return ordered[single | ~ordered["star"].duplicated()].sort_index()


def cluster_rows(
    dataset: str,
    table: pd.DataFrame,
    group: str,
    labels: Iterable[str],
    snr_band: str,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows of clusters.csv.

    sigma, robust_sigma and intrinsic are of one spectrum per star, without warnings on the label;
    slopes are per 1000 K of Teff and per dex of log g; `dwarfs` and `giants` are medians on either
    side of log g 3.8.

    Parameters
    ----------
    table : members: `{label}`, `{label}_err`, `star`, `spectrum_id`, `teff`, `logg` and their
        recommended forms, S/N
    group : the column with the cluster's name
    """
    rows = []
    for name in sorted(table[group].unique()):
        members = table[table[group] == name]
        for label in labels:
            used = members[~warned(members, label) & np.isfinite(members[label])]
            stars = one_per_star(used, snr_band)
            values = stars[label].to_numpy(np.float64)
            errors = (
                stars[f"{label}_err"].to_numpy(np.float64)
                if f"{label}_err" in stars
                else values * np.nan
            )
            teff, logg = best_label(stars, "teff"), best_label(stars, "logg")
            dwarf, giant = values[logg >= GIANT_LOGG], values[logg < GIANT_LOGG]
            known = errors[np.isfinite(errors)]
            by_teff = slope(teff / 1000, values, stars["star"], seed)
            by_logg = slope(logg, values, stars["star"], seed)
            rows.append(
                {
                    "dataset": dataset,
                    "cluster": name,
                    "label": label,
                    "n": len(used),
                    "n_stars": len(stars),
                    "median": _median(values),
                    "sigma": float(values.std()) if len(values) else np.nan,
                    "robust_sigma": robust_sigma(values),
                    "typical_error": _median(known),
                    "intrinsic": intrinsic_scatter(values, errors),
                    "slope_teff": by_teff[0],
                    "slope_teff_err": by_teff[1],
                    "slope_logg": by_logg[0],
                    "slope_logg_err": by_logg[1],
                    "dwarfs": _median(dwarf),
                    "n_dwarfs": len(dwarf),
                    "giants": _median(giant),
                    "n_giants": len(giant),
                }
            )
    return rows


def best_label(table: pd.DataFrame, label: str) -> NDArray[np.float64]:
    """The recommended label (n,), or the emulator's where there is none."""
    values = table[label].to_numpy(np.float64) if label in table else np.full(len(table), np.nan)
    if f"{label}_rec" in table:
        own = table[f"{label}_rec"].to_numpy(np.float64)
        values = np.where(np.isfinite(own), own, values)
    return values


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else float("nan")
