"""Matches spectra with the entries of a catalogue, and groups spectra of the same star.

Positions are matched as unit vectors in a k-d tree, so neither the poles nor right ascension 0 are
special. No result depends on the order of the rows: ties are decided by the rows' content.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lamostvac.external.sky import ARCSEC, unit_vectors

STAR_RADIUS = 3.0
"""Spectra within this are of one star, arcsec; the fibre's diameter is 3.3."""
_BLOCK = 1_000_000  # positions in a tree at a time; no result depends on it


def _chord(radius: float) -> float:
    return 2 * np.sin(radius * ARCSEC / 2)


def sky_pairs(
    ra: ArrayLike, dec: ArrayLike, other_ra: ArrayLike, other_dec: ArrayLike, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs closer than `radius` arcsec between two lists of positions in degrees.

    Positions that are not finite match nothing.

    Returns
    -------
    first, second : (m,) row numbers in either list, unordered
    separation : (m,) arcsec
    """
    vectors, others = unit_vectors(ra, dec), unit_vectors(other_ra, other_dec)
    usable = np.flatnonzero(np.isfinite(others).all(axis=1))
    rows = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    if len(usable) and len(rows):
        tree = cKDTree(others[usable], balanced_tree=False, compact_nodes=False)
        # Slightly wider: pairs at the limit are decided below, by a single formula.
        reach = _chord(radius) * (1 + 1e-9)
        for start in range(0, len(rows), _BLOCK):
            part = rows[start : start + _BLOCK]
            block = cKDTree(vectors[part], balanced_tree=False, compact_nodes=False)
            pairs = block.sparse_distance_matrix(tree, reach, output_type="ndarray")
            first.append(part[pairs["i"]])
            second.append(usable[pairs["j"]])
    i, j = np.concatenate(first), np.concatenate(second)
    chord = np.linalg.norm(vectors[i] - others[j], axis=1)
    separation = 2 * np.arcsin(np.minimum(chord / 2, 1)) / ARCSEC
    near = separation <= radius
    return i[near], j[near], separation[near]


def group_stars(
    ra: ArrayLike, dec: ArrayLike, radius: float, same: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Star number of each position: positions within `radius` of each other are one star.

    Stars are connected components: a chain of close positions is one star. Stars are numbered in
    the order of their smallest (ra, dec), so that numbers do not depend on the rows' order.

    Parameters
    ----------
    ra, dec : (n,) degrees, finite
    radius : arcsec
    same : (n,) whole numbers; rows with the same one, unless negative, are one star wherever they
        lie

    Returns
    -------
    (n,) int64 from 0
    """
    positions = np.column_stack([np.asarray(ra, np.float64) % 360, np.asarray(dec, np.float64)])
    if not len(positions):
        return np.empty(0, np.int64)
    # Repeated observations mostly have exactly the same position; the tree holds each once. -0.0 is
    # 0.0.
    places, node = _different(positions + 0.0)
    first, second, _ = sky_pairs(places[:, 0], places[:, 1], places[:, 0], places[:, 1], radius)
    links = [(first, second)]
    if same is not None:
        names = np.asarray(same)
        order = np.argsort(names, kind="stable")
        order = order[names[order] >= 0]
        joined = names[order][1:] == names[order][:-1]
        links.append((node[order[:-1]][joined], node[order[1:]][joined]))
    i, j = (np.concatenate(side) for side in zip(*links, strict=True))
    graph = coo_array((np.ones(len(i), np.int8), (i, j)), shape=(len(places), len(places)))
    component = connected_components(graph.tocsr(), directed=False)[1]
    # `places` is sorted, so a component's first row is its smallest position.
    first_of = np.empty(int(component.max()) + 1, np.int64)
    first_of[component[::-1]] = np.arange(len(component))[::-1]
    rank = np.empty(len(first_of), np.int64)
    rank[np.argsort(first_of)] = np.arange(len(first_of))
    return rank[component[node]]


def _different(positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The different rows (m, 2) of positions (n, 2) in their order, and which of them each is (n,).

    As `np.unique` of rows, which compares structures and takes several times as long.
    """
    order = np.lexsort((positions[:, 1], positions[:, 0]))
    ordered = positions[order]
    new = np.ones(len(ordered), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    node = np.empty(len(ordered), np.int64)
    node[order] = np.cumsum(new) - 1
    return ordered[new], node


def match_sky(
    ra: ArrayLike,
    dec: ArrayLike,
    other_ra: ArrayLike,
    other_dec: ArrayLike,
    radius: float,
    *,
    magnitude: ArrayLike | None = None,
    repeat_radius: float = 1.0,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The catalogue's star (`other`) for each position, one to one.

    A position gets the nearest star within `radius`; of equally near ones the brighter; of equally
    bright ones the earlier row of the catalogue (`canonical_order` gives it an order that depends
    on its content). A star is matched to one position and that position's repeats (positions within
    `repeat_radius` of each other, `group_stars`): of two different positions near one star the
    nearer gets it, and the other gets the next nearest star that is free, or none.

    Cost for 11.4 million positions of 7 million stars against a catalogue of 1 million, with 1.5
    million matches: 40 s on one core of the development machine, 1.5 GB at the peak (0.7 GB of it
    the positions). `group_stars` of all 11.4 million takes 77 s and 4 GB, so only positions that
    compete for a star are grouped here.

    Parameters
    ----------
    ra, dec : (n,) degrees
    other_ra, other_dec : (m,) degrees at the same epoch
    radius, repeat_radius : arcsec
    magnitude : (m,) of the stars; NaN counts as faintest

    Returns
    -------
    star : (n,) int64 row of the catalogue, -1 where none
    separation : (n,) arcsec, NaN where none
    """
    ra, dec = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
    star = np.full(len(ra), -1, np.int64)
    apart = np.full(len(ra), np.nan)
    first, second, separation = sky_pairs(ra, dec, other_ra, other_dec, radius)
    if not len(first):
        return star, apart
    brightness = np.zeros(len(first))
    if magnitude is not None:
        brightness = np.asarray(magnitude, np.float64)[second]
        brightness = np.where(np.isfinite(brightness), brightness, np.inf)
    # The last keys are for pairs of one star with several positions.
    order = np.lexsort((dec[first], ra[first], second, brightness, separation))
    first, second, separation = first[order], second[order], separation[order]

    # Pairs without competition on either side are matches.
    alone = (np.bincount(first, minlength=len(ra))[first] == 1) & (np.bincount(second)[second] == 1)
    star[first[alone]], apart[first[alone]] = second[alone], separation[alone]
    first, second, separation = first[~alone], second[~alone], separation[~alone]
    rows = np.unique(first)
    group = np.full(len(ra), -1, np.int64)
    group[rows] = group_stars(ra[rows], dec[rows], repeat_radius)
    owner: dict[int, int] = {}
    taken: dict[int, int] = {}
    for pair, (i, j, g) in enumerate(
        zip(first.tolist(), second.tolist(), group[first].tolist(), strict=True)
    ):
        if i not in taken and owner.setdefault(j, g) == g:
            taken[i] = pair
    chosen = np.fromiter(taken.values(), np.int64, len(taken))
    star[first[chosen]], apart[first[chosen]] = second[chosen], separation[chosen]
    return star, apart


def match_identifiers(ids: ArrayLike, other: ArrayLike) -> NDArray[np.int64]:
    """Row of the catalogue (`other`, (m,)) with the same integer for each of `ids` (n,), or -1.

    Negative numbers are no identifiers. Of several rows with one number the first is taken.
    """
    wanted, known = np.asarray(ids, np.int64), np.asarray(other, np.int64)
    rows = np.flatnonzero(known >= 0)
    order = rows[np.argsort(known[rows], kind="stable")]
    if not len(order):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(known[order], wanted), len(order) - 1)
    return np.where((known[order[at]] == wanted) & (wanted >= 0), order[at], -1)


def canonical_order(table: pd.DataFrame, first: Sequence[str] = ()) -> NDArray[np.int64]:
    """Row numbers in an order that depends on the rows' content only.

    Rows are sorted by the columns `first`, then by a hash of the whole row; rows with the same
    content are interchangeable.
    """
    if not len(table):
        return np.empty(0, np.int64)
    content = np.asarray(pd.util.hash_pandas_object(table, index=False))
    keys = [np.asarray(table[name]) for name in first]
    keys = [key.astype(str) if key.dtype.kind == "O" else key for key in keys]
    return np.asarray(np.lexsort((content, *reversed(keys))), np.int64)
