"""YAML as users may write it, also by mistake or on purpose: read within limits, or one sentence.

YAML allows a text of a kilobyte to stand for gigabytes (aliases of aliases), for something that
contains itself, or for numbers that take the interpreter minutes. PyYAML builds all of these, and
takes the last of two equal keys without a word. Here the parts of a text are looked at before
anything is built of them.
"""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

import yaml

from lamostvac.core.exceptions import UserError

MOST_BYTES = 1 << 20
"""Largest file; the shipped ones have 60 kB at most."""
MOST_VALUES = 100_000
"""Most values that a text may stand for, those of aliases counted wherever they are used."""
MOST_LEVELS = 40
_DIGITS = 19  # of the largest whole number of 64 bits
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class _Wrong(Exception):
    """What is wrong, where (`a.b[0]`) and in which line, from 1; 0 where there are no lines."""

    def __init__(self, what: str, place: str = "", line: int = 0) -> None:
        where = [place] if place else []
        where += [f"line {line}"] if line else []
        super().__init__(f"{', '.join(where)}: {what}" if where else what)


# Where the parser of libyaml takes what PyYAML's own refuses, or takes it for something else.
_DIFFERS = re.compile("[\t?\x85\u2028\u2029\ufeff]|!(?!=)|[|>][-+0-9]*#")


class _Constructed(yaml.constructor.SafeConstructor):
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError):
            # A date with a thirteenth month, `!!float abc`, and more of the kind.
            what = f"{_shown(node.value)} is no value of the kind {node.tag.split(':')[-1]}"
            raise _Wrong(f"{what}; put a text into quotes", line=_line(node)) from None


class _Loader(_Constructed, yaml.SafeLoader):
    """Parses in Python: a sentence for every mistake."""


