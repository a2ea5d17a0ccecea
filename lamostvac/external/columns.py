"""Reader of table columns for release catalogue, training sets, comparisons and photometry."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from lamostvac.core.exceptions import UserError
from lamostvac.external import values
from lamostvac.external.fits_table import read_fits
from lamostvac.external.text_table import kind_of_file, layout_of, read_cells
from lamostvac.external.values import Notes


def read_columns(
    path: str | Path,
    choose: Callable[[Sequence[str]], Mapping[str, int]],
    kinds: Mapping[str, pa.DataType],
    knows: Callable[[Sequence[str]], int],
) -> tuple[dict[str, pa.ChunkedArray], Notes]:
    """Some columns of a text table or of a FITS file's first table; the content decides which.

    Parameters
    ----------
    choose : names of the file's columns -> our name: number of the column; raises `UserError` where
        one is absent
    kinds : our name to its Arrow type; a column without one becomes int64, float64, bool or
        large_string, depending on its cells
    knows : number of known names among some; decides whether a comment line holds a text table's
        names

    Returns
    -------
    columns : our name to values, null where missing (`values`)
    notes : values that were changed or could not be kept

    Raises
    ------
    UserError
        The file cannot be read; the message names it, and column and row if known.
    """
    path, notes = Path(path), Notes()
    try:
        kind = kind_of_file(path)
        compressed = kind.endswith(".gz")
        if kind.startswith("fits"):
            return read_fits(path, compressed, choose, kinds, notes), notes
        layout = layout_of(path, compressed, knows)
        positions = dict(choose(layout.names))
        cells = read_cells(path, compressed, layout, positions, kinds)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    columns = {}
    for ours, column in cells.items():
        name = layout.names[positions[ours]]
        wanted = kinds.get(ours)
        array = column.combine_chunks()
        array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
        if wanted is not None and not _is_text(array.type):
            array = values.cleaned(array, wanted)
        elif pa.types.is_dictionary(array.type):
            array = _clean_dictionary(array, name, notes)
        else:
            array = values.of_texts(values.texts(array, name, notes), wanted, name, notes)
        columns[ours] = pa.chunked_array([array])
    return columns, notes


def _clean_dictionary(array: pa.DictionaryArray, column: str, notes: Notes) -> pa.Array:
    """Repeated texts, each distinct one cleaned once."""
    clean = values.texts(array.dictionary, column, notes).cast(pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(clean.indices.take(array.indices), clean.dictionary)


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    )
