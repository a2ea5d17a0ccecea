"""The lint of the rules: what is meant is left out, all else is told."""

import re

from tools import lint_rules

SAID = """\
photometry: map: skipped
Lints for snakefile /somewhere/rules/fit.smk:
    * Mixed rules and functions in same snakefile.:
      Small one-liner functions used only once should be defined as lambda
Lints for rule fit (line 12, /somewhere/rules/fit.smk):
    * No log directive defined:
      Without a log directive, all output will be printed to the terminal.
"""


def test_a_lint_that_is_not_meant_is_told_with_its_place():
    found = lint_rules.lints(SAID)
    assert found == [
        "fit.smk: Mixed rules and functions in same snakefile.",
        "fit: No log directive defined",
    ]
    assert lint_rules.unmeant(found) == ["fit: No log directive defined"]


def test_the_rules_have_no_lint_that_is_not_meant():
    assert lint_rules.main() == 0


def test_every_figure_has_a_caption_and_every_caption_a_figure(project):
    """Snakemake looks for captions only when a report is made."""
    rules = "".join(path.read_text() for path in (project / "rules").glob("*.smk"))
    captions = {path.stem for path in (project / "report").glob("*.rst")} - {"workflow"}
    named = set(re.findall(r'\bfigure\(\s*"(\w+)"', rules))
    assert {"kiel", "kiel_emulator"} <= named
    assert named <= captions
    assert {caption for caption in captions if f'"{caption}"' not in rules} == set()
