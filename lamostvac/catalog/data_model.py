"""docs/data_model.md, made from column registry, shipped training sets and rejection reasons.

`make generated` writes it; a test fails when the page and its sources drift apart. The data model
of one run, with the labels of its own networks, is `catalog/datamodel.md` among its results.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from lamostvac.catalog.published import names_section
from lamostvac.catalog.registry import load_registry
from lamostvac.catalog.registry_file import EMULATOR_LABELS, EMULATORS, PLACE, column_lists
from lamostvac.core.manifest import REJECTED_COLUMNS
from lamostvac.core.paths import COLUMNS_PATH, PROJECT, TRAINING_SETS_PATH
from lamostvac.core.rejection import REASONS
from lamostvac.training.load import load_training_sets

PAGE = PROJECT / "docs" / "data_model.md"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


_TABLE = ("| column | type | unit | UCD | meaning | origin |", "|---|---|---|---|---|---|")


def _templates(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows of a table of columns with words in braces."""
    keys = ("name", "dtype", "unit", "ucd", "description", "origin")
    quoted = ("name", "ucd")
    return [
        _row(*(f"`{entry[key]}`" if key in quoted else entry[key] for key in keys))
        for entry in entries
    ]


def document() -> str:
    """The text of docs/data_model.md."""
    registry = load_registry()
    title, _, columns = registry.datamodel().partition("\n")
    lines = [
        title,
        "",
        "Written by `make generated`. Every run writes its own as",
        "`catalog/datamodel.md`, with the columns of the labels that its networks give. Files, headers and",
        "how to read them are in [catalogue.md](catalogue.md).",
        columns.rstrip(),
        "",
        "## Columns of each label that networks give",
        "",
        "They stand behind those of the emulators, for each label in turn, with its name for `{label}` and the",
        "training set's unit and UCD.",
        "",
        *_TABLE,
    ]
    content = column_lists(COLUMNS_PATH)
    lines += _templates(content[PLACE])
    lines += [
        "",
        "## Columns of further emulators",
        "",
        "Of each entry of the list `emulators` ([emulators.md](emulators.md)), with its name for `{emulator}`; they",
        "stand before those of networks. The first three are those of each of its labels.",
        "",
        *_TABLE,
        *_templates([*content[EMULATOR_LABELS], *content[EMULATORS]]),
    ]
    lines += [
        "",
        "## Labels of the shipped training sets",
        "",
        "Of `config/training_sets.yaml`; sets of your own bring theirs ([networks.md](networks.md)). Outside the",
        "range, or outside the set's `grid`, the label's flag is 1.",
        "",
        "| label | set | unit | UCD | meaning | range |",
        "|---|---|---|---|---|---|",
    ]
    for entry in load_training_sets(TRAINING_SETS_PATH):
        for label in entry.labels:
            low, high = label.range or (None, None)
            lines.append(
                _row(
                    f"`{label.name}`",
                    entry.name,
                    label.unit,
                    f"`{label.ucd}`",
                    label.description,
                    "of the training stars" if low is None else f"{low:g} to {high:g}",
                )
            )
    lines += names_section().rstrip().splitlines()
    lines += [
        "",
        "## rejected.csv",
        "",
        f"Columns: {', '.join(f'`{name}`' for name in REJECTED_COLUMNS)}. What to do about each reason is in",
        "[troubleshooting.md](troubleshooting.md).",
        "",
        "| reason | meaning |",
        "|---|---|",
    ]
    lines += [_row(f"`{reason}`", sentence) for reason, sentence in REASONS.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write docs/data_model.md, or say that it is out of date (exit code 1)."""
    parser = argparse.ArgumentParser(
        prog="python -m lamostvac.catalog.data_model", description=main.__doc__
    )
    parser.add_argument("--write", action="store_true", help="write docs/data_model.md")
    options = parser.parse_args(arguments)
    text = document()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
    print(f"{'written' if options.write else 'out of date'}: {PAGE}")
    return 0 if options.write else 1


if __name__ == "__main__":
    raise SystemExit(main())
