"""The column registry: the content of `config/columns.yaml` in every form that is needed.

The labels that networks give differ from run to run; their columns are made from the templates of
the same file. The writers (FITS, Parquet), the data model and the tests read the registry; a
column's type, unit and description are written nowhere else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lamostvac.catalog.column import Column, fixed_width
from lamostvac.catalog.column_rules import problems
from lamostvac.catalog.registry_file import (
    EMULATOR_LABELS,
    EMULATORS,
    MAIN,
    PLACE,
    column_lists,
)
from lamostvac.catalog.table_header import YAML_KEY, columns_yaml, fits_header
from lamostvac.core.exceptions import UserError
from lamostvac.core.paths import COLUMNS_PATH

_NO_UCD = "stat.value"
_KEYS = {"name", "dtype", "unit", "ucd", "description", "origin"}


@dataclass(frozen=True)
class NetworkLabel:
    """A label that networks give, as its training set describes it.

    Attributes
    ----------
    label : name of the column
    unit, ucd, description : of the training set's entry; without a UCD the most general one
    set : name of the training set
    snr_band : column of the S/N that the network's errors are functions of (`snrg` in Wang+ 2022)
    """

    label: str
    unit: str
    ucd: str
    description: str
    set: str
    snr_band: str = "snrg"

    @property
    def flags(self) -> tuple[str, str]:
        """The flags of this label alone."""
        return f"flag_{self.label}", f"flag_cloud_{self.label}"


def network_labels(entries: Iterable[Mapping[str, str]]) -> list[NetworkLabel]:
    """Labels from dictionaries with the fields of `NetworkLabel`, as rules pass them."""
    return [NetworkLabel(**entry) for entry in entries]


@dataclass(frozen=True)
class EmulatorLabels:
    """An emulator beside the first: a system of labels with columns of its own.

    Attributes
    ----------
    name : of the emulator and of its library
    labels : the labels that its library has, of `LABELS`
    survey : whether its library is spectra of the survey itself
    """

    name: str
    labels: tuple[str, ...]
    survey: bool = False

    def column(self, label: str) -> str:
        """The column of a label."""
        return f"{label}_{self.name}"

    @property
    def columns(self) -> dict[str, str]:
        """Label to its column; `{column}_err` and `{column}_err_random` are its errors."""
        return {label: self.column(label) for label in self.labels}

    @property
    def status(self) -> str:
        """The column that says how the fit ended."""
        return f"fit_status_{self.name}"

    @property
    def flag(self) -> str:
        """The flag of labels that should not be used."""
        return f"flag_{self.name}"

    @property
    def distance(self) -> str:
        """The column with the distance of the first emulator's labels from this one's library."""
        return f"distance_{self.name}"


def emulator_labels(entries: Iterable[Mapping[str, Any]]) -> list[EmulatorLabels]:
    """Emulators from dictionaries with the fields of `EmulatorLabels`, as rules pass them."""
    return [EmulatorLabels(**{**entry, "labels": tuple(entry["labels"])}) for entry in entries]


@dataclass(frozen=True)
class Registry:
    """The columns in the order of the catalogue.

    Attributes
    ----------
    main_names : names of the main columns; those that the run does not have are no columns of it
    """

    columns: tuple[Column, ...]
    main_names: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def main(self) -> "Registry":
        """The main columns that the run has, in the order of their list."""
        return Registry(tuple(self[name] for name in self.main_names if name in self._by_name))

    @property
    def flag_bits(self) -> dict[str, int]:
        """Bit number in `flags` of each flag."""
        return {column.name: column.bit for column in self.columns if column.bit is not None}

    @property
    def bit_columns(self) -> list[Column]:
        """The flags with a bit in `flags`, in the order of the bits."""
        return sorted(
            (column for column in self.columns if column.bit is not None),
            key=lambda column: column.bit or 0,
        )

    @property
    def flags(self) -> list[str]:
        """All flags: those with a bit in `flags`, and those without."""
        return [column.name for column in self.columns if column.name.startswith("flag_")]

    @property
    def record(self) -> np.dtype:
        """A row's type in the FITS file: packed, big-endian."""
        return np.dtype([(column.name, column.numpy) for column in self.columns])

    def empty(self, n: int = 0) -> NDArray[np.void]:
        """A record array (n,) where every value is the column's missing value."""
        rows = np.empty(n, self.record)
        for column in self.columns:
            rows[column.name] = column.missing
        return rows

    def fill(self, rows: NDArray[np.void], table: pd.DataFrame | Mapping[str, Any]) -> None:
        """Put the columns of `table` that the registry knows into `rows` (same length).

        Raises
        ------
        UserError
            A text is longer than the registry's width, or a whole number does not fit its type.
        """
        for name in table:
            if name in self._by_name:
                rows[name] = self._converted(self._by_name[str(name)], np.asarray(table[name]))

    def _converted(self, column: Column, values: NDArray[Any]) -> NDArray[Any]:
        if column.is_string:
            return fixed_width(column, values)
        kind = np.dtype(column.dtype).kind
        if kind in "iu" and values.size:
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                values = np.where(np.isfinite(values), values, column.missing)
            limits = np.iinfo(column.dtype)
            if values.min() < limits.min or values.max() > limits.max:
                raise UserError(
                    f"column {column.name} holds {values.min()} to {values.max()}, which {column.dtype} in "
                    f"config/columns.yaml cannot store; widen its dtype"
                )
        return values

    def schema(self, metadata: Mapping[str, str] | None = None) -> pa.Schema:
        """The Arrow schema; each field carries unit, ucd, description, origin."""
        fields = [
            pa.field(
                column.name,
                column.arrow,
                nullable=False,
                metadata={
                    "unit": column.unit,
                    "ucd": column.ucd,
                    "description": column.description,
                    "origin": column.origin,
                },
            )
            for column in self.columns
        ]
        # By which astropy knows the widths of texts without looking at each, units and descriptions.
        known = {f"table::len::{one.name}": str(one.width) for one in self if one.is_string}
        known[YAML_KEY] = "\n".join(columns_yaml(self.columns, metadata or {}))
        return pa.schema(fields, metadata={**known, **(metadata or {})})

    def to_arrow(
        self, rows: NDArray[np.void], metadata: Mapping[str, str] | None = None
    ) -> pa.Table:
        """Rows (n,) of the record type as an Arrow table."""
        arrays = []
        for column in self.columns:
            values = rows[column.name]
            if column.is_string:
                arrays.append(pa.array(np.ascontiguousarray(values), pa.binary()).cast(pa.string()))
            else:
                arrays.append(pa.array(values.astype(column.dtype)))
        return pa.Table.from_arrays(arrays, schema=self.schema(metadata))

    def header(
        self, n: int, cards: Mapping[str, tuple[Any, str]] | None = None, name: str = "CATALOG"
    ) -> bytes:
        """Everything in a FITS file before the rows: primary header and the header of the table.

        Parameters
        ----------
        n : number of rows
        cards : provenance, keyword to (value, comment); goes into both headers
        """
        return fits_header(self.columns, self.record.itemsize, n, cards or {}, name)

    def datamodel(self, empty: Sequence[str] = ()) -> str:
        """The data model as Markdown; `empty` are columns without a value in a run."""
        lines = [
            "# Data model of the catalogue",
            "",
            "Written from `config/columns.yaml`. The same columns stand in `recommended.fits`, `recommended.parquet`",
            "and the tables of single types. A missing number is NaN, a missing whole number -1 (TNULL in FITS),",
            "a missing text empty.",
            "Logarithmic quantities are in dex, which FITS does not know as a unit.",
            "",
            "| column | type | unit | UCD | meaning | origin |",
            "|---|---|---|---|---|---|",
        ]
        for column in self.columns:
            cells = [
                f"`{column.name}`",
                column.dtype,
                column.unit,
                f"`{column.ucd}`",
                column.description,
                column.origin,
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        if empty:
            lines += [
                "",
                "Without a value in this run: " + ", ".join(f"`{name}`" for name in empty) + ".",
            ]
        if names := self.main.names:
            lines += [
                "",
                "## The main columns",
                "",
                "Those of `recommended_main.fits` and `.parquet`, in this order, as far as the run has them: "
                + ", ".join(f"`{name}`" for name in names)
                + ".",
            ]
        lines += [
            "",
            "## Bits of `flags`",
            "",
            "| bit | value | flag | meaning |",
            "|---|---|---|---|",
        ]
        for column in self.bit_columns:
            assert column.bit is not None
            lines.append(
                f"| {column.bit} | {1 << column.bit} | `{column.name}` | {column.description} |"
            )
        alone = [name for name in self.flags if self[name].bit is None]
        if alone:
            lines += [
                "",
                "Flags that stand for themselves, each for one label or one emulator: "
                + ", ".join(f"`{name}`" for name in alone)
                + ".",
            ]
        lines += [
            "",
            "Recommended stars: `recommended == 1`; stars without reservations: `flags == 0`. To ignore single flags,",
            "mask them out: `(flags & ~2) == 0` asks for all but bit 1.",
        ]
        return "\n".join(lines) + "\n"


def load_registry(
    labels: Sequence[NetworkLabel] = (),
    path: str | Path = COLUMNS_PATH,
    emulators: Sequence[EmulatorLabels] = (),
    vocabulary: bool = True,
) -> Registry:
    """Read and check the registry.

    Parameters
    ----------
    labels : labels that networks give in this run, in the order of the catalogue
    emulators : the emulators beside the first that this run has
    vocabulary : look at units and UCDs as well; jobs of a run, which has done so, need not

    Raises
    ------
    UserError
        The file breaks a rule of the registry: unknown or missing keys, a name that is not
        snake_case or occurs twice, a type, unit or UCD that does not exist, a flag without a bit.
        Or a training set or an emulator breaks one; then the message names it.
    """
    lists = column_lists(path)
    places = (PLACE, EMULATORS)
    parts = [entry if entry in places else _column(entry, path) for entry in lists["columns"]]
    shipped = [part for part in parts if isinstance(part, Column)]
    for problem in _problems(Registry(tuple(shipped)), shipped, vocabulary):
        raise UserError(f"{path}: {problem}")
    first = {column.name: column for column in shipped}
    made: dict[str, dict[str, list[Column]]] = {PLACE: {}, EMULATORS: {}}
    for label in labels:
        words = {**vars(label), "ucd": label.ucd or _NO_UCD}
        made[PLACE][f"training set {label.set}: label {label.label}"] = [
            _filled(entry, words, f"{path}: {PLACE}") for entry in lists[PLACE]
        ]
    for emulator in emulators:
        made[EMULATORS][f"emulators: {emulator.name}"] = [
            _filled(entry, _words(emulator, one, first), f"{path}: {name}")
            for name, of in ((EMULATOR_LABELS, emulator.labels), (EMULATORS, ("",)))
            for one in of
            for entry in lists[name]
        ]
    columns: list[Column] = []
    for part in parts:
        if isinstance(part, Column):
            columns.append(part)
        else:
            columns += [column for own in made[part].values() for column in own]
    # A set is checked against the fixed columns and the sets before it.
    registry = Registry(tuple(columns), tuple(lists[MAIN]))
    for owner, own in made[EMULATORS].items():
        for problem in _problems(registry, own, vocabulary):
            raise UserError(f"{owner}: {problem}; choose another name")
    for owner, own in made[PLACE].items():
        for problem in _problems(registry, own, vocabulary):
            raise UserError(f"{owner}: {problem}")
    return registry


def _problems(registry: Registry, columns: Sequence[Column], vocabulary: bool) -> Iterator[str]:
    yield from problems(registry, columns)
    if vocabulary:
        from lamostvac.catalog.column_vocabulary import unknown_words

        yield from unknown_words(columns)


def run_registry(params: Any) -> Registry:
    """The registry of a run, from a rule's params `network_labels` and `emulators`."""
    further = emulator_labels(params.emulators)
    labels = network_labels(params.network_labels)
    return load_registry(labels, emulators=further, vocabulary=False)


def _words(emulator: EmulatorLabels, label: str, shipped: Mapping[str, Column]) -> dict[str, str]:
    """What stands for the words in braces of a template: those of the first emulator's label."""
    words = {"emulator": emulator.name}
    if not label:
        return words
    if label not in shipped:
        raise UserError(f"emulators: {emulator.name}: config/columns.yaml has no column {label}")
    first = shipped[label]
    about = first.description.partition(";")[0]
    return words | {"label": label, "unit": first.unit, "ucd": first.ucd, "description": about}


def _column(entry: Mapping[str, Any], path: str | Path) -> Column:
    name = entry.get("name")
    if missing := _KEYS - set(entry):
        raise UserError(f"{path}: column {name!r} lacks {', '.join(sorted(missing))}")
    if unknown := set(entry) - _KEYS - {"bit"}:
        raise UserError(
            f"{path}: column {name!r} has unknown keys {', '.join(sorted(map(str, unknown)))}"
        )
    if str(name).startswith("flag_") != ("bit" in entry):
        raise UserError(
            f"{path}: column {name!r}: columns named flag_* say which `bit` they have (null for one that stands "
            f"for itself), others do not"
        )
    return Column(**entry)


def _filled(template: Mapping[str, Any], words: Mapping[str, str], where: str) -> Column:
    """A column from a template with words in braces; `where` the template stands."""
    # The name in the template decides, because a label may be called flag_something.
    column = _column(template, where)
    try:
        fields: dict[str, Any] = {
            key: value.format(**words) if isinstance(value, str) else value
            for key, value in vars(column).items()
        }
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"{where}: {template['name']} has an unknown word in braces: {error}"
        ) from None
    return Column(**fields)
