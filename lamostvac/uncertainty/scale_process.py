"""The scale of residuals as a function of labels and S/N: a Gaussian process for its logarithm.

Liang+ 2024 (section 4.3, equation 6) learn systematic errors from the library's cross-validation
and random ones from repeat observations by Gaussian processes of the labels, and of labels and S/N.
They do not say how a process turns residuals, which have either sign, into a standard deviation.
Here a residual r is drawn about 0 with

    variance = exp(2 f(x)) base^2 + known^2

where x are labels (and S/N), f is a Gaussian process, `base` is the error to be scaled and `known`
an error that is certain. With base = 1, f is the logarithm of the error itself, as published; with
base = the error that the fit predicts for each star, f says by how much that is wrong, and where
there are no residuals nothing changes. The distribution is Student's t with two degrees of freedom,
scaled so that f is right for normal residuals; with it a few per cent of outliers
(emission lines, binaries) hardly matter.

f is a linear function of features made from a few hundred points that represent all
(pivoted Cholesky). So its posterior, found by Newton's method, is a small matrix, and evaluating it
for millions of stars is a matrix product.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import brentq

from lamostvac.core.hdf5 import Layout, read_arrays
from lamostvac.numerics.kernel import rbf
from lamostvac.numerics.pivoted_cholesky import pivoted_cholesky

Array = NDArray[np.float64]

FREEDOM = 2.0  # degrees of freedom of Student's t
_FISHER = 0.5 * FREEDOM / (FREEDOM + 3)  # its information on ln variance
_POINTS = 150
_TOLERANCE = 1e-3  # share of the variance of f that the points may miss
# In widths of the sample; some hundred residuals cannot determine shorter ones in five dimensions.
_LENGTH_SCALES = (2.0, 4.0)
# Amplitudes of f. For the correction of errors that the fit predicts for each star, beyond a constant
# factor; for that of errors that know nothing of a star but its S/N; for errors themselves.
_CORRECTIONS, COARSE, _ERRORS = (0.1, 0.2, 0.3), (0.1, 0.2, 0.3, 0.6, 1.0), (0.3, 0.6, 1.0)
# Prior standard deviation of f's mean, for corrections and for errors themselves.
_FACTOR, _CONSTANT = 0.5, 3.0
_MAX_STEPS = 60
_HUGE = 1e50  # larger residuals are set to this, whose square is finite
_BLOCK = 1024  # stars whose kernel stays in a core's cache


def _normal_scale() -> float:
    """The scale that Student's t finds for normal residuals of standard deviation 1."""
    z = np.linspace(-12, 12, 200_001)
    weight = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])

    def score(scale: float) -> float:
        return float((weight * (FREEDOM + 1) * z**2 / (FREEDOM * scale**2 + z**2)).sum() - 1.0)

    return float(brentq(score, 0.3, 1.0))


NORMAL_SCALE = _normal_scale()


@dataclass(frozen=True)
class Scaling:
    """How labels and S/N become the inputs of a process.

    Attributes
    ----------
    names : of the labels, `teff` first where it is one
    centre, width : (d,) of -5040/Teff, the other labels and ln S/N when `with_snr`
    low, high : (d,) range of the training inputs; a star beyond it is treated as one at its border
    """

    names: tuple[str, ...]
    with_snr: bool
    centre: Array
    width: Array
    low: Array
    high: Array

    def __call__(
        self, labels: NDArray[np.floating], snr: NDArray[np.floating] | None = None
    ) -> Array:
        """Inputs (n, d) for labels (n, k), ordered as `names`, and S/N (n,); not finite where these
        are not.
        """
        scaled = (
            _raw(labels, self.names, snr if self.with_snr else None) - self.centre
        ) / self.width
        return np.asarray(np.clip(scaled, self.low, self.high))


def _raw(
    labels: NDArray[np.floating], names: Sequence[str], snr: NDArray[np.floating] | None
) -> Array:
    columns = np.array(labels, np.float64)
    with np.errstate(all="ignore"):
        for place, name in enumerate(names):
            if name.startswith("teff"):
                columns[:, place] = -5040.0 / columns[:, place]
        if snr is not None:
            columns = np.column_stack([columns, np.log(np.asarray(snr, np.float64))])
    columns[~np.isfinite(columns)] = np.nan
    return columns


