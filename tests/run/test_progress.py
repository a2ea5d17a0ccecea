"""How far a run is, from its files alone: every number of a half-finished run is known here."""

import json
import os

import pytest
from command import lamostvac
from run_files import write_job, write_manifest

from lamostvac.core.exceptions import UserError
from lamostvac.run.job_records import find_jobs, last_error, read_run, write_run
from lamostvac.run.progress import QUIET, duration, progress, text
from lamostvac.run.resources import Asked, Cost, Model

MODEL = Model(
    {
        "prepare": Cost({"base": 1}, {"base": 1, "spectra": 0.01}, jobs=1),
        "fit": Cost({"base": 1}, {"base": 2, "spectra": 0.02}, jobs=1),
        "collect": Cost({"base": 1}, {"base": 10, "spectra": 0.001}, jobs=1),
    },
    Asked(1.5, 1000),
    Asked(3, 10),
    300,
)
START = 1_000_000.0
CHUNKS = {"G": [100, 100, 100, 50], "M": [80, 40]}
COUNTS = "{} in, {} accepted, {} rejected"


def begin(results, planned=(), targets=(), started=START):
    write_run(
        results, started, planned, targets, ["prepare", "fit"], ["G", "M"], 0, {"run": {"seed": 2}}
    )


def prepare(results, name, ended, spectra, rejected=0, seconds=10.0):
    lines = [COUNTS.format(spectra, spectra - rejected, rejected)]
    used = {"seconds": seconds, "cpu_seconds": seconds, "memory_mb": 1}
    return write_job(
        results,
        "prepare",
        name,
        ended - 0.5,
        ended,
        asked={"spectra": spectra},
        lines=lines,
        used=used,
    )


@pytest.fixture
def half(tmp_path):
    """Of six chunks four are prepared, one by one, each in 10 s; a fifth is running; nothing is fitted."""
    write_manifest(tmp_path, CHUNKS)
    (tmp_path / "survey/rejected.csv").write_text(
        "spectrum_id,obsid,stage,reason\na,1,survey,x\nb,2,survey,x\n"
    )
    begin(tmp_path)
    for number, (name, spectra) in enumerate(
        (("G/0000", 100), ("G/0001", 100), ("M/0000", 80), ("G/0002", 100))
    ):
        prepare(tmp_path, name, START + 10 * (number + 1), spectra, rejected=number)
    write_job(
        tmp_path,
        "prepare",
        "G/0003",
        START + 45,
        asked={"spectra": 50},
        lines=["20 of 50 spectra (40 %)"],
    )
    return tmp_path


def line(state, rule, spectral_type):
    return next(line for line in state.lines if (line.rule, line.type) == (rule, spectral_type))


def test_jobs_and_spectra_of_each_rule_and_type_are_exact(half):
    state = progress(half, MODEL, START + 50)
    counts = {
        (line.rule, line.type): (line.done, line.jobs, line.spectra_done, line.spectra)
        for line in state.lines
    }
    assert counts == {
        ("prepare", "G"): (3, 4, 300, 350),
        ("prepare", "M"): (1, 2, 80, 120),
        ("prepare", ""): (4, 6, 380, 470),
        ("fit", "G"): (0, 4, 0, 350),
        ("fit", "M"): (0, 2, 0, 120),
        ("fit", ""): (0, 6, 0, 470),
    }
    assert state.rejected == 2 + 0 + 1 + 2 + 3


def test_the_rate_is_that_of_the_jobs_that_ended(half):
    # The first ended at 10 s, the others in the 30 s after that.
    assert line(progress(half, MODEL, START + 50), "prepare", "").rate == pytest.approx(280 / 30)
    assert line(progress(half, MODEL, START + 50), "fit", "").rate is None


