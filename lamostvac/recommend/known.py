"""Which stars have few of their kind among those that a source learned from.

A network answers every spectrum, and a relation between two scales goes on beyond the stars that it
was fitted to; neither its error nor a comparison with another network of the same training stars
tells. The number of training stars that are like a star does. Stars are compared by the labels of
the first emulator, which learned from others: the answer of a source without a star's kind lies
near the stars that it has, so its own labels do not tell either. Of the first emulator itself its own
library's stars are counted. All of this is ours, not of a paper (docs/recommended.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lamostvac.recommend.definitions import Columns, number

Array = NDArray[np.float64]
LABELS = ("teff", "logg", "feh")  # the first emulator's
# Stars are alike within one step in 5040 K/Teff, log g and [Fe/H] together.
STEPS = np.array([0.1, 0.5, 0.3])
ENOUGH = 5  # stars of a kind


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
    def of_library(cls, labels: NDArray[np.floating]) -> "KnownStars":
        """The stars of the first emulator's library by their labels (m, k), the first three those of
        `LABELS`. Its errors have been learned from left-out stars, so there is nothing to add.
        """
        columns = dict(zip(LABELS, np.asarray(labels, np.float64).T, strict=False))
        places = places_of(columns)
        places = places[np.isfinite(places).all(axis=1)]
        return cls(places, np.full(len(places), np.nan), np.arange(len(places)))

    def few(self, places: Array, own: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where fewer than `ENOUGH` other stars are within one step, or the place is unknown.

        Parameters
        ----------
        places : (n, 3)
        own : (n,) the star's number where it is one of these, else -1
        """
        return (self._near(places, own, 1.0) >= 0).sum(axis=1) < ENOUGH

    def nearest(self, places: Array, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """The nearest other stars (n, `ENOUGH`), however far; -1 where there are none or the place is
        unknown.
        """
        return self._near(places, own, np.inf)

    def apart(self, labels: Array, nearest: NDArray[np.int64]) -> Array:
        """How far (n,) the label is from those of the `nearest` stars (n, `ENOUGH`): a root mean
        square; 0 where nothing is known.
        """
        if not len(self.star):
            return np.zeros(len(labels))
        off = np.where(nearest >= 0, self.labels[nearest] - labels[:, None], np.nan)
        known = np.isfinite(off)
        total = np.where(known, off, 0.0) ** 2
        return np.sqrt(total.sum(axis=1) / np.maximum(known.sum(axis=1), 1))

    def same_stars(self, other: "KnownStars") -> bool:
        """Whether these are the same stars, whatever label is kept of them."""
        return np.array_equal(self.star, other.star) and np.array_equal(self.places, other.places)

    def _near(self, places: Array, own: NDArray[np.int64], reach: float) -> NDArray[np.int64]:
        """The nearest other stars (n, `ENOUGH`) within a reach, -1 where there are no more."""
        found = np.full((len(places), ENOUGH), -1)
        asked = np.flatnonzero(np.isfinite(places).all(axis=1))
        if len(self.star) and len(asked):
            found[asked] = self._others(places[asked], own[asked], reach)
        return found

    def _others(self, places: Array, own: NDArray[np.int64], reach: float) -> NDArray[np.int64]:
        """The nearest other stars (n, `ENOUGH`) within a reach; -1 where there are no more."""
        # One more than needed, as the nearest may be the star itself.
        reach = np.nextafter(reach, np.inf)  # which the tree leaves out
        wanted = np.arange(ENOUGH + 1) + 1
        near = cKDTree(self.places).query(places, k=wanted, distance_upper_bound=reach)[1]
        itself = np.append(self.star, -2)[near] == own[:, None]
        near = np.where((near == len(self.star)) | itself, -1, near)
        order = np.argsort(near < 0, axis=1, kind="stable")
        return np.take_along_axis(near, order, axis=1)[:, :ENOUGH]


@dataclass(frozen=True)
class _Searched:
    """What a search among `known` stars gave for stars of the numbers `own` (n,)."""

    known: KnownStars
    own: NDArray[np.int64]
    few: NDArray[np.bool_]
    nearest: NDArray[np.int64]  # of those with few


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

    def spread(
        self, labels: Array, known: KnownStars, own: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], Array]:
        """`few`, and where it is True the standard deviation of what may be missing; else 0, each (n,).

        `labels` are the first emulator's (n,).

        An answer may be drawn to the nearest known stars by any part of the way, and all parts are
        equally likely: the difference over the square root of 3.
        """
        search = self._search(known, own)
        missing = np.zeros(len(labels))
        missing[search.few] = known.apart(labels[search.few], search.nearest) / np.sqrt(3.0)
        return search.few, missing

    def _search(self, known: KnownStars, own: NDArray[np.int64]) -> _Searched:
        for done in self._searches:
            if known.same_stars(done.known) and np.array_equal(own, done.own):
                return done
        few = known.few(self._places, own)
        nearest = known.nearest(self._places[few], own[few])
        self._searches.append(_Searched(known, own, few, nearest))
        return self._searches[-1]


def stars_of(own: Mapping[str, NDArray[np.int64]], name: str, n: int) -> NDArray[np.int64]:
    """The numbers (n,) of the stars in a source's training set; -1 where they are not in it."""
    return own.get(name, np.full(n, -1, np.int64))
