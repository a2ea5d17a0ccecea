"""The tables of the papers have every published column, in order, under its name and in its unit."""

# ruff: noqa: RUF001 -- letters and signs as the papers print them

import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from click.testing import CliRunner

from lamostvac.catalog.data_model import document
from lamostvac.catalog.published import aliases, listing, names_section, published_tables
from lamostvac.catalog.registry import NetworkLabel, load_registry
from lamostvac.cli.main import main
from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import PROJECT
from lamostvac.publish.published_fits import write_published
from lamostvac.training.load import load_training_sets

# Field and unit of every line of Table 3 of Wang et al. (2022), as the paper prints them.
WANG = [
    "gaiaid –", "obsid –", "ra obs degree", "dec obs degree", "gl degree", "gb degree", "snrg 1", "rv km s−1",
    "Err rv km s−1", "Teff PASTEL K", "Err Teff PASTEL K", "log g PASTEL dex", "Err log g PASTEL dex",
    "log g APOGEE dex", "Err log g APOGEE dex", "feh PASTEL dex", "Err feh PASTEL dex", "feh APOGEE dex",
    "Err feh APOGEE dex", "feh VMP dex", "Err feh VMP dex", "MH APOGEE dex", "Err MH APOGEE dex",
    "AFE APOGEE dex", "Err AFE APOGEE dex", "CFE APOGEE dex", "Err CFE APOGEE dex", "NFE APOGEE dex",
    "Err NFE APOGEE dex", "dist phot kpc", "Err dist phot kpc", "a gg mag", "Err a gg mag", "a bp mag",
    "Err a bp mag", "a rp mag", "Err a rp mag", "a j mag", "Err a j mag", "a h mag", "Err a h mag", "a ks mag",
    "Err a ks mag", "a w1 mag", "Err a w1 mag", "a w2 mag", "Err a w2 mag", "a bap mag", "Err a bap mag",
    "a rap mag", "Err a rap mag", "a vap mag", "Err a vap mag", "a gsd mag", "Err a gsd mag", "a rsd mag",
    "Err a rsd mag", "a isd mag", "Err a isd mag", "X/Y/Z kpc", "Err X/Y/Z kpc", "EBV –", "uqflag –",
    "flag parameter unit",
]  # fmt: skip
# Field of every line of Table 1 of Liang et al. (2024), with its unit where the paper prints one.
LIANG = [
    "obsid", "uid", "ra_obs (deg)", "dec_obs (deg)", "subclass", "snr_u/g/r/i/z", "z", "z_{err}", "T_{eff} (K)",
    "$T_{\\text{eff_err}}$ (K) ^a", "$\\log g$ (dex)", "$\\log g_{\\text{err}}$ (dex) ^a", "[Fe/H] (dex)",
    "[Fe/H]_err (dex) ^a", "[α /Fe] (dex)", "[α /Fe]_err (dex) ^a", "$\\log g_{\\text{Imig}}$ (dex)", "χ^2",
    "sum_ormask ^b", "FLAG_S/N", "FLAG_ χ^2", "FLAG_[α /Fe]", "gaia_id", "r_geo", "G/BP/RP (mag)",
    "G_err/BP_err/RP_err (mag)", "r_geo_16th", "r_geo_84th", "ebv_bayes19",
]  # fmt: skip
UNITS = {"–": "", "1": "", "unit": "", "degree": "deg", "kms−1": "km s-1"}
UNPRINTED = {"r_geo": "pc", "r_geo_16th": "pc", "r_geo_84th": "pc", "ebv_bayes19": "mag"}


def of_wang():
    """Name and unit of each column: a blank is _, X/Y/Z are three, and each parameter has a flag."""
    found = []
    for line in WANG:
        field, unit = re.fullmatch(r"(.*?) (km s−1|\S+)", line).groups()
        unit = UNITS.get(unit.replace(" ", ""), unit)
        name = field.replace(" ", "_")
        if name == "flag_parameter":
            found += [
                (f"flag_{parameter}", "")
                for parameter, _ in list(found)
                if re.match(r"(?!Err)(.*_(PASTEL|APOGEE|VMP)|a_.*)$", parameter)
            ]
        elif name.endswith("X/Y/Z"):
            found += [(name.replace("X/Y/Z", axis), unit) for axis in "XYZ"]
        else:
            found.append((name, unit))
    return found


def of_liang():
    """Name and unit of each column: markup and brackets gone, / and - are _, lists are columns."""
    found = []
    for line in LIANG:
        field, unit = re.fullmatch(r"(.*?)(?: \((\w+)\))?(?: \^[ab])?", line).groups()
        if field == "snr_u/g/r/i/z":
            names = [f"snr_{band}" for band in "ugriz"]
        elif "BP" in field:
            names = field.split("/")
        else:
            name = re.sub(r"\\text|[${}\[\]^]", "", field).replace("\\log g", "log_g")
            name = name.replace("α /", "alpha_").replace("χ", "chi").replace(" ", "")
            names = [name.replace("/", "_")]
        found += [(name, unit or UNPRINTED.get(name, "")) for name in names]
    return found


@pytest.fixture(scope="module")
def everything():
    """The registry of a run with all shipped networks."""
    labels = [
        NetworkLabel(label.name, label.unit, label.ucd, label.description, entry.name)
        for entry in load_training_sets(PROJECT / "config/training_sets.yaml")
        for label in entry.labels
    ]
    return load_registry(labels)


def catalogue(registry, n):
    """Rows with a different number in every column and row."""
    rows = registry.empty(n)
    for number, column in enumerate(registry):
        values = np.arange(n) * 1000 + number
        if column.is_string:
            rows[column.name] = values.astype(f"S{column.width}")
        else:
            rows[column.name] = values % 251 if column.dtype == "uint8" else values
    rows["snrg"] = np.arange(n)
    for name in ("flag_snr", "flag_chi2", "best_spectrum"):
        rows[name] = np.arange(n) % 3 == 0
    rows["recommended"] = np.arange(n) % 4 == 1
    return rows


