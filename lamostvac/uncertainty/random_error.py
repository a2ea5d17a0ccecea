"""The errors of Wang et al. (2022, section 4.1): random error as a function of S/N, and method error.

sigma_r = a + c / SNR^b (their equation 2) is fitted to the widths of repeat residuals in bins of S/N; the
method error sigma_m comes from the training stars; the error is both in quadrature. Coefficients of a label
are in `scale` times its unit, 100 K for Teff, so that they stand beside the paper's Table 2.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares, nnls

from lamostvac.core.errors import UserError
from lamostvac.core.files import read_columns, read_yaml, write_columns
from lamostvac.core.paths import PUBLISHED_ERRORS_PATH
from lamostvac.uncertainty.repeats import RepeatPairs

TEFF_SCALE = 100.0  # K
MIN_BINS = 4  # one more than there are coefficients
# Relative error of a width times the root of the number of values, for Gaussian values: 1.4826 times the median
# absolute value has 37 % of the efficiency of the root of the mean square.
_RELATIVE_ERROR = {"robust": 1.1664, "deviation": 0.7071}
# An exponent nearer 0 is a constant, which is a's part.
_EXPONENTS = (0.05, 4.0)
_REWEIGHTINGS = 20
_ROUNDS = 3

Width = Literal["robust", "deviation"]
Source = Literal["repeats", "published", "training", "none"]
Array = NDArray[np.float64]


# ---------------------------------------------------------------- widths in bins of S/N


@dataclass(frozen=True)
class Bins:
    """Widths of residuals in bins of S/N.

    Attributes
    ----------
    snr : (k,) geometric mean S/N of a bin's pairs: where a power law has its typical value
    sigma, error : (k,) width of the residuals and its error, in the residuals' unit
    n : (k,) independent residuals of the bin (sum of weights)
    """

    snr: Array
    sigma: Array
    error: Array
    n: Array

    def __len__(self) -> int:
        return len(self.snr)


def weighted_width(residual: ArrayLike, weight: ArrayLike | None = None, width: Width = "robust") -> float:
    """Width of residuals (n,) about zero: what one spectrum differs by from another has no preferred sign.

    `robust` is 1.4826 times the weighted median absolute value, `deviation` the root of the weighted mean
    square. NaN without values.
    """
    size = np.abs(np.asarray(residual, np.float64))
    if not size.size:
        return float("nan")
    parts = np.ones(len(size)) if weight is None else np.asarray(weight, np.float64)
    if width == "deviation":
        return float(np.sqrt(np.average(size**2, weights=parts)))
    order = np.argsort(size, kind="stable")
    size, parts = size[order], parts[order]
    # Each value stands at the middle of its own weight; with equal weights this is the usual median.
    below = np.cumsum(parts) - 0.5 * parts
    return 1.4826 * float(np.interp(0.5 * parts.sum(), below, size))


def bin_residuals(
    snr: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    bins: int | Sequence[float] = 20,
    smallest: float = 25.0,
    width: Width = "robust",
    curve: ArrayLike | None = None,
) -> Bins:
    """Widths of residuals in bins of S/N.

    Parameters
    ----------
    snr : (m,) mean S/N of a pair
    residual : (m,) difference of the label over sqrt 2; pairs where either is not finite are left out
    weight : (m,) independent differences that a pair stands for (`RepeatPairs.weight`); None: 1 each
    bins : number of bins with equal weight, of which there are fewer when they would weigh less than
        `smallest`; or the edges of bins, of which those are left out that weigh less
    width : `weighted_width`
    curve : (3,) a, b, c by which residuals are brought to the S/N of their bin; None: as they are. Without, the
        width of a wide bin is that of no S/N in particular

    Returns
    -------
    Bins, by S/N; perhaps none
    """
    noise, values = np.asarray(snr, np.float64), np.asarray(residual, np.float64)
    parts = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    with np.errstate(invalid="ignore"):
        use = np.isfinite(noise) & (noise > 0) & np.isfinite(values) & (parts > 0)
    # By S/N, then by value: what is equal in both is interchangeable.
    order = np.flatnonzero(use)
    order = order[np.lexsort((parts[order], values[order], noise[order]))]
    noise, values, parts = noise[order], values[order], parts[order]
    if isinstance(bins, int):
        total = np.cumsum(parts)
        n_bins = min(bins, int(total[-1] / smallest + 1e-9)) if len(total) else 0
        limits = np.searchsorted(total, total[-1] * np.arange(1, n_bins) / n_bins) + 1 if n_bins else []
        cuts = np.concatenate([[0], limits, [len(noise)]]).astype(int) if n_bins else np.zeros(1, int)
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


# ---------------------------------------------------------------- the curve


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
    n_pairs : pairs of spectra (for `training`: stars) that the curve comes from
    n_bins, chi2 : bins of the fit, and its chi2 per degree of freedom
    source : `repeats` of this run, `published` Table 2, scatter of the `training` stars, or `none`
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

    @property
    def errors(self) -> tuple[float, float, float]:
        """Standard errors of a, b, c; NaN where unknown."""
        a, b, c = np.sqrt(np.diag(self.covariance)).tolist()
        return a, b, c

    def evaluate(self, snr: ArrayLike) -> Array:
        """Random error (n,) in the label's unit; NaN where S/N is not positive or the model is unknown."""
        return self.scale * _curve((self.a, self.b, self.c), snr)

    def evaluate_error(self, snr: ArrayLike) -> Array:
        """Standard error (n,) of `evaluate` from the coefficients' covariance; NaN where unknown."""
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


