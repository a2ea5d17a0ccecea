"""The catalogue explorer: an HTML file with rows and columns of the catalogue and their display.

The page must open from a disk without network, so it contains everything: columns as typed arrays,
compressed with gzip (which browsers unpack themselves) and encoded as base64; the markup of
`templates/explorer.html.j2`; style and program of `explorer_page/`; and D3 for axes, zoom and drag.
The catalogue is read row group by row group; memory holds only the chosen rows and columns, 4 or 8
bytes a value.
"""

import base64
import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamostvac.catalog.column import Column
from lamostvac.catalog.registry import EmulatorLabels, Registry
from lamostvac.core.code_version import LIBRARY
from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import Expression
from lamostvac.core.files import sha256
from lamostvac.core.html import write_page
from lamostvac.core.vocabulary import LABELS

PAGE = Path(__file__).resolve().parent / "explorer_page"
PARTS = ("style.css", "d3.min.js", "program.js", "links.js")
NAME = "spectrum_id"
"""The column that the page always has, as text and not as a column of its own."""
TEMPLATE = "publish/templates/explorer.html.j2"
# What readers want to see of a star without opening its page; columns that the run lacks are
# skipped.
DEFAULT_COLUMNS = [
    *("obsid", "gaia_source_id", "ra", "dec", "snrg", "spectral_type", "subclass"),
    *("teff_rec", "teff_rec_err", "logg_rec", "logg_rec_err", "feh_rec", "feh_rec_err"),
    *(
        "alpha_fe_rec",
        "alpha_fe_rec_err",
        "abs_mag_g_gaia",
        "abs_mag_ks",
        "mag_g_gaia",
        "dist",
        "ebv",
    ),
    *("redshift", "chi2", "recommended", "flags", "best_spectrum", "n_spectra"),
    *(f"flag_{label}_{why}" for why in ("disagree", "extrapolated") for label in LABELS),
]
# Title, and for each axis columns in order of preference: the first with values is shown.
PLOTS = (
    ("Kiel diagram", ("teff_rec", "teff"), ("logg_rec", "logg")),
    ("Abundances", ("feh_rec", "feh"), ("alpha_fe_rec", "alpha_fe", "alpha_m_apogee")),
    ("Sky", ("ra",), ("dec",)),
    (
        "Absolute magnitude",
        ("teff_rec", "teff"),
        (
            "abs_mag_g_gaia",
            "abs_mag_ks",
            "abs_mag_j",
            "abs_mag_h",
            "abs_mag_r_sdss",
            "abs_mag_v_apass",
        ),
    ),
)
# In the place of plots that have no values on an axis.
SPARE_PLOTS = (
    ("Metallicity", ("teff_rec", "teff"), ("feh_rec", "feh")),
    ("Misfit", ("snrg",), ("chi2",)),
)
# Columns that the page needs: for filters and for the link to a star's page.
NEEDED = ("obsid", "spectral_type", "flags", "recommended")
# Axes that astronomers draw from right to left and from top to bottom.
_REVERSED = ("phys.temperature", "phys.gravity", "phys.magAbs", "phot.mag", "pos.eq.ra")
# Bits kept of a number after its leading one: rounding by 1 part in 8192 at most, for an error by 1
# in 128. Further bits are mostly noise, which does not compress.
_BITS, _ERROR_BITS = 12, 6
_MAX_TEXTS = 65536
_WHOLE = ("uint8", "uint16", "int16", "uint32", "int32", "int64")


def page_files() -> list[Path]:
    """Template, style, D3 and the two parts of the program."""
    return [LIBRARY / TEMPLATE, *(PAGE / name for name in PARTS)]


def page_hash() -> dict[str, str]:
    """SHA-256 of each of the page's files, so that the page is made again when one changes."""
    return {path.name: sha256(path) for path in page_files()}


def explorer_columns(columns: Sequence[Column], registry: Registry, snr_band: str) -> list[Column]:
    """`columns`, then those that plots and filters need, as far as the registry has them; without
    `NAME`, which the page has anyway.
    """
    wanted = [
        *NEEDED,
        snr_band,
        *(name for _, x, y in PLOTS for axis in (x, y) for name in axis[:1]),
    ]
    names = [column.name for column in columns]
    extra = [name for name in dict.fromkeys(wanted) if name not in names and name in registry.names]
    own = [column for column in columns if column.name != NAME]
    return [*own, *(registry[name] for name in extra)]


def default_columns(emulators: Sequence[EmulatorLabels] = ()) -> list[str]:
    """`DEFAULT_COLUMNS` and the labels of the emulators beside the first, with their flags."""
    own = [[*emulator.columns.values(), emulator.flag] for emulator in emulators]
    return [*DEFAULT_COLUMNS, *(name for names in own for name in names)]


