"""Two runs compared: which spectra came, went and moved, by how much, and why."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from command import lamostvac
from html_checks import check_page

from lamostvac.catalog.registry import NetworkLabel, load_registry
from lamostvac.compare.causes import causes, causes_of_cards
from lamostvac.compare.labels import Shifts, moved, summary
from lamostvac.compare.tables import Catalogue, pair
from lamostvac.core.exceptions import UserError
from lamostvac.core.former_names import former_name
from lamostvac.provenance.record import Record
from lamostvac.run.layout import Layout

REGISTRY = load_registry()
N = 60  # spectra that both runs have
OLD = Record({"version": "1", "commit": "a"}, {"fit": {"limit": 3}}, {"fit": 1}, {"numpy": "2"})
NEW = Record({"version": "1", "commit": "b"}, {"fit": {"limit": 4}}, {"fit": 1}, {"numpy": "2"})


def rows_of(names, registry=REGISTRY):
    """Rows with labels that follow from the spectrum's number."""
    rows = registry.empty(len(names))
    number = np.array([int(name.rpartition("-")[2]) for name in names])
    rows["spectrum_id"] = [name.encode() for name in names]
    rows["spectral_type"] = np.where(number % 2 == 0, b"G", b"K")
    for label, value, error in (("teff_rec", 5000, 50), ("feh_rec", -0.5, 0.1), ("dist", 1, 0.1)):
        rows[label], rows[f"{label}_err"] = value + number % 7, error
    return rows


def write_run(folder, rows, registry=REGISTRY, rejected=(), record=None, block=25):
    layout = Layout(str(folder))
    path = folder / Layout.catalogue
    path.parent.mkdir(parents=True)
    table = registry.to_arrow(
        rows, {"confhash": str(folder.name), "input1": "a.csv", "inhash1": "0"}
    )
    pq.write_table(table, layout.catalogue, row_group_size=block)
    columns = ["spectrum_id", "obsid", "stage", "reason", "network_reason"]
    table = pd.DataFrame([(name, 1, "prepare", why, "") for name, why in rejected], columns=columns)
    table.to_csv(layout.rejected, index=False)
    if record is not None:
        (folder / Layout.provenance).write_text(record.text())
    return folder


def names(start, stop):
    return [f"58000-P-01-{number:03d}" for number in range(start, stop)]


@pytest.fixture
def runs(tmp_path):
    """Two runs of 60 spectra in common: 5 went, 3 came, spectra 10 and 11 moved in Teff."""
    old = write_run(tmp_path / "old", rows_of(names(0, N + 5)), record=OLD)
    kept = [*names(0, N), *names(N + 5, N + 8)]
    rows = rows_of(np.random.default_rng(1).permutation(kept))
    at = {name.decode(): number for number, name in enumerate(rows["spectrum_id"])}
    rows["teff_rec"][at[names(10, 11)[0]]] += 100  # sqrt(2) combined errors
    rows["teff_rec"][at[names(11, 12)[0]]] += 500  # seven
    rows["feh_rec"][at[names(12, 13)[0]]] = np.nan
    rows["flag_snr"][at[names(13, 14)[0]]] = 1
    lost = [(name, "no_flux") for name in names(N, N + 3)]
    return old, write_run(tmp_path / "new", rows, rejected=lost, record=NEW)


def test_pairs_are_the_rows_of_the_same_spectra():
    rng = np.random.default_rng(0)
    before, after = rng.permutation(1000)[:700], rng.permutation(1000)[:600]
    found = pair(before.astype(np.uint64), after.astype(np.uint64))
    assert (before[found.before] == after[found.after]).all()
    assert set(before[found.before]) == set(before) & set(after)
    assert set(before[found.went]) == set(before) - set(after)
    assert set(after[found.came]) == set(after) - set(before)
    assert (np.diff(found.before) > 0).all()


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_an_empty_catalogue_has_no_pairs(n, m):
    found = pair(np.arange(n, dtype=np.uint64), np.arange(m, dtype=np.uint64))
    assert [len(part) for part in vars(found).values()] == [0, 0, n, m]