def fit_curve(bins: Bins) -> tuple[Array, Array, float]:
    """a, b, c of sigma = a + c / SNR^b by weighted least squares, with a >= 0, c >= 0, 0.05 <= b <= 4.

    A bin's weight comes from the curve, not from its own width: a bin that is narrow by chance would count
    more than one that is wide by chance. Fit and weights alternate until both stand. The first values are
    the best ones, all exponents tried, for which a and c follow by non-negative least squares.

    Returns
    -------
    coefficients : (3,) a, b, c; NaN with fewer than four bins or widths of zero
    covariance : (3, 3) from the bins' errors, as if there were no bounds; NaN where the data do not
        determine the three (c = 0)
    chi2 : per degree of freedom; NaN without any

    Notes
    -----
    Errors are not scaled by chi2: where it is far above 1, a + c / SNR^b is not how the widths go.
    """
    unknown = np.full(3, np.nan), np.full((3, 3), np.nan), float("nan")
    if len(bins) < MIN_BINS or not (bins.sigma > 0).all() or len(np.unique(bins.snr)) < MIN_BINS:
        return unknown
    # S/N in units of its middle, where the curve is best known; c alone is its value at S/N = 1.
    middle = float(np.exp(np.mean(np.log(bins.snr))))
    x = bins.snr / middle
    relative = bins.error / bins.sigma
    model = bins.sigma
    start = _first_values(x, bins.sigma, bins.error)
    for _ in range(_REWEIGHTINGS):
        noise = relative * model
        fitted = least_squares(
            _misfit,
            start,
            jac=_misfit_slope,
            args=(x, bins.sigma, noise),
            bounds=([0, 0, _EXPONENTS[0]], [np.inf, np.inf, _EXPONENTS[1]]),
            x_scale=np.array([start[0] + start[1], start[0] + start[1], 1.0]),
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        )
        done = np.allclose(fitted.x, start, rtol=1e-8, atol=1e-10 * bins.sigma.max())
        start = fitted.x
        model = start[0] + start[1] * x ** -start[2]
        if done:
            break
    a, c_middle, b = start
    noise = relative * model
    chi2 = float(np.sum(((model - bins.sigma) / noise) ** 2))
    free = len(bins) - 3
    with np.errstate(over="ignore"):
        coefficients = np.array([a, b, c_middle * middle**b])
    covariance = _inverse(_jacobian(start, x) / noise[:, None])
    # From (a, c at the middle, b) to (a, b, c).
    turn = np.array([[1, 0, 0], [0, 0, 1], [0, middle**b, coefficients[2] * np.log(middle)]])
    return coefficients, turn @ covariance @ turn.T, chi2 / free


def _first_values(x: Array, sigma: Array, error: Array) -> Array:
    """a, c and b in units of the middle S/N: the best of a grid of exponents."""
    best = np.inf, np.array([0.0, 0.0, 1.0])
    for b in np.geomspace(*_EXPONENTS, 60):
        design = np.column_stack([np.ones_like(x), x**-b])
        linear, misfit = nnls(design / error[:, None], sigma / error)
        if misfit < best[0]:
            best = misfit, np.array([*linear, b])
    # The search begins inside its bounds.
    low, high = _EXPONENTS
    floor = 1e-6 * float(sigma.min())
    first = best[1]
    return np.array([max(first[0], floor), max(first[1], floor), np.clip(first[2], low * 1.01, high * 0.99)])


