"""Other programs read in each form of the catalogue what is in its rows."""

import gzip
import re
import shutil
import subprocess
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.io import ascii as text_tables
from astropy.io import votable as astropy_votable
from astropy.table import Table
from isolation import missing

from lamostvac.catalog import files as catalog_files
from lamostvac.catalog import merge as catalog_merge
from lamostvac.catalog.best_spectrum import set_unique
from lamostvac.catalog.registry import NetworkLabel, load_registry
from lamostvac.configuration.root import load_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.publish import cds_readme, choice, votable
from lamostvac.publish.error_summary import internal_errors, published_errors
from lamostvac.publish.fixed_width import is_present, layout, write_text
from lamostvac.publish.hats import write_hats
from lamostvac.publish.healpix import MAX_ORDER, partitions, pixels
from lamostvac.publish.main_table import write_main

REGISTRY = load_registry(
    [NetworkLabel("abs_mag_ks", "mag", "phys.magAbs;em.IR.K", "a magnitude", "gaia")]
)
CARDS = catalog_files.input_cards(
    [("data/dr10.fits.gz", "a" * 64), ("library mastar", "b" * 64)]
) | {"CREATOR": ("lamost-vac 0", "program")}
TITLE = "Stellar labels <of> tests & more"
TYPES = {"OB": 40, "G": 170, "M": 60}


def sample(name, n, seed):
    """Rows with numbers of all sizes, some missing."""
    rng = np.random.default_rng(seed)
    rows = REGISTRY.empty(n)
    for column in REGISTRY:
        if column.is_string:
            rows[column.name] = [f"{column.name[:1]} <&{i}"[: column.width] for i in range(n)]
            rows[column.name][rng.random(n) < 0.1] = b""
        elif column.dtype.startswith("float"):
            # Of a size that neither the type nor the columns before it have a part in.
            rows[column.name] = rng.normal(size=n) * 10.0 ** (crc32(column.name.encode()) % 9 - 4)
            rows[column.name][rng.random(n) < 0.1] = np.nan
        elif column.name.startswith("flag_"):
            rows[column.name] = rng.random(n) < 0.3
        else:
            rows[column.name] = rng.integers(-1, 100, n)
    rows["spectrum_id"] = np.char.mod(f"58000-P{name}-01-%03d", np.arange(n))
    rows["spectral_type"] = name.encode()
    rows["ra"], rows["dec"] = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    rows["ra"][1::2], rows["dec"][1::2] = rows["ra"][:-1:2], rows["dec"][:-1:2]
    rows["gaia_source_id"][::3] = rng.integers(2**61, 2**62, len(rows[::3]))
    rows["logg"] = rng.uniform(0, 5, n)
    rows["recommended"] = rng.random(n) < 0.6
    rows["flags"][::9] = 0
    set_unique(rows)
    return rows


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """A folder with recommended.fits and .parquet of three types."""
    folder = tmp_path_factory.mktemp("merged")
    merge(folder)
    return folder


def merge(folder):
    tables = {}
    for seed, (name, n) in enumerate(TYPES.items()):
        tables[name] = folder / f"{name}.fits"
        catalog_files.write_rows(tables[name], sample(name, n, seed), REGISTRY, CARDS)
    catalog_merge.merge_tables(
        tables, folder / "recommended.fits", folder / "recommended.parquet", REGISTRY, CARDS
    )


def blocks(folder, size=100):
    return catalog_files.read_blocks(folder / "recommended.fits", REGISTRY, size)


def rows_of(folder):
    return np.concatenate(list(blocks(folder))).astype(REGISTRY.record)


def write_cds(folder, target, size=100):
    fields, n = layout(blocks(folder, size), REGISTRY)
    write_text(target / "recommended.dat.gz", blocks(folder, size), fields)
    cards = catalog_files.read_cards(folder / "recommended.fits")
    (target / "ReadMe").write_text(
        cds_readme.readme(fields, n, REGISTRY, cards, TITLE, "A. Author, B. Author")
    )
    return fields


