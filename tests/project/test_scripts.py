"""Scripts are thin: they read, call the library and write; what they decide or compute is in the library."""

import ast
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "workflow_scripts").glob("*.py"))
MOST_OF_MAIN = 40  # lines
MOST_OF_READER = 15  # lines of a function beside it that reads or writes


def functions(path: Path) -> dict[str, int]:
    """Lines of each function of a script."""
    return {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }


def test_every_rule_has_a_script():
    assert len(SCRIPTS) > 40


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short(path):
    lines = functions(path)
    assert lines.pop("main") <= MOST_OF_MAIN
    assert all(count <= MOST_OF_READER for count in lines.values()), lines


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_has_imports_and_functions_only(path):
    first, *rest, last = ast.parse(path.read_text()).body
    assert isinstance(first, ast.Expr), "a script says what it does"
    assert {type(node) for node in rest} <= {ast.Import, ast.ImportFrom, ast.FunctionDef}
    assert ast.unparse(last) == "if __name__ == '__main__':\n    main(snakemake)"
