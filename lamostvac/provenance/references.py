"""The works that a run owes credit, as BibTeX: `config/references.yaml` and the run's record."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import read_model
from lamostvac.core.settings import Section
from lamostvac.provenance.record import SIMULATED, Record

_OWED_BY_METHOD = ("emulator", "grouped search")  # the two papers, which every run cites
_ORDER = ("author", "title", "journal", "booktitle", "year", "volume", "number", "pages", "doi")


class Reference(Section):
    """A work, and what of a run it is cited for."""

    key: str = Field(pattern=r"[A-Za-z][A-Za-z0-9]*", description="Key of the BibTeX entry.")
    type: Literal["article", "inproceedings", "misc"] = Field(description="Type of the entry.")
    used: list[str] = Field(min_length=1, description="What a run has to use.")
    why: str = Field(min_length=1, description="What the work is cited for.")
    fields: dict[str, str | int] = Field(description="Fields of the entry.")

    def bibtex(self) -> str:
        """The entry, with a comment on why it is cited."""
        names = [name for name in _ORDER if name in self.fields]
        names += [name for name in self.fields if name not in names]
        lines = [f"  {name} = {{{self.fields[name]}}}," for name in names]
        return "\n".join([f"% {self.why}", f"@{self.type}{{{self.key},", *lines, "}"])


class References(Section):
    """The file of works."""

    references: list[Reference] = Field(description="All of them.")


def load_references(path: str | Path) -> list[Reference]:
    """The works of the file. Raises `UserError` for a wrong key or value, or a key used twice."""
    found = read_model(path, "the file of references", References).references
    keys = [reference.key for reference in found]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"{path}: two references have the key {key}")
    return found


def cited(record: Record, references: Sequence[Reference]) -> list[Reference]:
    """The works that a run owes credit, in the order of the file."""
    used = set(record.used)
    return [reference for reference in references if used & set(reference.used)]


def without_reference(record: Record, references: Sequence[Reference]) -> list[str]:
    """What a run used and no work is known for: training sets and comparisons of the user."""
    known = {name for reference in references for name in reference.used}
    return [
        name
        for name in record.used
        if name not in known and name not in (*_OWED_BY_METHOD, SIMULATED)
    ]


def bibliography(record: Record, references: Sequence[Reference]) -> str:
    """The works of a run as a BibTeX file, with what to add by hand in its comments."""
    works = cited(record, references)
    versions = ", ".join(f"{name} {number}" for name, number in record.software.items())
    lines = [
        f"% What a catalogue by lamost-vac {record.program.get('version', '')} owes credit. To cite all of it:",
        f"% \\citep{{{','.join(work.key for work in works)}}}",
        f"% Versions: {versions}.",
    ]
    if SIMULATED in record.used:
        lines.append(
            "% The run simulated its survey, so it used nobody's data: these are methods alone."
        )
    if unknown := without_reference(record, references):
        lines.append(f"% Add what these ask for, which is not known here: {', '.join(unknown)}.")
    return "\n\n".join(["\n".join(lines), *(work.bibtex() for work in works)]) + "\n"
