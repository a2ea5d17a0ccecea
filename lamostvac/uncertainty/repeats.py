"""Pairs of spectra of the same star from different nights, which show random errors.

The choice of pairs does not depend on labels, so it cannot depend on their errors. Pairs follow
from the content of the rows, whatever their order and however a release was cut into chunks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamostvac.external.match import STAR_RADIUS, group_stars

RADIUS = STAR_RADIUS
# Each spectrum of a star observed often is compared with this many of the following ones only, so
# that a few stars do not dominate.
FOLLOWING = 4
# No star counts for more than this many independent differences.
_STAR_WEIGHT = 3.0


class Alike(NamedTuple):
    """S/N of two spectra is alike: the lower, in a band, is at least 1 - tolerance of the higher."""

    snr_band: str
    tolerance: float


@dataclass(frozen=True)
class RepeatPairs:
    """Pairs of spectra of one star with similar S/N.

    Attributes
    ----------
    earlier, later : (m,) int64 row numbers, by night
    snr : (m,) mean S/N of the two
    weight : (m,) number of independent differences that the pair is worth, at most 1; a star's
        weights add up to at most 3
    """

    earlier: NDArray[np.int64]
    later: NDArray[np.int64]
    snr: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.earlier)

    def residual(self, value: ArrayLike) -> NDArray[np.float64]:
        """Later minus earlier label over sqrt 2 (m,), for a label (n,): a spectrum's random
        error.
        """
        label = np.asarray(value)
        return (label[self.later].astype(np.float64) - label[self.earlier]) / np.sqrt(2)

    def sample(self, most: int, identity: ArrayLike) -> "RepeatPairs":
        """At most `most` of the pairs, in their order.

        The choice follows from the names of their spectra, not from the order of rows.

        Parameters
        ----------
        identity : (n,) `spectra.names.fingerprint` of the spectra's names
        """
        if len(self) <= most:
            return self
        name = np.asarray(identity)
        # Fingerprints are well mixed, so taking the smallest is as good as a random choice; a tie
        # would need two equal fingerprints.
        chosen = np.sort(np.argsort(name[self.earlier] ^ name[self.later], kind="stable")[:most])
        return RepeatPairs(
            self.earlier[chosen], self.later[chosen], self.snr[chosen], self.weight[chosen]
        )


def repeat_pairs(
    ra: ArrayLike, dec: ArrayLike, night: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of spectra of one star from different nights, whatever their S/N.

    Of a star's spectra in the order of nights, each is paired with the following four.

    Parameters
    ----------
    ra, dec : (n,) degrees
    night : (n,) lmjd

    Returns
    -------
    earlier, later : (m,) row numbers
    """
    star, nights = group_stars(ra, dec, RADIUS), np.asarray(night)
    order = np.lexsort((nights, star))
    earlier, later = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for step in range(1, FOLLOWING + 1):
        first, second = order[:-step], order[step:]
        use = (star[first] == star[second]) & (nights[first] != nights[second])
        earlier.append(first[use])
        later.append(second[use])
    return np.concatenate(earlier), np.concatenate(later)


def alike(low: ArrayLike, high: ArrayLike, tolerance: float) -> NDArray[np.bool_]:
    """Where the lower S/N (n,) is positive and below the higher by less than the share
    `tolerance`.
    """
    smaller, larger = np.asarray(low, np.float64), np.asarray(high, np.float64)
    with np.errstate(invalid="ignore"):
        return (smaller > 0) & (smaller >= (1 - tolerance) * larger)


