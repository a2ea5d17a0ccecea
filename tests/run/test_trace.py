"""One spectrum found again: chunk, file, rejection, log lines, row of the catalogue."""

import json
import os

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import lamostvac
from run_files import write_job

from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import write_columns
from lamostvac.core.manifest import rejected_table
from lamostvac.run.efficiency import job_table, rule_table
from lamostvac.run.trace import find_in_chunks, text, trace


def spectrum_id(number: int) -> str:
    return f"{55000 + number // 10}-P{number // 10}-1-{number % 10 + 1}"


@pytest.fixture
def results(tmp_path):
    """Three chunks of 20 spectra each, the obsid 1000 + number; number 7 has none and is rejected by prepare."""
    for chunk in range(3):
        numbers = np.arange(20 * chunk, 20 * chunk + 20)
        table = {
            "spectrum_id": [spectrum_id(n) for n in numbers],
            "obsid": [(-1 if n == 7 else 1000 + n) for n in numbers],
            "lmjd": 55000 + numbers // 10,
            "planid": [f"P{n // 10}" for n in numbers],
            "snrr": 10.0 + numbers,
            "subclass": ["G2"] * 20,
            "path": [f"lamost/{n}.fits.gz" for n in numbers],
        }
        path = tmp_path / f"survey/chunks/G/{chunk:04d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path, row_group_size=8)
    lines = [
        f"rejected {spectrum_id(7)} (lamost/7.fits.gz): not_fits",
        f"rejected {spectrum_id(7)}1 (x): not_fits",
    ]
    write_job(tmp_path, "prepare", "G/0000", 1.0, 2.0, lines=lines)
    write_job(
        tmp_path, "fit", "G/0001", 1.0, 2.0, lines=["obsid 1030 is odd", "obsid 11030 is odd"]
    )
    (tmp_path / "survey/rejected.csv").write_text(
        "spectrum_id,obsid,stage,reason\n55999-P-1-1,777,survey,low_snr\n55999-P-1-2,7770,survey,not_a_star\n"
    )
    meta = tmp_path / "prepared/G/0000_meta.h5"
    meta.parent.mkdir(parents=True)
    with h5py.File(meta, "w") as handle:
        rows = [(spectrum_id(7), -1, "prepare", "not_fits", "begins with x")]
        write_columns(handle.create_group("rejected"), rejected_table(rows))
    return tmp_path


def finish(results):
    """What the merge writes: all but number 7, in the order of their numbers."""
    numbers = [n for n in range(60) if n != 7]
    table = pd.DataFrame(
        {
            "spectrum_id": [spectrum_id(n) for n in numbers],
            "obsid": [1000 + n for n in numbers],
            "teff_rec": [5000.0 + n for n in numbers],
        }
    )
    (results / "catalog").mkdir()
    table.to_parquet(results / "catalog/recommended.parquet", row_group_size=10)
    (results / "catalog/rejected.csv").write_text(
        f"spectrum_id,obsid,stage,reason\n{spectrum_id(7)},-1,prepare,not_fits\n55999-P-1-1,777,survey,low_snr\n"
    )


@pytest.mark.parametrize("star", ["1030", spectrum_id(30)])
def test_chunk_file_row_and_log_lines_by_either_name(results, star):
    finish(results)
    found = trace(results, star)
    assert [(row["type"], row["chunk"], row["path"]) for row in found.rows] == [
        ("G", "0001", "lamost/30.fits.gz")
    ]
    assert found.catalogue_row == 29
    assert found.values["teff_rec"] == 5030
    assert [line.split(" INFO ")[1] for _, line in found.log_lines] == ["obsid 1030 is odd"]
    assert found.rejected == ()
    assert "row 29 of" in text(results, star, found)


def test_every_spectrum_of_every_chunk_is_found(results):
    for number in range(60):
        rows = find_in_chunks(results, spectrum_id(number))
        assert [row["path"] for row in rows] == [f"lamost/{number}.fits.gz"]
        assert len(find_in_chunks(results, str(1000 + number))) == (0 if number == 7 else 1)


def test_a_rejected_spectrum_says_where_and_why_before_and_after_the_merge(results):
    before = trace(results, spectrum_id(7))
    assert before.rejected == (("prepare", "not_fits"),)
    assert len(before.log_lines) == 1
    assert "has not been made yet" in text(results, spectrum_id(7), before)
    finish(results)
    after = trace(results, spectrum_id(7))
    assert after.rejected == (("prepare", "not_fits"),)
    assert after.catalogue_row is None
    assert "not in it, as it was rejected" in text(results, spectrum_id(7), after)


def test_what_the_survey_rejected_is_in_no_chunk(results):
    found = trace(results, "777")
    assert found.rows == ()
    assert found.rejected == (("survey", "low_snr"),)


def test_the_command_ends_with_1_for_a_spectrum_that_the_run_does_not_have(results):
    assert "in no chunk" in lamostvac("trace", str(results), "424242", code=1)
    found = json.loads(lamostvac("trace", str(results), "1030", "--json"))
    assert found["rows"][0]["chunk"] == "0001"


# ---------------------------------------------------------------- asked and used


def test_asked_and_used_stand_side_by_side(tmp_path):
    asked = {"mem_mb": 1000, "runtime": 10, "spectra": 50}
    for number, (memory, seconds) in enumerate(((300, 60), (500, 120))):
        used = {"seconds": seconds, "cpu_seconds": seconds / 2, "memory_mb": memory}
        write_job(
            tmp_path,
            "fit",
            f"G/{number:04d}",
            1.0,
            2.0,
            asked=asked,
            used=used,
            benchmark=f"{seconds + 6}\t0:01:00\t100\t1",
        )
    # A job with a child process, whose memory only Snakemake's samples saw, and a log without these lines.
    used = {"seconds": 6, "cpu_seconds": 6, "memory_mb": 200}
    benchmark = "6\t0:00:06\t900\t6"
    write_job(tmp_path, "collect", "G", 1.0, 2.0, asked=asked, used=used, benchmark=benchmark)
    log = write_job(tmp_path, "merge", "", 1.0, 2.0)
    log.write_text("2026 INFO merged\n")
    os.utime(log, (1.5, 1.5))
    write_job(tmp_path, "prepare", "G/0000", 1.0, asked=asked)  # still running
    jobs = job_table(tmp_path).set_index("rule")
    assert set(jobs.index) == {"fit", "collect", "merge"}
    assert jobs.loc["collect", "used_mb"] == pytest.approx(900 * 1.048576)
    assert np.isnan(jobs.loc["merge", "asked_mb"])
    table = rule_table(jobs.reset_index())
    fit = table.loc["fit"]
    assert (fit["jobs"], fit["asked_mb"], fit["used_mb"]) == (2, 1000, 500)
    assert fit["memory_share"] == pytest.approx(0.5)
    assert fit["time_share"] == pytest.approx(126 / 600)
    assert fit["cpu_share"] == pytest.approx(90 / 192)
    assert fit["core_hours"] == pytest.approx(192 / 3600)
    assert table.index[0] == "fit"


def test_a_run_without_finished_jobs_is_refused(tmp_path):
    write_job(tmp_path, "fit", "G/0000", 1.0)
    with pytest.raises(UserError, match=r"no job of .* has ended"):
        job_table(tmp_path)
