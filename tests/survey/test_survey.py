"""Every catalogue row ends in exactly one place; chunks are whole plates in a fixed order."""

import gzip
import hashlib
import importlib.util
import json
import re
from types import SimpleNamespace

import lamost
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.configuration.root import load_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.core.vocabulary import SPECTRAL_TYPES
from lamostvac.run import inputs
from lamostvac.simulate.release import file_name, write_catalogue
from lamostvac.survey import catalogue as survey_catalogue
from lamostvac.survey import chunks as survey_chunks
from lamostvac.survey import paths
from lamostvac.survey import selection as survey_selection
from lamostvac.survey.settings import Survey

OURS = {theirs: ours for ours, theirs in survey_catalogue.IN_RELEASES.items()}


def star(**changes):
    row = {
        "obsid": 101001, "designation": "LAMOST J000000.00+000000.0", "obsdate": "2011-10-24", "lmjd": 55859,
        "planid": "F5902", "spid": 1, "fiberid": 1, "ra": 10.0, "dec": 20.0, "snru": 1.0, "snrg": 20.0, "snrr": 30.0,
        "snri": 40.0, "snrz": 20.0, "class": "STAR", "subclass": "G5", "z": 1e-4, "z_err": 1e-5,
    }  # fmt: skip
    return row | changes


def catalogue(path, rows, separator="|"):
    pd.DataFrame(rows).to_csv(path, sep=separator, index=False)
    return path


def read(tmp_path, rows):
    return survey_catalogue.read_catalogues([catalogue(tmp_path / "catalogue.csv", rows)])


def reasons(table, **settings):
    selection = survey_selection.select(table, Survey(**settings))
    return [survey_selection.STEPS[step] if step >= 0 else "" for step in selection.steps]


# ---------------------------------------------------------------- spectral types


@pytest.mark.parametrize(
    ("subclass", "expected"),
    [
        *[(name, "OB") for name in ("O", "B", "OB", "B6", "B9", "O9.5V", "Be")],
        *[(name, "A") for name in ("A0", "A2V", "A1IV", "A7III", "Am")],
        *[(name, name[0]) for name in ("F0", "G5", "K7", "M3", "G", "K3III")],
        *[(name, "M") for name in ("dM0", "gM3", "sdM1", "esdM2", " M1 ")],
        ("dK5", "K"),
        *[
            (name, None)
            for name in (
                "Non",
                "WD",
                "WDMagnetic",
                "Carbon",
                "CarbonWD",
                "DoubleStar",
                "CV",
                "EM",
                "",
            )
        ],
        *[(name, None) for name in ("Binary", "MS", "Galaxy", "sdB", "sdO", "AGN", "BHB", "L0")],
    ],
)
def test_spectral_type_by_subclass(subclass, expected):
    assert survey_selection.spectral_type(subclass) == expected


@given(
    st.sampled_from("OBAFGKM"),
    st.integers(0, 9),
    st.sampled_from(["", "I", "III", "IV", "V", ".5V"]),
)
def test_spectral_type_does_not_depend_on_subtype_or_luminosity_class(letter, subtype, luminosity):
    expected = "OB" if letter in "OB" else letter
    assert survey_selection.spectral_type(f"{letter}{subtype}{luminosity}") == expected


@given(st.text())
def test_spectral_type_takes_any_text(subclass):
    assert survey_selection.spectral_type(subclass) in (*SPECTRAL_TYPES, None)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("kind", ["csv|", "csv,", "csv|.gz", "fits", "fits.gz"])
def test_every_format_reads_the_same(tmp_path, kind):
    rows = [
        star(fiberid=i, obsid=101000 + i, subclass="K3" if i % 2 else "dM1", z=i * 1e-5)
        for i in range(1, 6)
    ]
    path = tmp_path / ("catalogue." + kind.replace("|", "").replace(",", ""))
    if kind.startswith("fits"):
        Table(rows=rows).write(path, format="fits")
    elif kind.endswith("gz"):
        path.write_bytes(
            gzip.compress(pd.DataFrame(rows).to_csv(sep="|", index=False).encode(), mtime=0)
        )
    else:
        catalogue(path, rows, kind[-1])
    table = survey_catalogue.read_catalogue(path)
    assert table.column_names == list(survey_catalogue.COLUMNS)
    frame = table.to_pandas()
    for theirs in star():
        name = OURS.get(theirs, theirs)
        expected = [row[theirs] for row in rows]
        if name.startswith(("snr", "redshift_err")):
            np.testing.assert_allclose(frame[name], expected, rtol=1e-6)
        else:
            assert list(frame[name]) == expected, name