def test_shifts_are_counted_in_combined_errors():
    nan = np.nan
    found = Shifts(
        "teff",
        before=np.array([1.0, 1.0, 1.0, nan, 1.0, 1.0]),
        after=np.array([1.0, 6.0, 26.0, 1.0, nan, 2.0]),
        before_err=np.array([3.0, 3.0, 3.0, 3.0, 3.0, 0.0]),
        after_err=np.array([4.0, 4.0, 4.0, 4.0, 4.0, 0.0]),
        types=np.full(6, 3, np.int8),
    )
    np.testing.assert_array_equal(found.sigmas, [0, 1, 5, nan, nan, np.inf])
    whole, own = summary(found).to_dict("records")
    assert (whole["spectral_type"], own["spectral_type"]) == ("all", "G")
    assert {key: whole[key] for key in ("n_both", "n_changed", "n_gained", "n_lost")} == {
        "n_both": 4,
        "n_changed": 3,
        "n_gained": 1,
        "n_lost": 1,
    }
    assert (whole["median_shift"], whole["median_error"]) == (3.0, 5.0)
    assert (whole["beyond_1"], whole["beyond_3"], whole["n_beyond_3"]) == (0.5, 0.5, 2)


def test_the_command_finds_what_came_went_and_moved(runs, tmp_path):
    folder = tmp_path / "out"
    said = lamostvac("compare", *map(str, runs), "-o", str(folder), "--changelog")
    assert "65 spectra in the first run" in said
    assert "3 came" in said
    assert "5 went" in said
    assert "2 moved beyond 1 combined errors" in said
    listed = pd.read_csv(folder / "moved.csv")
    assert listed["spectrum_id"].tolist() == names(10, 12)
    np.testing.assert_allclose(listed["sigmas"], [np.sqrt(2), 5 * np.sqrt(2)], rtol=1e-5)
    changes = pd.read_csv(folder / "came_and_went.csv")
    assert sorted(changes.loc[changes["change"] == "went", "spectrum_id"]) == names(N, N + 5)
    reasons = changes.groupby(["change", "reason"]).size().to_dict()
    assert reasons == {
        ("came", "not in the release"): 3,
        ("went", "no_flux"): 3,
        ("went", "not in the release"): 2,
    }
    labels = pd.read_csv(folder / "labels.csv").set_index(["label", "spectral_type"])
    assert labels.loc[("teff_rec", "all"), ["n_both", "n_changed"]].tolist() == [N, 2]
    assert labels.loc[("feh_rec", "all"), "n_lost"] == 1
    assert labels.loc[("teff_rec", "G"), "n_both"] == N // 2
    text = check_page(folder / "index.html")
    assert "fit.limit 3 4" in text
    assert "flag_snr 0 1 1 0" in text
    assert "Both catalogues have the same columns." in text
    log = (folder / "changelog.md").read_text()
    assert "`fit.limit`: `3`, now `4`" in log
    assert "`commit`: `a`, now `b`" in log
    assert "Went, and why the other version lacks them: `no_flux` 3" in log


def test_a_run_compared_with_itself_has_not_moved(runs, tmp_path):
    said = lamostvac("compare", str(runs[0]), str(runs[0]), "-o", str(tmp_path / "out"))
    assert "0 moved" in said
    assert "what differs: nothing that is recorded" in said
    assert "inputs are the same as far as they are recorded" in check_page(
        tmp_path / "out/index.html"
    )
    assert len(pd.read_csv(tmp_path / "out/moved.csv")) == 0


def test_runs_without_a_spectrum_in_common_are_compared_too(tmp_path):
    one = write_run(tmp_path / "a", rows_of(names(0, 3)))
    other = write_run(tmp_path / "b", rows_of(names(3, 9)))
    said = lamostvac("compare", str(one), str(other), "-o", str(tmp_path / "out"))
    assert "no spectrum has it in both runs" in said
    assert "No spectrum has a value in both runs of" in check_page(tmp_path / "out/index.html")


def test_columns_and_units_of_one_run_alone_are_named(runs, tmp_path):
    label = NetworkLabel("mass", "solMass", "phys.mass", "a mass", "mine")
    registry = load_registry([label])
    rows = rows_of(names(0, N), registry)
    table = registry.to_arrow(rows)
    place = table.schema.get_field_index("teff_rec")
    field = table.schema.field(place).with_metadata({"unit": "mK"})
    other = write_run(tmp_path / "other", rows, registry, record=NEW)
    changed = table.set_column(place, field, table["teff_rec"])
    pq.write_table(changed, Layout(str(other)).catalogue)
    said = lamostvac("compare", str(runs[0]), str(other), "-o", str(tmp_path / "out"))
    text = check_page(tmp_path / "out/index.html")
    assert "In the second run alone: mass mass_err" in text
    assert "teff_rec (K, then mK)" in text
    assert "teff_rec" not in said