@dataclass
class Sample:
    """Rows and columns for the page.

    Attributes
    ----------
    values : by column name (n,): float32, int64, or codes of `texts` (int64)
    texts : by name of a text column: its distinct texts, sorted
    n_rows : rows that the condition holds for; n of them, evenly spaced, are in the sample
    n_catalogue : rows of the catalogue
    names : (n,) spectrum_id
    rows : (n,) number of each row in the catalogue, from 0
    """

    values: dict[str, NDArray[Any]]
    texts: dict[str, list[str]]
    n_rows: int
    n_catalogue: int
    names: list[str]
    rows: NDArray[np.int64]


def evenly_spaced(start: int, stop: int, n: int, limit: int) -> NDArray[np.bool_]:
    """Which of the rows start..stop of n are among `limit` evenly spaced ones; all if n <=
    limit.
    """
    rows = np.arange(start, stop, dtype=np.int64)
    if n <= limit:
        return np.ones(len(rows), bool)
    return (rows + 1) * limit // n > rows * limit // n


def read_sample(
    path: str | Path, columns: Sequence[Column], condition: Expression | None, max_rows: int
) -> Sample:
    """Rows of the merged catalogue (Parquet) that meet a condition, at most `max_rows` of them.

    Raises
    ------
    UserError
        A text column has more than 65,536 different texts; a page has no use for such a column.
    """
    with pq.ParquetFile(path) as source:
        n_catalogue = source.metadata.num_rows
        kept: list[NDArray[np.bool_]] = []
        if condition is not None:
            named = condition.columns_of(source.schema_arrow.names)
            for part in _row_groups(source, list(named)):
                held = condition.holds({name: _array(part[name]) for name in named})
                kept.append(np.asarray(held))
        n_rows = sum(int(np.count_nonzero(part)) for part in kept) if kept else n_catalogue
        n = min(n_rows, max_rows)
        values: dict[str, NDArray[Any]] = {
            column.name: np.empty(n, np.float32 if column.dtype.startswith("float") else np.int64)
            for column in columns
        }
        codes: dict[str, dict[str, int]] = {
            column.name: {} for column in columns if column.is_string
        }
        met = done = first = 0
        names = [column.name for column in columns]
        identities: list[str] = []
        places = np.empty(n, np.int64)
        for number, part in enumerate(_row_groups(source, [*names, NAME])):
            rows = np.flatnonzero(kept[number]) if kept else np.arange(len(part))
            chosen = rows[evenly_spaced(met, met + len(rows), n_rows, max_rows)]
            met += len(rows)
            here = slice(done, done + len(chosen))
            done += len(chosen)
            identities += part[NAME].take(pa.array(chosen)).to_pylist()
            places[here] = first + chosen
            first += len(part)
            for column in columns:
                if column.is_string:
                    found = _codes(part[column.name], codes[column.name], column.name)
                else:
                    found = _array(part[column.name])
                values[column.name][here] = found[chosen]
    texts = {}
    for name, known in codes.items():
        texts[name] = sorted(known)
        place = np.empty(len(known), np.int64)
        place[[known[text] for text in texts[name]]] = np.arange(len(known))
        values[name] = place[values[name]]
    return Sample(values, texts, n_rows, n_catalogue, identities, places)


def _row_groups(source: pq.ParquetFile, names: list[str]) -> Iterator[pa.Table]:
    for number in range(source.num_row_groups):
        yield source.read_row_group(number, columns=names)


