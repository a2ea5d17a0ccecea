"""Which stars have few of their kind among those that a source learned from.

A network answers every spectrum, and a relation between two scales goes on beyond the stars that it
was fitted to; neither its error nor a comparison with another network of the same training stars
tells. The number of training stars that are like a star does. Stars are compared by the labels of
the first emulator, which learned from others: the answer of a source without a star's kind lies
near the stars that it has, so its own labels do not tell either. Of the first emulator itself its own
library's stars are counted.

What is known of a source at such stars (an offset from another scale, say) is known beyond them as
the value of a Gaussian process of zero mean: with the correlation r of the two places it counts r
times, and 1 - r^2 of the process's variance is left. All of this is ours, not of a paper
(docs/recommended.md).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lamostvac.core.vocabulary import LABELS as EMULATOR_LABELS
from lamostvac.recommend.definitions import Columns, Definition, number

Array = NDArray[np.float64]
LABELS = ("teff", "logg", "feh")  # the first emulator's
# Stars are alike within one step in 5040 K/Teff, log g and [Fe/H] together.
STEPS = np.array([0.1, 0.5, 0.3])
ENOUGH = 5  # stars of a kind
# With weights that fall to 0 at the next star, as many as count like `ENOUGH` with equal weights:
# 1 - x^2 has (mean)^2 / mean square = 0.7 where stars are evenly spread in three dimensions.
NEIGHBOURS = 7


def places_of(columns: Columns) -> Array:
    """Where stars are (n, 3), in steps; NaN where the first emulator has no labels."""
    teff, logg, feh = (number(columns, name) for name in LABELS)
    theta = 5040.0 / np.where(teff > 0, teff, np.nan)
    found = np.stack([theta, logg, feh], axis=1) / STEPS
    return np.where(np.isfinite(found).all(axis=1)[:, None], found, np.nan)


@dataclass(frozen=True)
class KnownStars:
    """The stars that a source learned from.

    Attributes
    ----------
    places : (m, 3) of `places_of`, a row for each star
    labels : (m,) the first emulator's label, NaN where it has none
    star : (m,) the star's number in its training set, ascending
    """

    places: Array
    labels: Array
    star: NDArray[np.int64]

    @classmethod
    def of(cls, columns: Columns, label: str, star: NDArray[np.int64]) -> "KnownStars":
        """Of spectra (k,) of training stars: a star has the mean of its spectra."""
        places, labels = places_of(columns), number(columns, label)
        usable = np.isfinite(places).all(axis=1)
        stars, of_star = np.unique(star[usable], return_inverse=True)
        count = np.bincount(of_star)
        values = np.column_stack([places, labels])[usable]
        means = [np.bincount(of_star, column) / count for column in values.T]
        return cls(np.stack(means[:3], axis=1), means[3], stars)

    @classmethod
    def of_library(cls, labels: NDArray[np.floating], label: str) -> "KnownStars":
        """The stars of the first emulator's library by their labels (m, k) in the order of
        `EMULATOR_LABELS`.
        """
        columns = dict(zip(EMULATOR_LABELS, np.asarray(labels, np.float64).T, strict=False))
        places = places_of(columns)
        usable = np.isfinite(places).all(axis=1)
        own = columns[label] if label in columns else np.full(len(places), np.nan)
        return cls(places[usable], own[usable], np.arange(usable.sum()))

    def few(self, places: Array, own: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where fewer than `ENOUGH` other stars are within one step, or the place is unknown.

        Parameters
        ----------
        places : (n, 3)
        own : (n,) the star's number where it is one of these, else -1
        """
        return self._near(places, own, ENOUGH, 1.0)[0][:, -1] < 0

    def nearest(
        self, places: Array, own: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], Array, Array]:
        """The nearest other stars, however far.

        Returns
        -------
        near : (n, `NEIGHBOURS`), -1 where there are none or the place is unknown
        weight : (n, `NEIGHBOURS`) 1 - (distance / that of the star after them)^2, so that nothing
            jumps where another star takes a place among them; 1 where there is no star after them
        distance : (n,) of star number `ENOUGH`, infinite where there are too few
        """
        near, distance = self._near(places, own, NEIGHBOURS + 1, np.inf)
        here, after = distance[:, :-1], distance[:, -1:]
        with np.errstate(invalid="ignore"):
            weight = 1.0 - (here / after) ** 2
        # All at one distance are as good as each other.
        weight[(here[:, 0] >= after[:, 0]) | np.isinf(after[:, 0])] = 1.0
        return near[:, :-1], weight, distance[:, ENOUGH - 1]

    def apart(self, labels: Array, nearest: NDArray[np.int64], weight: Array) -> Array:
        """How far (n,) the label is from those of the `nearest` stars (n, k): a root mean square
        with weights; 0 where nothing is known.
        """
        if not len(self.star):
            return np.zeros(len(labels))
        off = np.where(nearest >= 0, self.labels[nearest] - labels[:, None], np.nan)
        weight = np.where(np.isfinite(off), weight, 0.0)
        total = (weight * np.nan_to_num(off) ** 2).sum(axis=1)
        among = weight.sum(axis=1)
        return np.sqrt(total / np.where(among > 0, among, 1.0))

    def same_stars(self, other: "KnownStars") -> bool:
        """Whether these are the same stars, whatever label is kept of them."""
        return np.array_equal(self.star, other.star) and np.array_equal(self.places, other.places)

    def _near(
        self, places: Array, own: NDArray[np.int64], number_of: int, reach: float
    ) -> tuple[NDArray[np.int64], Array]:
        """The nearest other stars within a reach and their distances, each (n, `number_of`); -1 and
        infinity where there are no more.
        """
        found = np.full((len(places), number_of), -1)
        distance = np.full((len(places), number_of), np.inf)
        asked = np.flatnonzero(np.isfinite(places).all(axis=1))
        if len(self.star) and len(asked):
            near = self._others(places[asked], own[asked], number_of, reach)
            found[asked], distance[asked] = near
        return found, distance

    def _others(
        self, places: Array, own: NDArray[np.int64], number_of: int, reach: float
    ) -> tuple[NDArray[np.int64], Array]:
        """`_near` where there are stars and the places are known."""
        # One more than needed, as the nearest may be the star itself.
        reach = np.nextafter(reach, np.inf)  # which the tree leaves out
        wanted = np.arange(number_of + 1) + 1
        tree = cKDTree(self.places)
        distance, near = map(np.asarray, tree.query(places, k=wanted, distance_upper_bound=reach))
        near[near == len(self.star)] = -1
        mine = np.flatnonzero(own >= 0)
        itself = (near[mine] >= 0) & (self.star[near[mine]] == own[mine, None])
        order = np.argsort(itself, axis=1, kind="stable")  # behind the others
        for found in (near, distance):
            found[mine] = np.take_along_axis(found[mine], order, axis=1)
        return near[:, :number_of], distance[:, :number_of]