def _misfit(p: Array, x: Array, sigma: Array, noise: Array) -> Array:
    return (p[0] + p[1] * x ** -p[2] - sigma) / noise


def _misfit_slope(p: Array, x: Array, sigma: Array, noise: Array) -> Array:
    return _jacobian(p, x) / noise[:, None]


def _jacobian(p: Array, x: Array) -> Array:
    power = x ** -p[2]
    return np.column_stack([np.ones_like(x), power, -p[1] * power * np.log(x)])


def _inverse(weighted: Array) -> Array:
    """Inverse of J^T J (3, 3); NaN when a column is zero or they are not independent."""
    size = np.linalg.norm(weighted, axis=0)
    if (size <= 1e-9 * size.max()).any():
        return np.full((3, 3), np.nan)
    values, vectors = np.linalg.eigh((weighted / size).T @ (weighted / size))
    if values[0] < 1e-13:
        return np.full((3, 3), np.nan)
    return (vectors / values) @ vectors.T / np.outer(size, size)


def fit_repeats(
    label: str,
    snr: ArrayLike,
    residual: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    bins: int | Sequence[float] = 20,
    smallest: float = 25.0,
    width: Width = "robust",
    scale: float = 1.0,
    sigma_m: tuple[float, float] = (np.nan, np.nan),
) -> RandomErrorModel:
    """The model of a label from repeats: `bin_residuals` and `fit_curve` in turn.

    From the second round on, residuals are brought to their bin's S/N by the curve of the round before.

    Parameters
    ----------
    snr, residual, weight : (m,) of pairs, residuals (over sqrt 2) in the label's unit
    scale : the coefficients' unit in units of the label, 100 (K) for Teff
    sigma_m : method error and its error, in the label's unit

    Returns
    -------
    RandomErrorModel with source `repeats`; `none` where the pairs fill fewer than four bins
    """
    noise, values = np.asarray(snr, np.float64), np.asarray(residual, np.float64) / scale
    parts = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    # Sorted once, the sorting of each round has little to do.
    order = np.lexsort((parts, values, noise))
    noise, values, parts = noise[order], values[order], parts[order]
    curve = None
    for _ in range(_ROUNDS):
        found = bin_residuals(noise, values, parts, bins=bins, smallest=smallest, width=width, curve=curve)
        curve = fit_curve(found)[0]
        if not np.isfinite(curve).all():
            break
    with np.errstate(invalid="ignore"):
        n_pairs = int(np.sum(np.isfinite(values) & (noise > 0)))
    return _model(label, found, scale, sigma_m, n_pairs, "repeats")


def fit_training(
    label: str,
    snr: ArrayLike,
    sigma: ArrayLike,
    n_stars: int,
    *,
    scale: float = 1.0,
) -> RandomErrorModel:
    """The model of a label from the scatter of training stars with noise added to each S/N.

    For runs with too few repeats. That scatter has the method error in it, and the errors of the reference
    labels; so sigma_m is 0 and the random part stands for all.

    Parameters
    ----------
    snr, sigma : (k,) S/N, and the robust width of left-out training stars there (`Network.error_snr`, and
        `Network.error` in the label's unit)
    n_stars : training stars that each width is of
    scale : as in `fit_repeats`
    """
    width = np.asarray(sigma, np.float64) / scale
    count = np.full(len(width), float(n_stars))
    error = width * _RELATIVE_ERROR["robust"] / np.sqrt(count)
    found = Bins(np.asarray(snr, np.float64), width, error, count)
    return _model(label, found, scale, (0.0, 0.0), n_stars, "training")


def _model(
    label: str, bins: Bins, scale: float, sigma_m: tuple[float, float], n: int, source: Source
) -> RandomErrorModel:
    (a, b, c), covariance, chi2 = fit_curve(bins)
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
    )