def test_columns_of_older_releases_are_known(tmp_path):
    old = {"ra": "RA_OBS", "dec": "DEC_OBS", "snrr": "sn_r", "snrg": "SN_G", "designation": "desig"}
    rows = [{old.get(name, name): value for name, value in star().items()}]
    frame = read(tmp_path, rows).to_pandas()
    assert frame.loc[0, ["ra", "dec", "designation"]].tolist() == [
        10.0,
        20.0,
        star()["designation"],
    ]
    assert frame.loc[0, ["snrr", "snrg"]].tolist() == [30.0, 20.0]


def test_a_column_under_its_own_name_goes_before_an_alias_and_the_users_alias_before_both(tmp_path):
    path = catalogue(tmp_path / "c.csv", [star() | {"ra_obs": 99.0, "alpha": 55.0}])
    assert survey_catalogue.read_catalogue(path)["ra"].to_pylist() == [10.0]
    assert survey_catalogue.read_catalogue(path, {"ALPHA": "ra"})["ra"].to_pylist() == [55.0]


def test_optional_columns_may_be_absent(tmp_path):
    row = star()
    for name in ("obsid", "designation", "snru", "snrz", "z_err"):
        del row[name]
    table = read(tmp_path, [row])
    assert reasons(table) == [""]
    chunk = survey_chunks.chunk_table(
        table, np.array([0]), "data", Survey().file_pattern
    ).to_pylist()[0]
    assert chunk["obsid"] == -1
    assert chunk["designation"] == ""
    assert np.isnan(chunk["redshift_err"])


@pytest.mark.parametrize("name", survey_catalogue.REQUIRED)
def test_a_missing_column_is_named_with_the_way_to_alias_it(tmp_path, name):
    row = star()
    theirs = survey_catalogue.IN_RELEASES.get(name, name)
    row["other"] = row.pop(theirs)
    with pytest.raises(
        UserError, match=rf"has no column {theirs};.*column_aliases: {{that name: {name}}}"
    ):
        read(tmp_path, [row])
    path = catalogue(tmp_path / "c.csv", [row])
    for ours in (name, theirs):  # the name that it had in earlier releases serves too
        table = survey_catalogue.read_catalogue(path, {"other": ours})
        assert reasons(table.unify_dictionaries()) == [""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a;b;c\n1;2;3\n", "has no column lmjd"),
        ("", "has no line that names columns"),
        ("|".join(star()) + "\n1|2\n", "cannot be read as a table"),
        (b"\x1f\x8b\x08\x00broken", "cannot be read"),
    ],
)
def test_a_catalogue_that_is_no_table_is_refused_in_one_sentence(tmp_path, content, message):
    path = tmp_path / "catalogue.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        survey_catalogue.read_catalogue(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_truncated_fits_catalogue_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        survey_catalogue.read_catalogue(tmp_path / "none.fits")
    Table(rows=[star(fiberid=i) for i in range(100)]).write(tmp_path / "whole.fits")
    (tmp_path / "cut.fits").write_bytes((tmp_path / "whole.fits").read_bytes()[:-9000])
    with pytest.raises(UserError, match="truncated"):
        survey_catalogue.read_catalogue(tmp_path / "cut.fits")


def test_a_number_that_is_none_costs_its_row_only(tmp_path):
    rows = [
        star(fiberid=1),
        star(fiberid="x", obsid=2),
        star(fiberid=3, obsid="?"),
        star(fiberid=4.5, obsid=4),
    ]
    rows += [
        star(fiberid=5, obsid=5, ra="north"),
        star(fiberid=6, obsid=6, snrr="nan"),
        star(fiberid=7, obsid=7, z=""),
    ]
    table = read(tmp_path, rows)
    expected = [
        "",
        "bad_identifier",
        "",
        "bad_identifier",
        "bad_coordinates",
        "low_snr",
        "bad_redshift",
    ]
    assert reasons(table) == expected


# ---------------------------------------------------------------- selecting


@pytest.mark.parametrize(
    ("changes", "settings", "reason"),
    [
        ({}, {}, ""),
        ({"class": "star"}, {}, ""),
        ({"class": "GALAXY"}, {}, "not_a_star"),
        ({"class": "GALAXY"}, {"classes": ["star", "Galaxy"]}, ""),
        ({"subclass": "Non"}, {}, "no_spectral_type"),
        ({"subclass": ""}, {}, "no_spectral_type"),
        ({}, {"types": ["M", "K"]}, "type_not_selected"),
        ({"snrr": 0.0}, {}, "low_snr"),
        ({"snrr": 0.01}, {}, ""),
        ({"snrr": -9999.0}, {}, "low_snr"),
        ({"snrr": 10.0}, {"snr_min": {"G": 10}}, "low_snr"),
        ({"snrr": 10.1}, {"snr_min": {"G": 10}}, ""),
        ({"snrr": 1.0}, {"snr_min": {"K": 10}}, ""),
        ({"snrr": 0.0, "snrg": 5.0}, {"snr_band": "snrg"}, ""),
        ({"z": 0.0101}, {}, "bad_redshift"),
        ({"z": -0.0101}, {}, "bad_redshift"),
        ({"z": -9999.0}, {}, "bad_redshift"),
        ({"z": 0.02}, {"max_abs_redshift": 0.03}, ""),
        ({"ra": -1.0}, {}, "bad_coordinates"),
        ({"dec": 91.0}, {}, "bad_coordinates"),
        ({"ra": np.nan}, {}, "bad_coordinates"),
        ({"planid": ""}, {}, "bad_identifier"),
        ({"lmjd": 0}, {}, "bad_identifier"),
    ],
)
def test_each_reason_and_its_limit(tmp_path, changes, settings, reason):
    assert reasons(read(tmp_path, [star(**changes)]), **settings) == [reason]


