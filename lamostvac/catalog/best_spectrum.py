"""Number of spectra of each star, and the best of them (Wang et al. 2022, Table 3: uqflag)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lamostvac.external.match import group_stars

RADIUS = 3.0  # arcsec, as wherever spectra are joined to stars


def stars(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.int64]:
    """Number of each spectrum's star (n,), from positions in degrees (n,).

    Spectra within `RADIUS` of each other show one star (`lamostvac.external.match.group_stars`); one
    whose position is not finite is a star of its own.
    """
    ra, dec = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
    star = np.empty(len(ra), np.int64)
    placed = np.isfinite(ra) & np.isfinite(dec)
    groups = group_stars(ra[placed], dec[placed], RADIUS)
    n_placed = int(groups.max()) + 1 if len(groups) else 0
    star[placed] = groups
    star[~placed] = n_placed + np.arange(np.count_nonzero(~placed))
    return star


def best_spectra(
    ra: ArrayLike,
    dec: ArrayLike,
    snr: ArrayLike,
    identities: Callable[[NDArray[np.int64]], NDArray[np.bytes_]],
    star: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """The spectrum of highest S/N of each star, and the number of the star's spectra.

    Of equal S/N the smallest identity wins, so the rows' order does not matter. A missing S/N is
    lower than any other.

    Parameters
    ----------
    ra, dec : (n,) degrees
    snr : (n,)
    identities : row numbers (m,) to the rows' identities (m,); called only for rows with equal S/N
    star : (n,) `stars` of the positions, where they are known already

    Returns
    -------
    best : (n,) 1 for one spectrum of each star, else 0
    n_spectra : (n,) spectra of the row's star, at most 32767
    """
    brightness = np.asarray(snr, np.float32)
    brightness = np.where(np.isnan(brightness), np.float32(-np.inf), brightness)
    star = stars(ra, dec) if star is None else star
    if not len(star):
        return np.empty(0, np.uint8), np.empty(0, np.int16)

    count = np.bincount(star)
    # Rows sorted by star; each star's highest S/N, and how many rows have it.
    order = np.argsort(star, kind="stable")
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    highest = np.maximum.reduceat(brightness[order], first)
    best = brightness == highest[star]
    tied = np.flatnonzero(best & (np.bincount(star[best], minlength=len(count))[star] > 1))
    if len(tied):
        best[tied] = False
        ranked = tied[np.lexsort((identities(tied), star[tied]))]
        best[ranked[np.unique(star[ranked], return_index=True)[1]]] = True
    return best.astype(np.uint8), np.minimum(count, np.iinfo(np.int16).max)[star].astype(np.int16)


def set_unique(rows: NDArray[np.void], star: NDArray[np.int64] | None = None) -> None:
    """Put `best_spectrum` and `n_spectra` of the stars in `rows` (n,) of the catalogue in place.

    `star` (n,) are the rows' `stars`, where they are known already.
    """
    rows["best_spectrum"], rows["n_spectra"] = best_spectra(
        rows["ra"], rows["dec"], rows["snrg"], lambda at: rows["spectrum_id"][at], star
    )
