"""The published tables: what the two papers call the catalogue's columns (`config/published_tables.yaml`)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lamostvac.catalog.column import Column
from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import read_model
from lamostvac.core.paths import PUBLISHED_TABLES_PATH

DEX = "dex"
"""A unit of the papers that FITS does not know."""


class PublishedColumn(BaseModel):
    """A column of a published table; the keys are documented in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    column: str
    unit: str
    description: str

    @property
    def is_flag(self) -> bool:
        """Whether it is a flag of ours."""
        return self.column.startswith("flag_")

    def in_fits(self, ours: Column | None) -> Column:
        """The column under its published name and unit, with our column's type.

        Without one, as for a label of a network that the run does not have, it is a flag or a
        single-precision number.
        """
        unit, text = self.unit, self.description
        if unit == DEX:
            unit, text = "", f"{text} ({DEX})"
        kind = "uint8" if self.is_flag else "float32"
        return Column(
            name=self.name,
            dtype=ours.dtype if ours else kind,
            unit=unit,
            ucd=ours.ucd if ours else "stat.value",
            description=text,
            origin=f"column {self.column}",
        )


class PublishedTable(BaseModel):
    """A published table, its columns in the paper's order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    short: str
    rows: str
    columns: tuple[PublishedColumn, ...]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tables: dict[str, PublishedTable]


@lru_cache(maxsize=1)
def published_tables(path: str | Path = PUBLISHED_TABLES_PATH) -> Mapping[str, PublishedTable]:
    """The published tables by name.

    Raises
    ------
    UserError
        One sentence with the key that is wrong.
    """
    return read_model(path, "the published tables", _File).tables


def aliases(name: str) -> str:
    """What the papers call our column: `W22 gaiaid, L24 gaia_id`; empty where neither has it."""
    return ", ".join(
        f"{table.short} {column.name}"
        for table in published_tables().values()
        for column in table.columns
        if column.column == name
    )


def listing(name: str) -> list[tuple[str, str, str, str]]:
    """Published name, our column, unit and description of a table's columns.

    Raises
    ------
    UserError
        There is no such table.
    """
    tables = published_tables()
    if name not in tables:
        raise UserError(f"there is no published table {name}; the tables are {', '.join(tables)}")
    return [(c.name, c.column, c.unit, c.description) for c in tables[name].columns]


def names_section(columns: Sequence[str] | None = None) -> str:
    """The published names as Markdown, a table for each paper.

    `columns` are the run's; names of others are said to be empty.
    """
    lines = ["", "## Names in the papers"]
    for name, table in published_tables().items():
        lines += [
            "",
            f"{table.paper}: the file `{name}.fits` has these columns in this order, rows with `{table.rows}`.",
            "",
            "| published | column | unit | published meaning |",
            "|---|---|---|---|",
        ]
        for entry in table.columns:
            absent = columns is not None and entry.column not in columns
            ours = f"`{entry.column}`" + (" (not in this run)" if absent else "")
            lines.append(f"| `{entry.name}` | {ours} | {entry.unit} | {entry.description} |")
    return "\n".join(lines) + "\n"