def test_the_first_of_repeated_rows_is_kept(tmp_path):
    rows = [
        star(fiberid=2, obsid=7),
        star(fiberid=1, obsid=8),
        star(fiberid=2, obsid=9),  # the spectrum of row 0
        star(fiberid=3, obsid=8),  # the obsid of row 1
        star(fiberid=4, obsid=-28762),
        star(fiberid=5, obsid=-28762),  # placeholders identify nothing
        star(fiberid=6, obsid=""),
        star(fiberid=7, obsid=""),
        star(planid="F5903", fiberid=2, obsid=10),
    ]
    expected = ["", "", "duplicate_spectrum", "duplicate_obsid", "", "", "", "", ""]
    assert reasons(read(tmp_path, rows)) == expected


def test_a_row_without_identity_makes_no_other_a_repeated_one(tmp_path):
    rows = [star(planid="", fiberid=2, obsid=7), star(fiberid=2, obsid=8)]
    assert reasons(read(tmp_path, rows)) == ["bad_identifier", ""]


def test_the_first_over_several_catalogues_is_that_of_the_first_file(tmp_path):
    one = catalogue(tmp_path / "a.csv", [star()])
    two = catalogue(tmp_path / "b.csv", [star(subclass="K1"), star(planid="A", obsid=5)])
    table = survey_catalogue.read_catalogues([one, two])
    assert reasons(table) == ["", "duplicate_spectrum", ""]
    assert table["subclass"].to_pylist() == ["G5", "K1", "G5"]


# ---------------------------------------------------------------- chunks

SPECTRA = st.lists(
    st.tuples(
        st.integers(55859, 55862), st.sampled_from(["HD1", "B", "GAC"]), st.integers(1, 16), st.integers(1, 250),
        st.sampled_from(["G5", "K1", "dM3", "Non"]),
    ),
    unique_by=lambda row: row[:4],
    min_size=1,
    max_size=60,
)  # fmt: skip


def chunked(rows, chunk_size):
    """Chunks as `(type, name, [spectrum ids])` of a catalogue with the given rows."""
    names = ("lmjd", "planid", "spid", "fiberid", "subclass")
    frame = pd.DataFrame([star(obsid=-1, **dict(zip(names, row, strict=True))) for row in rows])
    table = as_table(frame)
    found = survey_chunks.chunks(table, survey_selection.select(table, Survey()), chunk_size)
    ids = np.array(paths.spectrum_ids(table).to_pylist())
    return [(chunk.type, chunk.name, list(ids[chunk.rows])) for chunk in found]


def as_table(frame):
    import pyarrow as pa

    frame = frame.rename(columns=OURS)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    columns = [
        pa.nulls(len(table), kind)
        if name not in frame
        else table[name].cast(pa.string()).cast(kind)
        if pa.types.is_dictionary(kind)
        else table[name].cast(kind)
        for name, kind in survey_catalogue.COLUMNS.items()
    ]
    return pa.table(columns, names=list(survey_catalogue.COLUMNS)).combine_chunks()


@given(SPECTRA, st.integers(1, 30))
def test_no_row_is_lost_and_no_plate_is_divided(rows, chunk_size):
    found = chunked(rows, chunk_size)
    expected = sorted("-".join(map(str, row[:4])) for row in rows if row[4] != "Non")
    assert sorted(name for _, _, ids in found for name in ids) == expected
    homes = {}
    for kind, chunk, ids in found:
        plates = {name.rsplit("-", 2)[0] for name in ids}
        assert len(ids) <= chunk_size or len(plates) == 1
        for plate in plates:
            assert homes.setdefault((kind, plate), chunk) == chunk


@given(SPECTRA, st.integers(1, 30), st.randoms())
def test_chunks_do_not_depend_on_the_order_of_the_catalogue(rows, chunk_size, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert chunked(rows, chunk_size) == chunked(shuffled, chunk_size)


@given(SPECTRA, st.integers(1, 30))
def test_rows_and_chunks_are_sorted(rows, chunk_size):
    def key(name):
        lmjd, planid, spid, fiberid = name.split("-")
        return int(lmjd), planid, int(spid), int(fiberid)

    for kind in SPECTRAL_TYPES:
        of_type = [(name, ids) for type_, name, ids in chunked(rows, chunk_size) if type_ == kind]
        assert [name for name, _ in of_type[:1]] == ["0000"][: len(of_type)]
        assert [name[:5] for name, _ in of_type[1:]] == [ids[0][:5] for _, ids in of_type[1:]]
        assert len({name for name, _ in of_type}) == len(of_type)
        assert all(re.fullmatch(r"\d{9}", name) for name, _ in of_type[1:])
        keys = [key(name) for _, ids in of_type for name in ids]
        assert keys == sorted(keys)


PLATES = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 2**64 - 1)), min_size=1)


