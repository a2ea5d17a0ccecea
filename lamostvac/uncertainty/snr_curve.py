"""Errors as in Wang et al. (2022, section 4.1): random error against S/N, and method error.

sigma_r = a + c / SNR^b (their equation 2) is fitted to the widths of repeat residuals in bins of
S/N; the method error sigma_m comes from the training stars; the error is their sum in quadrature.
Coefficients of a label are in `scale` times its unit, 100 K for Teff, as in the paper's Table 2.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lamostvac.uncertainty.method_error import method_error, published_method_error
from lamostvac.uncertainty.repeats import RepeatPairs
from lamostvac.uncertainty.settings import Errors
from lamostvac.uncertainty.snr_fit import Bins, fit_curve
from lamostvac.uncertainty.widths import _RELATIVE_ERROR, Array, Width, weighted_width

_SECTION = Errors()  # for defaults of parameters

TEFF_SCALE = 100.0  # K
_ROUNDS = 3

Source = Literal["repeats", "published", "training", "none"]


def bin_residuals(
    snr: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    bins: int | Sequence[float] = _SECTION.bins,
    smallest: float = 25.0,
    width: Width = _SECTION.width,
    curve: ArrayLike | None = None,
) -> Bins:
    """Widths of residuals in bins of S/N.

    Parameters
    ----------
    snr : (m,) mean S/N of a pair
    residual : (m,) difference of the label over sqrt 2; pairs where either is not finite are left
        out
    weight : (m,) number of independent differences that a pair is worth (`RepeatPairs.weight`);
        None: 1 each
    bins : number of bins with equal weight, reduced when they would weigh less than `smallest`; or
        the edges of bins, of which those that weigh less are left out
    width : `weighted_width`
    curve : (3,) a, b, c by which residuals are scaled to the S/N of their bin; None leaves them as
        they are, and then the width of a wide bin does not belong to a definite S/N

    Returns
    -------
    Bins, by S/N; there may be none
    """
    noise, values = np.asarray(snr, np.float64), np.asarray(residual, np.float64)
    parts = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    with np.errstate(invalid="ignore"):
        use = np.isfinite(noise) & (noise > 0) & np.isfinite(values) & (parts > 0)
    # By S/N, then by value; residuals that are equal in both are interchangeable.
    order = np.flatnonzero(use)
    order = order[np.lexsort((parts[order], values[order], noise[order]))]
    noise, values, parts = noise[order], values[order], parts[order]
    if isinstance(bins, int):
        total = np.cumsum(parts)
        n_bins = min(bins, int(total[-1] / smallest + 1e-9)) if len(total) else 0
        limits = (
            np.searchsorted(total, total[-1] * np.arange(1, n_bins) / n_bins) + 1 if n_bins else []
        )
        cuts = (
            np.concatenate([[0], limits, [len(noise)]]).astype(int) if n_bins else np.zeros(1, int)
        )
    else:
        cuts = np.searchsorted(noise, np.asarray(bins, np.float64))
    found = []
    for start, stop in itertools.pairwise(cuts):
        inside = slice(start, stop)
        n = float(parts[inside].sum())
        if start == stop or (not isinstance(bins, int) and n < smallest):
            continue
        centre = np.exp(np.average(np.log(noise[inside]), weights=parts[inside]))
        inner = values[inside]
        if curve is not None:
            inner = inner * (_curve(curve, centre) / _curve(curve, noise[inside]))
        sigma = weighted_width(inner, parts[inside], width)
        found.append((centre, sigma, sigma * _RELATIVE_ERROR[width] / np.sqrt(n), n))
    return Bins(*(np.array(column) for column in np.array(found, np.float64).reshape(-1, 4).T))


@dataclass(frozen=True)
class RandomErrorModel:
    """Errors of one label as a function of S/N.

    Attributes
    ----------
    label : column of the catalogue
    a, b, c : random error a + c / SNR^b, in `scale` times the label's unit; NaN: unknown
    covariance : (3, 3) of a, b, c; NaN where unknown
    sigma_m, sigma_m_err : method error and its error, in the label's unit
    scale : 100 for Teff, 1 for the others
    n_pairs : number of pairs of spectra (for `training`: stars) that the curve is fitted to
    n_bins, chi2 : bins of the fit, and its chi2 per degree of freedom
    source : `repeats` of this run, `published` Table 2, scatter of the `training` stars, or `none`
    snr_band : column of the S/N; Table 2 is of `snrg`
    """

    label: str
    a: float = np.nan
    b: float = np.nan
    c: float = np.nan
    covariance: Array = field(default_factory=lambda: np.full((3, 3), np.nan), compare=False)
    sigma_m: float = np.nan
    sigma_m_err: float = np.nan
    scale: float = 1.0
    n_pairs: int = 0
    n_bins: int = 0
    chi2: float = np.nan
    source: Source = "none"
    snr_band: str = "snrg"

    @property
    def errors(self) -> tuple[float, float, float]:
        """Standard errors of a, b, c; NaN where unknown."""
        a, b, c = np.sqrt(np.diag(self.covariance)).tolist()
        return a, b, c

    def evaluate(self, snr: ArrayLike) -> Array:
        """Random error (n,) in the label's unit; NaN if S/N is not positive or a, b, c are NaN."""
        return self.scale * _curve((self.a, self.b, self.c), snr)

    def evaluate_error(self, snr: ArrayLike) -> Array:
        """Standard error (n,) of `evaluate` from the coefficients' covariance; NaN if unknown."""
        power = _power(snr, self.b)
        slope = -self.c * power * np.log(np.where(power > 0, np.asarray(snr, np.float64), 1.0))
        gradient = np.stack([np.ones_like(power), slope, power], axis=-1)
        variance = np.einsum("...i,ij,...j->...", gradient, self.covariance, gradient)
        return self.scale * np.sqrt(np.maximum(variance, 0.0))

    def total(self, snr: ArrayLike) -> Array:
        """Random and method error in quadrature (n,), in the label's unit."""
        return np.hypot(self.evaluate(snr), self.sigma_m)


