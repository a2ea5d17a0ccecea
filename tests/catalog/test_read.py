"""Catalogues are read with units and descriptions, by our function and by astropy's."""

import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyUserWarning

from lamostvac import read_catalogue
from lamostvac.catalog.files import write_rows
from lamostvac.catalog.registry import load_registry
from lamostvac.catalog.table_header import YAML_KEY
from lamostvac.core.exceptions import UserError
from lamostvac.core.former_names import former_name
from lamostvac.publish.votable import write_votable

REGISTRY = load_registry()
CARDS = {"CREATOR": ("lamost-vac 1", "program"), "CONFHASH": ("a" * 64, "SHA-256")}


@pytest.fixture
def rows():
    rows = REGISTRY.empty(3)
    rows["spectrum_id"] = [b"one", b"two", b"three"]
    rows["teff"], rows["redshift"], rows["n_spectra"] = [4000, 5000, np.nan], 1e-4, [1, -1, 2]
    return rows


@pytest.fixture(params=[".fits", ".parquet", ".vot"])
def path(request, rows, tmp_path):
    path = tmp_path / f"catalogue{request.param}"
    values = {key: value for key, (value, _) in CARDS.items()}
    if request.param == ".fits":
        write_rows(path, rows, REGISTRY, CARDS)
    elif request.param == ".parquet":
        pq.write_table(REGISTRY.to_arrow(rows, values), path)
    else:
        write_votable(path, [rows], REGISTRY.columns, REGISTRY, values, "title")
    return path


def check(table, names=REGISTRY.names):
    assert table.colnames == list(names)
    for name in names:
        assert table[name].info.description == REGISTRY[name].description
        assert table[name].info.meta["ucd"] == REGISTRY[name].ucd
        expected = REGISTRY[name].unit
        assert (table[name].unit or units.one) == units.Unit(expected, format="fits")


@pytest.mark.parametrize("reader", [Table.read, QTable.read])
def test_astropy_finds_units_and_descriptions(path, reader):
    table = reader(path)
    if path.suffix == ".vot":
        for column in table.itercols():
            column.info.meta = {"ucd": column.info.meta["ucd"]}
    check(table)
    assert float(QTable(table)["teff"][1].to_value(units.K)) == 5000


def test_our_reader_leaves_no_card_of_a_column_in_the_meta(path):
    table = read_catalogue(path)
    check(table)
    assert not [key for key in table.meta if key.startswith(("TCOMM", "TUCD", "LONGSTRN"))]
    assert len(table.meta) <= 10
    if path.suffix != ".vot":
        assert "lamost-vac 1" in table.meta.values()
    np.testing.assert_allclose(np.asarray(table["redshift"]), 1e-4)
    assert QTable(table)["teff"].unit == units.K


def test_some_columns_are_read_in_the_order_wanted_also_by_former_names(path):
    names = ("feh_err_random", "redshift", "spectrum_id")
    table = read_catalogue(path, ["feh_random", "z", "spectrum_id"])
    check(table, names)
    assert np.isin(table["spectrum_id"], ["two", "four"]).tolist() == [False, True, False]
    assert (table.to_pandas()["spectrum_id"] == "two").tolist() == [False, True, False]


def test_of_fits_the_columns_that_are_asked_for_alone_come_into_memory(rows, tmp_path):
    path = tmp_path / "long.fits"
    write_rows(path, np.repeat(rows, 20_000), REGISTRY, CARDS)
    read_catalogue(path, "teff")  # imports
    tracemalloc.start()
    table = read_catalogue(path, ["teff", "n_spectra"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table["n_spectra"][-1] == 2
    assert table["teff"][20_000] == 5000
    assert peak < 0.25 * path.stat().st_size


def test_a_file_is_read_once(path, monkeypatch):
    calls = []
    real = Table.read

    def read(*args, **options):
        calls.append(args)
        return real(*args, **options)

    monkeypatch.setattr(Table, "read", read)
    read_catalogue(path, ["teff"])
    assert len(calls) == 1


def test_some_columns_are_as_they_are_among_all(path):
    every = read_catalogue(path)
    names = ["gaia_release", "teff", "n_spectra", "flag_bad", "spectrum_id"]
    names = [name for name in names if name in every.colnames]
    some = read_catalogue(path, names)
    for name in names:
        assert type(some[name]) is type(every[name])
        assert some[name].dtype == every[name].dtype
        assert repr(some[name].tolist()) == repr(every[name].tolist())
    assert some.meta == every.meta


def test_a_catalogue_of_an_earlier_release_gets_present_names(rows, tmp_path):
    write_rows(tmp_path / "old.fits", rows, REGISTRY, CARDS)
    with fits.open(tmp_path / "old.fits", mode="update") as hdus:
        header = hdus[1].header
        header.remove("COMMENT", remove_all=True)
        for number in range(1, header["TFIELDS"] + 1):
            header[f"TTYPE{number}"] = former_name(header[f"TTYPE{number}"])
    table = REGISTRY.to_arrow(rows)
    table = table.rename_columns([former_name(name) for name in REGISTRY.names])
    metadata = {
        key.decode(): value for key, value in REGISTRY.to_arrow(rows).schema.metadata.items()
    }
    del metadata[YAML_KEY]
    beginning = "table::len::"  # of the keys with the widths of texts
    metadata = {
        beginning + former_name(key.removeprefix(beginning))
        if key.startswith(beginning)
        else key: v
        for key, v in metadata.items()
    }
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "old.parquet")
    assert "x_gal" in Table.read(tmp_path / "old.fits").colnames
    for name in ("old.fits", "old.parquet"):
        check(read_catalogue(tmp_path / name))


def test_mistakes_are_told_in_a_sentence(path, tmp_path):
    for wrong, said in (
        (tmp_path / "nothing.fits", "there is no file"),
        (tmp_path / "catalogue.txt", r"ends in \.fits, \.parquet, \.vot"),
    ):
        with pytest.raises(UserError, match=said):
            read_catalogue(wrong)
    with pytest.raises(UserError, match=r"has no column tef_rec.*did you mean teff_rec\?"):
        read_catalogue(path, ["tef_rec"])
    for columns, said in (
        (["teff_rec", "teff_rec"], "the column teff_rec is asked for twice"),
        (["z", "redshift"], "the column redshift is asked for twice"),
        ([3], "3 is none"),
        ([], "no column is asked for"),
    ):
        with pytest.raises(UserError, match=said):
            read_catalogue(path, columns)
    assert read_catalogue(path, "teff_rec").colnames == ["teff_rec"]
    if path.suffix == ".fits":
        path.write_bytes(path.read_bytes()[:-2880])
        with (
            pytest.warns(AstropyUserWarning),
            pytest.raises(UserError, match=r"the last \d+ bytes of its rows are missing"),
        ):
            read_catalogue(path, "teff_rec")
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        read_catalogue(path)