@given(PLATES, st.integers(1, 100))
def test_chunks_are_between_half_and_wholly_full_as_far_as_plates_allow(plates, chunk_size):
    sizes = np.array([size for size, _ in plates])
    marks = np.array([mark for _, mark in plates], np.uint64)
    for numbers in (
        survey_chunks.pack(sizes, chunk_size),
        survey_chunks.pack(sizes, chunk_size, marks),
    ):
        totals = np.bincount(numbers, weights=sizes)
        assert numbers[0] == 0
        assert set(np.diff(numbers)) <= {0, 1}
        for chunk, total in enumerate(totals):
            assert total <= chunk_size or np.count_nonzero(numbers == chunk) == 1
            if chunk < numbers[-1]:
                first = int(np.argmax(numbers == chunk + 1))
                assert total >= chunk_size / 2 or total + sizes[first] > chunk_size


def release(n_plates, seed):
    """Plates of some years as (lmjd, planid), and spectra of one type on each."""
    random = np.random.default_rng(seed)
    nights = np.sort(random.integers(55859, 59500, n_plates))
    return [(int(night), f"P{i}") for i, night in enumerate(nights)], random.integers(
        50, 250, n_plates
    )


def content(plates, sizes, chunk_size):
    """Chunks as a set of (name, their plates)."""
    marks = np.array(
        [int.from_bytes(hashlib.sha256(f"{a}-{b}".encode()).digest()[:8]) for a, b in plates],
        np.uint64,
    )
    numbers = survey_chunks.pack(sizes, chunk_size, marks)
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
    names = survey_chunks.chunk_names([plates[i][0] for i in firsts], marks[firsts])
    members: dict = {name: [] for name in names}
    for plate, number in zip(plates, numbers, strict=True):
        members[names[number]].append(plate)
    return {(name, tuple(inside)) for name, inside in members.items()}


@pytest.mark.parametrize("chunk_size", [2_000, 20_000])
def test_new_plates_leave_most_chunks_as_they_were(chunk_size):
    """A million spectra on some 6,700 plates, of which 1 % more appear."""
    plates, sizes = release(6_700, 1)
    before = content(plates, sizes, chunk_size)
    later = [(59_501 + i, f"N{i}") for i in range(67)]
    appended = content(plates + later, np.append(sizes, np.full(67, 150)), chunk_size)
    assert len(before - appended) <= 1  # the last one grows, or is now divided
    # All in one season in the middle of the survey.
    middle = len(plates) // 2
    season = [(plates[middle][0], f"N{i}") for i in range(67)]
    inserted = content(
        plates[:middle] + season + plates[middle:],
        np.insert(sizes, middle, np.full(67, 150)),
        chunk_size,
    )
    assert len(before - inserted) <= 5
    gone = [
        (plates[:middle] + plates[middle + 67 :], np.delete(sizes, np.s_[middle : middle + 67]))
    ]
    assert all(
        len(before - content(*less, chunk_size)) <= 67 * 150 / chunk_size * 2 + 5 for less in gone
    )


def test_names_that_collide_take_the_next_number():
    assert survey_chunks.chunk_names([55858, 55859, 55859, 55860], [1, 19_999, 9_999, 9_999]) == [
        *("0000", "558599999", "558590000", "558609999"),
    ]


def test_too_small_chunks_are_refused_with_a_size_that_works():
    n = 10_001
    frame = pd.DataFrame([star()] * n).assign(lmjd=np.arange(n) + 50_000, obsid=-1)
    table = as_table(frame)
    selection = survey_selection.select(table, Survey())
    with pytest.raises(
        UserError,
        match=r"survey\.chunk_size = 1 makes 10001 chunks of G stars.*set it to 5 or more",
    ):
        survey_chunks.chunks(table, selection, 1)
    assert len(survey_chunks.chunks(table, selection, 5)) < survey_chunks.MAX_CHUNKS