def write_vot(folder, path, columns=None, rows=None, limit=None):
    chosen = choice.chosen_columns(columns, REGISTRY)
    found = choice.selected(blocks(folder), choice.chosen_rows(rows, REGISTRY), limit)
    cards = catalog_files.read_cards(folder / "recommended.fits")
    return votable.write_votable(path, found, chosen, REGISTRY, cards, TITLE)


# ---------------------------------------------------------------- the main columns


def test_the_main_tables_have_the_main_columns_of_every_row(merged, tmp_path):
    rows, main = rows_of(merged), REGISTRY.main
    write_main(tmp_path / "a.fits", tmp_path / "a.parquet", blocks(merged), len(rows), main, CARDS)
    found = catalog_files.read_rows(tmp_path / "a.fits", main)
    frame = catalog_files.read_table(tmp_path / "a.parquet")
    assert list(frame) == list(found.dtype.names) == main.names
    assert "abs_mag_ks" in main.names
    assert len(main.names) < 50
    for name in main.names:
        np.testing.assert_array_equal(found[name], rows[name])
    np.testing.assert_array_equal(frame["dist"], rows["dist"])
    assert frame["spectrum_id"].tolist() == np.char.decode(rows["spectrum_id"]).tolist()
    assert catalog_files.read_cards(tmp_path / "a.fits")["INHASH2"] == "b" * 64
    assert pq.read_schema(tmp_path / "a.parquet").field("ra").metadata[b"unit"] == b"deg"


def test_blocks_that_are_fewer_than_announced_leave_no_main_table(merged, tmp_path):
    with pytest.raises(ValueError, match="announced"):
        write_main(tmp_path / "a.fits", tmp_path / "a.pq", blocks(merged), 7, REGISTRY.main, CARDS)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- CDS


def test_the_cds_reader_gets_values_units_and_what_is_missing(merged, tmp_path):
    fields = write_cds(merged, tmp_path)
    table = text_tables.read(
        str(tmp_path / "recommended.dat.gz"), format="cds", readme=str(tmp_path / "ReadMe")
    )
    rows = rows_of(merged)
    assert table.colnames == [cds_readme.label(column) for column in REGISTRY]
    for field in fields:
        column, values = field.column, rows[field.column.name]
        stored = table[cds_readme.label(column)]
        expected_unit = units.Unit(column.unit, format="fits") if column.unit else None
        if column.in_dex:
            gravity = column.ucd.endswith("phys.gravity")
            expected_unit = units.dex(units.cm / units.s**2) if gravity else units.dex
        assert stored.unit == expected_unit, column.name
        present = values != b"" if column.is_string else is_present(column, values)
        np.testing.assert_array_equal(~np.ma.getmaskarray(stored), present, column.name)
        stored = np.asarray(stored)[present]
        if column.is_string:
            assert np.char.encode(stored.astype(str)).tolist() == [
                value.strip() for value in values[present]
            ]
        elif field.decimals is None:
            np.testing.assert_array_equal(stored, values[present], column.name)
        else:
            # Half a unit of the last digit, which is small beside all but the smallest values.
            np.testing.assert_allclose(
                stored,
                values[present].astype(float),
                rtol=1e-12,
                atol=0.501 * 10.0**-field.decimals,
            )
            digits = 5 if column.dtype == "float32" else 11
            size = np.quantile(np.abs(values[present].astype(float)), 0.15)
            # No more than 12, and with those before the point no more than float64 holds.
            before = len(str(int(np.abs(values[present].astype(float)).max()))) + 1
            most = min(12, 15 - before)
            assert 10.0**-field.decimals <= size * 10.0 ** (2 - digits) or field.decimals == most


def test_errors_and_positions_have_the_names_of_cds():
    labels = {column.name: cds_readme.label(column) for column in REGISTRY}
    assert labels["teff_err"] == "e_teff"
    assert labels["abs_mag_ks_err"] == "e_abs_mag_ks"
    assert (labels["ra"], labels["dec"], labels["teff"]) == ("RAdeg", "DEdeg", "teff")
    assert len(set(labels.values())) == len(labels)


