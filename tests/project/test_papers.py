"""Sections of the papers that texts and comments name exist in them."""

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