def test_paths_follow_the_release_or_the_catalogue(tmp_path):
    table = read(
        tmp_path, [star(spid=3, fiberid=7), star(fiberid=2, obsid=2) | {"path": "x/y.fits.gz"}]
    )
    pattern = Survey().file_pattern
    built = "20111024/F5902/spec-55859-F5902_sp03-007.fits.gz"
    assert paths.spectrum_paths(table, "data", pattern).to_pylist() == [
        f"data/{built}",
        "data/x/y.fits.gz",
    ]
    assert paths.spectrum_paths(table, ".", pattern).to_pylist() == [built, "x/y.fits.gz"]
    assert paths.spectrum_paths(table, "/d/", "{obsid}.fits").to_pylist() == [
        "/d/101001.fits",
        "/d/x/y.fits.gz",
    ]
    absolute = read(tmp_path, [star() | {"path": "/data/a.fits"}])
    assert paths.spectrum_paths(absolute, "elsewhere", pattern).to_pylist() == ["/data/a.fits"]


def test_a_pattern_that_needs_an_absent_column_is_named(tmp_path):
    row = star()
    del row["obsdate"]
    with pytest.raises(
        UserError,
        match=r"survey\.file_pattern uses {obsdate} but the catalogue has no column obsdate",
    ):
        paths.check_paths(read(tmp_path, [row]), Survey().file_pattern)


# ---------------------------------------------------------------- inputs and the rule's script


def configured(root, catalogues, **section):
    survey_section = {"root": str(root), "catalogues": catalogues} | section
    return load_configuration(
        {
            "simulation": {"enabled": False},
            "survey": survey_section,
            "library": {"spectra": "library.fits"},
        }
    )


def test_catalogues_are_found_by_name_or_pattern_each_once(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "catalogue.csv").touch()
    configuration = configured(tmp_path, ["*/catalogue.csv", "a/catalogue.csv"])
    expected = [str(tmp_path / name / "catalogue.csv") for name in ("a", "b")]
    assert inputs.survey_inputs(configuration) == (str(tmp_path), expected)


def test_stellar_catalogues_are_read_in_the_order_of_the_configuration(tmp_path):
    for name in ("c.csv", "m.csv", "afgk2.csv", "afgk1.csv"):
        (tmp_path / name).touch()
    patterns = ["m.csv", "afgk*.csv", "m.csv"]
    found = inputs.stellar_inputs(configured(tmp_path, ["c.csv"], stellar_catalogues=patterns))
    assert found == [str(tmp_path / name) for name in ("m.csv", "afgk1.csv", "afgk2.csv")]
    missing = configured(tmp_path, ["c.csv"], stellar_catalogues=["none.csv"])
    with pytest.raises(UserError, match=r"^survey\.stellar_catalogues: there is no file none\.csv"):
        inputs.stellar_inputs(missing)


@pytest.mark.parametrize("root", [".", "none"])
def test_a_catalogue_that_does_not_exist_is_named_before_any_job(tmp_path, root):
    with pytest.raises(UserError, match=r"no file dr8\.csv in .*survey\.root"):
        inputs.survey_inputs(configured(tmp_path / root, ["dr8.csv"]))


def test_a_folder_whose_headers_are_the_catalogue_has_to_be_there(tmp_path):
    assert inputs.survey_inputs(configured(tmp_path, "headers")) == (str(tmp_path), [])
    with pytest.raises(UserError, match=r"^survey\.root: there is no folder .*none"):
        inputs.survey_inputs(configured(tmp_path / "none", "headers"))
    with pytest.raises(UserError, match=r"survey\.catalogues"):
        configured(tmp_path, "catalogue.csv")


