"""One star out of a catalogue of ten million rows, without reading the catalogue.

A Parquet file has the smallest and the largest value of each column in each row group
(131,072 rows). The value sought is first compared with these, then one column of the remaining
groups is read, and all columns only for one row. So memory does not grow with the number of rows.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamostvac.catalog.best_spectrum import RADIUS
from lamostvac.core.exceptions import UserError
from lamostvac.core.manifest import read_manifest
from lamostvac.core.rejection import REASONS
from lamostvac.external.match import group_stars

# Stars whose chains of neighbours could reach the star lie within this distance, arcsec.
_REACH = 20 * RADIUS


def is_obsid(star: str) -> bool:
    """Whether a star's name is an obsid and not a spectrum_id (pilot spectra have no obsid)."""
    return star.isascii() and star.isdigit()


def find_star(catalogue: str | Path, star: str) -> tuple[int, pd.Series] | None:
    """Row number and row of a spectrum, or None where the catalogue does not have it.

    Parameters
    ----------
    catalogue : recommended.parquet
    star : obsid or spectrum_id; for an obsid that occurs twice, the first row
    """
    value: int | str = int(star) if is_obsid(star) else star
    column = "obsid" if is_obsid(star) else "spectrum_id"
    if value == 0:  # no spectrum's obsid; missing ones are -1
        return None
    with pq.ParquetFile(catalogue) as file:
        first = 0
        for group in range(file.num_row_groups):
            n = file.metadata.row_group(group).num_rows
            if _may_hold(file, group, column, value, value):
                values = file.read_row_group(group, columns=[column])[column].to_numpy()
                found = np.flatnonzero(values == value)
                if len(found):
                    return first + int(found[0]), _rows(file, group, found[:1]).iloc[0]
            first += n
    return None


def repeats_of(catalogue: str | Path, row: int, ra: float, dec: float) -> pd.DataFrame:
    """The other spectra of a star: chains of neighbours within 3 arcsec, as in the whole workflow.

    Parameters
    ----------
    row : the star's row number, which is left out
    ra, dec : degrees

    Returns
    -------
    All columns of the catalogue and `separation` (arcsec) from the star, in the order of time.
    """
    parts = []
    if not (np.isfinite(ra) and np.isfinite(dec)):
        return pd.DataFrame()
    reach = _REACH / 3600.0
    with pq.ParquetFile(catalogue) as file:
        first = 0
        for group in range(file.num_row_groups):
            n = file.metadata.row_group(group).num_rows
            if _may_hold(file, group, "dec", dec - reach, dec + reach):
                decs = file.read_row_group(group, columns=["dec"])["dec"].to_numpy()
                near = np.flatnonzero(np.abs(decs - dec) <= reach)
                if len(near):
                    ras = file.read_row_group(group, columns=["ra"])["ra"].to_numpy()[near]
                    near = near[_separation(ra, dec, ras, decs[near]) <= _REACH]
                if len(near):
                    found = _rows(file, group, near)
                    found["row"] = first + near
                    parts.append(found)
            first += n
    return _chain(pd.concat(parts, ignore_index=True), row, ra, dec)


def repeats_among(table: pd.DataFrame, row: int) -> pd.DataFrame:
    """As `repeats_of` among the rows (n,) of a table in memory, whose index is 0, 1, ..."""
    ra, dec = float(table["ra"][row]), float(table["dec"][row])
    if not (np.isfinite(ra) and np.isfinite(dec)):
        return pd.DataFrame()
    near = _separation(ra, dec, table["ra"].to_numpy(), table["dec"].to_numpy()) <= _REACH
    return _chain(table[near].assign(row=np.flatnonzero(near)), row, ra, dec)


def _chain(table: pd.DataFrame, row: int, ra: float, dec: float) -> pd.DataFrame:
    """The spectra of `row`'s star among those near it."""
    star = group_stars(table["ra"].to_numpy(np.float64), table["dec"].to_numpy(np.float64), RADIUS)
    own = star[np.flatnonzero(table["row"] == row)[0]]
    others = table[(star == own) & (table["row"] != row)].copy()
    others["separation"] = _separation(ra, dec, others["ra"].to_numpy(), others["dec"].to_numpy())
    order = np.lexsort((others["spectrum_id"], others["lmjd"]))
    return others.iloc[order].drop(columns="row").reset_index(drop=True)