def _array(values: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_string(values.type):
        return np.array(values.to_pylist(), dtype=str)
    return values.to_numpy()


def _codes(values: pa.ChunkedArray, known: dict[str, int], name: str) -> NDArray[np.int64]:
    """Numbers of texts, counted in the order of their first occurrence; `known` is extended."""
    encoded = values.combine_chunks().dictionary_encode()
    here = [known.setdefault(text, len(known)) for text in encoded.dictionary.to_pylist()]
    if len(known) > _MAX_TEXTS:
        raise UserError(
            f"explorer.columns: {name} has more than {_MAX_TEXTS} different texts, too many for a page; leave it out"
        )
    return np.array(here, np.int64)[encoded.indices.to_numpy()]


def rounded(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """float32 numbers (n,) rounded to `bits` bits after the leading one; NaN and infinity stay.

    Half of the last bit is added before the rest is cut off; a carry into the exponent is correct.
    """
    drop = 23 - bits
    whole = np.ascontiguousarray(values, np.float32).view(np.uint32)
    cut = (whole + np.uint32(1 << (drop - 1))) & ~np.uint32((1 << drop) - 1)
    out: NDArray[np.float32] = np.where(np.isfinite(values), cut.view(np.float32), values).astype(
        np.float32
    )
    return out


def packed(values: NDArray[Any]) -> str:
    """Numbers (n,) as the page reads them: first bytes of all, second bytes..., gzip, base64.

    Bytes of the same significance are similar, so they compress better next to each other.
    """
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    planes = little.view(np.uint8).reshape(len(little), little.itemsize).T.tobytes()
    return zipped(planes)


def zipped(content: bytes) -> str:
    """Bytes as the page reads them: gzip, base64."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def narrowed(values: NDArray[np.int64]) -> NDArray[Any]:
    """Whole numbers (n,) in the smallest type that holds them."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    for name in _WHOLE:
        limits = np.iinfo(name)
        if limits.min <= low and high <= limits.max:
            return values.astype(name)
    raise AssertionError("int64 holds every whole number of the catalogue")


def _described(column: Column, dtype: str, texts: dict[str, list[str]]) -> dict[str, Any]:
    """A column's description for the page.

    Its name in words is a symbol in square brackets where the description has one, else the
    description up to the first comma, semicolon or bracket.
    """
    words = re.split(r"[,;]| \(", column.description.removeprefix("From networks: "))[0]
    if symbol := re.search(r"\[[A-Za-z/]+\]", words):
        words = symbol[0]
    whole = column.dtype == "float64"
    return {
        "name": column.name,
        "dtype": dtype,
        "ucd": column.ucd,
        "unit": column.unit or ("dex" if column.in_dex else ""),
        "words": words[:1].upper() + words[1:],
        "description": column.description,
        "null": column.null,
        "digits": 8 if whole else 3 if column.name.endswith("_err") else 5,
        "reversed": column.ucd.startswith(_REVERSED) and not column.name.endswith("_err"),
        "flag": column.name.startswith("flag_"),
        "texts": texts.get(column.name),
    }


def _axis(names: Sequence[str], sample: Sample) -> str | None:
    """The first of some columns that has values; None where none has."""
    for name in names:
        if name in sample.values and np.isfinite(sample.values[name]).any():
            return name
    return None


def _plots(sample: Sample) -> list[dict[str, str | None]]:
    """Title and axes of each plot; one without values on an axis gives way to a spare one."""

    def made(plot: tuple[str, Sequence[str], Sequence[str]]) -> dict[str, str | None]:
        return {"title": plot[0], "x": _axis(plot[1], sample), "y": _axis(plot[2], sample)}

    spare = [plot for plot in map(made, SPARE_PLOTS) if plot["x"] and plot["y"]]
    plots = []
    for plot in map(made, PLOTS):
        shown = plot["x"] and plot["y"]
        plots.append(plot if shown or not spare else spare.pop(0))
    return plots


def write_explorer(
    path: str | Path,
    sample: Sample,
    columns: Sequence[Column],
    registry: Registry,
    snr_band: str,
    title: str,
    stars: str,
    main_table: str,
    rows: str | None = None,
) -> None:
    """Write the page.

    Parameters
    ----------
    columns : those of the sample, in the order of the table
    snr_band : column of the S/N that the filter is for
    stars : the folder of the stars' pages as Snakemake knows it; the page links to `stars/` in its
        own folder
    main_table : the table with the rows of the catalogue that SAMP's programs are told to load, as
        seen from the page's folder
    rows : the condition that the sample was made with, to be shown
    """
    n = len(sample.names)
    numbers = narrowed(sample.rows)
    whole = n == sample.n_catalogue
    stored: dict[str, NDArray[Any]] = {}
    for column in columns:
        values = sample.values[column.name]
        if not column.dtype.startswith("float"):
            values = narrowed(values)
        elif column.dtype == "float32":
            values = rounded(values, _ERROR_BITS if column.name.endswith("_err") else _BITS)
        stored[column.name] = values
    meta = {
        "title": title,
        "n": n,
        "n_rows": sample.n_rows,
        "n_catalogue": sample.n_catalogue,
        "rows": rows,
        "snr": snr_band,
        "stars": stars,
        "main_table": main_table,
        "rows_dtype": None if whole else numbers.dtype.name,
        "columns": [
            _described(column, stored[column.name].dtype.name, sample.texts) for column in columns
        ],
        "bits": [
            {"name": column.name, "bit": column.bit, "description": column.description}
            for column in registry.bit_columns
        ],
        "plots": _plots(sample),
    }
    write_page(
        path,
        TEMPLATE,
        title=title,
        # A description may hold "</script>"; `tojson` writes its "<" as \u003c, so it does not end
        # the script.
        meta=meta,
        columns=((name, packed(values)) for name, values in stored.items()),
        names=zipped("".join(f"{name}\n" for name in sample.names).encode()),
        rows=None if whole else packed(numbers),
        d3=(PAGE / "d3.min.js").read_text(encoding="utf-8"),
        program=(PAGE / "program.js").read_text(encoding="utf-8"),
        links=(PAGE / "links.js").read_text(encoding="utf-8"),
    )
