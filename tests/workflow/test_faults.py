"""What can befall a run: after each fault the same command goes on, to the bytes of the undisturbed run.

The tests take a copy of the finished run, without M stars' files after `survey`, and ask for `type_M`; a run from
nothing that is killed is in test_growing.py. With LAMOSTVAC_FAULTS=file.csv each appends a line: what was done, result
files that were whole after the fault and had to be made again, seconds from the second start to the end
(docs/faults.md).
"""

import gzip
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from disturbed_run import Recovery, Started, temporaries
from isolation import missing
from workflow_run import same_m_stars, snakemake, start_again

from lamostvac.core.atomic import remove_temporaries
from lamostvac.core.hdf5 import read_columns
from lamostvac.simulate import broken

pytestmark = pytest.mark.slow

TYPE_M = ("type_M", "--cores", "2", "--rerun-incomplete")


# ---------------------------------------------------------------- processes that end


@pytest.mark.parametrize(
    ("name", "kind"), [("kill -9", signal.SIGKILL), ("SIGTERM", signal.SIGTERM)]
)
def test_a_killed_job_is_run_again(run, tmp_path, name, kind):
    results = start_again(run, tmp_path / "run")
    with Started(results.parent, *TYPE_M) as started:
        started.until(lambda: list((results / "prepared/M").glob(".lamostvac-*")))
        started.until(lambda: started.job("prepare")).send_signal(kind)
        screen = started.end(1)
    assert "Error in rule prepare" in screen
    left = temporaries(results)
    # A process that is told to end cleans up; one that is killed cannot.
    assert len(left) == (1 if kind == signal.SIGKILL else 0)
    assert remove_temporaries(results) == left
    with Recovery(f"{name} of a job", "while rule prepare writes", results) as recovery:
        snakemake(results.parent, *TYPE_M)
    assert recovery.again == []
    same_m_stars(run, results)


@pytest.mark.parametrize(
    ("name", "kind", "whom"),
    [("Ctrl-C", signal.SIGINT, os.killpg), ("SIGTERM", signal.SIGTERM, os.kill)],
)
def test_a_run_that_is_told_to_stop_goes_on_with_the_same_command(run, tmp_path, name, kind, whom):
    """Ctrl-C reaches Snakemake and its jobs; a batch system's SIGTERM Snakemake alone."""
    results = start_again(run, tmp_path / "run")
    with Started(results.parent, *TYPE_M) as started:
        started.until(lambda: started.job("fit"))
        whom(started.process.pid, kind)
        started.end()
    assert not (results / "catalog/M.fits").exists()
    assert temporaries(results) == []
    with Recovery(f"{name} of the workflow", "while rule fit runs", results) as recovery:
        screen = snakemake(results.parent, *TYPE_M)
    assert recovery.again == []
    assert "--unlock" not in screen
    same_m_stars(run, results)


def test_a_job_that_runs_out_of_memory_is_run_again(run, tmp_path):
    results = start_again(run, tmp_path / "run")
    log = results / "logs/fit/M/0000.log"
    log.unlink()
    # Where memory is limited, scripts are not forked.
    options = ("--config", "run={fork_scripts: false}")
    with Started(results.parent, *TYPE_M, *options) as started:
        job = started.until(lambda: log.exists() and started.job("fit"))
        used = job.memory_info().vms
        job.rlimit(resource.RLIMIT_AS, (used, used))
        screen = started.end(1)
    assert "Error in rule fit:" in screen
    assert not (results / "fit/M/0000.h5").exists()
    assert temporaries(results) == []
    with Recovery(
        "a job out of memory", "address space of rule fit's process limited", results
    ) as recovery:
        snakemake(results.parent, *TYPE_M)
    assert recovery.again == []
    same_m_stars(run, results)


def test_a_second_workflow_in_the_folder_is_refused_and_the_first_unharmed(run, tmp_path):
    results = start_again(run, tmp_path / "run")
    with Started(results.parent, *TYPE_M) as started:
        # Stopped, so that the first has made nothing yet however long the second takes.
        job = started.until(lambda: started.job("prepare"))
        job.suspend()
        second = snakemake(results.parent, *TYPE_M, code=1)
        assert "Directory cannot be locked" in second
        assert "Traceback" not in second
        with Recovery("two workflows in one folder", "the second is refused", results) as recovery:
            job.resume()
            started.end(0)
    assert recovery.again == []
    same_m_stars(run, results)