@dataclass(frozen=True)
class Support:
    """What the known stars of a source say of others.

    Attributes
    ----------
    few : (n,) fewer than `ENOUGH` others are within a step
    correlation : (n,) of what is known of the source there with the stars': 1 where they are not
        few, exp(-d^2 / 2) where the last of the `ENOUGH` nearest is d steps beyond one step
    missing : (n,) standard deviation of what the source's answer may be off for want of them: it may
        be drawn to the nearest known stars by any part of the way, and all parts are equally likely,
        so it is the root mean square difference of the first emulator's label from those of the
        `NEIGHBOURS` nearest, weighted, over the square root of 3, times sqrt(1 - correlation^2)
    """

    few: NDArray[np.bool_]
    correlation: Array
    missing: Array

    @classmethod
    def everywhere(cls, n: int) -> "Support":
        """That of a source whose stars are not known: it is taken as it stands."""
        return cls(np.zeros(n, bool), np.ones(n), np.zeros(n))


Supports = Mapping[str, Support]  # by source, for those whose stars are known


@dataclass(frozen=True)
class _Searched:
    """What a search among `known` stars gave for stars of the numbers `own` (n,)."""

    known: KnownStars
    own: NDArray[np.int64]
    few: NDArray[np.bool_]
    correlation: Array
    nearest: NDArray[np.int64]  # of those with few
    weight: Array


class Kinds:
    """Stars beside known stars; known stars that several labels share, as those of a training set,
    are searched once. `columns` (n,) have the first emulator's labels.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._searches: list[_Searched] = []

    @cached_property
    def _places(self) -> Array:
        return places_of(self._columns)

    def support(self, labels: Array, known: KnownStars, own: NDArray[np.int64]) -> Support:
        """What known stars say of these.

        Parameters
        ----------
        labels : (n,) the first emulator's
        own : (n,) the star's number where it is one of the known, else -1
        """
        search = self._search(known, own)
        few, missing = search.few, np.zeros(len(labels))
        missing[few] = known.apart(labels[few], search.nearest, search.weight)
        missing[few] /= np.sqrt(3.0)
        missing[few] *= np.sqrt(1.0 - search.correlation[few] ** 2)
        return Support(few, search.correlation, missing)

    def supports(
        self,
        definition: Definition,
        trained: Mapping[str, KnownStars],
        own: Mapping[str, NDArray[np.int64]],
        library: NDArray[np.floating] | None = None,
    ) -> dict[str, Support]:
        """`support` for a label by source, for those sources whose stars are known.

        Parameters
        ----------
        trained : the stars of sources that the run has trained
        own : the stars' numbers (n,) in a source's training set
        library : labels (m, k) of the first emulator's library
        """
        known = dict(trained)
        if library is not None:
            stars = KnownStars.of_library(library, definition.label)
            known |= {s.column: stars for s in definition.sources if s.column in EMULATOR_LABELS}
        if not known:
            return {}
        labels = number(self._columns, definition.label)
        return {
            name: self.support(labels, stars, stars_of(own, name, len(labels)))
            for name, stars in known.items()
        }

    def _search(self, known: KnownStars, own: NDArray[np.int64]) -> _Searched:
        for done in self._searches:
            if known.same_stars(done.known) and np.array_equal(own, done.own):
                return done
        few = known.few(self._places, own)
        correlation = np.ones(len(few))
        nearest, weight, distance = known.nearest(self._places[few], own[few])
        correlation[few] = np.exp(-0.5 * np.maximum(distance - 1.0, 0.0) ** 2)
        self._searches.append(_Searched(known, own, few, correlation, nearest, weight))
        return self._searches[-1]


def least_correlation(supports: Supports, names: Iterable[str], n: int) -> Array:
    """The smallest correlation (n,) among these sources, of those whose stars are known."""
    found = np.ones(n)
    for name in names:
        if name in supports:
            found = np.minimum(found, supports[name].correlation)
    return found


def stars_of(own: Mapping[str, NDArray[np.int64]], name: str, n: int) -> NDArray[np.int64]:
    """The numbers (n,) of the stars in a source's training set; -1 where they are not in it."""
    return own.get(name, np.full(n, -1, np.int64))
