"""Every test can fail: it checks something, compares two things, and has found what it loops over."""

import re

import pytest
from claims import some, unable_to_fail


def test_every_test_can_fail(project):
    assert unable_to_fail(project / "tests") == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("fit(1)", "checks nothing"),
        ("helper(1)", None),
        ("through(1)", None),
        ("subprocess.run(['sh'], check=True)", None),
        ("with pytest.raises(ValueError):\n        fit(1)", None),
        ("with does_not_raise():\n        fit(1)", None),
        ("assert fit(1) == fit(1)", "compares fit(1) with itself"),
        ("assert fit(1) == fit(2)", None),
        ("np.testing.assert_array_equal(fit(1), fit(1))", "compares fit(1) with itself"),
        ("for path in sorted(a.glob('*')):\n        assert path", "loops over sorted(a.glob('*'))"),
        ("for path in some(a.glob('*')):\n        assert path", None),
        ("for path in a.glob('*'):\n        touch(path)\n    assert a", None),
        ("assert all(path for path in a.iterdir())", "loops over a.iterdir()"),
    ],
)
def test_what_cannot_fail_is_seen(tmp_path, body, said):
    text = "def helper(x):\n    assert x\n\n\ndef through(x):\n    helper(x)\n\n\n"
    (tmp_path / "test_x.py").write_text(f"{text}def test_x():\n    {body}\n")
    found = unable_to_fail(tmp_path)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_a_search_that_finds_nothing_fails():
    assert some(iter([2, 1])) == [2, 1]
    with pytest.raises(AssertionError, match="nothing was found"):
        some([])


def test_what_runs_snakemake_or_a_browser_is_marked_slow(project):
    """`make test-fast` goes without these; what takes the fixture `run` is marked by conftest.py."""
    starts = re.compile(r"^(?:from workflow_run import .*\bsnakemake\b|from browser import)", re.M)
    files = [
        (path.name, "pytest.mark.slow" in text)
        for path in some((project / "tests").rglob("test_*.py"))
        if starts.search(text := path.read_text())
    ]
    assert len(files) > 5
    assert [name for name, marked in files if not marked] == []