def scaling_of(
    labels: NDArray[np.floating], names: Sequence[str], snr: NDArray[np.floating] | None = None
) -> Scaling:
    """The scaling by median and robust width of training labels (n, k) and S/N (n,).

    Raises ValueError when no star has finite inputs.
    """
    raw = _raw(labels, names, snr)
    raw = raw[np.isfinite(raw).all(axis=1)]
    if not len(raw):
        raise ValueError("no star has finite labels")
    low, centre, high = np.quantile(raw, [0.16, 0.5, 0.84], axis=0)
    width = 0.5 * (high - low)
    width = np.where(width > 0, width, 1.0)
    scaled = (raw - centre) / width
    return Scaling(
        tuple(names), snr is not None, centre, width, scaled.min(axis=0), scaled.max(axis=0)
    )


@dataclass(frozen=True)
class ScaleProcess:
    """A trained process f(x) = constant + features(x) . weights.

    Attributes
    ----------
    points : (m, d) scaled inputs; with `factor` (m, m) they make the features
    mean : (m + 1,) of the constant and the weights; root : (m + 1, m + 1), covariance = root root'
    length_scale, amplitude : of the kernel
    n : residuals it learned from; 0 makes f the prior's mean everywhere
    """

    scaling: Scaling
    points: Array
    factor: Array
    mean: Array
    root: Array
    length_scale: float
    amplitude: float
    n: int

    def evaluate(
        self, labels: NDArray[np.floating], snr: NDArray[np.floating] | None = None
    ) -> tuple[Array, Array]:
        """Mean and standard deviation (n,) of f; NaN where an input is not finite."""
        inputs = self.scaling(labels, snr)
        mean, deviation = np.full(len(inputs), np.nan), np.full(len(inputs), np.nan)
        usable = np.flatnonzero(np.isfinite(inputs).all(axis=1))
        line, offset, square, slope = self._forms
        for start in range(0, len(usable), _BLOCK):
            rows = usable[start : start + _BLOCK]
            kernel = rbf(inputs[rows], self.points, self.amplitude, self.length_scale)
            mean[rows] = self.mean[0] + kernel @ line
            spread = kernel @ square
            spread += slope
            deviation[rows] = np.sqrt(np.maximum(offset + np.vecdot(spread, kernel), 0.0))
        return mean, deviation

    @cached_property
    def _forms(self) -> tuple[Array, float, Array, Array]:
        """Mean and variance of f as polynomials of a star's kernel k (m,) with the points.

        f is constant + features . weights with features = factor^-1 k, its mean constant + k .
        line. Its variance is that of constant and weights, plus amplitude^2 - features^2, the part
        that the points do not describe (all of it far from the training stars). Together that is
        offset + k . slope + k' square k, one product instead of three.
        """
        inverse = solve_triangular(self.factor, np.eye(len(self.factor)), lower=True)
        root = inverse.T @ self.root[1:]
        square = root @ root.T - inverse.T @ inverse
        offset = float(self.root[0] @ self.root[0]) + self.amplitude**2
        return inverse.T @ self.mean[1:], offset, square, 2.0 * (root @ self.root[0])

    def factor_of_error(
        self, labels: NDArray[np.floating], snr: NDArray[np.floating] | None = None
    ) -> Array:
        """sqrt(E[exp(2 f)]) (n,): the factor for `base` with f's uncertainty; NaN like
        `evaluate`.
        """
        mean, deviation = self.evaluate(labels, snr)
        return np.exp(mean + deviation**2)


class Basis:
    """Points that represent n stars.

    Attributes
    ----------
    points : (m, d) scaled inputs; factor : (m, m) Cholesky factor of their kernel of amplitude 1
    design : (n, 1 + m), 1 and the stars' features for that amplitude
    """

    def __init__(self, inputs: Array, length_scale: float) -> None:
        self.points, self.factor = np.zeros((1, inputs.shape[1])), np.ones((1, 1))
        features = np.empty((0, 1))
        if len(inputs):
            rows, features = pivoted_cholesky(inputs, 1.0, length_scale, _POINTS, _TOLERANCE)
            self.points, self.factor = inputs[rows], features[rows]
        self.design: Array = np.column_stack([np.ones(len(inputs)), features])
        self._gram: tuple[Array, Array] | None = None

    def gram(self, weight: Array) -> Array:
        """design' weight design for weights (n,); kept, as the next label's are mostly the same."""
        if self._gram is None or not np.array_equal(self._gram[0], weight):
            self._gram = weight, (self.design * weight[:, None]).T @ self.design
        return self._gram[1]