def test_the_readme_has_short_lines_and_says_what_the_bits_are(merged, tmp_path):
    fields = write_cds(merged, tmp_path)
    text = (tmp_path / "ReadMe").read_text(encoding="ascii")
    assert max(map(len, text.splitlines())) <= 80
    for column in REGISTRY.bit_columns:
        assert re.search(rf"^ +{1 << column.bit} = {column.name}:", text, re.M)
    assert "a" * 64 in text
    content = gzip.decompress((tmp_path / "recommended.dat.gz").read_bytes()).splitlines()
    assert {len(line) for line in content} == {fields[-1].end}
    assert f"recommended.dat  {fields[-1].end:>6} {len(content):>10}" in text


def test_numbers_are_written_as_python_writes_them(tmp_path):
    values = np.array(
        [0, -0.0, 0.5, -0.00004, 9.99996, -9.99996, 123.4, 1e-3, -7, 99999.9, np.nan, np.inf, 0.25]
    )
    rows = REGISTRY.empty(len(values))
    rows["teff"], rows["redshift"] = values, values
    rows["obsid"] = np.arange(len(values)) * -(10**17) + 5
    rows["chi2"] = values * 1e17
    fields, n = layout([rows[:5], rows[5:]], REGISTRY)
    write_text(tmp_path / "t.gz", [rows], fields)
    lines = gzip.decompress((tmp_path / "t.gz").read_bytes()).decode().splitlines()
    assert n == len(lines) == len(values)
    for field in fields:
        if field.column.name not in ("teff", "redshift", "obsid", "chi2"):
            continue
        for line, value in zip(lines, rows[field.column.name].tolist(), strict=True):
            found = line[field.start : field.end]
            if not np.isfinite(value):
                assert found.strip() == ""
            elif field.format.startswith("E"):
                assert float(found) == pytest.approx(value, rel=1e-7)
            elif field.decimals is None:
                assert found == f"{value:>{field.width}d}"
            else:
                wanted = f"{value:>{field.width}.{field.decimals}f}"
                assert found == (wanted if float(wanted) else wanted.replace("-", " ")), (
                    field.format
                )
    assert next(field for field in fields if field.column.name == "chi2").format == "E15.7"


def test_an_empty_table_has_a_readme(tmp_path):
    fields, n = layout([], REGISTRY)
    write_text(tmp_path / "t.gz", [], fields)
    assert n == 0
    assert gzip.decompress((tmp_path / "t.gz").read_bytes()) == b""
    assert "Byte-by-byte" in cds_readme.readme(fields, 0, REGISTRY, {}, TITLE)


# ---------------------------------------------------------------- VOTable


def test_the_votable_holds_columns_units_ucds_and_values(merged, tmp_path):
    n = write_vot(merged, tmp_path / "t.vot", REGISTRY.names)
    content = astropy_votable.parse(str(tmp_path / "t.vot"), verify="exception")
    resource = content.resources[0]
    table = resource.tables[0]
    rows = rows_of(merged)
    assert n == len(table.array) == len(rows)
    info = {entry.name: entry.value for entry in resource.infos}
    assert info["INPUT1"] == "dr10.fits.gz"
    assert info["INHASH1"] == "a" * 64
    assert resource.description == TITLE
    for field, column in zip(table.fields, REGISTRY, strict=True):
        assert (field.name, field.ucd, field.description) == (
            column.name,
            column.ucd,
            column.description,
        )
        assert field.unit == (units.Unit(column.unit, format="fits") if column.unit else None)
        stored, values = table.array[column.name], rows[column.name]
        if column.is_string:
            assert stored.tolist() == np.char.decode(values).tolist()
        else:
            np.testing.assert_array_equal(np.asarray(stored.data), values)
        if column.null is not None:
            np.testing.assert_array_equal(np.ma.getmaskarray(stored), values == column.null)