class _FastLoader(_Constructed, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Parses by libyaml, ten times as fast; the nodes of a very deep text overflow its stack."""


_FAST: Any = _FastLoader


def _parsed_alike(text: str) -> bool:
    """Whether a text is YAML, not too deep, that libyaml (if it is there) takes for the same."""
    if not yaml.__with_libyaml__ or _DIFFERS.search(text):
        return False
    parser: Any = None
    level = 0
    try:
        parser = _FAST(text)
        while (event := parser.get_event()) is not None:
            level += isinstance(event, yaml.CollectionStartEvent)
            level -= isinstance(event, yaml.CollectionEndEvent)
            if level > MOST_LEVELS:
                return False
    except (yaml.YAMLError, UnicodeError):
        return False
    finally:
        if parser is not None:
            parser.dispose()
    return True


def read_yaml_text(text: str | bytes, where: str, form: str = "") -> Any:
    """The content of a YAML text.

    Parameters
    ----------
    text : bytes are UTF-8
    where : what the sentence about a mistake begins with
    form : the form that the text must have, for that sentence

    Raises
    ------
    UserError
        It is not UTF-8 or not YAML, is too large, too deep or contains itself, has a key twice, a
        whole number of more than 64 bits, or characters that no file can hold.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            byte, line = error.object[error.start], error.object[: error.start].count(b"\n") + 1
            raise UserError(
                f"{where} is not UTF-8 text: line {line} has the byte 0x{byte:02x}; save it as UTF-8"
            ) from None
    loader = None
    try:
        loader = _FAST(text) if _parsed_alike(text) else _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _Nodes().measure(root, "", 0)
        content = loader.construct_document(root)
        check_content(content)
        return content
    except _Wrong as wrong:
        raise UserError(f"{where}: {wrong}") from None
    except RecursionError:
        raise UserError(
            f"{where} is nested more deeply than {MOST_LEVELS} levels; is a bracket left open?"
        ) from None
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise UserError(f"{where} is no YAML{form}: {said[:500]}") from None
    finally:
        if loader is not None:
            loader.dispose()


def check_content(content: Any, most: int = MOST_VALUES) -> None:
    """Raise `_Wrong` where nested mappings and lists break the limits of this module."""
    _Content(most).measure(content, "", 0)


def require_plain(content: Any, where: str) -> None:
    """Raise `UserError` where nested mappings and lists break the limits of this module.

    For what others have read, such as Snakemake's `config`; every key must be a text.
    """
    try:
        _Content(MOST_VALUES, texts_as_keys=True).measure(content, "", 0)
    except _Wrong as wrong:
        raise UserError(f"{where}: {wrong}") from None


class _Walk:
    """Counts what a nested object stands for, each shared part once, and finds what is wrong."""

    def __init__(self, most: int = MOST_VALUES) -> None:
        self.most = most
        self.known: dict[int, tuple[int, int]] = {}
        self.open: set[int] = set()

    def parts(self, item: Any, place: str) -> list[tuple[Any, str]]:
        """The parts of an item with their places; raises `_Wrong` for a wrong item."""
        raise NotImplementedError

    def line(self, item: Any) -> int:
        """The line in which an item stands; 0 if unknown."""
        return 0

    def refuse(self, what: str, place: str, item: Any) -> NoReturn:
        """Raise `_Wrong` with the item's line."""
        raise _Wrong(what, _short(place), self.line(item))

    def measure(self, item: Any, place: str, level: int) -> tuple[int, int]:
        """How many values an item stands for, and how many levels it has."""
        if id(item) in self.open:
            self.refuse("it contains itself (an alias `*` inside what it names)", place, item)
        if id(item) in self.known:
            size, levels = self.known[id(item)]
        else:
            size, levels = 1, 0
            if level > MOST_LEVELS:
                self.refuse(f"it is nested more deeply than {MOST_LEVELS} levels", place, item)
            self.open.add(id(item))
            for part, inner in self.parts(item, place):
                more, below = self.measure(part, inner, level + 1)
                size, levels = size + more, max(levels, below + 1)
            self.open.discard(id(item))
            self.known[id(item)] = size, levels
        if level + levels > MOST_LEVELS:
            self.refuse(f"it is nested more deeply than {MOST_LEVELS} levels", place, item)
        if size > self.most:
            self.refuse(
                f"it stands for more than {self.most} values (aliases of aliases)", place, item
            )
        return size, levels


class _Nodes(_Walk):
    """The nodes of a text, before anything is made of them."""

    def line(self, item: yaml.Node) -> int:
        return _line(item)

    def parts(self, item: yaml.Node, place: str) -> list[tuple[Any, str]]:
        if isinstance(item, yaml.SequenceNode):
            return [(part, f"{place}[{number}]") for number, part in enumerate(item.value)]
        if not isinstance(item, yaml.MappingNode):
            if item.tag.endswith(":int") and len(item.value) > 2 * _DIGITS:
                self.refuse(f"the number {_shown(item.value)} is too large", place, item)
            return []
        seen: dict[tuple[str, str], int] = {}
        parts = []
        for key, value in item.value:
            name = _shown(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            inner = f"{place}.{name}" if place else name
            if isinstance(key, yaml.ScalarNode):
                first = seen.setdefault((key.tag, key.value), id(key))
                if first != id(key):
                    self.refuse(
                        "this key stands there a second time; put both into one", inner, key
                    )
            parts += [(key, inner), (value, inner)]
        return parts


class _Content(_Walk):
    """What a text has become."""

    def __init__(self, most: int = MOST_VALUES, texts_as_keys: bool = False) -> None:
        super().__init__(most)
        self.texts_as_keys = texts_as_keys

    def parts(self, item: Any, place: str) -> list[tuple[Any, str]]:
        if isinstance(item, str) and (wrong := _UNPRINTABLE.search(item)):
            character = f"the character U+{ord(wrong[0]):04X}"
            if "\ud800" <= wrong[0] <= "\udfff":
                character = "characters that are not UTF-8"
            self.refuse(f"the text {_shown(item)} has {character}; leave that out", place, item)
        if isinstance(item, int) and not -(2**63) <= item < 2**63:
            self.refuse("the number is too large", place, item)
        if isinstance(item, Mapping):
            parts = []
            for key, value in item.items():
                name = _name(key)
                inner = f"{place}.{name}" if place else name
                if self.texts_as_keys and not isinstance(key, str):
                    self.refuse(f"the key {name} is no text; put it into quotes", place, item)
                parts += [(key, inner), (value, inner)]
            return parts
        if isinstance(item, list | tuple | set):
            return [(part, f"{place}[{number}]") for number, part in enumerate(item)]
        return []


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _name(key: Any) -> str:
    known = isinstance(key, str | float) or (isinstance(key, int) and abs(key) < 2**63)
    return _shown(key) if known else type(key).__name__


def _short(place: str) -> str:
    return place if len(place) < 100 else f"{place[:60]}..."


def _shown(text: Any) -> str:
    """The beginning of a text, in ASCII where it cannot be printed."""
    text = str(text)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 60 else f"{text[:40]}... ({len(text)} characters)"
