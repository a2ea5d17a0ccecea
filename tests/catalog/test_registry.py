"""The column registry says what the files contain, and refuses what files cannot contain."""

import dataclasses

import numpy as np
import pytest
import yaml
from astropy import units
from astropy.io import fits
from astropy.table import Table

from lamostvac.catalog.column_rules import problems
from lamostvac.catalog.column_vocabulary import unknown_words
from lamostvac.catalog.registry import NetworkLabel, Registry, load_registry
from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import COLUMNS_PATH, PROJECT
from lamostvac.training.load import load_training_sets

REGISTRY = load_registry()


def filled(n=5):
    rows = REGISTRY.empty(n)
    rng = np.random.default_rng(1)
    for column in REGISTRY:
        if column.is_string:
            rows[column.name] = [f"{column.name[:2]}{i}"[: column.width] for i in range(n)]
        elif np.dtype(column.dtype).kind == "f":
            rows[column.name] = rng.normal(size=n)
        else:
            rows[column.name] = rng.integers(0, 100, n)
    return rows


def write(path, rows):
    content = REGISTRY.header(len(rows), {"CREATOR": ("lamost-vac", "program")}) + rows.tobytes()
    path.write_bytes(content + b"\0" * (-len(content) % 2880))


def broken(**change):
    columns = [
        dataclasses.replace(column, **change) if column.name == "teff" else column
        for column in REGISTRY
    ]
    return [*problems(Registry(tuple(columns))), *unknown_words(columns)]


def test_shipped_registry_is_valid():
    assert broken() == []


def test_units_are_looked_at_when_a_run_starts_and_not_in_its_jobs(tmp_path):
    text = COLUMNS_PATH.read_text()
    unknown = text.replace("unit: km s-1", "unit: furlong", 1)
    assert unknown != text
    (tmp_path / "columns.yaml").write_text(unknown)
    with pytest.raises(UserError, match="furlong"):
        load_registry(path=tmp_path / "columns.yaml")
    in_job = load_registry(path=tmp_path / "columns.yaml", vocabulary=False)
    assert in_job.names == REGISTRY.names


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "Teff"}, "snake_case"),
        ({"name": "logg"}, "stands twice"),
        ({"dtype": "float16"}, "unknown dtype"),
        ({"unit": "dex"}, "FITS standard"),
        ({"ucd": "phys.temperature.cold"}, "not UCD1+"),
        ({"name": "teff_x_err"}, "error of no column"),
        ({"ucd": "stat.error;phys.gravity"}, "does not end in _err"),
        ({"bit": 9}, "flag_"),
        ({"name": "flag_teff", "bit": 9}, "uint8"),
        ({"description": "Temperature in °"}, "ASCII"),
    ],
)
def test_a_wrong_column_is_named(change, complaint):
    assert any(complaint in sentence for sentence in broken(**change))


def test_two_flags_must_not_share_a_bit():
    columns = [
        dataclasses.replace(column, bit=0) if column.bit is not None else column
        for column in REGISTRY
    ]
    assert "two flags share a bit" in list(problems(Registry(tuple(columns))))


@pytest.mark.parametrize(
    ("key", "complaint"), [("ucd", "lacks ucd"), (None, "unknown keys colour")]
)
def test_wrong_keys_are_named(tmp_path, key, complaint):
    content = yaml.safe_load(COLUMNS_PATH.read_text())
    if key:
        del content["columns"][3][key]
    else:
        content["columns"][3]["colour"] = "red"
    path = tmp_path / "columns.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=complaint):
        load_registry(path=path)


def test_fits_has_types_units_ucds_and_descriptions_of_the_registry(tmp_path):
    rows = filled()
    write(tmp_path / "t.fits", rows)
    with fits.open(tmp_path / "t.fits") as hdus:
        hdus.verify("exception")
        header, data = hdus[1].header, hdus[1].data
        assert hdus[0].header["CREATOR"] == "lamost-vac"
        for number, column in enumerate(REGISTRY, start=1):
            assert header[f"TTYPE{number}"] == column.name
            assert header.get(f"TUNIT{number}", "") == column.unit
            assert header[f"TUCD{number}"] == column.ucd
            assert header[f"TCOMM{number}"] == column.description
            if not column.is_string:
                assert data[column.name].dtype == np.dtype(column.dtype).newbyteorder(">")
                np.testing.assert_array_equal(data[column.name], rows[column.name])
    table = Table.read(tmp_path / "t.fits")
    assert table["teff"].unit == units.K
    assert list(table["planid"]) == [value.decode() for value in rows["planid"]]


