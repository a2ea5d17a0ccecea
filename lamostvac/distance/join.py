"""Magnitudes and distances of other surveys for every spectrum.

Spectra are first grouped into stars: those that match the same row of the catalogue with
astrometry, or, without such a row, lie within `repeat_radius` of each other. A row of any further
table is matched to one star at most; repeated spectra of a star share it. Tables are read one after
the other, and only the columns that the file names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.distance.schema import COLUMNS, PhotometryFile
from lamostvac.distance.settings import PhotometryJoin
from lamostvac.external.entries import TableFile
from lamostvac.external.joins import join_table, positions, read_source
from lamostvac.external.match import group_stars, match_identifiers, match_sky
from lamostvac.external.read import numbers_of

_SECTION = PhotometryJoin()  # for defaults of parameters

_STAR_COLUMNS = ("ra", "dec", "pmra", "pmdec", "ref_epoch")


def join_photometry(
    spectra: Mapping[str, NDArray[Any]],
    settings: PhotometryFile,
    root: str | Path,
    repeat_radius: float = _SECTION.repeat_radius,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Magnitudes and distances of each spectrum.

    Parameters
    ----------
    spectra : `ra dec` (deg, J2000) and the survey's `gaia_source_id` (-1 where unknown), each (n,)
    settings : entries whose files all exist (`PhotometryFile.present`)
    root : folder to which the files are relative
    repeat_radius : spectra without a row of the catalogue within this of each other (arcsec) are
        one star

    Returns
    -------
    table : `COLUMNS`, one row (n,) per spectrum in its order; NaN, or -1, where a table has nothing.
        `gaia_source_id` is the catalogue's, or one that a table has which is joined by it; the
        survey's own may be of another data release and is not taken over
    found : table's name to the number of spectra that it has
    """
    ra, dec = np.asarray(spectra["ra"], np.float64), np.asarray(spectra["dec"], np.float64)
    known = np.asarray(spectra["gaia_source_id"], np.int64)
    stars, star, n_alone, found = _stars(ra, dec, known, settings, root, repeat_radius)
    # The other stars have the survey's identifier until a table is found to have it, too.
    confirmed = np.arange(len(stars)) < len(stars) - n_alone
    here = TableFile(file="", columns={"ra": "ra", "dec": "dec"})
    for join in settings.join:
        other = read_source(join, root)
        wanted = [name for name in join.kept if name in COLUMNS]
        numbers = [name for name in wanted if name != "gaia_source_id"]
        other = other.assign(**{name: numbers_of(other, name) for name in numbers})
        joined = join_table(stars, here, other, join)
        has = np.asarray(joined[f"{join.name}_separation"].notna())
        found[join.name] = int(has[star].sum())
        if join.match.by == "gaia_id":
            confirmed |= has
        stars = stars.assign(**{name: joined[name] for name in wanted})
        del other, joined
    stars["gaia_source_id"] = stars["gaia_source_id"].where(confirmed, -1)
    columns: dict[str, NDArray[Any]] = {}
    for name in COLUMNS:
        if name in stars:
            columns[name] = np.asarray(stars[name])[star]
        else:
            columns[name] = np.full(len(ra), np.nan)
        if name != "gaia_source_id":
            columns[name] = columns[name].astype(np.float64)
    return pd.DataFrame(columns), found


def _stars(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    known: NDArray[np.int64],
    settings: PhotometryFile,
    root: str | Path,
    repeat_radius: float,
) -> tuple[pd.DataFrame, NDArray[np.int64], int, dict[str, int]]:
    """Stars (m rows), star of each spectrum (n,), number of stars without a row of the catalogue,
    which are the last ones, and `found` of `join_photometry`.
    """
    row = np.full(len(ra), -1, np.int64)
    found: dict[str, int] = {}
    catalogue = pd.DataFrame()
    if settings.catalogue is not None and settings.match is not None:
        source, match = settings.catalogue, settings.match
        catalogue = read_source(source, root)
        if match.by == "gaia_id":
            row = match_identifiers(known, catalogue["gaia_source_id"])
        else:
            there = positions(catalogue, source, match.epoch)
            magnitude = catalogue[source.magnitude] if source.magnitude else None
            row = match_sky(
                ra,
                dec,
                *there,
                match.radius,
                magnitude=magnitude,
                repeat_radius=match.repeat_radius,
            )[0]
        found["catalogue"] = int((row >= 0).sum())
    matched = row >= 0
    used, first = np.unique(row[matched], return_inverse=True)
    star = np.empty(len(ra), np.int64)
    star[matched] = first
    kept = [name for name in (*_STAR_COLUMNS, *COLUMNS) if name in catalogue]
    stars = catalogue[kept].iloc[used].reset_index(drop=True)
    if "ref_epoch" not in stars and len(stars):
        stars["ref_epoch"] = settings.catalogue.epoch if settings.catalogue else 2000.0
    if "gaia_source_id" not in stars:
        stars["gaia_source_id"] = np.full(len(stars), -1, np.int64)
    # The others keep the survey's position, for 2000; their motions are unknown.
    alone = np.flatnonzero(~matched)
    group = group_stars(ra[alone], dec[alone], repeat_radius, known[alone])
    star[alone] = len(stars) + group
    at = alone[np.unique(group, return_index=True)[1]]
    rest = pd.DataFrame(
        {"ra": ra[at], "dec": dec[at], "ref_epoch": 2000.0, "gaia_source_id": known[at]}
    )
    n_alone = len(rest)
    for name in stars.columns.difference(rest.columns):
        rest[name] = np.full(len(rest), np.nan)
    if len(stars):
        rest = pd.concat([stars, rest[stars.columns]], ignore_index=True)
    return rest, star, n_alone, found