def test_rows_and_columns_of_the_votable_can_be_chosen(merged, tmp_path):
    condition = "best_spectrum == 1 and flag_snr == 0 and spectral_type == 'G'"
    n = write_vot(merged, tmp_path / "a.vot", ["teff", "spectrum_id"], condition)
    rows = rows_of(merged)
    kept = (rows["best_spectrum"] == 1) & (rows["flag_snr"] == 0) & (rows["spectral_type"] == b"G")
    table = Table.read(tmp_path / "a.vot")
    assert table.colnames == ["teff", "spectrum_id"]
    assert n == len(table) == kept.sum() > 10
    assert [str(name) for name in table["spectrum_id"]] == np.char.decode(
        rows["spectrum_id"][kept]
    ).tolist()
    assert write_vot(merged, tmp_path / "b.vot", ["obsid"], condition, 7) == 7
    np.testing.assert_array_equal(
        Table.read(tmp_path / "b.vot")["obsid"].data.data, rows["obsid"][kept][:7]
    )
    assert write_vot(merged, tmp_path / "c.vot", ["obsid"], "teff > 1e30") == 0
    assert len(Table.read(tmp_path / "c.vot")) == 0


def test_wrong_columns_and_conditions_are_named():
    with pytest.raises(
        UserError, match=r"votable_columns: there is no column tef; did you mean teff\?"
    ):
        choice.chosen_columns(["obsid", "tef"], REGISTRY)
    with pytest.raises(UserError, match=r"votable_rows: .* there is no column tef"):
        choice.chosen_rows("tef > 3", REGISTRY)
    with pytest.raises(UserError, match=r"votable_rows: .*is a number"):
        choice.chosen_rows("teff + 3", REGISTRY)
    with pytest.raises(UserError, match=r"publication\.title .*it must be ASCII"):
        load_configuration({"publication": {"title": "Étoiles"}})
    default = load_configuration({"simulation": {"enabled": True}}).publication
    assert choice.chosen_rows(default.votable_rows, REGISTRY) is not None
    assert {"spectrum_id", "ra", "dec", "flags"} <= {
        column.name for column in choice.chosen_columns(default.votable_columns, REGISTRY)
    }


# ---------------------------------------------------------------- HATS

# By cdshealpix 0.9.0 and astropy-healpix 2.0.1, which agree.
PLACES = np.array(
    [
        [45, 90],
        [90, -90],
        [180, 41.8],
        [270, -41.9],
        [359.999999, 0.1],
        [10, 89.9999],
        [123.456, -12.3],
        [301.2, 66.6],
        [77.7, -77.7],
        [200, 35.0],
        [13.3, -89.99999],
    ]
)
KNOWN = {
    3: [63, 576, 447, 746, 304, 63, 635, 249, 513, 163, 512],
    12: [
        *(16777215, 150994944, 117440511, 195734144, 79691827, 16777215),
        *(166674104, 65428220, 134595421, 42874634, 134217728),
    ],
    29: [
        *(288230376151711743, 2594073385365405696, 2017612628984134899, 3362686999642376746),
        *(1369095166379625658, 288230376151351301, 2863439314827196396, 1124048274362802721),
        *(2312331742538560483, 736580614569847307, 2305843009213704450),
    ],
}


@pytest.mark.parametrize("order", KNOWN)
def test_healpix_numbers_are_those_of_other_programs(order):
    assert pixels(PLACES[:, 0], PLACES[:, 1], order).tolist() == KNOWN[order]


def test_healpix_pixels_have_equal_areas_and_nest():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(-360, 720, 200_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 200_000)))
    fine = pixels(ra, dec, 29)
    for order in range(29):
        np.testing.assert_array_equal(pixels(ra, dec, order), fine >> (2 * (29 - order)))
    counts = np.bincount(pixels(ra, dec, 2), minlength=192)
    assert len(counts) == 192
    expected = len(ra) / 192
    assert np.sum((counts - expected) ** 2 / expected) < 192 + 5 * np.sqrt(2 * 192)


def test_partitions_hold_every_position_once_and_no_more_than_wanted():
    rng = np.random.default_rng(2)
    fine = pixels(rng.normal(100, 3, 5000), rng.normal(20, 3, 5000), MAX_ORDER)
    found = partitions(fine, 300, 8)
    assert sum(n for *_, n in found) == 5000
    covered = np.zeros(5000, int)
    for order, number, n in found:
        inside = fine >> (2 * (MAX_ORDER - order)) == number
        covered += inside
        assert inside.sum() == n <= 300
        parent = fine >> (2 * (MAX_ORDER - order + 1)) == number >> 2
        assert order == 0 or parent.sum() > 300
    assert (covered == 1).all()
    assert {order for order, *_ in partitions(fine, 1, 0)} == {0}


