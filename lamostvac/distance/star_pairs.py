"""E(B-V) of stars from others of like labels without dust ("star pairs", Yuan, Liu & Xiang 2013).

The colours that a star would have without dust are those of controls (stars of little extinction)
at its labels, by a local linear fit to the nearest controls. E(B-V) follows from how much redder
the star is in all its colours.

Instead of single colours, the magnitudes of all bands minus those of the controls are fitted by
E(B-V) times each band's coefficient plus a free constant, the star's brightness. This is equivalent
to generalised least squares of every colour that the bands can form, with the colours' covariances,
and a missing band does not affect the others.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lamostvac.distance.band_fit import fit_bands, nearest_semidefinite, solved
from lamostvac.distance.settings import StarPairs

Array = NDArray[np.float64]
_BLOCK = 1024  # stars at a time; no result depends on it
_LEAF = 32  # controls in a leaf of the tree: fastest for some forty neighbours
# Of a slope, in units of the summed weights: keeps slopes finite where all controls have one label.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Reddening:
    """E(B-V) of n stars.

    Attributes
    ----------
    ebv, error : (n,) mag; NaN where controls or bands are too few; may be negative
    n_colours : (n,) int, bands used less one; 0 where there is no result
    """

    ebv: Array
    error: Array
    n_colours: NDArray[np.int64]


def scale_labels(
    teff: Array, logg: Array, feh: Array, errors: Array, settings: StarPairs
) -> tuple[Array, Array]:
    """Labels (n, 3), scaled for distances to controls, and their errors; NaN where one is missing.

    `errors` (n, 3) in K, dex, dex. Teff enters by its logarithm.
    """
    scales = np.array([settings.teff_scale, settings.logg_scale, settings.feh_scale])
    with np.errstate(invalid="ignore", divide="ignore"):
        labels = np.column_stack([np.log(np.where(teff > 0, teff, np.nan)), logg, feh]) / scales
        relative = np.column_stack([errors[:, 0] / teff, errors[:, 1], errors[:, 2]]) / scales
    bad = ~(
        np.isfinite(labels).all(axis=1)
        & np.isfinite(relative).all(axis=1)
        & (relative >= 0).all(axis=1)
    )
    labels, relative = labels.astype(np.float64), relative.astype(np.float64)
    labels[bad] = relative[bad] = np.nan
    return labels, relative


@dataclass(frozen=True)
class Controls:
    """Stars of known, little extinction.

    Attributes
    ----------
    labels, label_errors : (m, 3) scaled
    colours : (m, bands) magnitude less that of the reference band, without dust; NaN where missing
    variance : (m, bands) of the magnitudes; NaN where missing
    star : (m,) number of the star, each once
    reference : the reference band's column
    cell : (m,) the group of similar controls that each belongs to; the arrays below have one entry
        per cell
    gradient : (cells, 3, bands, bands) mean product of the colours' slopes with each label: the
        contribution of that label's variance to the colours' covariance, reduced where the scatter
        shows that the label errors are too large
    intrinsic : (cells, bands, bands) covariance of the colours at given labels, beyond errors
    total : (cells, bands, bands) covariance of the controls' residuals, errors included
    """

    labels: Array
    label_errors: Array
    colours: Array
    variance: Array
    star: NDArray[np.int64]
    reference: int
    cell: NDArray[np.int64]
    gradient: Array
    intrinsic: Array
    total: Array

    @cached_property
    def tree(self) -> cKDTree:
        """The controls by their labels."""
        return cKDTree(self.labels, _LEAF)

    @cached_property
    def seen(self) -> Array:
        """Which bands each control has, and its colours with 0 for those missing (m, 2 bands): one
        read of memory for each neighbour.
        """
        here = np.isfinite(self.colours)
        return np.hstack([here, np.where(here, self.colours, 0.0)])


class LocalFits(NamedTuple):
    """Colours of n stars by linear fits to the controls nearest to each.

    Attributes
    ----------
    colours : (n, bands), NaN where fewer than `min_controls` controls with the band are near
    slopes : (n, bands, 3) their change with the scaled labels
    leverage : (n,) variance of the fit over that of a single control
    nearest : (n,) row of the nearest control, 0 where none is near
    reach : (n,) no control farther than this has a part in the fit
    """

    colours: Array
    slopes: Array
    leverage: Array
    nearest: NDArray[np.int64]
    reach: Array


def intrinsic_colours(
    labels: Array, star: NDArray[np.int64], controls: Controls, settings: StarPairs
) -> LocalFits:
    """Colours of stars with scaled labels (n, 3) by a linear fit to the controls nearest to each.

    Weights fall to zero at the farthest control (tricube). A star is not used as its own control.
    """
    n, n_bands = len(labels), controls.colours.shape[1]
    colours, slopes = np.full((n, n_bands), np.nan), np.full((n, n_bands, 3), np.nan)
    leverage, nearest, reach = np.full(n, np.nan), np.zeros(n, np.int64), np.full(n, np.inf)
    m = len(controls.labels)
    rows = np.flatnonzero(np.isfinite(labels).all(axis=1))
    if m < settings.min_controls or not len(rows):
        return LocalFits(colours, slopes, leverage, nearest, reach)
    # One more: the star itself may be among them, and the farthest has weight 0.
    k = min(settings.n_controls + 2, m)
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        # With k as a list the result has two dimensions even for one neighbour.
        asked = controls.tree.query(
            labels[part], k=list(range(1, k + 1)), distance_upper_bound=settings.max_distance
        )
        distance, near = np.asarray(asked[0]), np.asarray(asked[1])
        found = np.isfinite(distance)
        near = np.where(found, near, 0)
        nearest[part] = near[:, 0]
        usable = found & (controls.star[near] != star[part, None])
        # Where fewer than k are near, the radius is the largest distance.
        far = np.where(found[:, -1], distance[:, -1], settings.max_distance)
        reach[part] = far = np.maximum(far, 1e-9) * (1 + 1e-6)
        share = np.where(usable, distance / far[:, None], 1.0)
        weight = np.clip(1 - share * share * share, 0, None)
        weight *= weight * weight
        away = controls.labels[near] - labels[part, None]
        products = np.empty((len(part), k, len(_PRODUCTS)))
        products[:, :, 0] = 1
        products[:, :, 1:4] = away
        for number, (one, other) in enumerate(_PRODUCTS[4:], start=4):
            np.multiply(away[:, :, one - 1], away[:, :, other - 1], out=products[:, :, number])
        seen = controls.seen[near]
        enough = (usable[:, None, :].astype(np.float64) @ seen[:, :, :n_bands])[:, 0]
        weighted = weight[:, :, None] * products
        # The last axis is the star's, as in band_fit.
        sums = np.ascontiguousarray((seen.transpose(0, 2, 1) @ weighted).transpose(2, 1, 0))
        normal, right = _symmetric(sums[:, :n_bands]), sums[:4, n_bands:]
        total = sums[0, :n_bands]
        fitted = (enough.T >= settings.min_controls) & (total > 0)
        for slope in (1, 2, 3):
            normal[slope, slope] += total * _RIDGE
        normal[:, :, ~fitted] = np.eye(4)[:, :, None]
        # All controls have the reference band.
        reference = normal[:, :, controls.reference].copy()
        solution = solved(normal.reshape(4, 4, -1), right.reshape(4, 1, -1)).reshape(4, n_bands, -1)
        colours[part] = np.where(fitted, solution[0], np.nan).T
        slopes[part] = np.where(fitted, solution[1:], np.nan).T
        unit = np.zeros((4, 1, len(part)))
        unit[0] = 1
        first = solved(reference, unit)[:, 0]
        squares = _symmetric(((weight**2)[:, None, :] @ products)[:, 0].T)
        variance = np.einsum("in,ijn,jn->n", first, squares, first)
        leverage[part] = np.where(fitted[controls.reference], variance, np.nan)
    return LocalFits(colours, slopes, leverage, nearest, reach)


# What is different among the products of 1 and the three labels.
_PRODUCTS = [(one, other) for one in range(4) for other in range(one, 4)]


def _symmetric(products: Array) -> Array:
    """Matrices (4, 4, ...) from their `_PRODUCTS` (10, ...)."""
    matrix = np.empty((4, 4, *products.shape[1:]))
    for values, (one, other) in zip(products, _PRODUCTS, strict=True):
        matrix[one, other] = matrix[other, one] = values
    return matrix


def solve_reddening(
    magnitudes: Array,
    colours: Array,
    covariance: Array,
    coefficients: Array,
    settings: StarPairs,
) -> Reddening:
    """E(B-V) by generalised least squares over all colours of each star.

    Minimises (y - c - R E)^T C^-1 (y - c - R E) over E and the constant c, with y the magnitudes
    less the colours without dust. A band that deviates from the prediction of the others by more
    than `clip` standard deviations is left out, the worst one first, two at most.

    Parameters
    ----------
    magnitudes, colours, coefficients : (n, bands); NaN where missing
    covariance : (n, bands, bands) of magnitudes less colours, positive definite on the bands
        present
    """
    design = np.stack([np.ones(coefficients.shape), coefficients], axis=2)
    found = fit_bands(
        magnitudes - colours, design, covariance, settings.clip, min_bands=settings.min_colours + 1
    )
    return Reddening(found.values[:, 1], found.errors[:, 1], np.maximum(found.n_bands - 1, 0))


def _covariance(
    variance: Array,
    label_errors: Array,
    leverage: Array,
    cell: NDArray[np.int64],
    controls: Controls,
) -> Array:
    """Covariance (n, bands, bands) of magnitudes less dust-free colours; diagonal NaN if missing.

    Slopes are those of the cell: a star's own slopes are noisy, and least squares would put too
    much weight on colours whose slopes are small by chance. It is a view of an array (bands, bands,
    n); fastest where stars of a cell stand together.
    """
    n_bands = variance.shape[1]
    total = np.empty((n_bands * n_bands, len(variance)))
    factors = np.column_stack(
        [label_errors**2, np.ones(len(variance)), np.nan_to_num(leverage)]
    ).T  # (5, n)
    order = np.argsort(cell, kind="stable")
    limits = np.flatnonzero(np.diff(cell[order], prepend=-1, append=-1))
    for start, stop in itertools.pairwise(limits):
        rows, number = order[start:stop], cell[order[start]]
        parts = np.vstack(
            [controls.gradient[number], controls.intrinsic[[number]], controls.total[[number]]]
        )
        total[:, rows] = parts.reshape(5, -1).T @ factors[:, rows]
    covariance = total.reshape(n_bands, n_bands, -1)
    diagonal = np.arange(n_bands)
    covariance[diagonal, diagonal] += variance.T
    return np.moveaxis(covariance, -1, 0)


def star_pair_reddening(
    magnitudes: Array,
    errors: Array,
    labels: Array,
    label_errors: Array,
    star: NDArray[np.int64],
    coefficients: Array,
    controls: Controls,
    settings: StarPairs,
) -> Reddening:
    """E(B-V) of n stars from the controls; see the module.

    The error comprises photometric errors, label errors times the colours' slopes, the controls'
    intrinsic scatter, and the error of the local fit.

    Parameters
    ----------
    magnitudes, errors : (n, bands); a band without a positive error counts as missing
    labels, label_errors : (n, 3) scaled (`scale_labels`)
    star : (n,) numbers of the stars, in the same numbering as the controls' stars
    coefficients : (n, bands) A(band) / E(B-V)
    """
    n = len(magnitudes)
    ebv, error, number = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.int64)
    if not len(controls.labels):
        return Reddening(ebv, error, number)
    together = _by_place(labels, controls)
    for start in range(0, n, _BLOCK):
        rows = together[start : start + _BLOCK]
        local = intrinsic_colours(labels[rows], star[rows], controls, settings)
        found = of_local_fits(
            magnitudes[rows], errors[rows], label_errors[rows], coefficients[rows], local, controls,
            settings,
        )  # fmt: skip
        ebv[rows], error[rows], number[rows] = found.ebv, found.error, found.n_colours
    return Reddening(ebv, error, number)


def of_local_fits(
    magnitudes: Array,
    errors: Array,
    label_errors: Array,
    coefficients: Array,
    local: LocalFits,
    controls: Controls,
    settings: StarPairs,
) -> Reddening:
    """`star_pair_reddening` of n stars with what `intrinsic_colours` found for them, `local`."""
    seen, variance = usable_magnitudes(magnitudes, errors)
    cell = controls.cell[local.nearest]
    covariance = _covariance(variance, label_errors, local.leverage, cell, controls)
    return solve_reddening(seen, local.colours, covariance, coefficients, settings)


def by_place(points: Array) -> NDArray[np.int64]:
    """An order of points (m, 3) in which neighbours follow each other."""
    return np.asarray(cKDTree(points, _LEAF).indices, np.int64)


def _by_place(labels: Array, controls: Controls) -> NDArray[np.int64]:
    """An order of stars (n, 3) in which neighbours follow each other, so that they read the same
    controls and matrices.
    """
    rows = np.flatnonzero(np.isfinite(labels).all(axis=1))
    nearest = np.full(len(labels), -1)
    nearest[rows] = controls.tree.query(labels[rows])[1]
    cell = np.where(nearest < 0, -1, controls.cell[nearest])
    return np.lexsort((nearest, cell))


def usable_magnitudes(magnitudes: Array, errors: Array) -> tuple[Array, Array]:
    """Magnitudes and variances, both NaN where either is missing or the error is not positive."""
    with np.errstate(invalid="ignore"):
        good = np.isfinite(magnitudes) & (errors > 0) & np.isfinite(errors)
    return np.where(good, magnitudes, np.nan), np.where(good, errors, np.nan) ** 2


def scatter_matrices(residuals: Array, expected: Array, limit: float = 5.0) -> tuple[Array, Array]:
    """Second moments (bands, bands) of residuals, and their excess over the expected covariances.

    Values beyond `limit` robust standard deviations of a band are left out; each pair of bands uses
    the stars that have both. The moments are made positive semidefinite.

    Parameters
    ----------
    residuals : (m, bands), NaN where missing
    expected : (m, bands, bands) covariance of each star's residuals from its errors
    """
    n_bands = residuals.shape[1]
    known = np.isfinite(residuals)
    scale = np.array(
        [1.4826 * np.median(np.abs(column[good])) if good.any() else 0.0
         for column, good in zip(residuals.T, known.T, strict=True)]
    )  # fmt: skip
    with np.errstate(invalid="ignore"):
        used = known & (np.abs(residuals) <= limit * np.maximum(scale, 1e-9))
    values, mask = np.where(used, residuals, 0.0), used.astype(np.float64)
    pairs = mask.T @ mask
    counted = np.maximum(pairs, 1)
    moments = np.where(pairs > 1, values.T @ values / counted, 0.0)
    mean = np.einsum("mi,mij,mj->ij", mask, expected, mask) / counted
    left = np.where(pairs > 1, moments - mean, 0.0)
    assert moments.shape == (n_bands, n_bands)
    return nearest_semidefinite(moments), (left + left.T) / 2


def explained(scatter: Array, label_part: Array) -> float:
    """Share, from 0 to 1, of the label errors' contribution (bands, bands) present in the scatter.

    It is measured along the direction in which label errors move the colours most. Without it,
    label errors that are too large would make those of E(B-V) too large.
    """
    values, vectors = np.linalg.eigh(label_part)
    if not len(values) or values[-1] <= 0:
        return 1.0
    return float(np.clip(vectors[:, -1] @ scatter @ vectors[:, -1] / values[-1], 0, 1))
