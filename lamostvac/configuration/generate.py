"""The files that are written from the models: config.yaml, schema.json, the documentation."""

import argparse
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from lamostvac.configuration.root import Configuration
from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import nearest
from lamostvac.core.models import (
    allowed,
    item_model,
    plain,
    submodel,
    walk,
)
from lamostvac.core.paths import PROJECT


def _flow(value: Any) -> str:
    """A value as YAML after `key:`, on one line."""
    return (
        yaml.safe_dump(
            plain(value), default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False
        )
        .removesuffix("\n...\n")
        .strip()
    )


def default_yaml() -> str:
    """The text of config/config.yaml: every key with its default and its meaning."""
    lines = [
        "# yaml-language-server: $schema=schema.json",
        "# Every configuration key with its default (`make generated` writes this file from the code):",
        "# copy what you want to change into a file of your own and run `lamostvac run --config FILE`.",
    ]

    def add(model: type[BaseModel], values: BaseModel, indent: int) -> None:
        margin = " " * indent
        for name, field in model.model_fields.items():
            value = getattr(values, name)
            inner = submodel(field)
            if indent == 0:
                lines.append("")
                text = (
                    (inner.__doc__ or "").strip().splitlines()[0]
                    if inner
                    else f"{field.description or ''} [{allowed(field)}]"
                )
            else:
                text = field.description or ""
                if inner is None:
                    text += f" [{allowed(field)}]"
            lines.extend(
                textwrap.wrap(
                    text, 108, initial_indent=f"{margin}# ", subsequent_indent=f"{margin}# "
                )
            )
            if inner:
                lines.append(f"{margin}{name}:")
                add(inner, value, indent + 2)
            else:
                lines.append(f"{margin}{name}: {_flow(value)}")

    add(Configuration, Configuration(), 0)
    return "\n".join(lines) + "\n"


def describe(key: str) -> str:
    """The keys of a section, or one key, with default, allowed values and meaning, as text.

    Raises `UserError` for a name that is neither.
    """
    keys = dict(walk(Configuration))
    found = [path for path in keys if path == key or path.startswith(f"{key}.")]
    if not found:
        sections = list(Configuration.model_fields)
        raise UserError(
            f"there is no section or key {key}{nearest(key, [*sections, *keys] if '.' in key else sections)}"
        )
    lines = []
    for path in found:
        value: Any = Configuration()
        for part in path.split("."):
            value = getattr(value, part)
        lines.append(f"{path}: {_flow(value)}  [{allowed(keys[path])}]")
        lines += textwrap.wrap(
            keys[path].description or "", 100, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join(lines) + "\n"


def schema_json() -> str:
    """The text of config/schema.json, with which editors complete and check configuration files."""
    return json.dumps(Configuration.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def documentation() -> str:
    """The text of docs/configuration.md: one table per section."""
    lines = [
        "# Configuration",
        "",
        "Written by `make generated` from the sections of the stages (`lamostvac/*/settings.py`).",
        "",
        "A configuration file contains only what differs from these defaults and stands alone:",
        "`lamostvac run --config config/mine.yaml`. Single values can be set on the command line, by section:",
        "`lamostvac run --config config/mine.yaml -- --config 'survey={types: [M]}' 'run={seed: 2}'`.",
        "A wrong key or value ends the run before any job starts, with one sentence that names it.",
    ]
    for section, field in Configuration.model_fields.items():
        inner, item = submodel(field), item_model(field)
        # A list of sections is one key.
        model = inner or item
        assert model is not None
        lines += ["", f"## {section}", "", (model.__doc__ or "").strip(), ""]
        lines += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for path, key in walk(inner, f"{section}.") if inner else [(section, field)]:
            owner: Any = Configuration()
            for part in path.split("."):
                owner = getattr(owner, part)
            cells = [f"`{path}`", f"`{_flow(owner)}`", allowed(key), key.description or ""]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def generated_files(project: Path) -> dict[Path, str]:
    """The files that are written from the models, with their content."""
    return {
        project / "config" / "config.yaml": default_yaml(),
        project / "config" / "schema.json": schema_json(),
        project / "docs" / "configuration.md": documentation(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the generated files, or say which of them are out of date (exit code 1)."""
    parser = argparse.ArgumentParser(
        prog="python -m lamostvac.configuration.generate", description=main.__doc__
    )
    parser.add_argument(
        "--write", action="store_true", help="write config/config.yaml, schema.json, docs"
    )
    options = parser.parse_args(arguments)
    stale = 0
    for path, text in generated_files(PROJECT).items():
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if options.write:
            path.write_text(text)
        print(f"{'written' if options.write else 'out of date'}: {path}")
    return 0 if options.write or not stale else 1


if __name__ == "__main__":
    raise SystemExit(main())
