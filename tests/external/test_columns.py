"""One set of rules for every table: missing values, exact integers, padding, encodings, compression, scaling."""

import gzip
import string

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from lamostvac.core.exceptions import UserError
from lamostvac.external import values
from lamostvac.external.columns import read_columns
from lamostvac.external.read import numbers_of, read_table
from lamostvac.external.values import Notes

GAIA = [3949843210360996224, 2650009561959801216]
KINDS = {"id": pa.int64(), "teff": pa.float64(), "name": pa.large_string()}


def read(path, kinds=KINDS, names=("id", "teff", "name")):
    def choose(found):
        if set(names) - set(found):
            raise UserError(f"there is no column {sorted(set(names) - set(found))}")
        return {name: list(found).index(name) for name in names}

    columns, notes = read_columns(path, choose, kinds, lambda n: len(set(n) & set(names)))
    return {name: column.to_pylist() for name, column in columns.items()}, notes


def write(folder, text, name="t.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    "mark", ["", "-", "---", "...", "null", "NaN", "<NA>", "N/A", "-9999", "-9999.0"]
)
@pytest.mark.parametrize("separator", [",", "|", ";", "\t"])
def test_every_mark_of_a_missing_value_is_one_in_every_text_table(tmp_path, mark, separator):
    rows = [
        "id,teff,name",
        f"{GAIA[0]},5800,Sun",
        f"{mark},{mark},{mark if mark[:2] != '-9' else ''}",
    ]
    path = write(tmp_path, "\n".join(rows).replace(",", separator) + "\n")
    found, _ = read(path)
    assert found == {"id": [GAIA[0], None], "teff": [5800.0, None], "name": ["Sun", None]}


@pytest.mark.parametrize(
    ("cell", "exact"),
    [
        (str(GAIA[0]), GAIA[0]),
        (f"{GAIA[0]}.0", GAIA[0]),
        (f" {GAIA[0]} ", GAIA[0]),
        ("+12", 12),
        ("12e3", 12000),
        ("3.949843210360996e18", None),
        ("3.94984321036099E+18", None),
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None),
        ("1.5", None),
        ("abc", None),
    ],
)
def test_an_integer_of_a_text_table_is_exact_or_missing_and_counted(tmp_path, cell, exact):
    found, notes = read(write(tmp_path, f"id,teff,name\n{cell},1,a\n7,2,b\n"))
    assert found["id"] == [exact, 7]
    assert sum(notes.inexact.values()) + sum(notes.no_number.values()) == (exact is None)
    if exact is None:
        assert "column id: 1 value(s)" in notes.sentences("t.csv")[0]


def test_exact_integers_stay_exact_beside_missing_and_odd_cells(tmp_path):
    """With both, the column once went through floating point."""
    found, _ = read(
        write(tmp_path, f"id,teff,name\n{GAIA[0] + 1},1,a\n,2,b\n12e3,3,c\n-1e18,4,d\n")
    )
    assert found["id"] == [GAIA[0] + 1, None, 12000, None]
    whole = [str(2**63 - 1), "", "12e3", "9223372036854775808"]
    found, _ = read(write(tmp_path, "\n".join(["id,teff,name", *(f"{n},1,a" for n in whole)])))
    assert found["id"] == [2**63 - 1, None, 12000, None]


@pytest.mark.parametrize("name", ["t.csv", "t.fits"])
def test_a_number_that_a_narrow_column_cannot_hold_is_missing(tmp_path, name):
    """As an infinite S/N it passed every threshold."""
    Table({"snr": [1e39, 30.0, -1e300]}).write(tmp_path / name)
    found, _ = read(tmp_path / name, {"snr": pa.float32()}, ("snr",))
    assert found == {"snr": [None, 30.0, None]}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("TSCAL1", "'name'"), ("TZERO1", "'x'"), ("NAXIS2", "-1")],
)
def test_a_header_with_impossible_cards_is_a_sentence(tmp_path, keyword, value):
    hdu = fits.table_to_hdu(Table({"id": [1, 2], "teff": [1.0, 2.0]}))
    hdu.header["TSCAL1"], hdu.header["TZERO1"] = 1.0, 0.0
    hdu.writeto(tmp_path / "t.fits")
    data = (tmp_path / "t.fits").read_bytes()
    at = data.index(f"{keyword:<8}= ".encode())
    card = f"{keyword:<8}= {value:>20}".ljust(80)[:80].encode()
    (tmp_path / "t.fits").write_bytes(data[:at] + card + data[at + 80 :])
    with pytest.raises(UserError, match=r"t\.fits is damaged"):
        read(tmp_path / "t.fits", names=("teff",))


