"""What stands beside the code for those who change it: hooks, public CI, the guide."""

import re
import tomllib

import yaml
from claims import some


def test_hooks_are_local_and_their_tools_are_those_of_make_check(project):
    config = yaml.safe_load((project / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    check = (project / "Makefile").read_text().split("\ncheck: ")[1].split("\ndocs: ")[0]
    for hook in some(config["repos"][0]["hooks"]):
        assert hook["language"] == "system"
        program, *arguments = hook["entry"].split()
        command = " ".join([program.removeprefix(".venv/bin/"), *arguments[:1]])
        assert command.replace(" --force-exclude", "") in check, hook["id"]


def test_public_ci_checks_and_tests_on_every_supported_python(project):
    text = (project / ".github/workflows/ci.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    low, high = re.findall(
        r"3\.(\d+)",
        tomllib.loads((project / "pyproject.toml").read_text())["project"]["requires-python"],
    )
    supported = [f"3.{minor}" for minor in range(int(low), int(high))]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == supported
    run = [step.get("run") for job in jobs.values() for step in job["steps"]]
    assert {"make check", "make test", "make test-kernel", "make docs"} <= set(run)


def test_the_guide_names_files_and_targets_that_exist(project):
    text = (project / "CONTRIBUTING.md").read_text()
    makefile = (project / "Makefile").read_text()
    for target in some(re.findall(r"`make\s+([a-z-]+)", text)):
        assert re.search(rf"^{target}:", makefile, re.M), target
    paths = re.findall(r"`((?:lamostvac|tests|tools|rules|workflow_scripts)/[^`<>\s]+)`", text)
    for path in some(paths):
        assert (project / path).exists(), path
