"""Counterparts of the release's stars from services that take a list of positions.

The stars are sorted by declination and requested in pieces. The answer to each piece is kept in a
file until all have arrived, so that an interrupted run can go on. Then the rows are joined, sorted
and without repetitions, so that the result depends neither on the size of the pieces nor on the
order of an answer's rows.
"""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamostvac.fetch.client import Client, DownloadError, TemporaryError, is_html, said_in
from lamostvac.fetch.sources import MatchSource, XMatchSource
from lamostvac.survey import selection

PER_DEGREE = 100_000
"""Positions are rounded to one part of a degree in so many."""
MARGIN = 0.1
"""How far a counterpart's declination may be from its star's, in deg: the radius and centuries of proper motion."""


def star_list(table: pa.Table, classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Positions (n, 2) of the release's stars, right ascension and declination in deg.

    `table` has the columns `class ra dec` of `lamostvac.survey.catalogue.read_catalogues`. Rows of
    other classes than `classes` and rows without a position on the sky are left out. Positions are
    rounded to 1e-5 deg; each is listed once, sorted by declination and then right ascension.
    """
    wanted = {name.upper() for name in classes}
    chosen = selection.by_text(
        table["lamost_class"], lambda text: text.upper() in wanted, False
    ).astype(bool)
    ra = np.asarray(table["ra"].combine_chunks().to_numpy(zero_copy_only=False))
    dec = np.asarray(table["dec"].combine_chunks().to_numpy(zero_copy_only=False))
    chosen &= (ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)
    turn, pole = 360 * PER_DEGREE, 90 * PER_DEGREE
    steps = np.rint(ra[chosen] * PER_DEGREE).astype(np.int64) % turn
    keys = np.sort((np.rint(dec[chosen] * PER_DEGREE).astype(np.int64) + pole) * turn + steps)
    # np.unique uses a hash table, which takes forty times as long for a release.
    keys = keys[np.flatnonzero(np.diff(keys, prepend=-1))]
    return np.column_stack([keys % turn / PER_DEGREE, (keys // turn - pole) / PER_DEGREE])


def _position(value: float) -> str:
    return f"{value:.5f}"


def stars_as_csv(stars: npt.NDArray[np.float64]) -> str:
    """The stars for X-Match; its answer repeats these columns, so they have special names."""
    rows = "".join(f"{_position(ra)},{_position(dec)}\n" for ra, dec in stars.tolist())
    return "star_ra,star_dec\n" + rows


def stars_as_votable(stars: npt.NDArray[np.float64]) -> str:
    """The stars for TAP (TAP 1.1, section 2.5: an upload is a VOTable)."""
    rows = "".join(
        f"<TR><TD>{_position(ra)}</TD><TD>{_position(dec)}</TD></TR>\n"
        for ra, dec in stars.tolist()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE name="stars">\n'
        '<FIELD name="ra" datatype="double" unit="deg" ucd="pos.eq.ra;meta.main"/>\n'
        '<FIELD name="dec" datatype="double" unit="deg" ucd="pos.eq.dec;meta.main"/>\n'
        f"<DATA><TABLEDATA>\n{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>\n"
    )


class CutOff(Exception):
    """An answer has the service's largest number of rows, so some may be missing."""


def request_of(source: MatchSource, stars: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The arguments of `Client.post` for a request of the counterparts of some stars."""
    if isinstance(source, XMatchSource):
        return {
            "data": {
                "request": "xmatch",
                "RESPONSEFORMAT": "csv",
                "cat2": source.table,
                "distMaxArcsec": f"{source.radius:g}",
                "selection": "all",
                "colRA1": "star_ra",
                "colDec1": "star_dec",
                "MAXREC": str(source.max_rows),
            },
            "files": {"cat1": ("stars.csv", stars_as_csv(stars), "text/csv")},
        }
    return {
        "data": {
            "REQUEST": "doQuery",
            "LANG": "ADQL",
            "FORMAT": "csv",
            "MAXREC": str(source.max_rows),
            "QUERY": source.query,
            "UPLOAD": "stars,param:stars",
        },
        "files": {"stars": ("stars.xml", stars_as_votable(stars), "application/x-votable+xml")},
    }


def rows_of(body: bytes, source: MatchSource) -> list[list[str]]:
    """The rows of an answer with the columns of `source`, as texts, each once and in order.

    Raises
    ------
    DownloadError
        The answer is an error of the service or a web page, or lacks a column.
    TemporaryError
        The answer breaks off inside a row: its last line or a quoted cell has no end.
    CutOff
        It has the service's largest number of rows.
    """
    if body.lstrip()[:1] == b"<":
        what = "a web page" if is_html(body) else "an error"
        raise DownloadError(f"{source.url} answers with {what}{said_in(body)}")
    text = body.decode("utf-8", "replace").lstrip("\ufeff")
    if text and not text.endswith(("\n", "\r")):
        raise TemporaryError("the answer breaks off: its last line has no end")
    records = _records(text)
    header = [name.strip() for name in next(records, [])]
    if not header:
        return []
    wanted = []
    for ours, candidates in source.names():
        index = next((header.index(name) for name in candidates if name in header), None)
        if index is None:
            lower = [name.lower() for name in header]
            found = [
                lower.index(name.lower()) for name in candidates if lower.count(name.lower()) == 1
            ]
            if not found:
                raise DownloadError(
                    f"{source.url}: the answer for {source.name} has no column {' or '.join(candidates)} (for {ours}); "
                    f"it has {', '.join(header)[:600]}; change `columns` of that source in the file of fetch.file"
                )
            index = found[0]
        wanted.append(index)
    rows = []
    number = 0
    for row in records:
        if not row:
            continue
        number += 1
        if len(row) != len(header):
            raise TemporaryError(
                f"row {number} of the answer has {len(row)} of {len(header)} columns"
            )
        rows.append([row[index].strip() for index in wanted])
    if number >= source.max_rows:
        raise CutOff
    return sort_rows(rows, source)


def _records(text: str) -> Iterator[list[str]]:
    """The records of a CSV text; `TemporaryError` where one is not complete."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from reader
    except csv.Error as error:
        # Without `strict`, a quoted cell that breaks off would end with the text.
        raise TemporaryError(f"line {reader.line_num} of the answer: {error}") from None


def sort_rows(rows: Iterable[list[str]], source: MatchSource) -> list[list[str]]:
    """Rows once each, by declination, then by all their texts; rows without declination first."""
    place = declination(source)
    return sorted(
        {tuple(row): list(row) for row in rows}.values(), key=lambda row: (_number(row[place]), row)
    )


def declination(source: MatchSource) -> int:
    """Index of the declination among the file's columns."""
    names = list(source.columns)
    return names.index("dec" if "dec" in names else "DEJ2000")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return -np.inf
    return value if np.isfinite(value) else -np.inf


def ask(client: Client, source: MatchSource, stars: npt.NDArray[np.float64]) -> list[list[str]]:
    """The counterparts of some stars, requested in halves if the service limits the answer."""
    what = f"{source.name}, {len(stars)} stars at declination {stars[0, 1]:.3f}"

    def attempt() -> list[list[str]]:
        return rows_of(client.post(what, source.url, **request_of(source, stars)), source)

    try:
        return client.retry(what, attempt)
    except CutOff:
        if len(stars) == 1:
            raise DownloadError(
                f"{source.url} has {source.max_rows} counterparts of one star for {source.name}; is its radius right?"
            ) from None
    half = len(stars) // 2
    parts = [ask(client, source, part) for part in (stars[:half], stars[half:])]
    return sort_rows(itertools.chain(*parts), source)