def test_an_identifier_that_went_through_a_float_is_refused_where_it_identifies(tmp_path):
    path = write(tmp_path, "id,teff\n3.94984321036099E+18,5800\n")
    with pytest.raises(UserError, match=r"t\.csv: column id is no whole number .* 1 row"):
        read_table(path, {"id": "id", "teff": "teff"}, identifiers=["id"])


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i8"])
def test_unsigned_integers_of_fits_are_exact(tmp_path, kind):
    bounds = np.iinfo(kind)
    whole = [int(bounds.min), min(int(bounds.max), 2**63 - 1), 5]
    Table({"id": np.array(whole, kind), "teff": [1.0, 2, 3], "name": ["a", "b", "c"]}).write(
        tmp_path / "t.fits"
    )
    assert read(tmp_path / "t.fits")[0]["id"] == whole


def test_signed_bytes_of_fits_are_exact(tmp_path):
    column = fits.Column("id", "B", bzero=-128, array=np.array([-128, 127, 5], "i1"))
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "t.fits")
    assert read(tmp_path / "t.fits", names=("id",))[0] == {"id": [-128, 127, 5]}


def test_scaled_columns_of_fits_are_scaled(tmp_path):
    column = fits.Column("teff", "J", array=np.array([5300, -7], "i4"))
    table = fits.BinTableHDU.from_columns([column, fits.Column("id", "K", array=[1, 2])])
    table.header["TSCAL1"], table.header["TZERO1"] = 0.5, 100.0
    table.writeto(tmp_path / "t.fits")
    found, _ = read(tmp_path / "t.fits", names=("id", "teff"))
    assert found["teff"] == [2750.0, 96.5]


@pytest.mark.parametrize(("dtype", "limit"), [("f8", 2**53), ("f4", 2**24)])
def test_integers_stored_as_floats_are_missing_where_a_float_cannot_hold_them(
    tmp_path, dtype, limit
):
    ids = np.array([limit - 1, limit * 4, 1.5, np.nan], dtype)
    Table({"id": ids, "teff": np.zeros(4), "name": list("abcd")}).write(tmp_path / "t.fits")
    found, notes = read(tmp_path / "t.fits")
    assert found["id"] == [limit - 1, None, None, None]
    assert notes.inexact == {"id": 2}


def test_content_decides_about_compression_whatever_the_name(tmp_path):
    text = b"id,teff,name\n1,5800,a\n"
    expected = {"id": [1], "teff": [5800.0], "name": ["a"]}
    for name, content in {
        "plain.csv.gz": text,
        "PACKED.CSV": gzip.compress(text, mtime=0),
        "plain.bz2": text,
        "packed.fits": gzip.compress(text, mtime=0),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name)[0] == expected, name


OTHERS = {
    "bzip2": b"BZh9",
    "xz": b"\xfd7zXZ\0",
    "zip": b"PK\x03\x04",
    "Parquet": b"PAR1",
    "UTF-16": b"\xff\xfei\0",
}


@pytest.mark.parametrize("word", OTHERS)
def test_other_packings_are_named_in_one_sentence(tmp_path, word):
    (tmp_path / "t.csv").write_bytes(OTHERS[word] + b"\0" * 50)
    with pytest.raises(UserError, match=word):
        read(tmp_path / "t.csv")


def test_padded_and_quoted_cells_are_what_they_say(tmp_path):
    padded = write(tmp_path, "id | teff | name\n 7 | 5800 | a star \n", "padded.csv")
    quoted = write(tmp_path, '"id"|"teff"|"name"\n"7"|"5800"|"a star"\n', "quoted.csv")
    marks = write(tmp_path, 'id|teff|name\n7|5800|5" star\n', "marks.csv")
    for path in (padded, quoted):
        assert read(path)[0] == {"id": [7], "teff": [5800.0], "name": ["a star"]}
    assert read(marks)[0]["name"] == ['5" star']


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_names_with_accents_are_read_in_the_usual_encodings(tmp_path, encoding):
    path = write(tmp_path, "id,teff,name\n1,5800,Böhm-Vitense\n", encoding=encoding)
    assert read(path)[0]["name"] == ["Böhm-Vitense"]


def test_a_damaged_byte_in_a_fits_text_harms_nobody(tmp_path):
    Table({"id": [1, 2], "teff": [1.0, 2.0], "name": ["abc", "def"]}).write(tmp_path / "t.fits")
    data = (tmp_path / "t.fits").read_bytes()
    (tmp_path / "t.fits").write_bytes(data.replace(b"abc", b"a\xe9c"))
    assert read(tmp_path / "t.fits")[0]["name"] == ["aéc", "def"]


def test_control_characters_become_blanks_and_are_counted(tmp_path):
    Table({"id": [1, 2], "teff": [1.0, 2.0], "name": ["a\nb\x07c", "d"]}).write(tmp_path / "t.fits")
    found, notes = read(tmp_path / "t.fits")
    assert found["name"] == ["a b c", "d"]
    assert notes.control == {"name": 1}


VIZIER = "#\n# VizieR\nid\tteff\tname\n \tK\t \n---\t----\t----\n1\t5800\tSun\n#END# 2\n"


@pytest.mark.parametrize("separator", ["\t", "|", ";"])
def test_vizier_tables_are_read_with_each_of_its_separators(tmp_path, separator):
    text = VIZIER.replace("\t", separator) if separator != "\t" else VIZIER
    assert read(write(tmp_path, text))[0] == {"id": [1], "teff": [5800.0], "name": ["Sun"]}


