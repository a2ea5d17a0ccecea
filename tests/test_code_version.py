"""Versions of modules as the rules see them."""

import importlib
import re

import pytest
from workflow_run import fresh_python, imported_by_rules

from lamostvac.core.code_version import code_version


def test_versions_are_those_of_the_modules(project):
    named = set()
    for path in (project / "rules").glob("*.smk"):
        for call in re.findall(r"code_version\(([^)]*)\)", path.read_text()):
            named.update(re.findall(r'"([\w.]+)"', call))
    assert len(named) > 40
    for name in named:
        module = importlib.import_module(f"lamostvac.{name}")
        assert code_version(name) == {name: module.CODE_VERSION}


def test_a_module_without_a_version_is_an_error():
    with pytest.raises(ValueError, match=r"bands\.py needs one line CODE_VERSION"):
        code_version("emulator", "bands")
    with pytest.raises(FileNotFoundError):
        code_version("nowhere")


def test_reading_the_rules_loads_no_module_of_the_stages(project):
    """Every job of a cluster reads the rules first; what computes, fits and draws is loaded by its own stage."""
    modules = imported_by_rules(project, "")
    assert "lamostvac.catalog.registry" in modules
    program = (
        "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    )
    loaded = {name.split(".")[0] for name in fresh_python(project, program, *sorted(modules))}
    assert not loaded & {"scipy", "sklearn", "bayes_opt", "matplotlib", "tensorflow", "keras"}
