"""The workflow under a real Slurm of three nodes on this machine, with everything done to it that clusters do.

Needs root and Debian's packages, which tools/slurm_lab.py installs; skips elsewhere. One disturbed run is shared. With
LAMOSTVAC_FAULTS=file.csv it appends a line per fault: what was done, jobs that had to be done again, seconds from the
end of the disturbed job to the end of the one that did its work (docs/faults.md).
"""

import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from isolation import missing
from workflow_run import command, copy_project, same_files

from tools.slurm_lab import Lab, LabError, command_line

pytestmark = pytest.mark.slow

# Each Slurm job starts Snakemake once for itself and once for each of its rules, which is nearly all of its time. So
# two of the types run here, with all kinds of jobs; what comes after them is no other kind.
TYPES = ("K", "M")
TARGETS = tuple(f"type_{name}" for name in TYPES)
SETTINGS = ("--config", "validation={enabled: false}")
# What a test cannot wait for, and a job that asks for too little memory at first.
IMPATIENT = ("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "20")
SMALL = ("--set-resources", "library:mem_mb=130 * attempt ** 2", "train:runtime=attempt")


def slurm_project(project: Path, folder: Path) -> Path:
    """A copy of the project as a user has it on a cluster, with a site file."""
    copy_project(project, folder)
    shutil.copytree(project / "profiles", folder / "profiles")
    os.symlink("profiles/slurm", folder / "slurm")
    (folder / "site.yaml").write_text(
        "account: lab\npartition: main\njobs: 20\nmax_runtime: 240\nmax_memory: 8500\n"
    )
    return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    # Others must be able to enter it, which pytest's own folders do not allow.
    folder = Path(
        subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
    )
    folder.chmod(0o755)
    lab = Lab(folder, nodes=3, cpus=4, memory=9000)
    try:
        lab.up()
    except (LabError, subprocess.CalledProcessError, OSError) as reason:
        lab.down()
        shutil.rmtree(folder)
        missing(f"no Slurm here: {reason}")
    yield lab
    lab.down()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Job:
    """A job as `sacct` tells of it."""

    number: str
    state: str
    nodes: str
    comment: str
    memory: int
    minutes: int
    end: int


FAULTS = {
    "cancelled": ("scancel of a job", "a network in training"),
    "hanging": ("a job hangs", "SIGSTOP of a network in training, time limit of a minute"),
    "lost": ("a node is lost", "its daemon and jobs killed while a chunk is at work"),
    "orphan": ("kill -9 of the workflow", "while its Slurm jobs go on, one of them stopped"),
}


@dataclass
class Disturbed:
    """What was done to a run, and what Snakemake wrote."""

    folder: Path
    lab: Lab
    output: list[str] = field(default_factory=list)
    victims: dict[str, str] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)

    def start(self) -> subprocess.Popen:
        self.output.append(f"{self.folder}/snakemake-{len(self.output)}.log")
        arguments = command(
            self.folder,
            *TARGETS,
            *("--profile", "slurm", "--rerun-incomplete"),
            *(*SETTINGS, *IMPATIENT, *SMALL),
        )
        arguments["env"] = {**arguments["env"], **self.path()}
        with open(self.output[-1], "w") as log:
            return subprocess.Popen(**arguments | {"stdout": log}, start_new_session=True)

    def path(self) -> dict[str, str]:
        environment = self.lab.environment
        path = f"{self.lab.folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"SLURM_CONF": environment["SLURM_CONF"], "PATH": path}

    def queue(self, comment: str, state: str = "RUNNING") -> list[tuple[str, str]]:
        """Number and node of the jobs in a state whose comment, `rule_NAME...`, has a text."""
        lines = self.lab.run("squeue", "-h", "-o", "%A|%T|%N|%k").splitlines()
        found = [line.split("|", 3) for line in lines]
        return [(job[0], job[2]) for job in found if job[1] == state and comment in job[3]]

    def retry_of(self, number: str) -> str | None:
        """The Slurm job in which Snakemake does again what another was to do, by its own log; None before that."""
        text = Path(self.output[-1]).read_text()
        submitted = re.findall(
            r"^Job (\S+) has been submitted with SLURM jobid (\d+)", text, re.MULTILINE
        )
        own = next(job for job, found in submitted if found == number)
        later = [found for job, found in submitted if job == own and int(found) > int(number)]
        return later[0] if later else None

    def accounted(self) -> list[Job]:
        keys = "JobID,State,NodeList,Comment,ReqMem,TimelimitRaw,End"
        times = ["env", "SLURM_TIME_FORMAT=%s"]
        lines = self.lab.run(*times, "sacct", "-X", "-n", "-P", f"--format={keys}").splitlines()
        rows = [line.split("|") for line in lines]
        return [
            Job(
                row[0],
                row[1].split()[0],
                row[2],
                row[3],
                _megabytes(row[4]),
                int(row[5]),
                int(row[6]),
            )
            for row in rows
        ]


