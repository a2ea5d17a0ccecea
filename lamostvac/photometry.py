"""Magnitudes and distances of other surveys for every spectrum: what config/photometry.yaml can say, and the join.

Spectra become stars first: those that match one row of the catalogue with astrometry, or, without such a row,
lie within `repeat_radius` of each other. Each further table gives a row of its to one star at most; repeated
spectra of a star share it. Tables are read one after the other, only the columns that the file names.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lamostvac.bands import BANDS
from lamostvac.crossmatch import group_stars, match_identifiers, match_sky
from lamostvac.errors import UserError, nearest
from lamostvac.files import read_yaml
from lamostvac.joins import join_table, positions, read_source
from lamostvac.mistakes import mistake
from lamostvac.training_sets import Catalogue, Join, Match, TableFile, check_match

CODE_VERSION = 1
MAGNITUDES = tuple(name for band in BANDS for name in (f"mag_{band}", f"mag_{band}_err"))
OTHERS = (
    "parallax", "parallax_err", "r_geo", "r_geo_lo", "r_geo_hi", "ebv_map", "ebv_map_err",
)  # fmt: skip
COLUMNS = ("gaia_source_id", *MAGNITUDES, *OTHERS)
"""What a join can give: magnitudes (mag), parallax (mas), distances of Bailer-Jones et al. (pc), E(B-V) of a map."""
_STAR_COLUMNS = ("ra", "dec", "pmra", "pmdec", "ref_epoch")


class PhotometryFile(BaseModel):
    """config/photometry.yaml; the keys are documented there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    catalogue: Catalogue | None = None
    match: Match | None = None
    join: list[Join] = Field(default_factory=list)

    def tables(self) -> Iterator[tuple[str, TableFile]]:
        """Name and entry of every table, the catalogue's first."""
        if self.catalogue is not None:
            yield "catalogue", self.catalogue
        yield from ((join.name, join) for join in self.join)

    def present(self, root: str | Path, produced: Sequence[str] = ()) -> tuple[Self, list[str]]:
        """The entries whose files exist, and a sentence for each one that is left out.

        `produced` are files that the run itself writes, which need not exist yet.
        """
        written = {str(Path(path)) for path in produced}

        def there(table: TableFile) -> bool:
            path = table.path(root)
            return path.is_file() or str(path) in written

        skipped = [
            f"photometry: {name}: skipped, there is no file {table.path(root)}"
            for name, table in self.tables()
            if not there(table)
        ]
        kept = self.catalogue is not None and there(self.catalogue)
        return self.model_copy(
            update={
                "catalogue": self.catalogue if kept else None,
                "match": self.match if kept else None,
                "join": [join for join in self.join if there(join)],
            }
        ), skipped

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.catalogue is None) != (self.match is None):
            raise ValueError("catalogue and match go together")
        if self.catalogue is not None and self.match is not None:
            check_match(self.match, self.catalogue, "match")
        if any(match.by == "obsid" for match in (self.match, *(join.match for join in self.join)) if match):
            raise ValueError("match: by obsid finds no photometry; write sky or gaia_id")
        owners: dict[str, str] = {}
        for name, table in self.tables():
            if isinstance(table, Join):
                check_match(table.match, table, f"join: {name}: match")
            for column in table.kept:
                if column.startswith("mag_") and column not in MAGNITUDES:
                    raise ValueError(
                        f"{name}: there is no band of the column {column}{nearest(column, MAGNITUDES)}"
                    )
                if column in COLUMNS and column in owners:
                    raise ValueError(f"{name}: {column} is already a column of {owners[column]}")
                owners[column] = name
            decides = getattr(table, "magnitude", None)
            known = (*table.columns, *table.derived)
            if decides is not None and decides not in known:
                raise ValueError(f"{name}: magnitude: there is no column {decides}{nearest(decides, known)}")
        return self


def load_photometry(path: str | Path) -> PhotometryFile:
    """The tables that a YAML file names.

    Raises
    ------
    UserError
        One sentence with the key that is wrong.
    """
    content = read_yaml(path, "photometry.file:")
    try:
        return PhotometryFile.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {mistake(error, PhotometryFile)}") from None


# ---------------------------------------------------------------- joining


def join_photometry(
    spectra: Mapping[str, NDArray[Any]],
    settings: PhotometryFile,
    root: str | Path,
    repeat_radius: float = 1.0,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Magnitudes and distances of each spectrum.

    Parameters
    ----------
    spectra : `ra dec` (deg, J2000) and `gaia_source_id` (-1 where unknown), each (n,)
    settings : entries whose files all exist (`PhotometryFile.present`)
    root : folder that the files are relative to
    repeat_radius : spectra without a row of the catalogue within this of each other (arcsec) are one star

    Returns
    -------
    table : `COLUMNS`, one row (n,) per spectrum in its order; NaN, or -1, where a table has nothing
    found : table's name to the number of spectra that it has
    """
    ra, dec = np.asarray(spectra["ra"], np.float64), np.asarray(spectra["dec"], np.float64)
    known = np.asarray(spectra["gaia_source_id"], np.int64)
    stars, star, found = _stars(ra, dec, known, settings, root, repeat_radius)
    here = TableFile(file="", columns={"ra": "ra", "dec": "dec"})
    for join in settings.join:
        other = read_source(join, root)
        wanted = [name for name in join.kept if name in COLUMNS]
        joined = join_table(stars, here, other, join)
        found[join.name] = int(np.asarray(joined[f"{join.name}_separation"].notna())[star].sum())
        stars = stars.assign(**{name: joined[name] for name in wanted})
        del other, joined
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
) -> tuple[pd.DataFrame, NDArray[np.int64], dict[str, int]]:
    """The stars of the spectra (m rows), the star of each spectrum (n,), and how many are in the catalogue."""
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
                ra, dec, *there, match.radius, magnitude=magnitude, repeat_radius=match.repeat_radius
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
    # The others are where the survey saw them, at 2000; their motions are unknown.
    alone = np.flatnonzero(~matched)
    group = group_stars(ra[alone], dec[alone], repeat_radius, known[alone])
    star[alone] = len(stars) + group
    at = alone[np.unique(group, return_index=True)[1]]
    rest = pd.DataFrame({"ra": ra[at], "dec": dec[at], "ref_epoch": 2000.0, "gaia_source_id": known[at]})
    for name in stars.columns.difference(rest.columns):
        rest[name] = np.full(len(rest), np.nan)
    if len(stars):
        rest = pd.concat([stars, rest[stars.columns]], ignore_index=True)
    return rest, star, found
