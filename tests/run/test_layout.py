"""Paths below the results folder: each is named once, and nowhere else."""

import ast
import re

import pytest

from lamostvac.run.layout import Layout, job_stem, patterns

# The folders below the results folder.
FOLDERS = {path.split("/")[0] for path in patterns().values() if "/" in path} | {"experiments"}
# What is no path of a run: groups of HDF5 files, a unit.
ALLOWED = {"spectra/residual", "spectra/spectrum_id", "spectra/s"}


def texts(path):
    """The texts of a Python file that are no docstrings; f-strings part by part."""
    tree = ast.parse(path.read_text())
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [
        node.value for node in texts if isinstance(node.value, str) and id(node) not in documents
    ]


def texts_of_rules(path):
    """The texts of the Snakefile or of a file of rules, without comments and docstrings."""
    lines = (line for line in path.read_text().splitlines() if not line.strip().startswith("#"))
    text = re.sub(r'""".*?"""', "", "\n".join(lines), flags=re.DOTALL)
    return re.findall(r'"([^"\n]*)"', text)


def spelled(texts):
    """Those that begin with a folder of the results, or have one after a slash."""
    pattern = re.compile(rf"(?:^|(?<!\.\.)/)(?:{'|'.join(sorted(FOLDERS))})/")
    return sorted({text for text in texts if pattern.search(text)} - ALLOWED)


def test_no_other_file_of_the_library_spells_a_path_below_the_results_folder(project):
    paths = [*(project / "lamostvac").rglob("*.py"), *(project / "workflow_scripts").glob("*.py")]
    wrong = {
        str(path): found
        for path in paths
        if path.name != "layout.py" and (found := spelled(texts(path)))
    }
    assert len(paths) > 200
    assert not wrong


def test_no_rule_spells_a_path_below_the_results_folder(project):
    paths = [project / "Snakefile", *(project / "rules").glob("*.smk")]
    wrong = {str(path): found for path in paths if (found := spelled(texts_of_rules(path)))}
    assert len(paths) > 15
    assert not wrong


def test_the_search_for_paths_finds_them(tmp_path):
    library = tmp_path / "module.py"
    library.write_text('"""survey/manifest.csv"""\nx = f"{root}/collected/{name}.fits"\n')
    assert spelled(texts(library)) == ["/collected/"]
    rules = tmp_path / "some.smk"
    rules.write_text('# "fit/x"\nrule a:\n    input:\n        f"{R}/catalog/{{type}}.fits",\n')
    assert spelled(texts_of_rules(rules)) == ["{R}/catalog/{{type}}.fits"]


def test_a_pattern_is_whole_on_a_layout_and_below_the_results_folder_on_the_class():
    layout = Layout("runs/mine")
    assert Layout.fit == "fit/{type}/{chunk}.h5"
    assert layout.fit == "runs/mine/fit/{type}/{chunk}.h5"
    assert layout.fit.format(type="M", chunk="0003") == "runs/mine/fit/M/0003.h5"


def test_no_two_names_stand_for_one_file():
    paths = list(patterns().values())
    assert len(set(paths)) == len(paths)
    assert len(paths) > 60


def test_prepared_spectra_stand_in_the_scratch_folder_where_there_is_one():
    assert Layout("r").prepared == "r/prepared/{type}/{chunk}.h5"
    assert Layout("r", "/scratch/x").prepared == "/scratch/x/prepared/{type}/{chunk}.h5"
    assert Layout("r", "/scratch/x").prepared_meta == "r/prepared/{type}/{chunk}_meta.h5"


@pytest.mark.parametrize(
    ("rule_name", "folder"),
    [("fit", "fit"), ("collect", "collected"), ("recommend", "recommended"), ("star", "stars")],
)
def test_logs_and_benchmarks_of_a_rule_have_one_stem(rule_name, folder):
    layout = Layout("r")
    assert layout.log(rule_name, "type", "chunk") == f"r/logs/{folder}/{{type}}/{{chunk}}.log"
    assert layout.benchmark(rule_name) == f"r/benchmarks/{folder}.tsv"
    assert job_stem(rule_name, "M", "0000") == f"{folder}/M/0000"


def test_the_simulated_survey_is_below_one_folder():
    layout = Layout("r")
    files = [*layout.simulated_files().values(), *layout.simulated_references()]
    assert all(path.startswith(f"{layout.simulated}/") for path in files)
    assert layout.simulated_files()["catalogue"].startswith(f"{layout.simulated_release}/")
    assert all(
        path.startswith(layout.simulated_catalogues) for path in layout.simulated_references()
    )