class Bases:
    """Points that represent stars, kept for the labels that learn from the same stars.

    `made` counts those that were not known.
    """

    def __init__(self) -> None:
        self.made = 0
        self._known: dict[tuple[bytes, float], Basis] = {}

    def __call__(self, inputs: Array, length_scale: float) -> Basis:
        """The points of stars with `inputs` (n, d)."""
        key = hashlib.sha256(repr(inputs.shape).encode() + inputs.tobytes()).digest(), length_scale
        basis = self._known.pop(key, None)
        if basis is None:
            basis = Basis(inputs, length_scale)
            self.made += 1
        self._known[key] = basis  # the last ones are those of repeats and of known labels
        while len(self._known) > 2 * len(_LENGTH_SCALES):
            del self._known[next(iter(self._known))]
        return basis


def train(
    scaling: Scaling,
    labels: NDArray[np.floating],
    residual: NDArray[np.floating],
    snr: NDArray[np.floating] | None = None,
    base: NDArray[np.floating] | None = None,
    known: NDArray[np.floating] | None = None,
    weight: NDArray[np.floating] | None = None,
    bases: Bases | None = None,
    amplitudes: Sequence[float] | None = None,
) -> ScaleProcess:
    """Learn f from residuals.

    Parameters
    ----------
    labels : (n, k) in the order of `scaling.names`; snr : (n,) if the scaling has it
    residual : (n,) about 0
    base : (n,) errors that f corrects; 1 by default, when f is the logarithm of the error itself
    known : (n,) standard deviation that the residuals have in addition
    weight : (n,) how much each residual counts, at most 1 (residuals of one star are not
        independent)
    bases : of processes before, which may have learned from the same stars
    amplitudes : that f may have; (0.1, 0.2, 0.3) with `base` and (0.3, 0.6, 1) without

    Returns
    -------
    The process with the length scale and amplitude of the largest evidence
    (Laplace's approximation). Rows with a value that is not finite or a base that is not positive
    are left out. Without any rows f is 0, or unknown for base = 1.
    """
    n = len(residual)
    inputs = scaling(labels, snr)
    correction = base is not None
    sizes = np.ones(n) if base is None else np.asarray(base, np.float64)
    others = np.zeros(n) if known is None else np.asarray(known, np.float64)
    counts = np.ones(n) if weight is None else np.asarray(weight, np.float64)
    residuals = np.clip(np.asarray(residual, np.float64), -_HUGE, _HUGE)
    usable = np.isfinite(inputs).all(axis=1) & np.isfinite(residuals) & np.isfinite(others)
    usable &= np.isfinite(sizes) & (sizes > 0) & (counts > 0)
    inputs, residuals, sizes, others, counts = (
        array[usable] for array in (inputs, residuals, sizes, others, counts)
    )
    start, allowed = 0.0, _FACTOR
    amplitudes = amplitudes or (_CORRECTIONS if correction else _ERRORS)
    if not correction:
        allowed = _CONSTANT
        if len(residuals):
            size = 1.4826 * np.median(np.abs(residuals))
            start = float(np.log(size)) if size > 0 else 0.0
    best, bases = None, bases or Bases()
    for length in _LENGTH_SCALES if len(inputs) else _LENGTH_SCALES[:1]:
        basis = bases(inputs, length)
        gram = None if others.any() else basis.gram(counts)
        number = len(basis.points)
        # Each amplitude's search begins at the f that the one before has found.
        found = np.r_[start, np.zeros(number)]
        for amplitude in amplitudes:
            scales = np.r_[1.0, np.full(number, amplitude)]
            prior = np.r_[allowed, np.ones(number)]
            mean, root, evidence = _laplace(
                basis.design, scales, residuals, sizes, others, counts, start, prior, gram,
                found / scales,
            )  # fmt: skip
            found = mean * scales
            if best is None or evidence > best[0] + 1e-6:
                best = evidence, basis, mean, root, length, amplitude
    assert best is not None
    _, basis, mean, root, length, amplitude = best
    factor = amplitude * basis.factor
    return ScaleProcess(
        scaling, basis.points, factor, mean, root, length, amplitude, len(residuals)
    )