def _power(snr: ArrayLike, b: float) -> Array:
    """SNR^-b, NaN where S/N is not positive."""
    noise = np.asarray(snr, np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(noise > 0, noise, np.nan) ** -b


def _curve(coefficients: ArrayLike, snr: ArrayLike) -> Array:
    a, b, c = np.asarray(coefficients, np.float64)
    return a + c * _power(snr, float(b))


def fit_repeats(
    label: str,
    snr: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    bins: int | Sequence[float] = _SECTION.bins,
    smallest: float = 25.0,
    width: Width = _SECTION.width,
    scale: float = 1.0,
    sigma_m: tuple[float, float] = (np.nan, np.nan),
    snr_band: str = "snrg",
) -> RandomErrorModel:
    """The model of a label from repeats: `bin_residuals` and `fit_curve` in turn.

    From the second round on, residuals are scaled to their bin's S/N by the previous round's curve.

    Parameters
    ----------
    snr, residual, weight : (m,) of pairs, residuals (over sqrt 2) in the label's unit
    scale : the coefficients' unit in units of the label, 100 (K) for Teff
    sigma_m : method error and its error, in the label's unit
    snr_band : column that `snr` is of

    Returns
    -------
    RandomErrorModel with source `repeats`; `none` where the pairs fill fewer than four bins
    """
    noise, values = np.asarray(snr, np.float64), np.asarray(residual, np.float64) / scale
    parts = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    # Sorted once here, so that sorting in each round is fast.
    order = np.lexsort((parts, values, noise))
    noise, values, parts = noise[order], values[order], parts[order]
    curve = None
    for _ in range(_ROUNDS):
        found = bin_residuals(
            noise, values, parts, bins=bins, smallest=smallest, width=width, curve=curve
        )
        fitted = fit_curve(found)
        curve = fitted[0]
        if not np.isfinite(curve).all():
            break
    with np.errstate(invalid="ignore"):
        n_pairs = int(np.sum(np.isfinite(values) & (noise > 0)))
    return _model(label, found, fitted, scale, sigma_m, n_pairs, "repeats", snr_band)


def fit_training(
    label: str,
    snr: ArrayLike,
    sigma: ArrayLike,
    n_stars: int,
    *,
    scale: float = 1.0,
    snr_band: str = "snrg",
) -> RandomErrorModel:
    """The model of a label from the scatter of training stars with noise added to each S/N.

    For runs with too few repeats. That scatter includes the method error and the errors of the
    reference labels, so sigma_m is 0 and the random part is the whole error.

    Parameters
    ----------
    snr, sigma : (k,) S/N, and the robust width of left-out training stars there
        (`Network.error_snr`, and `Network.error` in the label's unit)
    n_stars : number of training stars for each width
    scale, snr_band : as in `fit_repeats`
    """
    width = np.asarray(sigma, np.float64) / scale
    count = np.full(len(width), float(n_stars))
    error = width * _RELATIVE_ERROR["robust"] / np.sqrt(count)
    found = Bins(np.asarray(snr, np.float64), width, error, count)
    zero = (0.0, 0.0)
    return _model(label, found, fit_curve(found), scale, zero, n_stars, "training", snr_band)


def _model(
    label: str,
    bins: Bins,
    fitted: tuple[Array, Array, float],
    scale: float,
    sigma_m: tuple[float, float],
    n: int,
    source: Source,
    snr_band: str,
) -> RandomErrorModel:
    (a, b, c), covariance, chi2 = fitted
    return RandomErrorModel(
        label,
        float(a),
        float(b),
        float(c),
        covariance,
        *sigma_m,
        scale=scale,
        n_pairs=n,
        n_bins=len(bins),
        chi2=chi2,
        source=source if np.isfinite(a) else "none",
        snr_band=snr_band,
    )


def choose_model(
    fitted: RandomErrorModel,
    min_pairs: int,
    few_repeats: Literal["published", "training", "none"],
    published: Mapping[str, RandomErrorModel],
    training: RandomErrorModel | None = None,
) -> RandomErrorModel:
    """The fit to repeats, or what replaces it when there are too few.

    Parameters
    ----------
    fitted : from `fit_repeats`
    min_pairs : pairs (`errors.min_pairs`) below which the fit is not used
    few_repeats : `errors.few_repeats`; `published` falls back on `training` for labels that Table 2
        does not have, such as feh_vmp, for which the published error of another network would be
        meaningless
    published : `load_published_errors`
    training : from `fit_training`; None where the run has no training stars

    Returns
    -------
    The model to use, with its `source`; n_pairs is always that of the repeats found
    """
    if fitted.source == "repeats" and fitted.n_pairs >= min_pairs:
        return fitted
    if few_repeats == "published" and fitted.label in published:
        return published[fitted.label]
    if few_repeats != "none" and training is not None and training.source == "training":
        return training
    return RandomErrorModel(
        fitted.label, scale=fitted.scale, n_pairs=fitted.n_pairs, snr_band=fitted.snr_band
    )


def network_curve(
    label: str,
    unit: str,
    snr_band: str,
    pairs: RepeatPairs,
    value: ArrayLike,
    settings: Mapping[str, Any],
    published: Mapping[str, RandomErrorModel],
    known: pd.DataFrame | None = None,
    scatter: tuple[ArrayLike, ArrayLike] | None = None,
) -> RandomErrorModel:
    """Equation 2 for a label of a network, with the method error, or what replaces it.

    Parameters
    ----------
    snr_band : column of the S/N that `pairs`, `known` and `scatter` have
    value : (n,) the label of all spectra, to which the rows in `pairs` refer
    settings : section `errors` of the configuration: `bins width method_error min_pairs
        few_repeats`
    published : `load_published_errors`
    known : training stars, `reference reference_err left_out snr` and `value`, the label in the
        catalogue; None without any
    scatter : S/N (k,), and the scatter (k,) of left-out training stars at it, in the label's unit
    """
    scale = TEFF_SCALE if unit == "K" else 1.0
    model = fit_repeats(
        label,
        pairs.snr,
        pairs.residual(value),
        pairs.weight,
        bins=settings["bins"],
        width=settings["width"],
        scale=scale,
        snr_band=snr_band,
    )
    training = None
    if known is not None:
        known = known[np.isfinite(known["reference"])]
        if settings["method_error"] == "published":
            error = published_method_error(known["value"] - known["reference"])
        else:
            random = model.evaluate(known["snr"])
            error = method_error(
                known["left_out"] - known["reference"], known["reference_err"], random
            )
        model = replace(model, sigma_m=error[0], sigma_m_err=error[1])
        if scatter is not None and np.isfinite(np.asarray(scatter[1])).all():
            training = fit_training(
                label, *scatter, n_stars=len(known), scale=scale, snr_band=snr_band
            )
    return choose_model(model, settings["min_pairs"], settings["few_repeats"], published, training)