def choose_model(
    fitted: RandomErrorModel,
    min_pairs: int,
    few_repeats: Literal["published", "training", "none"],
    published: Mapping[str, RandomErrorModel],
    training: RandomErrorModel | None = None,
) -> RandomErrorModel:
    """The fit to repeats, or what stands in for it when there are too few.

    Parameters
    ----------
    fitted : from `fit_repeats`
    min_pairs : pairs (`errors.min_pairs`) below which the fit is not used
    few_repeats : `errors.few_repeats`; `published` falls back on `training` for labels that Table 2 does
        not have, as feh_vmp: a published error of another network would say nothing about it
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
    return RandomErrorModel(fitted.label, scale=fitted.scale, n_pairs=fitted.n_pairs)


def network_curve(
    label: str,
    unit: str,
    pairs: RepeatPairs,
    value: ArrayLike,
    settings: Mapping[str, Any],
    published: Mapping[str, RandomErrorModel],
    known: pd.DataFrame | None = None,
    scatter: tuple[ArrayLike, ArrayLike] | None = None,
) -> RandomErrorModel:
    """Equation 2 for a label of a network with the method error, or what stands in for it.

    Parameters
    ----------
    value : (n,) the label of all spectra that `pairs` are of
    settings : section `errors` of the configuration: `bins width method_error min_pairs few_repeats`
    published : `load_published_errors`
    known : training stars, `reference reference_err left_out snr` and `value`, the label in the catalogue; None
        without any
    scatter : S/N, and at it the scatter of left-out training stars (k,) in the label's unit
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
    )
    training = None
    if known is not None:
        known = known[np.isfinite(known["reference"])]
        if settings["method_error"] == "published":
            error = published_method_error(known["value"] - known["reference"])
        else:
            random = model.evaluate(known["snr"])
            error = method_error(known["left_out"] - known["reference"], known["reference_err"], random)
        model = replace(model, sigma_m=error[0], sigma_m_err=error[1])
        if scatter is not None and np.isfinite(np.asarray(scatter[1])).all():
            training = fit_training(label, *scatter, n_stars=len(known), scale=scale)
    return choose_model(model, settings["min_pairs"], settings["few_repeats"], published, training)


# ---------------------------------------------------------------- method error