def _megabytes(text: str) -> int:
    number = float(text.rstrip("KMGTcn"))
    return round(number * 1024 if "G" in text else number)


def until(
    process: subprocess.Popen, what: str, ready: Callable[[], object], seconds: float = 600
) -> object:
    """Wait for something while Snakemake lives."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert process.poll() is None, f"Snakemake ended before {what}"
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.3)
    return found


def scripts_of(lab: Lab, number: str) -> list[int]:
    """The processes of a Slurm job that run one of our scripts."""
    return [pid for pid in lab.processes(number) if "/.snakemake/scripts/" in command_line(pid)]


def stop_scripts(lab: Lab, number: str) -> bool:
    """Stop the scripts of a Slurm job, so that it cannot end by itself; whether there was one to stop."""
    stopped = False
    for pid in scripts_of(lab, number):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it ended while we looked
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.1)
            stopped |= Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return stopped


@pytest.fixture(scope="module")
def disturbed(project, lab, tmp_path_factory) -> Disturbed:
    """A run during which jobs are cancelled, hang, and lack memory, a node is lost, and Snakemake is killed."""
    run = Disturbed(slurm_project(project, tmp_path_factory.mktemp("slurm") / "run"), lab)
    process = run.start()
    try:
        # An administrator cancels one job; another hangs until its time is over.
        number, _ = until(process, "networks in training", lambda: run.queue("rule_train_"))[0]
        lab.run("scancel", number)
        run.victims["cancelled"] = number

        def stopped(comment: str, but: str = "") -> tuple[str, str] | None:
            """Number and node of a job that we have stopped, which therefore is there when the next thing is done."""
            others = (job for job in run.queue(comment) if job[0] != but)
            return next((job for job in others if stop_scripts(lab, job[0])), None)

        hanging, _ = until(
            process, "a second network in training", lambda: stopped("rule_train_", but=number)
        )
        run.victims["hanging"] = hanging

        # A node goes down with a chunk on it.
        number, node = until(process, "a chunk at work", lambda: stopped("rule_chunk_"))
        lab.kill_node(node)
        run.victims["lost"] = number
        run.victims["node"] = node
        run.victims["again"] = until(process, "the lost chunk again", lambda: run.retry_of(number))
        until(
            process,
            "its end",
            lambda: not lab.run("squeue", "-h", "-j", run.victims["again"]).strip(),
        )

        # The login node goes down while jobs run, one of them for longer than Snakemake takes to start again.
        run.victims["orphan"], _ = until(process, "a type at work", lambda: stopped("rule_type_"))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lab.start_node(run.victims["node"])
    unlock = command(run.folder, "--unlock", *SETTINGS)
    subprocess.run(**unlock, check=True)
    process = run.start()
    try:
        assert process.wait(timeout=900) == 0, Path(run.output[-1]).read_text()[-4000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    run.jobs = run.accounted()
    if target := os.environ.get("LAMOSTVAC_FAULTS"):
        with open(target, "a", newline="") as handle:
            for victim, (fault, how) in FAULTS.items():
                first, last = again(run, victim)
                ended = [job for job in run.jobs if job.state == first.state]
                csv.writer(handle).writerow([fault, how, len(ended), last.end - first.end])
    return run


def again(disturbed: Disturbed, victim: str) -> tuple[Job, Job]:
    """The disturbed job, and the one that did its work in the end."""
    first = next(job for job in disturbed.jobs if job.number == disturbed.victims[victim])
    if victim == "lost":  # all chunks have one comment
        return first, next(
            job for job in disturbed.jobs if job.number == disturbed.victims["again"]
        )
    later = [
        job
        for job in disturbed.jobs
        if job.comment == first.comment and int(job.number) > int(first.number)
    ]
    # Those of types have one comment: the last of them is the one that was waited for.
    return first, [job for job in later if job.state == "COMPLETED"][-1]


def test_the_tables_are_those_of_an_undisturbed_local_run(disturbed, run):
    same_files(run, disturbed.folder / "results", tuple(f"{name}.fits" for name in TYPES))


def test_every_node_worked(disturbed):
    nodes = {job.nodes for job in disturbed.jobs if job.state == "COMPLETED"}
    assert nodes == set(disturbed.lab.nodes)


def test_a_cancelled_job_is_done_again(disturbed):
    first, _ = again(disturbed, "cancelled")
    assert first.state == "CANCELLED"


def test_a_job_that_hangs_ends_at_its_time_and_gets_more(disturbed):
    first, last = again(disturbed, "hanging")
    assert first.state == "TIMEOUT"
    assert last.minutes > first.minutes


def test_a_job_without_enough_memory_gets_more(disturbed):
    attempts = [
        job
        for job in disturbed.jobs
        if job.comment.startswith("rule_library_wildcards_mastar_imig")
    ]
    assert attempts[0].state in ("OUT_OF_MEMORY", "FAILED")  # FAILED without cgroups
    assert attempts[-1].state == "COMPLETED"
    memory = [job.memory for job in attempts]
    assert memory == sorted(set(memory))


def test_the_jobs_of_a_lost_node_are_done_on_another(disturbed):
    first, last = again(disturbed, "lost")
    assert first.state == "NODE_FAIL"
    assert last.state == "COMPLETED"
    assert first.nodes == disturbed.victims["node"] != last.nodes


def test_what_a_killed_snakemake_left_in_the_queue_is_cancelled_before_new_jobs(disturbed):
    first, last = again(disturbed, "orphan")
    assert first.state == "CANCELLED"
    assert last.state == "COMPLETED"
    text = Path(disturbed.output[-1]).read_text()
    sentence = "Slurm jobs of an earlier start of this run are cancelled"
    line = next(line for line in text.splitlines() if sentence in line)
    assert disturbed.victims["orphan"] in line
    assert text.index(sentence) < text.index("has been submitted")


def test_nothing_half_written_is_left(disturbed):
    assert list((disturbed.folder / "results").rglob(".lamostvac-*")) == []


def test_chunks_and_types_are_one_job_each(disturbed):
    done = [job.comment for job in disturbed.jobs if job.state == "COMPLETED"]
    chunks = [name for name in done if name.startswith("rule_chunk_fit_fit_imig_predict_prepare")]
    assert len(chunks) == len(TYPES)
    assert not any(
        comment.startswith(("rule_prepare", "rule_fit", "rule_predict")) for comment in done
    )
    assert sum(comment.startswith("rule_type_") for comment in done) == len(TYPES)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--slurm-array-jobs", "prepare"), "Error: slurm-array-jobs is set"),
        (("--slurm-status-command", "sacct"), "Error: slurm-status-command is sacct"),
    ],
)
def test_options_that_lose_outputs_are_refused(disturbed, project, tmp_path, option, sentence):
    folder = slurm_project(project, tmp_path / "run")
    arguments = command(folder, "--profile", "slurm", *option)
    arguments["env"] |= disturbed.path()
    done = subprocess.run(**arguments, timeout=300, check=False)
    assert done.returncode == 1
    assert any(line.startswith(sentence) for line in done.stdout.splitlines()), done.stdout[-2000:]
    assert "Traceback" not in done.stdout
    assert "has been submitted" not in done.stdout
    assert not (folder / ".snakemake/locks").exists() or not list(
        (folder / ".snakemake/locks").iterdir()
    )
