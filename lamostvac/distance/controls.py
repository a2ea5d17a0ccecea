"""Choice of control stars: stars of little extinction that others are compared with."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lamostvac.distance.band_fit import nearest_semidefinite
from lamostvac.distance.settings import StarPairs
from lamostvac.distance.star_pairs import (
    Array,
    Controls,
    LocalFits,
    by_place,
    explained,
    intrinsic_colours,
    of_local_fits,
    scatter_matrices,
    usable_magnitudes,
)


def choose_controls(
    magnitudes: Array,
    errors: Array,
    labels: Array,
    label_errors: Array,
    star: NDArray[np.int64],
    quality: Array,
    candidate: NDArray[np.bool_],
    coefficients: Array,
    reference: int,
    settings: StarPairs,
    map_ebv: Array | None = None,
    map_error: Array | None = None,
    iterations: int = 8,
) -> tuple[Controls, NDArray[np.int64]]:
    """The stars of little extinction that others are compared with.

    With a map, candidates are stars with a map's E(B-V) below `max_ebv`, and that E(B-V) is
    subtracted from their colours: the zero point is the map's. Without a map, all candidates begin
    as controls without dust. Those that are redder than others of similar labels by more than
    `max_ebv` and twice the error are then dropped, until there are no more of them. The least
    reddened stars of each kind remain, and their mean E(B-V) is `zero_point` by definition. In both
    cases stars beyond `clip` standard deviations are dropped: binaries and stars with wrong labels.

    The E(B-V) of the controls scatters, by errors of the map or by dust of their own
    (`control_scatter`, which must be guessed). This is not scatter of intrinsic colours at given
    labels and adds nothing to the errors of other stars' E(B-V), so its variance is subtracted.

    Parameters
    ----------
    magnitudes, errors, labels, label_errors, star, coefficients : as in `star_pair_reddening`,
        (n, ...)
    quality : (n,) the spectrum with the highest value represents a star, and the best candidates
        are kept when there are too many
    candidate : (n,) stars that may be controls: high Galactic latitude, good spectrum
    reference : column of the band that colours are relative to; controls have it
    map_ebv, map_error : (n,) NaN where unknown; None without a map

    Returns
    -------
    controls, and their rows (m,)
    """
    seen, variance = usable_magnitudes(magnitudes, errors)
    good = candidate & np.isfinite(labels).all(axis=1) & np.isfinite(seen[:, reference])
    good &= np.isfinite(seen).sum(axis=1) > settings.min_colours
    dust = np.full(len(labels), settings.zero_point)
    dust_error = np.full(len(labels), settings.control_scatter)
    with_map = map_ebv is not None and bool(np.isfinite(map_ebv[good]).any())
    if map_ebv is not None and with_map:
        with np.errstate(invalid="ignore"):
            good &= map_ebv < settings.max_ebv
        dust = map_ebv
        dust_error = np.nan_to_num(map_error) if map_error is not None else np.zeros(len(labels))
    rows = np.flatnonzero(good)
    rows = rows[np.lexsort((rows, -np.nan_to_num(quality[rows], nan=-1.0)))]
    rows = rows[np.unique(star[rows], return_index=True)[1]]
    rows = np.sort(
        rows[np.lexsort((rows, -np.nan_to_num(quality[rows], nan=-1.0)))][: settings.max_controls]
    )
    # Neighbours stand together, so that stars of like labels read the same piece of memory.
    rows = rows[by_place(labels[rows])]
    colours = seen[rows] - dust[rows, None] * coefficients[rows]
    colours = colours - colours[:, [reference]]
    everyone = _plain(
        labels[rows], label_errors[rows], colours, variance[rows], star[rows], reference
    )
    # Change of the colours by one standard deviation of dust.
    dusty = dust_error[rows, None] * (coefficients[rows] - coefficients[rows][:, [reference]])
    kept = np.ones(len(rows), bool)
    controls, local = _measured(everyone, kept, dusty, settings)
    for _ in range(iterations):
        found = of_local_fits(
            colours, np.sqrt(variance[rows]), everyone.label_errors, coefficients[rows], local, controls,
            settings,
        )  # fmt: skip
        with np.errstate(invalid="ignore"):
            limit = settings.clip * found.error
            upper = (
                limit
                if with_map
                else np.minimum(limit, np.maximum(settings.max_ebv, 2 * found.error))
            )
            now = (found.ebv < upper) & (found.ebv > -limit)
        # Candidates for which no fit was possible are kept.
        now |= ~np.isfinite(found.ebv)
        if (now == kept).all():
            break
        before, kept = (kept, local), now
        controls, local = _measured(everyone, kept, dusty, settings, before)
    return controls, rows[kept]


def _plain(
    labels: Array,
    errors: Array,
    colours: Array,
    variance: Array,
    star: NDArray[np.int64],
    reference: int,
) -> Controls:
    """Controls whose scatter has not been measured yet."""
    n_bands = colours.shape[1]
    none = np.zeros((1, n_bands, n_bands))
    cell = np.zeros(len(labels), np.int64)
    return Controls(
        labels,
        errors,
        colours,
        variance,
        star,
        reference,
        cell,
        np.zeros((1, 3, n_bands, n_bands)),
        none,
        none,
    )


def cells_of(labels: Array, size: int = 250) -> NDArray[np.int64]:
    """Groups of near points (m, 3), halved at the median of the widest axis down to `size` each."""
    cell = np.zeros(len(labels), np.int64)
    waiting, made = [np.arange(len(labels))], 0
    while waiting:
        rows = waiting.pop()
        if len(rows) <= size:
            cell[rows] = made
            made += 1
            continue
        widest = int(np.argmax(np.ptp(labels[rows], axis=0)))
        order = rows[np.argsort(labels[rows, widest], kind="stable")]
        waiting += [order[: len(order) // 2], order[len(order) // 2 :]]
    return cell


def _fitted(
    everyone: Controls,
    kept: NDArray[np.bool_],
    plain: Controls,
    settings: StarPairs,
    before: tuple[NDArray[np.bool_], LocalFits] | None,
) -> LocalFits:
    """Fits of everyone to the controls `plain`, which are those of everyone that are `kept`.

    A fit `before`, to those kept then, stands where no control within its reach came or went.
    """
    if before is None:
        return intrinsic_colours(everyone.labels, everyone.star, plain, settings)
    was, local = before
    changed = cKDTree(everyone.labels[was != kept])
    near = changed.query(everyone.labels, distance_upper_bound=settings.max_distance)[0]
    rows = np.flatnonzero(near <= local.reach)
    again = intrinsic_colours(everyone.labels[rows], everyone.star[rows], plain, settings)
    # The row of the nearest control among those that are kept now.
    number = np.cumsum(kept) - 1
    local = local._replace(nearest=number[np.flatnonzero(was)[local.nearest]])
    for values, new in zip(local, again, strict=True):
        values[rows] = new
    return local


def _measured(
    everyone: Controls,
    kept: NDArray[np.bool_],
    dusty: Array,
    settings: StarPairs,
    before: tuple[NDArray[np.bool_], LocalFits] | None = None,
) -> tuple[Controls, LocalFits]:
    """Some of the controls, with the scatter of their colours about the fit to the others, by cell;
    and the fits to them of everyone, kept or not. What was kept, and those fits, in the round
    `before` are used again where they are the same.

    `dusty` (m, bands) is the change of colours by one standard deviation of the controls' own
    E(B-V).
    """
    dusty = dusty[kept]
    labels, errors = everyone.labels[kept], everyone.label_errors[kept]
    colours, variance = everyone.colours[kept], everyone.variance[kept]
    plain = _plain(labels, errors, colours, variance, everyone.star[kept], everyone.reference)
    local = _fitted(everyone, kept, plain, settings, before)
    fitted, slopes, leverage = (part[kept] for part in local[:3])
    # A residual includes the error of the fit.
    residual = (colours - fitted) / np.sqrt(1 + np.nan_to_num(leverage))[:, None]
    slopes = np.nan_to_num(slopes)
    cell = cells_of(labels)
    n_cells, n_bands = int(cell.max(initial=0)) + 1, colours.shape[1]
    gradient = np.zeros((n_cells, 3, n_bands, n_bands))
    intrinsic, total = np.zeros((2, n_cells, n_bands, n_bands))
    diagonal = np.arange(n_bands)
    by_cell = np.split(np.argsort(cell, kind="stable"), np.cumsum(np.bincount(cell))[:-1])
    for number, there in enumerate(by_cell):
        for label in range(3):
            slope = slopes[there, :, label]
            gradient[number, label] = slope.T @ slope / max(len(slope), 1)
        expected = dusty[there][:, :, None] * dusty[there][:, None, :]
        expected += np.nan_to_num(variance[there, everyone.reference])[:, None, None]
        expected[:, diagonal, diagonal] += np.nan_to_num(variance[there])
        total[number], left = scatter_matrices(residual[there], expected)
        from_labels = np.einsum("ml,lbc->bc", errors[there] ** 2, gradient[number]) / max(
            len(there), 1
        )
        share = explained(left, from_labels)
        gradient[number] *= share
        intrinsic[number] = nearest_semidefinite(left - share * from_labels)
    return replace(plain, cell=cell, gradient=gradient, intrinsic=intrinsic, total=total), local