def run_script(project, tmp_path, configuration, group_size=1000):
    spec = importlib.util.spec_from_file_location(
        "survey_script", project / "workflow_scripts" / "survey.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    root, files = inputs.survey_inputs(configuration)
    folder = tmp_path / "results" / "survey"

    class Files(list):
        catalogues = files
        stellar = inputs.stellar_inputs(configuration)

    names = {name: str(folder / f"{name}.csv") for name in ("manifest", "groups", "rejected")}
    script.main(
        SimpleNamespace(
            input=Files(files),
            output=SimpleNamespace(**names, summary=str(folder / "summary.json")),
            log=[str(tmp_path / "survey.log")],
            threads=1,
            rule="survey",
            params=SimpleNamespace(
                **configuration.survey.model_dump(
                    mode="json", exclude={"catalogues", "stellar_catalogues"}
                )
                | {"root": root},
                group_size=group_size,
                headers=str(folder / "headers") if configuration.survey.from_headers else None,
                results=str(tmp_path / "results"),
            ),
        )
    )
    return folder


@pytest.fixture
def _keep_excepthook(monkeypatch):
    """The script installs its own hook for uncaught exceptions; pytest's comes back afterwards."""
    import sys

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.mark.usefixtures("_keep_excepthook")
class TestScript:
    def test_every_row_is_in_a_chunk_or_among_the_rejected(self, project, tmp_path):
        rows = [star(fiberid=i, obsid=i, subclass="G5" if i % 3 else "M0") for i in range(1, 40)]
        rows += [star(planid="Z", fiberid=i, obsid=100 + i, subclass="Non") for i in range(5)]
        catalogue(tmp_path / "c.csv", rows)
        folder = run_script(
            project, tmp_path, configured(tmp_path, ["c.csv"], chunk_size=10), group_size=5
        )
        summary = json.loads((folder / "summary.json").read_text())
        rejected = pd.read_csv(folder / "rejected.csv")
        manifest = pd.read_csv(folder / "manifest.csv", dtype={"chunk": str})
        chunks = [
            pq.read_table(folder / "chunks" / m.type / f"{m.chunk}.parquet")
            for m in manifest.itertuples()
        ]
        assert all(tuple(chunk.column_names) == survey_chunks.CHUNK_COLUMNS for chunk in chunks)
        accepted = [name for chunk in chunks for name in chunk["spectrum_id"].to_pylist()]
        assert (
            len(set(accepted) | set(rejected["spectrum_id"]))
            == len(accepted) + len(rejected)
            == len(rows)
        )
        assert (summary["n_in"], summary["n_selected"], summary["n_rejected"]) == (44, 39, 5)
        assert summary["rejected"] == {"no_spectral_type": 5}
        assert list(manifest["n_spectra"]) == [len(chunk) for chunk in chunks]
        assert (folder / "groups.csv").read_text() == "type,n_spectra,n_groups\nG,26,6\nM,13,3\n"

    def test_the_same_input_gives_the_same_bytes_and_untouched_chunks(self, project, tmp_path):
        rows = [star(fiberid=i, obsid=i, subclass="G5" if i % 3 else "M0") for i in range(1, 40)]
        catalogue(tmp_path / "c.csv", rows)
        configuration = configured(tmp_path, ["c.csv"])
        folder = run_script(project, tmp_path, configuration)
        first = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.*")}
        run_script(project, tmp_path, configuration)
        for path, (content, modified) in first.items():
            assert path.read_bytes() == content
            assert path.suffix != ".parquet" or path.stat().st_mtime_ns == modified

    def test_another_type_leaves_the_other_chunks_and_an_old_chunk_goes(self, project, tmp_path):
        rows = [
            star(fiberid=i, obsid=i, lmjd=55000 + i, subclass="G5" if i % 3 else "M0")
            for i in range(1, 40)
        ]
        catalogue(tmp_path / "c.csv", rows)
        folder = run_script(project, tmp_path, configured(tmp_path, ["c.csv"], chunk_size=5))
        kept = sorted((folder / "chunks" / "G").iterdir())
        run_script(project, tmp_path, configured(tmp_path, ["c.csv"], chunk_size=100, types=["M"]))
        assert [path.name for path in (folder / "chunks" / "M").iterdir()] == ["0000.parquet"]
        assert sorted((folder / "chunks" / "G").iterdir()) == kept
        assert set(pd.read_csv(folder / "manifest.csv")["type"]) == {"M"}

    def test_velocities_of_a_stellar_catalogue_leave_the_chunks_digests_alone(
        self, project, tmp_path
    ):
        catalogue(tmp_path / "c.csv", [star(fiberid=i, obsid=i, uid=f"G{i}") for i in range(1, 9)])
        folder = run_script(project, tmp_path, configured(tmp_path, ["c.csv"]))
        before = pd.read_csv(folder / "manifest.csv")
        catalogue(tmp_path / "stars.csv", [{"obsid": 3, "rv": -21.5, "rv_err": 4.5}])
        changed = configured(tmp_path, ["c.csv"], stellar_catalogues=["stars.csv"])
        folder = run_script(project, tmp_path, changed)
        after = pd.read_csv(folder / "manifest.csv")
        assert list(after["digest"]) == list(before["digest"])
        assert list(after["carried"]) != list(before["carried"])
        chunk = pd.read_parquet(folder / "chunks/G/0000.parquet").set_index("obsid")
        assert chunk.loc[3, ["uid", "rv", "rv_err"]].tolist() == ["G3", -21.5, 4.5]
        assert chunk.drop(index=3)[["rv", "rv_err"]].isna().all(axis=None)
        summary = json.loads((folder / "summary.json").read_text())
        assert [entry["file"] for entry in summary["inputs"]] == [
            str(tmp_path / "c.csv"),
            str(tmp_path / "stars.csv"),
        ]

    def test_headers_give_the_chunks_that_a_catalogue_of_them_gives(self, project, tmp_path):
        tree = tmp_path / "tree"
        rows = [lamost.ROW | {"fiberid": i, "obsid": i, "snrg": i / 7} for i in range(1, 20)]
        for row in rows:
            lamost.put(tree / file_name(row), lamost.spectrum(**row))
        write_catalogue(tree / "c.csv", rows)
        kept = []
        for catalogues in (["c.csv"], "headers"):
            configuration = configured(tree, catalogues, chunk_size=8)
            folder = run_script(project, tmp_path, configuration)
            paths = sorted((folder / "chunks").rglob("*.parquet"))
            kept.append({path.name: pq.read_table(path).to_pandas() for path in paths})
        assert kept[0].keys() == kept[1].keys()
        for name, chunk in kept[0].items():
            # The catalogue has two decimals of S/N, as the releases' have.
            pd.testing.assert_frame_equal(chunk, kept[1][name], rtol=1e-6, atol=0.006)

    def test_files_without_a_row_are_among_the_rejected(self, project, tmp_path):
        tree = tmp_path / "tree"
        for fiber in range(1, 6):
            z = -9999.0 if fiber == 5 else 1e-4
            lamost.put(tree / f"{fiber}.fits.gz", lamost.spectrum(fiberid=fiber, obsid=fiber, z=z))
        lamost.put(tree / "page.fits", b"{}")
        lamost.put(tree / "copy" / "1.fits", lamost.spectrum(fiberid=1, obsid=1))
        folder = run_script(project, tmp_path, configured(tree, "headers"))
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["n_in"], summary["n_selected"], summary["n_rejected"]) == (7, 4, 3)
        assert summary["rejected"] == {"bad_redshift": 1, "duplicate_spectrum": 1, "not_fits": 1}
        rejected = pd.read_csv(folder / "rejected.csv").sort_values("reason")
        assert rejected["spectrum_id"].tolist() == [
            "55991-GAC_080N28_B1-5-5", "55991-GAC_080N28_B1-5-1", str(tree / "page.fits"),
        ]  # fmt: skip
        assert rejected["obsid"].tolist() == [5, 1, -1]
        files = pd.read_csv(folder / "headers" / "rejected.csv").set_index("reason")
        assert files.loc["duplicate_spectrum", "path"] == str(tree / "copy" / "1.fits")
        again = pd.read_csv(folder / "headers" / "catalogue.csv", sep="|")
        assert again["path"].tolist() == [f"{n}.fits.gz" for n in range(1, 6)]

    def test_of_rows_of_a_spectrum_the_first_with_a_whole_file_counts(self, project, tmp_path):
        tree = tmp_path / "tree"
        lamost.put(tree / "cut.fits", lamost.spectrum()[:-9000])
        lamost.put(tree / "whole.fits", lamost.spectrum())
        lamost.put(tree / "other.fits", lamost.spectrum(fiberid=7, obsid=7))
        named = ("none.fits", "cut.fits", "whole.fits", "cut.fits")
        rows = [lamost.ROW | {"path": name} for name in named]
        rows += [lamost.ROW | {"fiberid": 7, "obsid": 7, "path": "other.fits"}] * 2
        rows += [lamost.ROW | {"fiberid": 8, "obsid": 8, "path": name} for name in named[:2]]
        pd.DataFrame(rows).to_csv(tree / "c.csv", sep="|", index=False)
        folder = run_script(project, tmp_path, configured(tree, ["c.csv"]))
        (path,) = (folder / "chunks").rglob("*.parquet")
        chunk = pq.read_table(path).to_pandas()
        taken = {path.rpartition("/")[2] for path in chunk["path"]}
        assert taken == {"whole.fits", "other.fits", "none.fits"}
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["n_in"], summary["n_selected"], summary["n_rejected"]) == (8, 3, 5)
        assert summary["rejected"] == {
            "duplicate_spectrum": 3, "missing_file": 1, "truncated_fits": 1,
        }  # fmt: skip
        rejected = pd.read_csv(folder / "rejected.csv")
        assert rejected["reason"].tolist()[:2] == ["missing_file", "truncated_fits"]
        assert set(rejected["stage"]) == {"survey"}

    @pytest.mark.parametrize("z", [-9999.0, 5.0, 0.5, np.nan, np.inf, ""])
    def test_a_row_without_a_redshift_gives_way_to_one_of_another_file(self, project, tmp_path, z):
        tree = tmp_path / "tree"
        for name in ("one.fits", "two.fits"):
            lamost.put(tree / name, lamost.spectrum())
        rows = [lamost.ROW | {"path": "one.fits", "z": z}, lamost.ROW | {"path": "two.fits"}]
        pd.DataFrame(rows).to_csv(tree / "c.csv", sep="|", index=False)
        folder = run_script(project, tmp_path, configured(tree, ["c.csv"]))
        (path,) = (folder / "chunks").rglob("*.parquet")
        assert pq.read_table(path)["path"].to_pylist()[0].endswith("two.fits")
        assert pd.read_csv(folder / "rejected.csv")["reason"].tolist() == ["bad_redshift"]

    def test_real_headers_give_the_rows_of_real_catalogues(self, project, tmp_path, real_data):
        found = []
        for root, catalogues in (
            (real_data, ["lamost/*/catalogue.csv"]),
            (real_data / "lamost", "headers"),
        ):
            folder = run_script(project, tmp_path, configured(root, catalogues, chunk_size=100))
            paths = sorted((folder / "chunks").rglob("*.parquet"))
            rows = pd.concat([pq.read_table(path).to_pandas() for path in paths])
            found.append(rows.drop(columns="path").reset_index(drop=True))
        assert len(found[0]) > 1900
        pd.testing.assert_frame_equal(*found, check_exact=False, rtol=1e-6)

    def test_real_catalogues(self, project, tmp_path, real_data):
        """Whatever the tree lists is accounted for, and every selected spectrum's file is there."""
        folder = run_script(
            project, tmp_path, configured(real_data, ["lamost/*/catalogue.csv"], chunk_size=100)
        )
        summary = json.loads((folder / "summary.json").read_text())
        lines = sum(
            len(pd.read_csv(path, sep="|")) for path in real_data.glob("lamost/*/catalogue.csv")
        )
        assert summary["n_in"] == lines == summary["n_selected"] + summary["n_rejected"]
        tables = [pq.read_table(path) for path in sorted(folder.glob("chunks/*/*.parquet"))]
        assert sum(map(len, tables)) == summary["n_selected"]
        ids = [name for table in tables for name in table["spectrum_id"].to_pylist()]
        assert len(set(ids)) == len(ids)
        from pathlib import Path

        assert all(Path(path).is_file() for table in tables for path in table["path"].to_pylist())