def sample_of(catalogue: str | Path, columns: Sequence[str], most: int) -> pd.DataFrame:
    """Evenly spaced rows of the catalogue, at most `most`; all rows if there are not more."""
    with pq.ParquetFile(catalogue) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        step = -(-file.metadata.num_rows // most) or 1
        parts, first = [], 0
        for group in range(file.num_row_groups):
            n = file.metadata.row_group(group).num_rows
            rows = np.arange(-first % step, n, step)
            parts.append(file.read_row_group(group, columns=present).take(rows).to_pandas())
            first += n
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=present)


def column_names(catalogue: str | Path) -> list[str]:
    """The columns of the catalogue."""
    return list(pq.read_schema(catalogue).names)


def why_missing(rejected: str | Path, star: str) -> str:
    """One sentence that says why the catalogue does not have a spectrum.

    Parameters
    ----------
    rejected : rejected.csv
    star : obsid or spectrum_id
    """
    column = "obsid" if is_obsid(star) else "spectrum_id"
    with open(rejected, newline="", encoding="utf-8") as handle:
        for entry in csv.DictReader(handle):
            if entry[column] == star:
                unknown = "a reason that this version does not know"
                said = (
                    f"the spectrum {column} {star} is not in the catalogue: the stage {entry['stage']} rejected it "
                    f"as {entry['reason']} ({REASONS.get(entry['reason'], unknown)})"
                )
                other = entry.get("network_reason") or entry["reason"]
                if other != entry["reason"]:
                    said += f", and for the networks as {other} ({REASONS.get(other, unknown)})"
                return said
    hint = "" if is_obsid(star) else "; a spectrum_id is lmjd-planid-spid-fiberid"
    return f"no spectrum of this run, accepted or rejected, has the {column} {star}{hint}"


def require_star(catalogue: str | Path, rejected: str | Path, star: str) -> tuple[int, pd.Series]:
    """As `find_star`; raises `UserError` with the sentence of `why_missing`."""
    found = find_star(catalogue, star)
    if found is None:
        raise UserError(why_missing(rejected, star))
    return found


def spectrum_path(
    manifest: str | Path, chunks: str, spectral_type: str, lmjd: int, spectrum_id: str
) -> Path | None:
    """The spectrum's file from the survey's manifest, or None where no chunk has the spectrum.

    Parameters
    ----------
    manifest : the survey's table of chunks
    chunks : pattern of the chunks' files, with {type} and {chunk}
    spectral_type, lmjd, spectrum_id : of the spectrum
    """
    for chunk in _chunks(manifest, spectral_type, lmjd):
        path = chunks.format(type=spectral_type, chunk=chunk)
        table = pq.read_table(
            path, columns=["spectrum_id", "path"], filters=[("spectrum_id", "=", spectrum_id)]
        )
        if len(table):
            return Path(table["path"][0].as_py())
    return None


def _chunks(manifest: str | Path, spectral_type: str, lmjd: int) -> Iterator[str]:
    """Chunks of a type whose nights include `lmjd`; chunks are runs of plates sorted by night."""
    table = read_manifest(manifest)
    for entry in table[table["type"] == spectral_type].itertuples():
        first, last = (
            int(str(plate).partition("-")[0]) for plate in (entry.first_plate, entry.last_plate)
        )
        if first <= lmjd <= last:
            yield str(entry.chunk)


def _rows(file: pq.ParquetFile, group: int, rows: NDArray[np.integer]) -> pd.DataFrame:
    """All columns of some rows of a row group, read a few columns at a time: a group is 100 MB."""
    names = file.schema_arrow.names
    parts = [
        file.read_row_group(group, columns=names[at : at + 16]).take(rows).to_pandas()
        for at in range(0, len(names), 16)
    ]
    return pd.concat(parts, axis=1)


def _may_hold(file: pq.ParquetFile, group: int, column: str, low: Any, high: Any) -> bool:
    """Whether a row group can have a value from `low` to `high`, by the file's statistics."""
    index = file.schema_arrow.names.index(column)
    statistics = file.metadata.row_group(group).column(index).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min <= high and statistics.max >= low)


def _separation(
    ra: float, dec: float, ras: NDArray[np.floating], decs: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Arcsec between a point and points (n,), all in degrees; haversine formula."""
    a, b, c, d = np.deg2rad(ra), np.deg2rad(dec), np.deg2rad(ras), np.deg2rad(decs)
    chord = np.sin((d - b) / 2) ** 2 + np.cos(b) * np.cos(d) * np.sin((c - a) / 2) ** 2
    return np.asarray(np.rad2deg(2 * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))) * 3600.0)
