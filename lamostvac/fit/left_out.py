"""Labels of stars that are in the emulator's own library: by emulators that have not seen them.

Where the library is spectra of the survey itself (`library.survey`), an emulator knows its own
stars' spectra with their noise, and would give them the labels that the library has. The
cross-validation has emulators without each fold of the library's stars. A spectrum within a few
arcsec of a star of the library is fitted by the emulator without that star's fold, every other one
by the whole emulator; so the catalogue's labels of both kinds are equally honest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike

import h5py
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.hdf5 import open_hdf5, read_columns
from lamostvac.emulator.model import read_emulator
from lamostvac.external.match import STAR_RADIUS, sky_pairs
from lamostvac.fit.fitter import StarFits, StarFitter, in_order, join
from lamostvac.fit.settings import FitSettings

Path = str | PathLike[str]
Pixels = NDArray[np.floating]
_BATCH = 1024  # spectra read at once; no result depends on it


def fold_by_star(
    ra: ArrayLike,
    dec: ArrayLike,
    star_ra: ArrayLike,
    star_dec: ArrayLike,
    fold: ArrayLike,
    radius: float = STAR_RADIUS,
) -> NDArray[np.int64]:
    """Fold (n,) of the library's star that each spectrum shows; -1 for other stars.

    Parameters
    ----------
    ra, dec : (n,) degrees, of the spectra
    star_ra, star_dec, fold : (m,) of the library's spectra
    radius : arcsec; the nearest star within it counts
    """
    folds = np.asarray(fold, np.int64)
    result = np.full(len(np.asarray(ra)), -1, np.int64)
    spectrum, star, separation = sky_pairs(ra, dec, star_ra, star_dec, radius)
    # The last one put in remains, so the nearest comes last; equally near ones by fold.
    order = np.lexsort((folds[star], -separation))
    result[spectrum[order]] = folds[star[order]]
    return result


def library_folds(stars: Sequence[Path]) -> pd.DataFrame:
    """`ra dec fold` of the spectra of a library of the survey's own.

    Parameters
    ----------
    stars : the file of `library.library.write_library` and the table of `cross_validate`, which has
        the fold of each spectrum; empty where the library's stars are not the survey's
    """
    if not stars:
        return pd.DataFrame({name: np.empty(0) for name in ("ra", "dec", "fold")})
    library, crossvalidation = stars
    with open_hdf5(library) as handle:
        places = read_columns(handle["labels"], ["ra", "dec"])
        places["id"] = read_columns(handle["ids"], ["id"])["id"].astype(str)
    folds = pd.read_csv(crossvalidation, usecols=["id", "fold"], dtype={"id": str})
    return places.merge(folds, on="id", validate="1:1")[["ra", "dec", "fold"]]


@dataclass(frozen=True)
class LeftOutFitter:
    """A whole emulator and those without each fold of its library's stars.

    Attributes
    ----------
    whole : of all stars
    without : the emulator without the stars of a fold, by number; made for few spectra
    stars : `ra dec fold` of the library's spectra
    """

    whole: StarFitter
    without: Callable[[int], StarFitter]
    stars: pd.DataFrame

    def folds(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.int64]:
        """`fold_by_star` of spectra at positions (n,) in degrees."""
        stars = self.stars
        return fold_by_star(ra, dec, stars["ra"], stars["dec"], stars["fold"])

    def fit(
        self,
        flux: h5py.Dataset | NDArray[np.floating],
        ivar: h5py.Dataset | NDArray[np.floating],
        spectral_type: str,
        fold: NDArray[np.int64],
        progress: Callable[[int], None] = lambda count: None,
    ) -> StarFits:
        """Labels of prepared spectra (n, 4901), each by the emulator that has not seen its star.

        Parameters
        ----------
        fold : (n,) by `folds`
        progress : called with the number of spectra done since it was called last
        """
        # Rows of left-out stars wait, so that each fold's emulator is made ready once, and there is one beside
        # the whole one at a time.
        fits, places = [], []
        waiting: dict[int, list[tuple[NDArray[np.int64], Pixels, Pixels]]] = {}
        for first in range(0, max(len(fold), 1), _BATCH):
            rows = slice(first, first + _BATCH)
            flux_here, ivar_here, own = flux[rows], ivar[rows], fold[rows]
            whole = np.flatnonzero(own < 0)
            fits.append(self.whole.fit(flux_here[whole], ivar_here[whole], spectral_type))
            places.append(first + whole)
            for number in np.unique(own[own >= 0]).tolist():
                chosen = np.flatnonzero(own == number)
                part = first + chosen, flux_here[chosen], ivar_here[chosen]
                waiting.setdefault(number, []).append(part)
            progress(len(whole))
        for number, parts in sorted(waiting.items()):
            fitter = self.without(number)
            for place, flux_here, ivar_here in parts:
                fits.append(fitter.fit(flux_here, ivar_here, spectral_type))
                places.append(place)
                progress(len(place))
        return in_order(join(fits), np.concatenate(places))


def left_out_fitter(
    emulator: Path,
    without: Sequence[Path],
    stars: pd.DataFrame,
    settings: FitSettings,
) -> LeftOutFitter:
    """The fitter from the files of an emulator; those of folds are read when they are needed.

    Parameters
    ----------
    emulator : the whole one
    without : those without each fold, in the order of folds
    stars : `library_folds`; empty where `without` is
    settings : of the fit
    """

    def fitter(fold: int) -> StarFitter:
        return StarFitter(read_emulator(without[fold]), settings, few=True)

    whole = StarFitter(read_emulator(emulator), settings)
    return LeftOutFitter(whole, fitter, stars)
