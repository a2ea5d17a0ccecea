"""A rule's version is that of the packages that its script reaches by imports."""

import importlib
import re
import shutil

import pytest
from workflow_run import fresh_python, imported_by_rules, snakemake

from lamostvac.core import code_version
from lamostvac.core.code_version import package_version, reached, script_version
from tools import versions


def scripts_reaching(project, module):
    """Names of the scripts that a module of the library is a part of."""
    path = project / "lamostvac" / f"{module}.py"
    assert path.is_file()
    return {s.stem for s in (project / "workflow_scripts").glob("*.py") if path in reached(s)}


@pytest.mark.parametrize(
    ("module", "among", "not_among"),
    [
        (
            "fit/outliers",
            {"fit", "crossvalidation", "star"},
            {"emulator", "library", "prepare", "train"},
        ),
        ("fit/priors", {"fit", "crossvalidation", "search"}, {"emulator", "prepare", "predict"}),
        ("fit/fitter", {"fit", "crossvalidation"}, {"emulator", "library", "recommend"}),
        ("library/formats/stelib", {"library"}, {"emulator", "fit", "prepare", "train"}),
        ("library/formats/mastar", {"library"}, {"emulator", "fit"}),
        ("networks/domain", {"train", "predict"}, {"fit", "library", "merge"}),
    ],
)
def test_a_module_is_a_part_of_the_rules_that_use_it_and_of_no_other(
    project, module, among, not_among
):
    found = scripts_reaching(project, module)
    assert among <= found
    assert not not_among & found


def test_every_rule_with_a_script_names_its_own_version(project):
    named = 0
    for path in (project / "rules").glob("*.smk"):
        last = ""
        blocks = re.split(
            r"^ *(?:use rule \w+ as|rule|checkpoint) ", path.read_text(), flags=re.MULTILINE
        )
        for block in blocks[1:]:
            own = re.search(r'"\.\./workflow_scripts/(\w+)\.py"', block)
            last = own[1] if own else last
            if own or ("input:" in block and "params:" in block):
                assert re.findall(r'version_of\("(\w+)"\)', block) == [last], (
                    path.name,
                    block[:40],
                )
                named += 1
    assert named > 40


def test_imports_are_those_that_python_makes(project):
    """Reading finds every module of ours that importing a script loads, and more only inside functions."""
    script = project / "workflow_scripts/predict.py"
    program = (
        "import sys, runpy\nrunpy.run_path(sys.argv[1], run_name='x')\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('lamostvac.')))"
    )
    loaded = {
        path
        for path in fresh_python(project, program, str(script))
        if not path.endswith("__init__.py")
    }
    assert loaded
    assert loaded <= {str(path) for path in reached(script)}


def test_a_package_without_a_version_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(code_version, "LIBRARY", tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/__init__.py").write_text('"""Nothing."""\n')
    with pytest.raises(ValueError, match=r"empty.__init__\.py needs one line VERSION"):
        package_version("empty")
    with pytest.raises(FileNotFoundError):
        package_version("nowhere")
    package_version.cache_clear()


def test_an_import_of_what_is_not_there_is_an_error(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from lamostvac.nowhere import something\n")
    with pytest.raises(ValueError, match=r"no module lamostvac\.nowhere"):
        script_version(script)


def test_packages_import_nothing_by_themselves(project):
    for name in versions.packages():
        text = (project / f"lamostvac/{name}/__init__.py").read_text()
        assert "import " not in re.sub(r'""".*?"""', "", text, flags=re.DOTALL), name
        assert importlib.import_module(f"lamostvac.{name}").VERSION == package_version(name)


def test_reading_the_rules_loads_no_module_of_the_stages(project):
    """Every job of a cluster reads the rules first; what computes, fits and draws is loaded by its own stage."""
    modules = imported_by_rules(project, "")
    assert "lamostvac.run.context" in modules
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    loaded = {name.split(".")[0] for name in fresh_python(project, program, *sorted(modules))}
    stages = {"scipy", "sklearn", "bayes_opt", "matplotlib", "tensorflow", "keras", "astropy"}
    assert not loaded & stages


# ---------------------------------------------------------------- nobody forgets a version


def test_the_versions_are_those_of_the_code():
    """If this fails, say whether results change: `python tools/versions.py` has the two commands."""
    assert versions.main([]) == 0


def test_comments_and_docstrings_are_no_change_and_everything_else_is():
    text = '"""Doc."""\nX = 1  # why\n\ndef f(a):\n    """Doc."""\n    return a + X\n'
    same = "X = 1\ndef f(a): return a + X\n"
    assert versions.meaning(text) == versions.meaning(same)
    for other in (
        "X = 1.0\ndef f(a): return a + X\n",
        "X = 1\ndef f(a): return X + a\n",
        "X = 1\ndef f(a=0): return a + X\n",
    ):
        assert versions.meaning(other) != versions.meaning(same)


def test_a_package_is_another_when_a_template_or_a_module_of_it_is(tmp_path):
    (tmp_path / "__init__.py").write_text('"""Doc."""\n\nVERSION = 1\n')
    digests = [versions.digest(tmp_path)]
    for name, text in (("templates/a.html.j2", "<p>"), ("a.css", "p {}"), ("a.py", "X = 1\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        digests.append(versions.digest(tmp_path))
    (tmp_path / "templates" / "a.html.j2").write_text("<b>")
    digests.append(versions.digest(tmp_path))
    assert len(set(digests)) == 5
    (tmp_path / "__init__.py").write_text('"""Another."""\n\nVERSION = 2\n')
    assert versions.digest(tmp_path) == digests[-1]


def test_a_changed_package_is_named():
    recorded = {"fit": [1, "a"], "core": [1, "b"], "new": [1, "c"]}
    assert versions.changed({"fit": [1, "x"], "core": [1, "b"]}, recorded) == ["fit"]
    assert versions.changed({"fit": [2, "x"], "core": [1, "b"], "newer": [1, "d"]}, recorded) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "first", "again", "not_again"),
    [
        (
            "fit",
            {"fit", "crossvalidation"},
            # What the networks said is kept, so that `predict` behind a new fit is short.
            {"fit_imig", "predict", "collect", "errors"},
            {"prepare", "library", "train", "survey"},
        ),
        (
            "library",
            {"library"},
            {"emulator", "crossvalidation", "fit", "predict"},
            {"prepare", "survey", "train"},
        ),
    ],
)
def test_a_new_version_runs_the_rules_that_use_the_package(
    run, tmp_path, package, first, again, not_again
):
    """In a finished run `first` begin, because their version is new; `again` follow them, `not_again` do not run."""
    folder = tmp_path / "run"
    shutil.copytree(run.parent, folder)
    path = folder / f"lamostvac/{package}/__init__.py"
    path.write_text(re.sub(r"VERSION = \d+", "VERSION = 99", path.read_text()))
    said = snakemake(folder, "--dry-run", "--cores", "1")
    rules = {}
    for block in re.split(r"^ *\[[^\n]+\]\n", said, flags=re.MULTILINE):
        if found := re.match(r"(?:local)?(?:rule|checkpoint) (\w+):", block.strip()):
            rules.setdefault(found[1], set()).add("Params have changed" in block)
    assert first <= {name for name, reasons in rules.items() if True in reasons}
    assert again <= set(rules)
    assert not not_again & set(rules)