def _laplace(
    design: Array,
    size: Array,
    residual: Array,
    base: Array,
    known: Array,
    weight: Array,
    start: float,
    prior: Array,
    gram: Array | None,
    first: Array,
) -> tuple[Array, Array, float]:
    """Posterior mode, root of its covariance, and the logarithm of the evidence.

    `design` (n, p) times `size` (p,) times weights is f; `prior` (p,) are the weights' standard
    deviations about (start, 0, ...). `gram` (p, p) is design' weight design where nothing is
    `known`: then the curvature of every residual is the same for every f. The search begins at the
    weights `first` (p,).
    """
    p = design.shape[1]
    centre = np.zeros(p)
    centre[0] = start
    mean = first
    penalty = np.diag(prior**-2.0)

    def at(value: Array) -> tuple[float, Array, Array]:
        """The objective, and of each residual slope and curvature by f."""
        log_likelihood, slope, curvature = _likelihood(
            design @ (size * value), residual, base, known
        )
        less = 0.5 * ((value - centre) ** 2 / prior**2).sum()
        return float(weight @ log_likelihood - less), slope, curvature

    def hessian_at(curvature: Array) -> Array:
        if gram is not None:
            return size[:, None] * (4.0 * _FISHER * gram) * size + penalty
        product = (design * (weight * curvature)[:, None]).T @ design
        return size[:, None] * product * size + penalty

    current, slope, curvature = at(mean)
    for _ in range(_MAX_STEPS):
        gradient = size * (design.T @ (weight * slope)) - penalty @ (mean - centre)
        step = np.linalg.solve(hessian_at(curvature), gradient)
        if gradient @ step < 1e-8:
            break
        share = 1.0
        while share > 1e-4:
            trial, *there = at(mean + share * step)
            if trial >= current:
                break
            share *= 0.5
        else:
            break
        mean = mean + share * step
        current, (slope, curvature) = trial, there
    factor = np.linalg.cholesky(hessian_at(curvature))
    root = solve_triangular(factor, np.eye(p), lower=True).T
    evidence = current - np.log(np.diag(factor)).sum() - np.log(prior).sum()
    return mean, root, float(evidence)


def _likelihood(f: Array, residual: Array, base: Array, known: Array) -> tuple[Array, Array, Array]:
    """ln p (n,) of the residuals, its derivative by f, and the expected (Fisher) curvature."""
    share = np.exp(2.0 * np.clip(f, -30.0, 30.0)) * base**2
    variance = share + known**2
    # Student's t, scaled so that for normal residuals its maximum likelihood gives their standard
    # deviation.
    scale = NORMAL_SCALE**2 * variance
    ratio = residual**2 / (FREEDOM * scale)
    value = -0.5 * np.log(scale) - 0.5 * (FREEDOM + 1) * np.log1p(ratio)
    by_log_variance = 0.5 * ((FREEDOM + 1) * ratio / (1 + ratio) - 1)
    slope = 2.0 * share / variance  # d ln variance / d f
    return value, by_log_variance * slope, _FISHER * slope**2


def write_process(group: h5py.Group, process: ScaleProcess) -> None:
    """Write a process into an HDF5 group."""
    for part in fields(Scaling):
        value: Any = getattr(process.scaling, part.name)
        if part.name == "names":
            value = np.array(value, "S")
        group.create_dataset(f"scaling/{part.name}", data=value, track_times=False)
    for part in fields(ScaleProcess):
        if part.name != "scaling":
            group.create_dataset(part.name, data=getattr(process, part.name), track_times=False)


_LIMITS = ("centre", "width", "low", "high")
_LAYOUT = {
    "scaling/names": Layout(("label",), "S"),
    "scaling/with_snr": Layout((), "?"),
    **{f"scaling/{name}": Layout(("input",), "f8") for name in _LIMITS},
    "points": Layout(("point", "input"), "f8"),
    "factor": Layout(("point", "point"), "f8"),
    "mean": Layout(("term",), "f8"),
    "root": Layout(("term", "term"), "f8"),
    "length_scale": Layout((), "f8", (float(np.finfo(np.float32).tiny), np.inf)),
    "amplitude": Layout((), "f8", (float(np.finfo(np.float32).tiny), 1e6)),
    "n": Layout((), "i8"),
}


def read_process(group: h5py.Group) -> ScaleProcess:
    """The process that `write_process` wrote; `ValueError` where the group has none."""
    lengths: dict[str, int] = {}
    values: dict[str, Any] = read_arrays(group, _LAYOUT, lengths)
    names = tuple(name.decode() for name in values["scaling/names"])
    with_snr = bool(values["scaling/with_snr"])
    if lengths["input"] != len(names) + with_snr or lengths["term"] != lengths["point"] + 1:
        raise ValueError("the arrays of a process do not fit each other")
    if not np.diagonal(values["factor"]).all():
        raise ValueError("factor is singular")
    return ScaleProcess(
        Scaling(names, with_snr, *(values[f"scaling/{name}"] for name in _LIMITS)),
        points=values["points"],
        factor=values["factor"],
        mean=values["mean"],
        root=values["root"],
        length_scale=float(values["length_scale"]),
        amplitude=float(values["amplitude"]),
        n=int(values["n"]),
    )