def published_method_error(residual: ArrayLike) -> tuple[float, float]:
    """Method error as published, and its error: the standard deviation of training residuals (n,).

    The stars are those the network learned from, so this is a lower limit.
    """
    values = np.asarray(residual, np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    sigma = float(values.std(ddof=1))
    return sigma, sigma * _RELATIVE_ERROR["deviation"] / float(np.sqrt(len(values)))


def method_error(residual: ArrayLike, reference_error: ArrayLike, random: ArrayLike) -> tuple[float, float]:
    """What is left of the residuals of left-out stars after the reference's error and the random error.

    The sigma_m for which residual / sqrt(sigma_m^2 + reference_error^2 + random^2) has robust width 1; 0
    where it is not above 1 already without.

    Parameters
    ----------
    residual : (n,) network minus reference of stars that no member learned from; their median is taken off
    reference_error : (n,) the reference's quoted error, or one for all; NaN counts as 0
    random : (n,) random error at the spectrum's S/N (`RandomErrorModel.evaluate`); NaN counts as 0

    Returns
    -------
    sigma_m, its error: NaN with fewer than ten stars
    """
    values = np.asarray(residual, np.float64)
    known = np.nan_to_num(reference_error) ** 2 + np.nan_to_num(random) ** 2
    known = np.broadcast_to(known, values.shape)
    use = np.isfinite(values)
    values, known = values[use], known[use]
    if len(values) < 10:
        return float("nan"), float("nan")
    values = values - np.median(values)

    def width(sigma: float) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            pull = np.nan_to_num(values / np.sqrt(sigma**2 + known), nan=0.0, posinf=np.inf, neginf=-np.inf)
        return weighted_width(pull)

    def solve(target: float) -> float:
        """The sigma at which the width, which falls with sigma, is `target`; 0 if it is below already."""
        low, high = 0.0, float(np.abs(values).max()) * 1.5 / target
        if not width(0.0) > target:
            return 0.0
        for _ in range(60):
            centre = 0.5 * (low + high)
            low, high = (centre, high) if width(centre) > target else (low, centre)
        return 0.5 * (low + high)

    # The width at the solution is known to this share; what sigma_m would be a share higher or lower.
    share = _RELATIVE_ERROR["robust"] / np.sqrt(len(values))
    return solve(1.0), 0.5 * (solve(1 / (1 + share)) - solve(1 + share))


# ---------------------------------------------------------------- the published table


def load_published_errors(path: str | Path = PUBLISHED_ERRORS_PATH) -> dict[str, RandomErrorModel]:
    """Table 2 of Wang et al. (2022) by label, with source `published` and no errors of coefficients.

    Raises
    ------
    UserError
        The file cannot be read, or a label lacks one of a, b, c, sigma_m, or one of them is not positive.
    """
    content = read_yaml(path, "the published errors", " with a mapping `errors:`")
    if not isinstance(content, dict) or "errors" not in content:
        raise UserError(f"the published errors {path} must be YAML with a mapping `errors:`")
    models = {}
    for label, numbers in content["errors"].items():
        if not isinstance(numbers, dict) or set(numbers) != {"a", "b", "c", "sigma_m"}:
            raise UserError(f"{path}: {label} must have exactly the keys a, b, c, sigma_m")
        for key, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
                raise UserError(f"{path}: {label}.{key} = {value!r} must be a positive number")
        models[str(label)] = RandomErrorModel(
            str(label),
            a=float(numbers["a"]),
            b=float(numbers["b"]),
            c=float(numbers["c"]),
            sigma_m=float(numbers["sigma_m"]),
            scale=TEFF_SCALE if str(label).startswith("teff") else 1.0,
            source="published",
        )
    return models


# ---------------------------------------------------------------- tables and files


_COVARIANCES = {"cov_ab": (0, 1), "cov_ac": (0, 2), "cov_bc": (1, 2)}
_NUMBERS = ("a", "b", "c", "sigma_m", "sigma_m_err", "scale", "n_pairs", "n_bins", "chi2", "source")


def models_table(models: Iterable[RandomErrorModel]) -> pd.DataFrame:
    """One row per model, all that there is to know of it.

    `label a a_err b b_err c c_err sigma_m sigma_m_err scale n_pairs n_bins chi2 source cov_ab cov_ac cov_bc`
    """
    rows = []
    for model in models:
        row: dict[str, Any] = {"label": model.label}
        for name, error in zip("abc", model.errors, strict=True):
            row |= {name: getattr(model, name), f"{name}_err": error}
        row |= {name: getattr(model, name) for name in _NUMBERS[3:]}
        rows.append(row | {name: model.covariance[at] for name, at in _COVARIANCES.items()})
    errors = [f"{name}{suffix}" for name in "abc" for suffix in ("", "_err")]
    return pd.DataFrame(rows, columns=["label", *errors, *_NUMBERS[3:], *_COVARIANCES])


def beside_published(
    models: Iterable[RandomErrorModel],
    published: Mapping[str, RandomErrorModel],
    snr: Sequence[float] = (20.0, 50.0, 100.0),
) -> pd.DataFrame:
    """`models_table` with Table 2 beside it, and both random errors at some S/N, in the labels' units.

    Adds `published_a published_b published_c published_sigma_m` and for each S/N `random_{snr}
    published_random_{snr}`; the paper prints these for 20, 50 and 100 in its Figure 5.
    """
    models = list(models)
    table = models_table(models).drop(columns=list(_COVARIANCES))
    paper = [published.get(model.label, RandomErrorModel(model.label)) for model in models]
    for name in ("a", "b", "c", "sigma_m"):
        table[f"published_{name}"] = [getattr(model, name) for model in paper]
    for level in snr:
        table[f"random_{level:g}"] = [float(model.evaluate(level)) for model in models]
        table[f"published_random_{level:g}"] = [float(model.evaluate(level)) for model in paper]
    return table


def write_models(group: h5py.Group, models: Iterable[RandomErrorModel]) -> None:
    """Write models into an HDF5 group, as the table of `models_table`."""
    write_columns(group, models_table(models))


def read_models(group: h5py.Group) -> dict[str, RandomErrorModel]:
    """The models that `write_models` wrote, by label, in their order."""
    models = {}
    for row in read_columns(group).to_dict("records"):
        covariance = np.diag([row[f"{name}_err"] ** 2 for name in "abc"])
        for name, (i, j) in _COVARIANCES.items():
            covariance[i, j] = covariance[j, i] = row[name]
        numbers = {name: row[name] for name in _NUMBERS}
        models[str(row["label"])] = RandomErrorModel(
            str(row["label"]), covariance=covariance, **{str(name): value for name, value in numbers.items()}
        )
    return models
