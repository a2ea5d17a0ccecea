"""Configuration entries of tables from elsewhere: their columns, cuts, and how rows are matched."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import FUNCTIONS, parse
from lamostvac.core.messages import nearest
from lamostvac.core.settings import PathText

MATCH_COLUMNS = ("ra", "dec", "pmra", "pmdec", "ref_epoch", "gaia_source_id", "obsid")
"""Names with a meaning in `columns` of a catalogue or joined table; they never reach the candidates."""


def _name(text: str) -> str:
    if (
        not text.isidentifier()
        or text != text.lower()
        or text in (*FUNCTIONS, "bit", "and", "or", "not")
    ):
        raise ValueError(
            f"{text!r} is no name; use small letters, digits and _ and none of the functions' names"
        )
    return text


def _expression(text: str) -> str:
    try:
        parse(text)
    except UserError as error:
        raise ValueError(str(error)) from None
    return text


Name = Annotated[str, AfterValidator(_name)]
Formula = Annotated[str, AfterValidator(_expression)]


class Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Cut(Entry):
    """A condition on rows with a description; in the file a text (the condition) or both."""

    cut: Formula
    text: str = ""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"cut": value} if isinstance(value, str) else value


class Match(Entry):
    """How rows of two tables are recognised as the same star."""

    by: Literal["sky", "gaia_id", "obsid"]
    radius: float = Field(default=3.0, gt=0, le=60)
    epoch: float = 2000.0
    repeat_radius: float = Field(default=1.0, gt=0, le=60)


class TableFile(Entry):
    """A table and which of its columns are read."""

    file: PathText
    columns: dict[Name, str]
    units: dict[Name, str] = Field(default_factory=dict)
    missing: list[float] = Field(default_factory=list)
    epoch: float = 2000.0
    cuts: list[Cut] = Field(default_factory=list)
    derived: dict[Name, Formula] = Field(default_factory=dict)

    def path(self, root: str | Path) -> Path:
        """The file's path; `root` is networks.root."""
        return Path(root) / self.file

    @property
    def kept(self) -> list[str]:
        """The columns that the table adds to the candidates."""
        return [name for name in (*self.columns, *self.derived) if name not in MATCH_COLUMNS]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.units:
            if name not in self.columns:
                raise ValueError(f"units: there is no column {name}{nearest(name, self.columns)}")
        for name in self.derived:
            if name in self.columns:
                raise ValueError(f"derived: {name} is already a column")
        check_known([cut.cut for cut in self.cuts], list(self.columns), "cuts")
        known = list(self.columns)
        for name, formula in self.derived.items():
            check_known([formula], known, f"derived.{name}")
            known.append(name)
        return self


class Catalogue(TableFile):
    """The catalogue that the labels come from."""

    identifier: Name | None = None
    magnitude: Name | None = None


class Join(TableFile):
    """A further table, matched to the catalogue's stars."""

    name: Name
    match: Match
    required: bool = True
    magnitude: Name | None = None


def check_known(expressions: Iterable[str], columns: Sequence[str], where: str) -> None:
    for text in expressions:
        for name in parse(text).columns_of(columns):
            if name not in columns:
                raise ValueError(
                    f"{where}: {text!r}: there is no column {name}{nearest(name, columns)}"
                )


def check_match(match: Match, table: TableFile, where: str) -> None:
    """Raise ValueError when `table` lacks a column that the match needs; `where` names the
    entry.
    """
    needed = {"sky": ("ra", "dec"), "gaia_id": ("gaia_source_id",), "obsid": ("obsid",)}[match.by]
    for name in needed:
        if name not in table.columns:
            raise ValueError(
                f"{where}: by {match.by} needs the column {name}; add `{name}: its name` to columns"
            )
    if ("pmra" in table.columns) != ("pmdec" in table.columns):
        raise ValueError(f"{where}: name both pmra and pmdec, or neither")