def written(tmp_path, name, registry, n=100, block=17):
    rows = catalogue(registry, n)
    blocks = (rows[start : start + block] for start in range(0, n, block))
    path = tmp_path / f"{name}.fits"
    cards = {"CREATOR": ("lamost-vac 0", "program")}
    count = write_published(path, blocks, published_tables()[name], registry, cards)
    return rows, path, count


@pytest.mark.parametrize(
    ("name", "expected"), [("wang2022_table3", of_wang()), ("liang2024_table1", of_liang())]
)
def test_every_published_column_is_there_in_order_with_its_unit(
    tmp_path, everything, name, expected
):
    _, path, _ = written(tmp_path, name, everything)
    with fits.open(path) as hdus:
        header = hdus[1].header
        numbers = range(1, header["TFIELDS"] + 1)
        found = [(header[f"TTYPE{i}"], header.get(f"TUNIT{i}", "")) for i in numbers]
        comments = [header[f"TCOMM{i}"] for i in numbers]
    assert len(expected) == {"wang2022_table3": 91, "liang2024_table1": 37}[name]
    # FITS has no dex; the comment says it.
    assert found == [(field, "" if unit == "dex" else unit) for field, unit in expected]
    for (_, unit), comment in zip(expected, comments, strict=True):
        assert comment.endswith("(dex)") == (unit == "dex")


@pytest.mark.parametrize(
    ("name", "lines", "paper"),
    [
        ("wang2022_table3", WANG, "wang2022-lamost-dr8-nn-catalog.txt"),
        ("liang2024_table1", LIANG, "liang2024-mastar-emulator.txt"),
    ],
)
def test_the_lists_of_fields_are_those_of_the_papers_text(real_data, name, lines, paper):
    """The folder with the papers' texts lies beside the real files."""
    text = (real_data.parent / "papers" / paper).read_text(encoding="utf-8")
    if name == "wang2022_table3":
        table = text[text.index("Table 3. Descriptions") : text.index("a The flag takes")]
        body = [line.strip() for line in table.splitlines()[1:]]
        body = [line for line in body if line and not line.startswith("Field Description")]
        assert len(body) == len(lines)
        for line, expected in zip(body, lines, strict=True):
            field, unit = re.fullmatch(r"(.*?) (km s−1|\S+)", expected).groups()
            assert line.startswith(f"{field} ")
            assert line.endswith(f" {unit}")
    else:
        table = text[text.index("Table 1. Descriptions") : text.index("^a The uncertainty")]
        body = [line.split("\t")[0] for line in table.splitlines()[2:] if line]
        assert body == lines


@pytest.mark.parametrize("name", ["wang2022_table3", "liang2024_table1"])
def test_values_are_those_of_our_columns_in_the_rows_of_the_paper(tmp_path, everything, name):
    rows, path, count = written(tmp_path, name, everything)
    kept = rows["snrg"] > 10 if name == "wang2022_table3" else rows["recommended"] == 1
    with fits.open(path) as hdus:
        data = hdus[1].data
        assert count == len(data) == kept.sum() > 0
        for published, ours, _, _ in listing(name):
            if ours in everything.names:
                assert list(data[published]) == list(rows[ours][kept].astype(data[published].dtype))


def test_the_number_of_rows_in_a_block_changes_no_byte(tmp_path, everything):
    contents = set()
    for number, block in enumerate((1, 33, 1000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        contents.add(written(folder, "liang2024_table1", everything, block=block)[1].read_bytes())
    assert len(contents) == 1
    assert len(contents.pop()) % 2880 == 0


def test_a_column_that_the_run_does_not_have_is_empty_and_its_flag_is_one(tmp_path):
    registry = load_registry()
    _, path, count = written(tmp_path, "wang2022_table3", registry)
    table = Table.read(path)
    assert len(table.colnames) == len(of_wang())
    assert count == 89
    assert np.isnan(np.ma.filled(table["Teff_PASTEL"], np.nan)).all()
    assert (table["flag_Teff_PASTEL"] == 1).all()


def test_all_columns_that_the_papers_name_are_made_by_a_run_with_all_networks(everything):
    absent = [
        column.column
        for table in published_tables().values()
        for column in table.columns
        if column.column not in everything.names
    ]
    assert absent == []


def test_data_model_says_what_the_papers_call_a_column():
    assert aliases("gaia_source_id") == "W22 gaiaid, L24 gaia_id"
    assert aliases("dist_ks") == "W22 dist_phot"
    assert aliases("n_pixels") == ""
    assert "| `dist_phot` | `dist_ks` | kpc |" in document()
    assert "| `dist_phot` | `dist_ks` (not in this run) | kpc |" in names_section(["teff"])
    assert "| `T_eff` | `teff` | K | Effective temperature |" in names_section(["teff"])


def test_the_command_lists_the_published_columns():
    result = CliRunner().invoke(main, ["published", "liang2024_table1"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len(lines) == len(of_liang()) + 3
    assert [line.split()[0] for line in lines[2:-1]] == [name for name, _ in of_liang()]
    both = CliRunner().invoke(main, ["published"]).output
    assert "uqflag" in both
    assert "r_geo_84th" in both


def test_an_unknown_table_is_refused_by_name():
    with pytest.raises(UserError, match="there is no published table table9; the tables are wang"):
        listing("table9")
    result = CliRunner().invoke(main, ["published", "table9"])
    assert result.exit_code == 1
    assert "there is no published table table9" in result.output
