"""Why two runs differ: settings, versions and inputs that are not the same in their records."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lamostvac.provenance.record import Record, flat

_ABSENT = "(none)"
Difference = tuple[str, str, str]
"""What differs, in the first and in the second run."""


@dataclass(frozen=True)
class Causes:
    """What differs between the records of two runs; lists are empty where nothing does.

    Attributes
    ----------
    settings : keys that rows of the catalogue depend on
    code : the program's version and commit, and packages of the library with results of their own
    software : packages of others
    inputs : files from outside, by role and name
    notes : what could not be compared, a sentence each
    """

    settings: list[Difference] = field(default_factory=list)
    code: list[Difference] = field(default_factory=list)
    software: list[Difference] = field(default_factory=list)
    inputs: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def none_known(self) -> bool:
        """Whether everything that could be compared is the same."""
        return not (self.settings or self.code or self.software or self.inputs)


def causes(before: Record, after: Record) -> Causes:
    """What differs between the records of two runs."""
    code = [*_different(before.program, after.program)]
    code += [
        (f"package {name}", a, b) for name, a, b in _different(before.packages, after.packages)
    ]
    return Causes(
        settings=_different(flat(before.settings), flat(after.settings)),
        code=code,
        software=_different(before.software, after.software),
        inputs=_different(_files(before.inputs), _files(after.inputs)),
    )


def causes_of_cards(
    before: Mapping[str, str], after: Mapping[str, str], notes: Iterable[str]
) -> Causes:
    """What differs between the headers of two catalogues, where a run has no record.

    `before`, `after` are the cards of `catalog.files.provenance` and `input_cards`, lower case;
    `notes` say why the records were not compared.
    """
    if before.get("confhash") != after.get("confhash"):
        settings = [("hash of all settings", _card(before, "confhash"), _card(after, "confhash"))]
    else:
        settings = []
    names = {"creator": "program", "githash": "commit", "library": "library"}
    software = {"pyver": "Python", "npver": "numpy"}

    def of(wanted: Mapping[str, str]) -> list[Difference]:
        return [
            (title, _card(before, key), _card(after, key))
            for key, title in wanted.items()
            if before.get(key) != after.get(key)
        ]

    inputs = _different(_files(_inputs(before)), _files(_inputs(after)))
    return Causes(settings, of(names), of(software), inputs, list(notes))


def _card(cards: Mapping[str, str], key: str) -> str:
    return cards.get(key, _ABSENT)


def _inputs(cards: Mapping[str, str]) -> list[dict[str, str]]:
    numbers = [key.removeprefix("input") for key in cards if key.startswith("input")]
    return [
        {"role": "input", "file": cards[f"input{one}"], "sha256": cards.get(f"inhash{one}", "")}
        for one in numbers
    ]


def _files(inputs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Role and name to the digest; files with one role and name are told apart by a number."""
    found: dict[str, str] = {}
    for entry in inputs:
        name, number = f"{entry['role']}: {entry['file']}", 1
        while (name if number == 1 else f"{name} ({number})") in found:
            number += 1
        found[name if number == 1 else f"{name} ({number})"] = entry["sha256"][:12]
    return found


def _different(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        (name, _text(before, name), _text(after, name))
        for name in names
        if name not in before or name not in after or before[name] != after[name]
    ]


def _text(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return _ABSENT
    value = values[name]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
