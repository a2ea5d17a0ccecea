"""YAML of users: within limits, and one sentence with place and line for what breaks them."""

import os

import pytest
import yaml
from claims import some
from hypothesis import given, settings
from hypothesis import strategies as st

from lamostvac.core import yaml_text
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import read_sections, read_yaml
from lamostvac.core.yaml_text import MOST_BYTES, MOST_LEVELS, read_yaml_text, require_plain

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9)
)
WRONG = [
    (b"run: {results: r\xe9s}\n", "is not UTF-8 text: line 1 has the byte 0xe9; save it as UTF-8"),
    ("run: {results: x}\n".encode("utf-16"), "is not UTF-8 text"),
    ("run:\n  types: &a\n  - [*a]\n", "f: run.types[0][0], line 2: it contains itself"),
    (ALIASES, "it stands for more than 100000 values (aliases of aliases)"),
    (MERGES, "it stands for more than 100000 values"),
    ("run: " + "[" * 3000 + "]" * 3000, "nested more deeply than 40 levels"),
    ("run: " + "[" * 60 + "]" * 60, "nested more deeply than 40 levels"),
    ("run: " + "[" * 500_000, "nested more deeply than 40 levels"),
    ("run: {seed: " + "1" * 5001 + "}", "f: run.seed, line 1: the number 1111"),
    ("\nrun:\n  seed: 0x" + "f" * 9000, "f: run.seed, line 3: the number 0xfff"),
    ("run: {seed: 9223372036854775808}", "f: run.seed: the number is too large"),
    ("run: {results: 2026-13-45}", "2026-13-45 is no value of the kind timestamp"),
    ("run: !!float abc", "abc is no value of the kind float"),
    ("run: {seed: 1}\nfit: {}\nrun: {seed: 2}", "f: run, line 3: this key stands there a second"),
    ('run: {results: "a\\0b"}', "f: run.results: the text a\\x00b has the character U+0000"),
    ('"a\\e": 1', "the character U+001B"),
    ('run: "\\ud800"', "characters that are not UTF-8"),
    ("run: [", "f is no YAML"),
    ("run: !!python/object/apply:os.system ['true']", "f is no YAML"),
    ("a: 1\n---\nb: 1", "f is no YAML"),
]


def outcome(read, content):
    """What a reader says where it refuses, and what it gives."""
    try:
        return "", read(content, "f")
    except UserError as error:
        return str(error), None


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_what_is_wrong_is_named_with_its_place(text, sentence):
    with pytest.raises(UserError) as caught:
        read_yaml_text(text, "f")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("f")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_aliases_and_merges_within_the_limits_are_read():
    text = "a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, z: *a}\n"
    assert read_yaml_text(text, "f") == yaml.safe_load(text)
    levels = "[" * (MOST_LEVELS - 1) + "]" * (MOST_LEVELS - 1)
    assert read_yaml_text(f"a: {levels}", "f") == yaml.safe_load(f"a: {levels}")


def test_every_shipped_file_is_read_as_before(project):
    for path in some((project / "config").glob("*.yaml")):
        assert read_yaml(path, "f") == yaml.safe_load(path.read_text(encoding="utf-8"))


@settings(deadline=None, max_examples=300)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        max_leaves=20,
    )
)  # fmt: skip
def test_any_content_is_read_as_yaml_does_or_refused_in_a_sentence(content):
    text = yaml.safe_dump(content, allow_unicode=True)
    said, found = outcome(read_yaml_text, text)
    assert "\n" not in said
    assert said or repr(found) == repr(yaml.safe_load(text))


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=60) | st.text("ab:-[]{}&*<!?|>#'\"\\\n\t 01", max_size=60).map(str.encode)
)
def test_any_bytes_are_read_or_refused_in_a_sentence(text):
    assert "\n" not in outcome(read_yaml_text, text)[0]


# Nearly YAML, of the characters on which parsers disagree.
NEARLY = st.lists(
    st.sampled_from(["a", "b: ", "- ", "\n", "  ", "{", "}", "[", "]", ", ", ":", "? ", "?", "! ", "!=", "|", ">",
                     "#", "'", '"', "\t", "&a ", "*a", "\\", "1", "~", "-", "\x85", "\ufeff", "\ud800"]),
    max_size=14,
)  # fmt: skip


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
@settings(deadline=None, max_examples=300)
@given(NEARLY.map("".join))
def test_the_fast_parser_reads_what_the_other_does(text):
    said, found = outcome(read_yaml_text, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_text, "_parsed_alike", lambda text: False)
        expected, content = outcome(read_yaml_text, text)
    assert (bool(said), repr(found)) == (bool(expected), repr(content))


def test_shipped_files_are_read_by_the_fast_parser(project):
    slow = {
        path.name
        for path in some((project / "config").glob("*.yaml"))
        if not yaml_text._parsed_alike(path.read_text(encoding="utf-8"))
    }
    assert slow <= {"sources.yaml"}  # its addresses have question marks


@settings(deadline=None, max_examples=200)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=3)
        ),
    )
)
def test_anything_that_others_read_is_plain_or_refused(content):
    said, _ = outcome(require_plain, content)
    assert not said or said.startswith("f: ")


def test_an_object_that_contains_itself_is_refused():
    content = {"run": {"results": "x"}}
    content["run"]["more"] = content
    with pytest.raises(UserError, match=r"^f: run\.more: it contains itself"):
        require_plain(content, "f")
    with pytest.raises(UserError, match=r"^f: run: the key 1 is no text; put it into quotes"):
        require_plain({"run": {1: 2}}, "f")


def test_what_is_no_file_or_too_large_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (MOST_BYTES + 1))
    for name, sentence in (("pipe", "is no file"), ("", "is no file"), ("large", "has more than"),
                           ("none", "cannot be read: No such file"), ("a\0b", "cannot be read")):  # fmt: skip
        with pytest.raises(UserError, match=sentence):
            read_yaml(f"{tmp_path}/{name}", "the file")


def test_a_configuration_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("__use_yte__: true\n")
    with pytest.raises(UserError, match="Snakemake runs the code inside it"):
        read_sections(path)
    path.write_text("")
    assert read_sections(path) == {}
