"""What spectra's headers say is the catalogue of a folder; every file is a row or is rejected."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pandas as pd
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from lamost import ROW, pilot, put, spectrum, without
from preparation import outcome

from lamostvac.core.rejection import REASONS, SpectrumRejected
from lamostvac.run.mock import mock_snakemake
from lamostvac.simulate import release
from lamostvac.spectra import file_bytes
from lamostvac.spectra.file_bytes import read_bytes
from lamostvac.spectra.network_grid import NetworkPreparation
from lamostvac.spectra.reader import Header, read_stored
from lamostvac.spectra.settings import Preparation
from lamostvac.survey.catalogue import COLUMNS, TEXT
from lamostvac.survey.copies import Copies
from lamostvac.survey.headers import REJECTED, catalogue_row, scan
from lamostvac.survey.paths import spectrum_ids
from lamostvac.survey.tree import tree_state

IDENTITY = ("LMJD", "PLANID", "SPID", "FIBERID")


def reasons(found):
    return {Path(row.path).name: row.reason for row in found.rejected.itertuples()}


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("write", [lambda: spectrum("table"), lambda: spectrum("image"), pilot])
def test_a_row_says_what_the_header_of_any_layout_says(tmp_path, write, packed):
    path = put(tmp_path / release.file_name(ROW).removesuffix(".gz").__add__(packed), write())
    found = scan([tmp_path])
    assert [found.table.schema.field(name).type for name in COLUMNS] == list(COLUMNS.values())
    (row,) = found.table.to_pylist()
    assert row["path"] == str(path)
    assert row["obsid"] == (None if write is pilot else ROW["obsid"])
    for name in (
        "designation",
        "obsdate",
        "lmjd",
        "planid",
        "spid",
        "fiberid",
        "subclass",
    ):
        assert row[name] == ROW[name], name
    assert row["lamost_class"] == ROW["class"]
    assert [row["redshift"], row["redshift_err"]] == pytest.approx([ROW["z"], ROW["z_err"]])
    for name in ("ra", "dec", *(f"snr{band}" for band in "ugriz")):
        assert row[name] == pytest.approx(ROW[name], rel=1e-6), name
    assert [row[name] for name in ("gaia_source_id", "uid", "rv", "rv_err")] == [None] * 4
    assert found.rejected.empty


def test_what_the_header_does_not_say_is_null_and_never_zero(tmp_path):
    for fiber, changes in enumerate(({"z": -9999.0, "z_err": -9999.0, "snrg": -9999.0}, {}), 1):
        data = spectrum(fiberid=fiber, **changes)
        if not changes:
            data = without(data, "Z", "Z_ERR", "SNRG", "CLASS", "SUBCLASS", "DESIG", "RA", "RA_OBS")
        put(tmp_path / f"{fiber}.fits", data)
    put(tmp_path / "3.fits", spectrum(fiberid=3, z_err=-0.03335))  # so in a file of DR10
    missing, absent, negative = scan([tmp_path]).table.to_pylist()
    assert negative["redshift"] is not None
    assert negative["redshift_err"] is None
    for row in (missing, absent):
        assert (row["redshift"], row["redshift_err"], row["snrg"]) == (None, None, None)
        assert row["snrr"] == 32.5
    nothing = ("lamost_class", "subclass", "designation", "ra", "dec")
    assert [absent[name] for name in nothing] == [None] * 5


def test_a_file_name_gives_the_identity_that_the_header_does_not(tmp_path):
    bare = without(spectrum(), *IDENTITY, "FILENAME", "OBSID")
    put(tmp_path / "spec-55991-GAC_080N28_B1_sp05-017.fits.gz", bare)
    put(tmp_path / "777001.fits", without(spectrum(fiberid=3), "OBSID"))
    put(tmp_path / "777002.fits", bare)
    found = scan([tmp_path])
    assert found.table["obsid"].to_pylist() == [777001, None]
    assert spectrum_ids(found.table).to_pylist() == [
        "55991-GAC_080N28_B1-5-3", "55991-GAC_080N28_B1-5-17",
    ]  # fmt: skip
    assert reasons(found) == {"777002.fits": "bad_identifier"}


def test_every_file_is_a_row_or_is_rejected_by_name_with_a_reason(tmp_path):
    good = put(tmp_path / "night" / "plate" / "spec-a.fits.gz", spectrum())
    files = {
        "med-55991-P_sp01-001.fits": (spectrum(fiberid=20), "unknown_layout"),
        "renamed.fits": (
            spectrum(fiberid=21).replace(b"'spec-55991", b"'med-55991-"), "unknown_layout",
        ),
        "image.fits": (without(spectrum("image"), NAXIS2="NAXIS3"), "missing_keyword"),
        "other.fits": (without(spectrum(), *IDENTITY, "FILENAME"), "bad_identifier"),
        "page.fits": (b'{"error": "no such file"}', "not_fits"),
        "empty.fits": (b"", "empty_file"),
        "cut.fits": (spectrum()[:2880], "truncated_fits"),
        "copy.fits": (spectrum(), "duplicate_spectrum"),
    }  # fmt: skip
    for name, (data, _) in files.items():
        put(tmp_path / "z" / name, data)
    damaged = tmp_path / "z" / "damaged.fits.gz"
    damaged.write_bytes(gzip.compress(spectrum())[:900])
    (tmp_path / "z" / "dangling.fits").symlink_to(tmp_path / "nowhere")
    (tmp_path / "catalogue.csv").write_text("not a spectrum, and not said to be one\n")
    put(tmp_path / ".hidden" / "spec-b.fits.gz", spectrum(fiberid=99))
    (tmp_path / "z" / "round").symlink_to(tmp_path)
    found = scan([tmp_path, tmp_path / "absent.fits"], threads=3)
    expected = {name: reason for name, (_, reason) in files.items()} | {
        "damaged.fits.gz": "corrupt_gzip",
        "dangling.fits": "missing_file",
        "absent.fits": "missing_file",
    }
    assert reasons(found) == expected
    assert set(expected.values()) <= set(REASONS)
    assert found.table["path"].to_pylist() == [str(good)]
    copy = found.rejected.set_index("reason").loc["duplicate_spectrum"]
    assert str(good) in copy["detail"]
    assert (copy["spectrum_id"], copy["obsid"]) == ("55991-GAC_080N28_B1-5-17", ROW["obsid"])
    assert tuple(found.rejected.columns) == REJECTED


def test_a_file_given_itself_is_read_whatever_its_name_and_only_once(tmp_path):
    path = put(tmp_path / "spectrum.dat", spectrum())
    inside = put(tmp_path / "folder" / "one.fits", spectrum(fiberid=2))
    found = scan([path, inside, tmp_path / "folder"])
    assert found.table["path"].to_pylist() == [str(path), str(inside)]
    assert found.rejected.empty


def test_a_name_that_is_no_text_is_rejected(tmp_path):
    path = os.fsencode(tmp_path) + b"/spec-\xff.fits"
    with open(path, "wb") as file:
        file.write(spectrum())
    for given_path in (tmp_path, os.fsdecode(path)):
        found = scan([given_path])
        assert found.rejected["reason"].tolist() == ["unreadable_file"]
        assert "udcff" in found.rejected["path"][0]


def test_a_second_scan_opens_no_file_that_has_not_changed(tmp_path, monkeypatch):
    tree, cache = tmp_path / "tree", tmp_path / "cache"
    for fiber in range(1, 6):
        put(tree / f"{fiber}.fits.gz", spectrum(fiberid=fiber, planid=f"P{fiber % 2}"))
    put(tree / "broken.fits", b"no FITS")
    first = scan([tree], cache=cache)
    assert first.n_read == 6

    def opened(*arguments):
        raise AssertionError("a file was opened")

    with monkeypatch.context() as patch:
        patch.setattr(file_bytes, "_content", opened)
        again = scan([tree], cache=cache)
    assert again.n_read == 0
    assert again.table.equals(first.table)
    pd.testing.assert_frame_equal(again.rejected, first.rejected)

    put(tree / "3.fits.gz", spectrum(fiberid=33))
    os.utime(tree / "3.fits.gz", ns=(1, 1))
    put(tree / "6.fits.gz", spectrum(fiberid=6))
    (tree / "1.fits.gz").unlink()
    changed = scan([tree], cache=cache)
    assert changed.n_read == 2
    assert changed.table["fiberid"].to_pylist() == [2, 33, 4, 5, 6]
    assert changed.table.equals(scan([tree]).table)
    assert len(list(cache.iterdir())) == 1


def test_an_interrupted_scan_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("lamostvac.survey.headers._FLUSH", 2)
    for fiber in range(1, 6):
        put(tmp_path / f"{fiber}.fits", spectrum(fiberid=fiber))

    def interrupted(done, total):
        if done > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan([tmp_path], cache=tmp_path / "cache", progress=interrupted)
    said = []
    found = scan([tmp_path], cache=tmp_path / "cache", progress=lambda *now: said.append(now))
    assert found.n_read == 1
    assert said == [(0, 1), (1, 1)]
    assert found.table["fiberid"].to_pylist() == [1, 2, 3, 4, 5]


def test_a_damaged_or_older_cache_does_not_count(tmp_path, monkeypatch):
    tree, cache = tmp_path / "tree", tmp_path / "cache"
    put(tree / "1.fits", spectrum())
    scan([tree], cache=cache)
    (part,) = cache.iterdir()
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    assert scan([tree], cache=cache).n_read == 1
    assert scan([tree], cache=cache).n_read == 0
    monkeypatch.setattr("lamostvac.survey.scan_cache.package_version", lambda name: 10**6)
    assert scan([tree], cache=cache).n_read == 1


def test_an_empty_folder_gives_an_empty_catalogue(tmp_path):
    found = scan([tmp_path], cache=tmp_path / "cache")
    assert (len(found.table), len(found.rejected), found.n_read) == (0, 0, 0)
    assert found.table.schema.field("planid").type == TEXT


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([*IDENTITY, "OBSID", "Z", "Z_ERR", "RA", "SNRG", "CLASS"]), st.text(
        st.characters(min_codepoint=32, max_codepoint=255), max_size=30)), max_size=6)
)  # fmt: skip
def test_no_header_does_anything_but_give_a_row_or_a_reason(cards):
    at = Header(spectrum()[: 80 * 100]).cards
    for keyword, value in cards:
        start = at.index(f"{keyword:<8}=".encode())
        card = f"{keyword:<8}= {value}".encode("latin-1").ljust(80)
        at = at[:start] + card + at[start + 80 :]
    row = outcome(catalogue_row, Header(at), "1.fits")
    assert row == "bad_identifier" or 0 <= row["lmjd"] <= 100_000
    assert row == "bad_identifier" or row["redshift"] is None or -1 < row["redshift"] < 20


def test_of_copies_of_a_spectrum_the_first_that_can_be_read_counts(tmp_path):
    whole = gzip.compress(spectrum())
    put(tmp_path / "a.fits", spectrum(level=0))
    (tmp_path / "b.fits.gz").write_bytes(whole[:-2000])
    good = put(tmp_path / "c.fits", spectrum())
    put(tmp_path / "d.fits", spectrum("image"))
    found = scan([tmp_path])
    assert found.table["path"].to_pylist() == [str(good)]
    assert reasons(found) == {
        "a.fits": "zero_flux", "b.fits.gz": "corrupt_gzip", "d.fits": "duplicate_spectrum",
    }  # fmt: skip
    assert str(good) in found.rejected.set_index("reason")["detail"]["duplicate_spectrum"]
    for name in ("c.fits", "d.fits"):
        (tmp_path / name).unlink()
    left = scan([tmp_path])
    assert left.table["path"].to_pylist() == [str(tmp_path / "a.fits")]
    assert reasons(left) == {"b.fits.gz": "corrupt_gzip"}


def few_pixels(**changes):
    """A spectrum of which most pixels have lost their inverse variance."""
    with fits.open(io.BytesIO(spectrum("image", **changes))) as hdus:
        hdus[0].data[1, 400:] = 0
        out = io.BytesIO()
        hdus.writeto(out)
    return out.getvalue()


def test_a_copy_that_can_be_read_but_not_used_gives_way_to_one_that_can(tmp_path):
    damaged, whole = put(tmp_path / "a.fits", few_pixels()), tmp_path / "b.fits"
    assert scan([tmp_path]).table["path"].to_pylist() == [str(damaged)]
    put(whole, spectrum())
    put(tmp_path / "c.fits", few_pixels())
    found = scan([tmp_path])
    assert found.table["path"].to_pylist() == [str(whole)]
    assert reasons(found) == {"a.fits": "too_few_pixels", "c.fits": "duplicate_spectrum"}
    networks = NetworkPreparation(windows=[(3900.0, 5000.0)])  # which see enough of it
    assert scan([tmp_path], copies=Copies(None, networks)).table["path"].to_pylist() == [str(whole)]
    whole.unlink()
    found = scan([tmp_path], copies=Copies(None, networks))
    assert found.table["path"].to_pylist() == [str(damaged)]
    assert reasons(found) == {"c.fits": "duplicate_spectrum"}
    put(whole, spectrum())
    of_all_pixels = Copies(Preparation(min_good_fraction=0.0))  # a pack's own settings count
    assert scan([tmp_path], copies=of_all_pixels).table["path"].to_pylist() == [str(damaged)]


def test_own_tables_and_other_files_are_passed_over_with_their_numbers(tmp_path):
    put(tmp_path / "1.fits", spectrum())
    table = fits.PrimaryHDU()
    table.header["CREATOR"] = "lamost-vac 0.1.0"
    table.writeto(tmp_path / "labels.fits")
    for name in ("a.fits.bz2", "b.fit", "c.csv", "d.csv", "README"):
        (tmp_path / name).write_bytes(b"BZh9")
    found = scan([tmp_path], cache=tmp_path / ".cache")
    assert found.rejected.empty
    tables, others = found.passed_over
    assert tables.startswith("1 passed over: tables that this program wrote")
    assert others.startswith("5 passed over")
    assert "(2 .csv" in others
    for part in ("1 .fits.bz2", "1 .fit", "1 without one"):
        assert part in others
    assert scan([tmp_path], cache=tmp_path / ".cache").passed_over == found.passed_over
    packed = scan([tmp_path / "a.fits.bz2"]).rejected
    assert packed["detail"].tolist() == ["packed by bzip2; unpack it"]


# ---------------------------------------------------------------- archives


def night(path, mode, members):
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("n.tar", "w"), ("n.tar.gz", "w:gz"), ("n.tgz", "w:gz")]
)
def test_an_archive_is_read_as_a_folder(tmp_path, name, mode):
    members = {
        f"20120304/{fiber}.fits{'.gz' * (fiber % 2)}": gzip.compress(spectrum(fiberid=fiber), 1)
        if fiber % 2
        else spectrum("image", fiberid=fiber)
        for fiber in (1, 2, 3)
    }
    path = night(tmp_path / name, mode, members | {"20120304/list.txt": b"x", "med-1.fits": b""})
    found = scan([tmp_path], threads=3, cache=tmp_path / "cache")
    assert found.table["fiberid"].to_pylist() == [1, 2, 3]
    assert found.table["path"].to_pylist() == [f"{path}/{member}" for member in members]
    assert reasons(found) == {"med-1.fits": "empty_file"}
    for row, data in zip(found.table.to_pylist(), members.values(), strict=True):
        assert read_bytes(row["path"]) == (
            gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        )
        assert read_stored(row["path"]).header["FIBERID"] == row["fiberid"]
    assert scan([path], cache=tmp_path / "cache").n_read == 0
    with pytest.raises(SpectrumRejected) as why:
        read_bytes(f"{path}/20120304/9.fits")
    assert why.value.reason == "missing_file"


def test_a_damaged_archive_is_rejected_by_name(tmp_path):
    whole = night(tmp_path / "a.tar.gz", "w:gz", {"1.fits": spectrum()}).read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.tar").write_bytes(b"no archive" * 100)
    found = scan([tmp_path])
    assert reasons(found) == {"a.tar.gz": "corrupt_gzip", "b.tar": "unreadable_file"}
    with pytest.raises(SpectrumRejected) as why:
        read_bytes(tmp_path / "b.tar" / "1.fits")
    assert why.value.reason == "unreadable_file"


def test_a_path_leads_to_a_file_or_a_folder_of_an_archive(tmp_path):
    path = night(
        tmp_path / "n.tar.gz", "w:gz", {f"a/{f}.fits": spectrum(fiberid=f) for f in (1, 2, 3)}
    )
    assert scan([f"{path}/a/2.fits"]).table["fiberid"].to_pylist() == [2]
    assert scan([f"{path}/a/"]).table["fiberid"].to_pylist() == [1, 2, 3]
    assert scan([f"{path}/"]).table["fiberid"].to_pylist() == [1, 2, 3]
    absent = scan([f"{path}/a/9.fits"])
    assert reasons(absent) == {"9.fits": "missing_file"}
    assert absent.rejected["detail"].tolist() == ["the archive has no such file"]


def test_every_member_of_an_archive_that_is_not_read_is_named_with_a_reason(tmp_path):
    path = tmp_path / "n.tar"
    night(path, "w", {"a/1.fits": spectrum(fiberid=1), "a/2.fits": spectrum(fiberid=2)})
    with tarfile.open(path, "a") as tar:
        for name, kind, target in (
            ("a/soft.fits", tarfile.SYMTYPE, "2.fits"),
            ("hard.fits", tarfile.LNKTYPE, "a/2.fits"),
            ("chain.fits", tarfile.SYMTYPE, "hard.fits"),
            ("round.fits", tarfile.SYMTYPE, "round.fits"),
            ("out.fits", tarfile.SYMTYPE, "/etc/passwd"),
            ("up.fits", tarfile.SYMTYPE, "../a/1.fits"),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            tar.addfile(entry)
        last = tarfile.TarInfo("a/1.fits")
        last.size = len(data := spectrum(fiberid=11))
        tar.addfile(last, io.BytesIO(data))
    found = scan([path])
    assert found.table["fiberid"].to_pylist() == [11, 2]
    assert reasons(found) == {
        "1.fits": "replaced_in_archive",
        **dict.fromkeys(("soft.fits", "hard.fits", "chain.fits"), "duplicate_spectrum"),
        **dict.fromkeys(("round.fits", "out.fits", "up.fits"), "missing_file"),
    }


def test_an_archive_that_would_fill_the_disk_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr("lamostvac.spectra.archive._LARGEST", 1 << 14)
    night(tmp_path / "n.tar.gz", "w:gz", {"1.fits": bytes(1 << 15)})
    assert reasons(scan([tmp_path])) == {"n.tar.gz": "too_large"}


def test_an_archive_that_was_replaced_is_opened_again(tmp_path):
    path = night(tmp_path / "n.tar", "w", {"1.fits": spectrum(fiberid=1)})
    assert scan([path]).table["fiberid"].to_pylist() == [1]
    night(path, "w", {"2.fits": spectrum(fiberid=2)})
    os.utime(path, ns=(1, 1))
    assert scan([path]).table["fiberid"].to_pylist() == [2]


# ---------------------------------------------------------------- the rule


CONFIGURATION = """
run: {results: tree/results}
simulation: {enabled: false}
survey: {root: tree, catalogues: headers}
library: {spectra: library.fits}
networks: {training_sets: null}
photometry: {enabled: false}
validation: {enabled: false}
"""


def test_the_rule_reads_a_folder_but_not_the_results_in_it(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(CONFIGURATION)
    (tmp_path / "library.fits").write_bytes(b"")
    (tmp_path / "tree").mkdir()
    with pytest.raises(SystemExit):
        mock_snakemake("survey", tmp_path / "mine.yaml", folder=tmp_path)
    assert "no file in or below tree (survey.root) has a name" in capsys.readouterr().err
    tree_state.cache_clear()
    put(tmp_path / "tree" / "1.fits", spectrum())
    put(tmp_path / "tree" / "results" / "2.fits", spectrum(fiberid=2))
    job = mock_snakemake("survey", tmp_path / "mine.yaml", folder=tmp_path)
    assert list(job.input.catalogues) == []
    assert (job.params.root, job.params.results) == ("tree", "tree/results")
    before = job.params.tree
    tree_state.cache_clear()
    put(tmp_path / "tree" / "3.fits", spectrum(fiberid=3))
    put(tmp_path / "tree" / "results" / "4.fits", spectrum(fiberid=4))
    assert mock_snakemake("survey", tmp_path / "mine.yaml", folder=tmp_path).params.tree != before
    found = scan([tmp_path / "tree"], skip=tmp_path / "tree" / "results")
    assert found.table["fiberid"].to_pylist() == [17, 3]