def similar_pairs(
    ra: ArrayLike,
    dec: ArrayLike,
    night: ArrayLike,
    snr: ArrayLike,
    tolerance: float,
    *,
    identity: ArrayLike | None = None,
    star: ArrayLike | None = None,
    following: int = FOLLOWING,
) -> RepeatPairs:
    """Pairs of a star's spectra from different nights with similar S/N (Wang+ 2022 4.1, Liang+ 2024
    4.3).

    Each of a star's spectra, in the order of S/N, is paired with the next `following` ones from
    other nights whose S/N is similar; so a star that has any such pair gives at least one. A star
    with m spectra in pairs counts as min(m - 1, 3) independent differences, shared among its pairs.

    Cost for 11.4 million positions of 7 million stars: 141 s for `group_stars`, 30 s
    (tolerance 0.1) or 43 s (0.2) for the pairs, 2.8 GB at the peak (0.8 GB of it the input), on one
    core of a machine that was not idle.

    Parameters
    ----------
    ra, dec : (n,) degrees
    night : (n,) whole numbers, lmjd
    snr : (n,) S/N; spectra where it is missing or not positive are in no pair
    tolerance : share of the larger S/N within which the smaller one lies: 0.1 Wang+, 0.2 Liang+
    identity : (n,) orders spectra that agree in everything else, for example
        `spectra.names.fingerprint` of their names
    star : (n,) star of each spectrum where it is known already, as by
        `group_stars(ra, dec, RADIUS)`

    Returns
    -------
    RepeatPairs, sorted by star, S/N and night
    """
    nights, noise = np.asarray(night), np.asarray(snr, np.float64)
    stars = group_stars(ra, dec, RADIUS) if star is None else np.asarray(star)
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((noise > 0) & np.isfinite(noise))
    # Most stars have one spectrum; only the others are sorted.
    rows = rows[np.bincount(stars[rows])[stars[rows]] > 1] if len(rows) else rows
    keys = [np.asarray(dec)[rows], np.asarray(ra)[rows], nights[rows], noise[rows], stars[rows]]
    if identity is not None:
        keys.insert(0, np.asarray(identity)[rows])
    rows = rows[np.lexsort(keys)]
    stars, nights, noise = stars[rows], nights[rows], noise[rows]

    n_partners = np.zeros(len(rows), np.int32)
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    active, step = np.arange(len(rows)), 0
    while len(active):
        step += 1
        active = active[active + step < len(rows)]
        # In the order of S/N, after the first that is not similar no other is.
        other = active + step
        near = (stars[active] == stars[other]) & alike(noise[active], noise[other], tolerance)
        active, other = active[near], other[near]
        new = nights[active] != nights[other]
        first.append(active[new])
        second.append(other[new])
        n_partners[active[new]] += 1
        active = active[n_partners[active] < following]
    i, j = np.concatenate(first), np.concatenate(second)
    order = np.lexsort((j, i))
    i, j = i[order], j[order]
    late = nights[i] > nights[j]
    return RepeatPairs(
        np.where(late, rows[j], rows[i]),
        np.where(late, rows[i], rows[j]),
        0.5 * (noise[i] + noise[j]),
        _weights(stars[i], i, j),
    )


def pairs_of_labels(
    columns: Mapping[str, ArrayLike],
    conditions: Mapping[str, Alike],
    identity: ArrayLike | None = None,
) -> dict[str, RepeatPairs]:
    """`similar_pairs` for each label; labels with the same condition share them.

    Parameters
    ----------
    columns : `ra dec lmjd` and the columns of S/N, all (n,)
    conditions : label to how alike two spectra must be
    """
    ra, dec = columns["ra"], columns["dec"]
    star = group_stars(ra, dec, RADIUS)
    found = {
        alike: similar_pairs(
            ra, dec, columns["lmjd"], columns[alike.snr_band], alike.tolerance,
            identity=identity, star=star,
        )
        for alike in dict.fromkeys(conditions.values())
    }  # fmt: skip
    return {label: found[alike] for label, alike in conditions.items()}


def _weights(
    star: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Weight of each pair (m,): the star's independent differences over its number of pairs.

    Parameters
    ----------
    star : (m,) of the pair
    first, second : (m,) spectra of the pair
    """
    if not len(star):
        return np.empty(0)
    _, group, n_pairs = np.unique(star, return_inverse=True, return_counts=True)
    _, at = np.unique(np.concatenate([first, second]), return_index=True)
    n_spectra = np.bincount(np.concatenate([group, group])[at], minlength=len(n_pairs))
    # A star whose spectra fall into separate groups of S/N has fewer pairs than spectra less one.
    independent = np.minimum(np.minimum(n_spectra - 1, n_pairs), _STAR_WEIGHT)
    return (independent / n_pairs)[group]