def test_hats_files_hold_every_row_at_its_place(merged, tmp_path):
    files = write_hats(
        tmp_path / "hats", merged / "recommended.fits", REGISTRY, {"CREATOR": "x"}, 60, block=37
    )
    assert len(files) > 5
    listed = pd.read_csv(tmp_path / "hats/partition_info.csv")
    assert list(zip(listed["Norder"], listed["Npix"], strict=True)) == [file[:2] for file in files]
    properties = dict(
        line.split("=", 1)
        for line in (tmp_path / "hats/hats.properties").read_text().splitlines()[1:]
    )
    assert properties["hats_nrows"] == str(sum(TYPES.values()))
    parts = []
    for order, number, n in files:
        path = tmp_path / f"hats/dataset/Norder={order}/Dir=0/Npix={number}.parquet"
        part = pq.read_table(path, partitioning=None).to_pandas()
        assert len(part) == n <= 60
        assert part["_healpix_29"].is_monotonic_increasing
        assert (pixels(part["ra"], part["dec"], order) == number).all()
        parts.append(part.drop(columns="_healpix_29"))
    everything = pd.concat(parts).sort_values("spectrum_id", ignore_index=True)
    frame = catalog_files.read_table(merged / "recommended.parquet").sort_values(
        "spectrum_id", ignore_index=True
    )
    pd.testing.assert_frame_equal(everything, frame)
    schema = pq.read_schema(tmp_path / "hats/dataset/_common_metadata")
    assert schema.field("teff").metadata[b"unit"] == b"K"
    assert schema.metadata[b"creator"] == b"x"
    groups = pq.read_metadata(tmp_path / "hats/dataset/_metadata")
    assert groups.num_rows == sum(TYPES.values())
    assert (
        groups.row_group(0).column(0).file_path
        == f"Norder={files[0][0]}/Dir=0/Npix={files[0][1]}.parquet"
    )