def test_names_in_a_comment_and_other_comments_are_told_apart(tmp_path):
    text = "# made yesterday\n# id|teff|name\n1|5800|Sun\n"
    assert read(write(tmp_path, text))[0]["teff"] == [5800.0]
    text = "# made yesterday, by me\nid,teff,name\n1,5800,Sun\n"
    assert read(write(tmp_path, text))[0]["teff"] == [5800.0]


def test_a_number_that_is_none_is_named_with_file_column_and_row(tmp_path):
    path = write(tmp_path, "id\tteff\n1\t5800\n2\t5800:\n")
    table = read_table(path, {"id": "id", "teff": "teff"}, identifiers=["id"])
    with pytest.raises(UserError, match=r"t\.csv: teff has to be a number and is '5800:' in row 2"):
        numbers_of(table, "teff")


def test_a_row_of_another_length_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read as a table: .*3 columns, got 2"):
        read(write(tmp_path, "id,teff,name\n1,2,a\n1,2\n"))


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
def test_a_truncated_fits_table_is_said_to_be_one(tmp_path, cut):
    Table({"id": np.arange(5000), "teff": np.zeros(5000), "name": ["x"] * 5000}).write(
        tmp_path / "t.fits"
    )
    data = (tmp_path / "t.fits").read_bytes()
    (tmp_path / "t.fits").write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(UserError, match="truncated"):
        read(tmp_path / "t.fits")


# ---------------------------------------------------------------- wild input


def one_sentence(error):
    assert "\n" not in str(error)
    assert len(str(error)) < 1000


cells = st.text(alphabet=string.printable + "é\x00\x85", max_size=12)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(cells, cells, cells), max_size=5),
    st.sampled_from(",|;\t"),
    st.sampled_from(["utf-8", "latin-1"]),
)
def test_any_text_is_read_or_refused_with_a_sentence(tmp_path_factory, rows, separator, encoding):
    folder = tmp_path_factory.mktemp("wild")
    text = (
        separator.join(("id", "teff", "name"))
        + "\n"
        + "\n".join(separator.join(row) for row in rows)
        + "\n"
    )
    (folder / "t.csv").write_bytes(text.encode(encoding, "replace"))
    try:
        found, _ = read(folder / "t.csv")
    except UserError as error:
        one_sentence(error)
        return
    assert all(value is None or np.isfinite(value) for value in found["teff"])
    assert all(value is None or abs(value) < 2**63 for value in found["id"])
    assert all(
        value is None or (value == value.strip() and value.isprintable()) for value in found["name"]
    )


def fits_bytes():
    """A table in a second part, as bytes."""
    table = Table({"id": np.arange(20), "teff": np.linspace(1, 2, 20), "name": ["star"] * 20})
    hdus = fits.HDUList([fits.PrimaryHDU(np.zeros((3, 4))), fits.table_to_hdu(table)])
    from io import BytesIO

    out = BytesIO()
    hdus.writeto(out)
    return out.getvalue()


WHOLE = fits_bytes()


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8
    ),
    st.booleans(),
)
@pytest.mark.filterwarnings("ignore")
def test_any_damaged_fits_table_is_read_or_refused_with_a_sentence(
    tmp_path_factory, changes, early
):
    data = bytearray(WHOLE)
    for place, byte in changes:
        data[place % 5760 if early else place] = byte
    path = tmp_path_factory.mktemp("damaged") / "t.fits"
    path.write_bytes(data)
    try:
        found, _ = read(path)
    except UserError as error:
        one_sentence(error)
        return
    assert all(value is None or np.isfinite(value) for value in found["teff"])


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63) + 1, 2**63 - 1)), max_size=20))
def test_integers_survive_being_written_and_read(numbers):
    notes = Notes()
    texts = pa.array([None if n is None else str(n) for n in numbers], pa.large_string())
    found = values.integers_of_texts(texts, "x", notes).to_pylist()
    assert found == [None if n in (-9999, -99999) else n for n in numbers]
    assert not notes.sentences("x")


CELLS = st.one_of(
    st.none(),
    st.integers(-(2**65), 2**65).map(str),
    st.sampled_from(["+3", "4.0", "5.", "0.50", "12e3", "1.5e1", "3.949843210360996e18", "-1e-2"]),
    st.sampled_from(["M31", "1.2.3", "nan", "inf", "-9999", "-9999.99", "+", "."]),
)


@given(st.lists(CELLS, max_size=8))
def test_a_column_without_a_kind_is_whole_numbers_where_every_cell_is_one(cells):
    texts = pa.array(cells, pa.large_string())
    lost = Notes()
    whole = values.integers_of_texts(texts, "x", lost)
    found = values.of_texts(texts, None, "x", Notes())
    if lost.inexact or lost.no_number:
        assert not pa.types.is_integer(found.type)
    else:
        assert found.equals(whole)