# ---------------------------------------------------------------- disks


def mount(*arguments: str) -> bool:
    return not subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode


@pytest.fixture
def small_disk(tmp_path):
    """A file system in memory that can be made small and large; skips where that is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        missing("a small file system needs root and mount")
    if not mount("-t", "tmpfs", "-o", "size=1g", "tmpfs", str(place)):
        pytest.skip("mounting a small file system is not allowed here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("spare", [64_000, 1_400_000])
def test_a_full_disk_is_told_in_a_sentence_and_the_run_goes_on_when_there_is_room(
    run, tmp_path, small_disk, spare
):
    """`spare` bytes are left: not enough for prepared spectra, or for what comes later."""
    results = start_again(run, tmp_path / "run")
    shutil.copytree(results, small_disk / "results")
    shutil.rmtree(results)
    results.symlink_to(small_disk / "results")
    used = shutil.disk_usage(small_disk).used
    assert mount("-o", f"remount,size={used + spare}", str(small_disk))
    screen = snakemake(results.parent, *TYPE_M, code=1)
    assert "no space left on the file system of results/" in screen
    assert "while writing results/" in screen
    assert "Traceback" not in screen
    assert "Logging error" not in screen
    assert temporaries(small_disk) == []
    assert not (results / "catalog/M.fits").exists()
    assert mount("-o", "remount,size=1g", str(small_disk))
    how = f"{spare // 1000} kB left on a tmpfs, then enlarged"
    with Recovery("full disk", how, results) as recovery:
        snakemake(results.parent, *TYPE_M)
    assert recovery.again == []
    same_m_stars(run, results)


@pytest.mark.parametrize("name", ["fit/M/0000.h5", "predicted/M/0000.h5"])
def test_a_damaged_result_is_named_and_made_anew(run, tmp_path, name):
    """Cut in half behind Snakemake's back, its time as before."""
    folders = ("fit", "fit_imig", "chunk_groups", "predicted")
    kept = (*(f"{one}/M/0000.h5" for one in folders), "prepared/M/0000_meta.h5")
    results = start_again(run, tmp_path / "run", keep=kept)
    path = results / name
    modified = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    os.utime(path, ns=(modified, modified))
    screen = snakemake(results.parent, *TYPE_M, code=1)
    assert f"results/{name} is damaged (" in screen
    assert "delete it and give the same command again, which makes it anew" in screen
    assert "Traceback" not in screen
    path.unlink()
    with Recovery("a result file cut in half", name, results):
        snakemake(results.parent, *TYPE_M)
    same_m_stars(run, results)