def test_hats_needs_positions(tmp_path):
    rows = sample("G", 6, 1)
    rows["ra"][4] = np.nan
    catalog_files.write_rows(tmp_path / "a.fits", rows, REGISTRY, {})
    with pytest.raises(UserError, match="58000-PG-01-004 has no position"):
        write_hats(tmp_path / "hats", tmp_path / "a.fits", REGISTRY, {}, 100)
    catalog_files.write_rows(tmp_path / "b.fits", rows[:0], REGISTRY, {})
    with pytest.raises(UserError, match="no rows"):
        write_hats(tmp_path / "hats", tmp_path / "b.fits", REGISTRY, {}, 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fits", "b.fits"]


# ---------------------------------------------------------------- internal errors


def test_internal_errors_against_pandas(merged):
    table = internal_errors(blocks(merged, 33), "snrr", published_errors())
    frame = catalog_files.read_table(merged / "recommended.parquet")
    assert (frame.loc[frame["recommended"] == 1, "flag_snr"] == 1).any()  # the column alone decides
    frame = frame[frame["recommended"] == 1]
    frame.loc[frame["flag_alpha_fe"] == 1, "alpha_fe_err"] = np.nan
    frame["class_"] = np.where(frame["logg"] < 3.8, "giant", "dwarf")
    assert len(table) == 2 * 6 * 6
    for line in table.itertuples():
        mine = (frame["class_"] == line.luminosity_class) & (
            frame["spectral_type"] == line.spectral_type
        )
        values = (
            frame.loc[mine, "snrr" if line.quantity == "snr" else line.quantity]
            .dropna()
            .astype(float)
        )
        assert line.n == len(values)
        if line.spectral_type == "G":
            assert line.n >= 5
        if line.n:
            expected = [values.min(), values.median(), values.mean(), values.std(ddof=0)]
            np.testing.assert_allclose(
                [line.min, line.median, line.mean, line.std], expected, rtol=1e-6
            )
        else:
            assert np.isnan([line.min, line.median, line.mean, line.std]).all()


def test_the_published_errors_stand_beside():
    table = internal_errors([], "snrr", published_errors()).set_index(
        ["luminosity_class", "spectral_type", "quantity"]
    )
    assert table.loc[("giant", "OB", "teff_err"), ["published_mean", "published_std"]].tolist() == [
        472,
        505,
    ]
    assert table.loc[("dwarf", "F", "snr"), ["published_n", "published_min"]].tolist() == [
        1681127,
        8,
    ]
    assert (
        table["published_n"].sum() == 1_628_422 + 4_605_128
    )  # giants and dwarfs of the table added by hand


# ---------------------------------------------------------------- headers, validators, repetition


def test_whole_numbers_that_are_missing_are_masked(merged):
    table = Table.read(merged / "recommended.fits")
    rows = rows_of(merged)
    for column in REGISTRY:
        if column.null is not None:
            np.testing.assert_array_equal(
                np.ma.getmaskarray(table[column.name]), rows[column.name] == column.null
            )
    assert table.meta["INPUT1"] == "dr10.fits.gz"
    assert pq.read_schema(merged / "recommended.parquet").metadata[b"inhash2"] == b"b" * 64
    cards = catalog_files.read_cards(merged / "recommended.fits")
    assert cards == {keyword: value for keyword, (value, _) in CARDS.items()}


def program(name):
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed (Debian: apt-get install {name})")
    return path


def test_fitsverify_finds_no_fault(merged):
    command = [program("fitsverify"), str(merged / "recommended.fits")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "0 warning(s) and 0 error(s)" in done.stdout


def test_votlint_finds_no_fault_and_stilts_knows_units_and_ucds(merged, tmp_path):
    stilts = program("stilts")
    write_vot(merged, tmp_path / "t.vot", REGISTRY.names)
    done = subprocess.run(
        [stilts, "votlint", str(tmp_path / "t.vot")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "", "")
    for name in (tmp_path / "t.vot", merged / "recommended.fits"):
        command = [
            stilts,
            "tpipe",
            f"in={name}",
            "cmd=meta name units ucd",
            "omode=out",
            "ofmt=csv",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        known = [line.split(",") for line in done.stdout.splitlines()[1:]]
        # A VOTable has another spelling of `km s-1` than FITS.
        assert [[column, units.Unit(unit), ucd] for column, unit, ucd in known] == [
            [column.name, units.Unit(column.unit), column.ucd] for column in REGISTRY
        ], name


def test_two_runs_give_the_same_bytes_for_any_block(tmp_path):
    contents = []
    for number, size in enumerate((100, 13)):
        folder = tmp_path / str(number)
        folder.mkdir()
        merge(folder)
        write_cds(folder, folder, size)
        chosen = choice.chosen_columns(None, REGISTRY)
        found = choice.selected(blocks(folder, size), choice.chosen_rows("teff > 0", REGISTRY), 50)
        votable.write_votable(folder / "recommended.vot", found, chosen, REGISTRY, {}, TITLE)
        write_hats(folder / "hats", folder / "recommended.fits", REGISTRY, {}, 60, TITLE, size)
        table = internal_errors(blocks(folder, size), "snrr", published_errors())
        table.to_csv(folder / "summary.csv")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        contents.append({str(path.relative_to(folder)): path.read_bytes() for path in files})
    assert contents[0].keys() == contents[1].keys()
    assert len(contents[0]) > 12
    for name, content in contents[0].items():
        assert content == contents[1][name], name


def test_the_examples_of_the_document_run(merged, tmp_path, monkeypatch, project, capsys):
    folder = tmp_path / "results/catalog"
    folder.mkdir(parents=True)
    for name in ("recommended.fits", "recommended.parquet"):
        shutil.copy(merged / name, folder)
    write_cds(merged, folder)
    monkeypatch.chdir(tmp_path)
    text = (project / "docs/catalogue.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(examples) == 4
    names = {}  # one session, as a reader types them one after the other
    for example in examples:
        exec(example, names)
    printed = capsys.readouterr().out
    assert "e_teff" in printed
    assert " K\n" in printed
