"""The user's site file, the Slurm profile that reads it, and what of an earlier run is cancelled."""

import logging
import os
import re
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
import yte
from claims import some

from lamostvac.core.exceptions import UserError
from lamostvac.run.site import Site, load_site, scratch_folder
from lamostvac.run.slurm import cancel_leftovers, leftovers, require_safe_settings

SLURM = SimpleNamespace(
    jobname_prefix="lamostvac", array_jobs=None, status_command="squeue", requeue=False
)


@pytest.fixture(autouse=True)
def _no_site_of_this_machine(monkeypatch):
    for name in ("LAMOSTVAC_SITE", "SBATCH_ACCOUNT", "SBATCH_PARTITION"):
        monkeypatch.delenv(name, raising=False)


def profile(project: Path, folder: Path, monkeypatch) -> dict:
    """The profile as Snakemake reads it in a folder."""
    monkeypatch.chdir(folder)
    with open(project / "slurm/config.yaml") as stream:
        return yte.process_yaml(stream, require_use_yte=True)


# ---------------------------------------------------------------- site.yaml


def test_without_a_file_there_are_no_limits(tmp_path):
    assert load_site(tmp_path) == Site()
    assert scratch_folder(Site(), "results/dr10") == "results/dr10"


def test_the_example_has_every_key_and_is_valid_with_all_of_them(project, tmp_path):
    text = (project / "config/site_example.yaml").read_text()
    assert load_site(tmp_path) is not None
    keys = re.findall(r"^(?:# )?(\w+): ", text, re.MULTILINE)
    assert keys == list(Site.model_fields)
    (tmp_path / "site.yaml").write_text(re.sub(r"^# (\w+: )", r"\1", text, flags=re.MULTILINE))
    assert None not in load_site(tmp_path).model_dump().values()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("acount: astro", "acount: there is no such key; did you mean account?"),
        ("memory: 3", "memory: there is no such key; did you mean max_memory?"),
        ("jobs: many", "jobs = 'many' must be a whole number above 0"),
        ("jobs: 0", "jobs = 0 must be a whole number above 0"),
        ("account: 12", "account = 12 must be a text"),
        ("- astro", "must consist of lines `key: value`"),
        ("account: [", "is no YAML"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_and_the_profile_stands(
    project, tmp_path, monkeypatch, text, sentence
):
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(UserError) as told:
        load_site(tmp_path)
    assert sentence in str(told.value)
    assert "site.yaml" in str(told.value)
    assert "\n" not in str(told.value)
    # Snakemake reads the profile first; it must not fail there with something that nobody understands.
    assert profile(project, tmp_path, monkeypatch)["executor"] == "slurm"


def test_a_site_file_that_is_named_must_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMOSTVAC_SITE", str(tmp_path / "other.yaml"))
    with pytest.raises(UserError, match="LAMOSTVAC_SITE: there is no file"):
        load_site(tmp_path)


def test_runs_in_one_scratch_keep_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", str(tmp_path))
    site = Site(scratch="$WHERE/fast")
    one, two = (scratch_folder(site, tmp_path / name / "results") for name in ("a", "b"))
    assert one != two
    assert Path(one).parent == Path(two).parent == tmp_path / "fast"
    monkeypatch.chdir(tmp_path / "..")
    assert scratch_folder(site, f"{tmp_path.name}/a/results") == one


# ---------------------------------------------------------------- the profile


def test_the_profile_takes_what_the_site_file_says(project, tmp_path, monkeypatch):
    (tmp_path / "site.yaml").write_text(
        "account: astro\npartition: long\njobs: 7\nmax_threads: 4\nqos: low\nconstraint: avx\n"
        "extra: --exclusive=user --mail-type=END\n"
    )
    found = profile(project, tmp_path, monkeypatch)
    assert (found["jobs"], found["max-threads"]) == (7, 4)
    resources = found["default-resources"]
    assert (resources["slurm_account"], resources["slurm_partition"]) == ("astro", "long")
    assert (resources["qos"], resources["constraint"]) == ("low", "avx")
    assert resources["slurm_extra"] == "'--exclusive=user --mail-type=END'"


def test_without_a_site_file_account_and_partition_are_those_of_sbatch(
    project, tmp_path, monkeypatch
):
    assert "slurm_account" not in profile(project, tmp_path, monkeypatch)["default-resources"]
    monkeypatch.setenv("SBATCH_ACCOUNT", "astro")
    monkeypatch.setenv("SBATCH_PARTITION", "long")
    resources = profile(project, tmp_path, monkeypatch)["default-resources"]
    assert (resources["slurm_account"], resources["slurm_partition"]) == ("astro", "long")


def test_the_profile_has_no_option_that_loses_outputs(project, tmp_path, monkeypatch):
    """Each of these was seen to lose or delete outputs, to hang, or to write twice (docs/slurm.md)."""
    found = profile(project, tmp_path, monkeypatch)
    assert found["slurm-status-command"] == "squeue"
    assert found["slurm-no-requeue"] is True
    assert not {"slurm-array-jobs", "slurm-requeue", "group-components"} & set(found)
    assert found["retries"] >= 1
    assert found["scheduler"] == "greedy"
    assert found["rerun-incomplete"] is True
    assert found["slurm-jobname-prefix"]
    for path in some((project / "rules").glob("*.smk")):
        assert not re.search(r"^\s+retries:", path.read_text(), re.MULTILINE), path
    # Executor, jobs and resources of a default profile would win over those of slurm.
    assert not (project / "profiles/default").exists()


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"array_jobs": "all"}, "slurm-array-jobs"),
        ({"status_command": "sacct"}, "slurm-status-command"),
        ({"requeue": True}, "slurm-requeue"),
    ],
)
def test_dangerous_options_are_refused_by_name(change, option):
    require_safe_settings(SLURM)
    require_safe_settings(None)
    require_safe_settings(SimpleNamespace())  # another executor's
    with pytest.raises(UserError, match=option):
        require_safe_settings(SimpleNamespace(**vars(SLURM) | change))