def test_columns_of_an_older_run_are_compared_under_their_present_names(runs, tmp_path):
    old = Path(Layout(str(runs[0])).catalogue)
    table = pq.read_table(old)
    table = table.rename_columns([former_name(name) for name in table.column_names])
    assert "x_gal" in table.column_names
    pq.write_table(table, old)
    arguments = ("--label", "x_gal", "-o", str(tmp_path / "out"), "--changelog")
    said = lamostvac("compare", *map(str, runs), *arguments)
    line = next(line for line in said.splitlines() if line.startswith("renamed columns: "))
    n = len(line.split("; ")) - 1
    n_renamed = sum(former_name(name) != name for name in REGISTRY.names)
    assert line.endswith(f"; {n_renamed - n} more")
    assert len(line) < 200
    text = check_page(tmp_path / "out/index.html")
    assert "Renamed, compared as the same: " in text
    assert text.count("x_gal, now x_galcen") == 1
    assert "teff_random, now teff_err_random" in text
    assert "In the first run alone" not in text
    assert "x_galcen" in pd.read_csv(tmp_path / "out/labels.csv")["label"].tolist()
    assert "Renamed columns: " in (tmp_path / "out/changelog.md").read_text()


def test_another_label_and_another_limit_can_be_wanted(runs, tmp_path):
    arguments = ("--label", "dist", "--sigma", "0.5", "-o", str(tmp_path / "out"))
    lamostvac("compare", *map(str, runs), *arguments)
    assert len(pd.read_csv(tmp_path / "out/moved.csv")) == 0
    assert "Moved: dist beyond 0.5" in check_page(tmp_path / "out/index.html")


def test_mistakes_are_told_in_a_sentence(runs, tmp_path):
    out = ("-o", str(tmp_path / "out"))
    nowhere = str(tmp_path / "nowhere")
    said = lamostvac("compare", str(runs[0]), nowhere, *out, code=1)
    assert "name the results folder of a finished run" in said
    said = lamostvac("compare", *map(str, runs), "--label", "tef_rec", *out, code=1)
    assert "--label tef_rec: " in said
    assert "did you mean teff_rec?" in said
    (runs[1] / Layout.catalogue).write_bytes(b"PAR1 damaged")
    assert "cannot be read" in lamostvac("compare", *map(str, runs), *out, code=1)


def test_a_spectrum_that_stands_twice_is_refused(tmp_path):
    run = write_run(tmp_path / "a", rows_of(["58000-P-01-001"] * 2))
    with pytest.raises(UserError, match="has a spectrum twice"):
        Catalogue(run / Layout.catalogue).names()


def test_rows_of_moved_spectra_are_those_of_any_blocks(runs):
    old, new = (Catalogue(run / Layout.catalogue) for run in runs)
    pairing = pair(old.names(), new.names())
    types = new.types()[pairing.after]
    n = len(types)
    found = Shifts("x", np.zeros(n), np.arange(n), np.ones(n), np.zeros(n), types)
    whole = pd.concat(moved(old, pairing, found, 2.0), ignore_index=True)
    parts = pd.concat(moved(old, pairing, found, 2.0, block=7), ignore_index=True)
    pd.testing.assert_frame_equal(whole, parts)
    assert len(whole) == n - 3


def test_why_runs_differ_is_what_is_not_the_same_in_their_records():
    found = causes(OLD, NEW)
    assert found.settings == [("fit.limit", "3", "4")]
    assert found.code == [("commit", "a", "b")]
    assert (found.software, found.inputs, found.notes) == ([], [], [])
    file = {"role": "release", "file": "a.csv", "sha256": "0" * 64}
    one = Record({}, {}, {"fit": 1}, {}, [file, file | {"sha256": "1" * 64}])
    other = Record({}, {}, {"fit": 2}, {}, [file])
    found = causes(one, other)
    assert found.code == [("package fit", "1", "2")]
    assert found.inputs == [("release: a.csv (2)", "1" * 12, "(none)")]
    assert causes(one, one).none_known


def test_without_records_the_headers_are_compared_and_said_to_be():
    old = {"confhash": "a", "githash": "x", "input1": "a.csv", "inhash1": "00", "pyver": "3"}
    found = causes_of_cards(old, old | {"confhash": "b", "inhash1": "11"}, ["a note"])
    assert found.settings == [("hash of all settings", "a", "b")]
    assert (found.code, found.software, found.notes) == ([], [], ["a note"])
    assert found.inputs == [("input: a.csv", "00", "11")]