def test_the_remaining_time_is_the_models_times_how_long_jobs_took(half):
    state = progress(half, MODEL, START + 50)
    predicted = [1 + 0.01 * n for n in (100, 100, 80, 100)]
    factor = 40 / sum(predicted)
    assert state.factor == pytest.approx(factor)
    assert state.speed == pytest.approx(1.0)
    left = {"prepare": [50, 40], "fit": [100, 100, 100, 50, 80, 40]}
    expected = factor * sum(1 + 0.01 * n for n in left["prepare"])
    assert line(state, "prepare", "").remaining_seconds == pytest.approx(expected)
    expected += factor * sum(2 + 0.02 * n for n in left["fit"])
    assert state.remaining_seconds == pytest.approx(expected)


def test_jobs_side_by_side_halve_the_remaining_time(half):
    one = progress(half, MODEL, START + 50)
    for number, name in enumerate(("G/0000", "G/0001", "M/0000", "G/0002")):
        prepare(half, name, START + 10 * (number // 2 + 1), {"M/0000": 80}.get(name, 100))
    two = progress(half, MODEL, START + 50)
    assert two.speed == pytest.approx(2.0)
    assert two.remaining_seconds == pytest.approx(one.remaining_seconds / 2)


def test_what_runs_is_shown_with_its_last_line(half):
    state = progress(half, MODEL, START + 50)
    assert [(job.rule, job.name) for job in state.running] == [("prepare", "G/0003")]
    shown = text(state, START + 50)
    assert "prepare G/0003: 20 of 50 spectra (40 %)" in shown
    assert progress(half, MODEL, START + 46 + QUIET).running == ()
    assert [job.name for job in progress(half, MODEL, START + 46 + QUIET).stopped] == ["G/0003"]


def test_a_failed_job_is_named_with_its_error(half):
    lines = [
        "2026-11-24 15:00:01 ERROR OSError: no space left",
        "Traceback (most recent call last):",
        "  etc.",
    ]
    write_job(half, "prepare", "G/0003", START + 45, lines=lines, used={"seconds": 1})
    state = progress(half, MODEL, START + 50)
    assert [job.name for job in state.failed] == ["G/0003"]
    assert state.running == ()
    assert "prepare G/0003: OSError: no space left" in text(state, START + 50)


def test_a_job_that_is_repeated_is_not_done_until_it_has_ended_again(half):
    write_job(half, "prepare", "G/0001", START + 49)
    assert line(progress(half, MODEL, START + 50), "prepare", "G").done == 2
    prepare(half, "G/0001", START + 55, 100)
    assert line(progress(half, MODEL, START + 56), "prepare", "G").done == 3


def test_what_a_new_run_makes_again_counts_as_open_before_it_begins(half):
    planned = [
        ("prepare", {"type": "G", "chunk": "0001"}),
        ("prepare", {"chunk": "0002", "type": "G"}),
    ]
    begin(half, planned, started=START + 100)
    state = progress(half, MODEL, START + 101)
    assert line(state, "prepare", "G").done == 1
    assert line(state, "prepare", "M").done == 1
    prepare(half, "G/0001", START + 110, 100)
    assert line(progress(half, MODEL, START + 111), "prepare", "G").done == 2


def test_jobs_that_an_earlier_run_left_are_not_running(half):
    begin(half, started=START + 100)
    state = progress(half, MODEL, START + 101)
    assert (state.running, state.failed, state.stopped) == ((), (), ())


def test_of_a_run_of_one_type_only_that_counts(half):
    planned = [("collect", {"type": "M"}), ("library", {"library": "mastar"})]
    begin(half, planned, targets=["type_M"], started=START + 50)
    state = progress(half, MODEL, START + 51)
    assert {line.type for line in state.lines} == {"M", ""}
    assert line(state, "prepare", "").spectra == 120


def test_a_run_for_one_page_shows_all_types(half):
    begin(half, [("star", {"star": "101"})], targets=["results/stars/101.html"], started=START + 50)
    assert {line.type for line in progress(half, MODEL, START + 51).lines} == {"G", "M", ""}


def test_other_jobs_are_counted_and_those_of_unknown_size_named(half):
    planned = [
        ("collect", {"type": "G"}),
        ("collect", {"type": "M"}),
        ("train", {"label": "teff_pastel"}),
        ("all", {}),
    ]
    without = progress(half, MODEL, START + 50)
    begin(half, planned)
    write_job(
        half,
        "collect",
        "M",
        START + 46,
        START + 47,
        used={"seconds": 1, "cpu_seconds": 1, "memory_mb": 1},
    )
    state = progress(half, MODEL, START + 50)
    assert state.others == (1, 3)
    assert state.unknown == 1
    more = state.factor * (10 + 0.001 * 350)
    assert state.remaining_seconds == pytest.approx(without.remaining_seconds + more)


def test_a_finished_run_has_nothing_left(half):
    for rule in ("prepare", "fit"):
        for name, sizes in CHUNKS.items():
            for number, spectra in enumerate(sizes):
                used = {"seconds": 1, "cpu_seconds": 1, "memory_mb": 1}
                write_job(
                    half,
                    rule,
                    f"{name}/{number:04d}",
                    START + 60,
                    START + 60.5,
                    used=used,
                    asked={"spectra": spectra},
                )
    state = progress(half, MODEL, START + 70)
    assert state.remaining_seconds == 0
    assert all(line.done == line.jobs and line.spectra_done == line.spectra for line in state.lines)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no logs"):
        progress(tmp_path, MODEL)
    write_job(tmp_path, "simulate", "", 1.0)
    with pytest.raises(UserError, match=r"survey of .* has not run"):
        progress(tmp_path, MODEL)
    assert lamostvac("progress", str(tmp_path), code=1).startswith("Error: the survey")


def test_nothing_in_the_folder_is_touched(half):
    before = {path: os.stat(path).st_mtime_ns for path in half.rglob("*")}
    progress(half, MODEL, START + 50)
    assert {path: os.stat(path).st_mtime_ns for path in half.rglob("*")} == before


def test_what_a_run_sets_out_to_do_is_read_as_written(tmp_path):
    begin(tmp_path, [("search", {"batch": "3", "type": "G"})], ["type_G"])
    run = read_run(tmp_path)
    assert run.planned == {("search", "G/3")}
    assert run.targets == ("type_G",)
    assert json.loads((tmp_path / "logs/run.json").read_text())["started"] == START


def test_of_several_errors_the_last_is_shown(tmp_path):
    log = write_job(tmp_path, "fit", "G/0000", 1.0, lines=["2026 ERROR one", "2026 ERROR two"])
    assert last_error(log) == "two"
    assert find_jobs(tmp_path)["fit", "G/0000"].type == "G"


def test_durations():
    assert [duration(x) for x in (None, 12, 300, 7500, 200_000)] == [
        "?",
        "12 s",
        "5 min",
        "2 h 05 min",
        "2 d 08 h",
    ]


def test_a_real_run_is_complete(run):
    """The shared run: every chunk's jobs have ended, in logs that say what they asked for."""
    from lamostvac.run.job_records import accounts, chunks_of_run
    from lamostvac.run.resources import load_model

    state = progress(run, load_model())
    assert all(line.done == line.jobs for line in state.lines)
    assert state.others[0] == state.others[1] > 20
    assert (state.running, state.failed, state.stopped) == ((), (), ())
    sizes = chunks_of_run(run).groupby("type")["n_spectra"].sum()
    found = {(job.rule, job.name): account for job, account, _ in accounts(run)}
    # Also of jobs that Snakemake knew before the survey had counted anything.
    for name, spectra in sizes.items():
        for rule in ("collect", "recommend", "catalog"):
            assert found[rule, name].asked["spectra"] == spectra
            assert found[rule, name].rule == rule
    assert found["merge", ""].asked["spectra"] == sizes.sum()
    for (rule, name), account in found.items():
        assert account.used["memory_mb"] > 50, (rule, name)