# ---------------------------------------------------------------- jobs left behind


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """A queue in a file, and commands that read it and take lines from it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "queue").write_text("")
    for name, text in (
        ("squeue", f"cat {tmp_path}/queue"),
        (
            "scancel",
            f'for job in "$@"; do echo "$job" >> {tmp_path}/cancelled; '
            f'sed -i "/^$job|/d" {tmp_path}/queue; done',
        ),
    ):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path / "queue"


def test_only_jobs_of_this_run_in_this_directory_are_cancelled(queue, tmp_path):
    here, elsewhere = tmp_path / "run", tmp_path / "other"
    here.mkdir()
    os.symlink(here, tmp_path / "link")
    record = here / "results/slurm_run.txt"
    log = logging.getLogger("test")
    assert cancel_leftovers(record, "lamostvac_1", here, log) == []
    # Of another run in the same directory, of a copy of this one elsewhere, and the user's own.
    queue.write_text(
        f"12|lamostvac_1|{here}\n7|lamostvac_1|{tmp_path}/link\n8|lamostvac_1|{elsewhere}\n"
        f"9|lamostvac_2|{here}\n10|bash|{here}\n"
    )
    assert leftovers({"lamostvac_1"}, here) == ["7", "12"]
    assert cancel_leftovers(record, "lamostvac_3", here, log, pause=0.01) == ["7", "12"]
    assert (tmp_path / "cancelled").read_text().split() == ["7", "12"]
    assert [line.split("|")[0] for line in queue.read_text().splitlines()] == ["8", "9", "10"]
    # Under its new name.
    queue.write_text(f"13|lamostvac_1|{here}\n14|lamostvac_3|{here}\n")
    assert cancel_leftovers(record, None, here, log, pause=0.01) == ["14"]
    assert not record.exists()


def test_a_run_that_never_was_on_slurm_does_not_ask_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (
        cancel_leftovers(tmp_path / "slurm_run.txt", None, tmp_path, logging.getLogger("test"))
        == []
    )
    assert list(tmp_path.iterdir()) == []


def test_a_run_does_not_start_while_jobs_of_the_last_do_not_end(queue, tmp_path):
    queue.write_text(f"12|lamostvac_1|{tmp_path}\n")
    record = tmp_path / "slurm_run.txt"
    record.write_text("lamostvac_1\n")
    (tmp_path / "bin/scancel").write_text("#!/bin/sh\n")
    with pytest.raises(UserError, match="Slurm jobs 12 of an earlier start of this run do not end"):
        cancel_leftovers(
            record, "lamostvac_2", tmp_path, logging.getLogger("test"), patience=0.05, pause=0.01
        )
    assert record.read_text() == "lamostvac_1\n"


def test_a_run_does_not_start_when_the_queue_cannot_be_asked(queue, tmp_path, monkeypatch):
    (tmp_path / "bin/squeue").write_text(
        "#!/bin/sh\necho 'slurm_load_jobs error: no contact' >&2; exit 1\n"
    )
    with pytest.raises(UserError, match="squeue failed: slurm_load_jobs error: no contact"):
        leftovers({"lamostvac_1"}, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no command squeue"):
        leftovers({"lamostvac_1"}, tmp_path)
