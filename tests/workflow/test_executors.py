"""The workflow under an executor that it knows nothing of, with the profile that docs/slurm.md shows."""

import re

import pytest
import yaml
from workflow_run import same_m_stars, snakemake, start_again

pytestmark = pytest.mark.slow

# Stands for a scheduler: notes what is asked for, and starts the script at once.
SUBMIT = """#!/bin/sh
echo "$1 $2 $3" >> submitted
sh "$4" > /dev/null 2>&1 &
"""


def test_another_executor_needs_a_profile_only(run, project, tmp_path):
    folder = start_again(run, tmp_path / "run").parent
    text = (project / "docs/slurm.md").read_text()
    block = re.search(r"```yaml\n# other/config.yaml.*?\n(.*?)```", text, re.DOTALL)
    profile = yaml.safe_load(block[1])
    slurm = yaml.safe_load((project / "profiles/slurm/config.yaml").read_text())
    for key in ("retries", "scheduler", "latency-wait", "rerun-incomplete", "keep-going"):
        assert profile[key] == slurm[key], key
    for key, value in profile["default-resources"].items():
        assert value == slurm["default-resources"][key], key
    (folder / "other").mkdir()
    (folder / "other/config.yaml").write_text(block[1])
    (folder / "submit").write_text(SUBMIT)
    (folder / "submit").chmod(0o755)

    screen = snakemake(folder, "type_M", "--profile", "other")
    same_m_stars(run, folder / "results")
    # A chunk and a type, as everywhere; each asks for what its rules need.
    lines = (folder / "submitted").read_text().splitlines()
    asked = [[int(number) for number in line.split()] for line in lines]
    assert len(asked) == 2, screen
    for threads, memory, minutes in asked:
        assert 1 <= threads <= 4
        assert 500 < memory < 20_000
        assert 1 <= minutes <= 120