def test_the_header_is_astropys_but_for_texts_about_the_columns():
    columns = [
        fits.Column(one.name, one.tform, unit=one.unit or None, null=one.null) for one in REGISTRY
    ]
    theirs = fits.BinTableHDU.from_columns(fits.ColDefs(columns), nrows=7, name="SOME").header
    text = REGISTRY.header(7, name="SOME").decode("ascii")
    primary, ours = text[:2880], fits.Header.fromstring(text[2880:])
    assert primary == fits.PrimaryHDU().header.tostring()
    added = {name for name in ours if name.startswith(("TUCD", "TCOMM", "LONGSTRN", "COMMENT"))}
    assert len(added) == 2 * len(REGISTRY.names) + 2
    kept = [card for card in ours.cards if card.keyword not in added]
    assert [str(card) for card in kept] == [str(card) for card in theirs.cards]


def test_arrow_equals_the_rows_and_carries_the_metadata():
    rows = filled()
    table = REGISTRY.to_arrow(rows, {"creator": "x"})
    for column in REGISTRY:
        field = table.schema.field(column.name)
        assert field.metadata[b"unit"].decode() == column.unit
        assert field.metadata[b"ucd"].decode() == column.ucd
        assert field.metadata[b"description"].decode() == column.description
        values = table[column.name].to_numpy()
        expected = rows[column.name]
        np.testing.assert_array_equal(
            values, np.char.decode(expected) if column.is_string else expected
        )


def test_empty_rows_hold_missing_values():
    row = REGISTRY.empty(1)[0]
    assert np.isnan(row["teff"])
    assert row["obsid"] == -1
    assert row["planid"] == b""
    assert row["flag_snr"] == 0


def test_missing_values_of_a_table_become_missing_values():
    rows = REGISTRY.empty(2)
    REGISTRY.fill(rows, {"obsid": [np.nan, 7.0], "subclass": [None, "G2 "], "unknown": [1, 2]})
    assert rows["obsid"].tolist() == [-1, 7]
    assert rows["subclass"].tolist() == [b"", b"G2"]


def test_a_text_that_does_not_fit_is_not_cut():
    with pytest.raises(UserError, match="column planid is 32 bytes wide"):
        REGISTRY.fill(REGISTRY.empty(1), {"planid": ["p" * 33]})


def test_a_number_that_does_not_fit_does_not_wrap():
    with pytest.raises(UserError, match="column spid holds 1 to 40000"):
        REGISTRY.fill(REGISTRY.empty(2), {"spid": [1, 40000]})


def test_datamodel_lists_every_column_and_flag_bit():
    text = REGISTRY.datamodel()
    for column in REGISTRY:
        assert f"| `{column.name}` | {column.dtype} | {column.unit} | `{column.ucd}` |" in text
    for name, bit in REGISTRY.flag_bits.items():
        assert f"| {bit} | {1 << bit} | `{name}` |" in text


def test_every_main_column_is_one_of_a_run_with_the_shipped_training_sets():
    entries = load_training_sets(PROJECT / "config/training_sets.yaml")
    labels = [
        NetworkLabel(label.name, label.unit, label.ucd, label.description, entry.name)
        for entry in entries
        for label in entry.labels
    ]
    registry = load_registry(labels)
    assert registry.main.names == list(registry.main_names)
    assert {"spectrum_id", "teff_rec", "recommended", "dist"} <= set(registry.main.names)


def test_what_is_no_list_of_different_names_is_no_list_of_main_columns(tmp_path):
    path = tmp_path / "columns.yaml"
    for wrong in ("ra", "[ra, ra]", "[1]"):
        path.write_text(f"columns: []\nmain_columns: {wrong}\n")
        with pytest.raises(UserError, match="each once"):
            load_registry(path=path)


def test_a_reader_finds_the_recommended_values_before_what_they_are_made_of():
    names = REGISTRY.names
    places = [names.index(name) for name in ("spectrum_id", "teff_rec", "flags", "dist", "teff")]
    assert places == sorted(places)
    assert names.index("flag_snr") > names.index("fit_status")