@pytest.mark.parametrize("damaged", [False, True])
def test_gaia_identifiers_keep_their_digits(tmp_path, damaged):
    """Also where another column makes the file be read as text."""
    gaia = [4_611_686_018_427_387_905, None, 7]
    rows = [star(fiberid=i, gaia_source_id=name) for i, name in enumerate(gaia)]
    if damaged:
        rows[2]["snrg"] = "bad"
    path = tmp_path / "catalogue.csv"
    pd.DataFrame(rows, dtype=object).to_csv(path, sep="|", index=False)
    found = survey_catalogue.read_catalogue(path)["gaia_source_id"].to_pylist()
    assert found == gaia


def test_gaia_identifiers_from_fits_keep_their_digits(tmp_path):
    from astropy.io import fits

    rows = pd.DataFrame([star(fiberid=i) for i in range(3)])
    columns = list(fits.BinTableHDU(Table.from_pandas(rows)).columns)
    gaia = np.array([4_611_686_018_427_387_905, -99, 7])
    columns.append(fits.Column("GAIA_SOURCE_ID", "K", array=gaia, null=-99))
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "catalogue.fits")
    table = survey_catalogue.read_catalogue(tmp_path / "catalogue.fits")
    assert table["gaia_source_id"].to_pylist() == [4_611_686_018_427_387_905, None, 7]


