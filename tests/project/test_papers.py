"""Sections of the papers that texts and comments name exist in them; every figure has its counterpart."""

import re
import subprocess

import pytest

# Sections of Liang et al. (2024); every text that quotes one by number is looked at.
SECTIONS = {
    *(
        "2.1",
        "2.2",
        "3.1",
        "3.2",
        "3.3",
        "4.1",
        "4.2",
        "4.2.1",
        "4.2.2",
        "4.3",
        "4.4",
        "4.5",
        "4.6",
    ),
    *("4.6.1", "4.6.2", "4.6.3", "4.6.4", "4.7"),
}
_MENTION = re.compile(
    r"(?:L24|Liang(?:\+| et al\.)? ?\(?2024\)?),? ?\(?(?:sections? )?(\d(?:\.\d+)+)"
)


def mentions(text):
    """The section numbers of Liang et al. (2024) that a text names."""
    return _MENTION.findall(" ".join(re.split(r"\s*\n\s*[#*]?\s*", text)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(L24 4.6.2)", ["4.6.2"]),
        ("Liang et al. (2024), section 4.2.1 and Figure 7", ["4.2.1"]),
        ("# (Liang+ 2024,\n# section 3.4.1).", ["3.4.1"]),
        ("Liang et al. 2024, Table 2", []),
    ],
)
def test_a_section_is_found_however_it_is_written(text, found):
    assert mentions(text) == found


def test_every_section_that_is_named_exists(project):
    listed = subprocess.run(
        ["git", "-C", str(project), "ls-files"], capture_output=True, text=True, check=True
    ).stdout.split()
    endings = (".py", ".md", ".yaml", ".smk", ".rst", ".j2")
    named = {
        (path, number)
        for path in listed
        if path.endswith(endings) and not path.startswith("tests/project/test_papers.py")
        if (project / path).is_file()
        for number in mentions((project / path).read_text(encoding="utf-8"))
    }
    assert len(named) > 30
    assert not sorted(entry for entry in named if entry[1] not in SECTIONS)


# ---------------------------------------------------------------- figures

FIGURES = {
    "Wang et al. (2022)": [*map(str, range(1, 27)), "A1", "A2", "A3", "A4"],
    "Liang et al. (2024)": list(map(str, range(1, 29))),
}


def listed_figures(text):
    """Paper to figure to the cells `ours` and `rule` of docs/figures.md."""
    found = {}
    for line in text.splitlines():
        if line.startswith("## "):
            found[line[3:]] = {}
        elif match := re.match(r"\| (A?\d+) \| [^|]+ \| ([^|]+) \| ([^|]*)\|$", line):
            found[next(reversed(found))][match[1]] = match[2], match[3]
    return {paper: figures for paper, figures in found.items() if figures}


def test_every_figure_of_both_papers_is_listed_with_a_file_that_a_rule_makes(project):
    found = listed_figures((project / "docs/figures.md").read_text(encoding="utf-8"))
    assert {paper: list(figures) for paper, figures in found.items()} == FIGURES
    rules = {}
    for path in (project / "rules").glob("*.smk"):
        for block in re.split(r"(?m)^ *rule (?=\w+:)", path.read_text(encoding="utf-8"))[1:]:
            rules[block.partition(":")[0]] = block
    entries = (project / "config/comparisons.yaml").read_text(encoding="utf-8")
    sets = (project / "config/training_sets.yaml").read_text(encoding="utf-8")
    without = []
    for paper, figures in found.items():
        for number, (ours, makers) in figures.items():
            made_by = re.findall(r"`(\w+)`", makers)
            if not made_by:
                without.append((paper, number))
                continue
            text = "".join(rules[rule] for rule in made_by)
            names = re.findall(r"`(?:experiments/)?([a-z]\w+)(?:\.png)?`", ours)
            names = [name for name in names if name not in ("second_emulator",)]
            assert names, (paper, number)
            for name in names:
                start = next(
                    (s for s in STEMS if name.startswith(s) and name != "colour_teff"), None
                )
                if start is None:
                    assert re.search(rf"[\"/]{name}(\.png)?\"", text), (paper, number, name)
                else:
                    assert f'f"{start}{{' in text, (paper, number, name)
                    assert f"name: {name.removeprefix(start)}\n" in entries + sets, (paper, name)
    # The first figure of Liang et al. is a diagram of the method.
    assert without == [("Liang et al. (2024)", "1")]


# Figures of which there is one for each comparison or training set.
STEMS = (
    "network_stars_", "network_predictions_", "network_outliers_", "comparison_", "clusters_", "cluster_kiel_",
    "colour_",
)  # fmt: skip