def test_a_damaged_library_is_named(run, tmp_path):
    results = start_again(
        run, tmp_path / "run", without=("library/mastar.h5", "emulator/mastar.h5")
    )
    spectra = next((results / "simulated/mastar").glob("*goodspec*"))
    whole, modified = spectra.read_bytes(), spectra.stat().st_mtime_ns
    spectra.write_bytes(whole[: len(whole) // 2])
    os.utime(spectra, ns=(modified, modified))
    screen = snakemake(results.parent, "results/library/mastar.h5", "--cores", "1", code=1)
    assert re.search(
        rf"library\.spectra: \S+{spectra.name} is damaged \(.+\); copy it anew", screen
    )
    spectra.write_bytes(whole)
    os.utime(spectra, ns=(modified, modified))
    with Recovery("the library's file cut in half", "before rule library reads it", results):
        snakemake(results.parent, "results/library/mastar.h5", "--cores", "1")
    assert (results / "library/mastar.h5").read_bytes() == (run / "library/mastar.h5").read_bytes()


# ---------------------------------------------------------------- spectra that vanish


def spectra_of(results: Path) -> pd.DataFrame:
    """The accepted M spectra."""
    with h5py.File(results / "prepared/M/0000_meta.h5") as handle:
        return read_columns(handle["meta"])


def test_spectra_that_vanish_are_rejected_and_return_when_the_files_do(run, tmp_path):
    rows = spectra_of(run).iloc[[0, 1]]
    results = start_again(run, tmp_path / "run")
    gone, cut = (results.parent / path for path in rows["path"])
    whole = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (gone, cut)}
    gone.unlink()
    cut.write_bytes(whole[cut][0][:5000])
    snakemake(results.parent, *TYPE_M)
    rejected = pd.read_csv(results / "collected/M_rejected.csv").set_index("spectrum_id")["reason"]
    assert rejected[rows["spectrum_id"].iloc[0]] == "missing_file"
    assert rejected[rows["spectrum_id"].iloc[1]] == "corrupt_gzip"
    before = pd.read_csv(run / "collected/M_rejected.csv")
    assert len(rejected) == len(before) + 2
    # Spectra are no inputs of a rule (a release has ten million): the user names what to make again.
    for path, (content, modified) in whole.items():
        path.write_bytes(content)
        os.utime(path, ns=(modified, modified))
    again = ("--forcerun", "results/prepared/M/0000_meta.h5")
    with Recovery("a spectrum that vanished, one cut short", "back again, and --forcerun", results):
        snakemake(results.parent, *TYPE_M, *again)
    same_m_stars(run, results)


def test_a_spectrum_that_networks_alone_can_use_is_in_the_catalogue(run, tmp_path):
    row = spectra_of(run).iloc[0]
    results = start_again(run, tmp_path / "run")
    path = results.parent / row["path"]
    data = gzip.decompress(path.read_bytes())
    _, n, start, arrays = broken.unpack(data)
    # Between the networks' two windows, where half of the emulator's pixels are.
    wave = arrays["WAVELENGTH"]
    arrays["IVAR"][(wave > 5850) & (wave < 8400)] = 0
    block = b"".join(values.astype(">f4").tobytes() for values in arrays.values())
    path.write_bytes(gzip.compress(data[:start] + block + data[start + 20 * n :], 1, mtime=0))
    snakemake(results.parent, *TYPE_M)
    stars = Table.read(results / "catalog/M.fits", character_as_bytes=False)
    (star,) = stars[stars["spectrum_id"] == row["spectrum_id"]]
    assert np.isfinite(star["teff_pastel"])
    assert np.isfinite(star["teff_pastel_err"])
    assert not np.isfinite(star["teff"])
    assert (star["flag_no_fit_pixels"], star["fit_status"]) == (1, 3)
    assert sum(stars["flag_no_fit_pixels"]) == 1
    before = pd.read_csv(run / "collected/M_rejected.csv")
    assert len(pd.read_csv(results / "collected/M_rejected.csv")) == len(before)


def test_training_goes_on_without_spectra_that_vanish(run, tmp_path):
    names = tuple(f"training/pastel{end}" for end in (".fits", "_spectra.h5", "_cuts.csv"))
    stars = Table.read(run / names[0], character_as_bytes=False).to_pandas()
    wanted = stars["spectrum_id"].iloc[0]
    results = start_again(run, tmp_path / "run", without=names)
    candidates = pd.read_parquet(results / "training/pastel_candidates.parquet")
    path = results.parent / candidates.set_index("spectrum_id").loc[[wanted], "path"].iloc[0]
    aside = path.with_suffix(".aside")
    path.rename(aside)
    targets = (f"results/{names[0]}", "--cores", "1")
    snakemake(results.parent, *targets)
    found = Table.read(results / names[0], character_as_bytes=False).to_pandas()
    assert wanted not in set(found["spectrum_id"])
    assert "missing_file" in (results / "logs/training/pastel.log").read_text()
    aside.rename(path)
    with Recovery("a training star's spectrum vanished", "back again, and --forcerun", results):
        snakemake(results.parent, *targets, "--forcerun", f"results/{names[0]}")
    for name in names:
        assert (results / name).read_bytes() == (run / name).read_bytes()


# ---------------------------------------------------------------- clocks


def test_files_from_the_future_start_no_endless_reruns(run, tmp_path):
    """The release's disk, and a node that wrote a chunk, are a day ahead."""
    results = start_again(run, tmp_path / "run")
    tomorrow = time.time() + 86400
    for name in ("simulated/lamost/catalogue.csv", "prepared/F/0000_meta.h5", "fit/G/0000.h5"):
        os.utime(results / name, (tomorrow, tomorrow))
    with Recovery("clock skew", "catalogue and two chunks of a day ahead", results):
        snakemake(results.parent, *TYPE_M)
    same_m_stars(run, results)
    for name in ("fit/M/0000.h5", "collected/M.fits"):
        os.utime(results / name, (tomorrow, tomorrow))
    snakemake(results.parent, *TYPE_M)
    assert "Nothing to be done" in snakemake(results.parent, *TYPE_M)
    same_m_stars(run, results)