# ---------------------------------------------------------------- odd catalogues


def test_a_catalogue_without_the_band_of_the_selection_is_told_at_once(tmp_path):
    row = star()
    del row["snrr"]
    table = read(tmp_path, [row, row | {"fiberid": 2, "obsid": 5}])
    with pytest.raises(
        UserError, match=r"no row .* S/N in the column snrr, which survey\.snr_band"
    ):
        survey_selection.require_snr(table, "snrr")
    survey_selection.require_snr(table, "snrg")


def test_a_catalogue_of_which_nothing_can_be_labelled_is_told_with_the_reasons(tmp_path):
    table = read(tmp_path, [star(**{"class": "QSO"}), star(fiberid=2, obsid=7, snrr=-1.0)])
    selection = survey_selection.select(table, Survey())
    with pytest.raises(UserError, match=r"none of the 2 rows of a\.csv .*1: CLASS .*1: S/N"):
        survey_selection.require_some(selection, ["a.csv"])
    survey_selection.require_some(
        survey_selection.select(read(tmp_path, [star()]), Survey()), ["a.csv"]
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"planid": "P" * 33}, "bad_identifier"),
        ({"designation": "J" * 3_000_000}, "bad_text"),
        ({"subclass": "G5 and a long remark 22"}, "bad_text"),
        ({"obsdate": "2011-10-24T10:11:12"}, ""),
        ({"planid": "F\x005902"}, ""),
    ],
)
def test_odd_texts_have_a_reason_or_are_cleaned(tmp_path, change, reason):
    assert reasons(read(tmp_path, [star(**change)])) == [reason]


def test_a_date_with_a_time_is_the_date(tmp_path):
    dates = ["2011-10-24T10:11:12", "2011-10-24 10:11", "2011-10-24", "20111024"]
    rows = [star(fiberid=n, obsid=n, obsdate=date) for n, date in enumerate(dates, start=1)]
    expected = ["2011-10-24"] * 3 + ["20111024"]
    assert read(tmp_path, rows)["obsdate"].to_pylist() == expected


def test_widths_of_texts_are_those_of_the_catalogue():
    from lamostvac.catalog.registry import load_registry

    registry = load_registry()
    for name, width in survey_catalogue.WIDTHS.items():
        assert registry[name].dtype == f"string[{width}]"
