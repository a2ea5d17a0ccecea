"""The comparisons with other catalogues: the form of config/comparisons.yaml, and its reader.

Names of our columns and of the entry's are checked when this file is read; those in a reference's
file are checked when that is read.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lamostvac.catalog.registry import EmulatorLabels, Registry
from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse
from lamostvac.core.files import read_yaml, with_shipped
from lamostvac.core.former_names import present_keys
from lamostvac.core.messages import entry_name, mistake, nearest
from lamostvac.core.paths import COMPARISONS_PATH
from lamostvac.core.settings import PathText
from lamostvac.distance.extinction import of_bands
from lamostvac.distance.settings import Extinction
from lamostvac.external.entries import Cut, Formula, Name
from lamostvac.external.sky import POSITION_NAME

KEYS = ("obsid", "gaia_id", "spectrum_id", "designation", "file_name", "sky", "catalogue")
POSITION = ("ra", "dec", "pmra", "pmdec", "ref_epoch")
"""Names in `columns` that serve matching by position; units deg and mas/yr."""


ALWAYS = ("all", "recommended")
"""Subsets that every comparison has."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sky(_Entry):
    """Match by position: the file's positions move from `epoch` to `catalogue_epoch` with its
    proper motions.
    """

    radius: float = Field(default=3.0, gt=0, le=60)
    epoch: float = 2000.0
    catalogue_epoch: float = 2000.0
    magnitude: Name | None = None


def _pattern(text: str) -> str:
    """A regular expression with one group and without what RE2 lacks; ValueError else."""
    try:
        groups = re.compile(text).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    if re.search(r"\(\?(?:[=!(]|<[=!])|\\[1-9]|\(\?P=", text):
        raise ValueError(f"{text!r} looks ahead, behind or back; write it without")
    if groups != 1:
        raise ValueError(f"{text!r} has {groups} groups; the key is the one group of the pattern")
    return text


def _unit(text: str) -> str:
    if text.strip() == POSITION_NAME:
        return text
    from astropy import units as astropy_units  # only here: every job reads this module

    for part in text.split("->"):
        try:
            astropy_units.Unit(part.strip())
        except ValueError:
            raise ValueError(f"{part.strip()!r} is no unit") from None
    return text


def _title(text: str) -> str:
    if re.search("[{}]", text):
        raise ValueError(
            "a title cannot have braces, which Snakemake takes for wildcards; write it without"
        )
    return text


class Other(_Entry):
    """Labels of another catalogue for our spectra, which an entry compares in the place of ours.

    A column `teff` becomes the label `teff_{name}`, and `teff_err` its error.
    """

    name: Name
    title: Annotated[str, AfterValidator(_title)]
    file: PathText
    key: Literal["obsid", "gaia_id", "spectrum_id", "designation", "file_name"]
    reference_key: str
    missing: list[float] = Field(default_factory=list)
    columns: dict[Name, str]

    def label(self, column: str) -> str:
        """The name under which the entry has a column."""
        base = column.removesuffix("_err")
        return f"{base}_{self.name}" + ("_err" if base != column else "")

    @property
    def labels(self) -> list[str]:
        """The names that its columns have in the entry."""
        return [self.label(column) for column in self.columns]


class Comparison(_Entry):
    """An entry of config/comparisons.yaml; it and docs/comparisons.md document the fields."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: Annotated[str, AfterValidator(_title)]
    file: PathText | None = None
    key: Literal["obsid", "gaia_id", "spectrum_id", "designation", "file_name", "sky", "catalogue"]
    reference_key: str | None = None
    key_pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    key_prefix: str = ""
    sky: Sky = Sky()
    columns: dict[Name, str] = Field(default_factory=dict)
    units: dict[Name, Annotated[str, AfterValidator(_unit)]] = Field(default_factory=dict)
    missing: list[float] = Field(default_factory=list)
    derived: dict[Name, Formula] = Field(default_factory=dict)
    cuts: list[Cut] = Field(default_factory=list)
    catalogue_derived: dict[Name, Formula] = Field(default_factory=dict)
    catalogue_cuts: list[Cut] = Field(default_factory=list)
    labels: dict[Name, str | None] = Field(default_factory=dict)
    network_labels: dict[Name, str | None] = Field(default_factory=dict)
    errors: dict[Name, str] = Field(default_factory=dict)
    other: Other | None = None
    colour_teff: list[Literal["OB", "A", "F", "G", "K", "M"]] = Field(default_factory=list)
    group: Name | None = None
    group_names: dict[str, str] = Field(default_factory=dict)
    subsets: dict[str, Formula] = Field(default_factory=dict)

    @property
    def all_labels(self) -> dict[str, str | None]:
        """Our label to the column of its reference, including networks' labels."""
        return {**self.labels, **self.network_labels}

    @property
    def own_names(self) -> list[str]:
        """Names of the file's columns and of derived ones, which conditions on the file can use."""
        errors = [f"{label}_err" for label in self.errors]
        return list(dict.fromkeys([*self.columns, *self.derived, *self.all_labels, *errors]))

    def only(self, label: str) -> "Comparison":
        """The entry with one of its labels alone."""
        kept = {name: source for name, source in self.all_labels.items() if name == label}
        return self.model_copy(update={"labels": kept, "network_labels": {}})

    @property
    def ours(self) -> str:
        """Whose labels are compared, for people."""
        return self.other.title if self.other else "this catalogue"

    @property
    def files(self) -> dict[str, str]:
        """Name, under which `available` lists it, and path of each file that the entry reads."""
        found = {self.name: self.file} if self.file else {}
        return found | ({f"{self.name}.other": self.other.file} if self.other else {})

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.all_labels:
            raise ValueError("labels: name one label at least, `our label: the file's column`")
        if (self.file is None) != (self.key == "catalogue"):
            raise ValueError(
                "file: this key is missing"
                if self.file is None
                else "file: an entry with key catalogue compares columns of the catalogue and has no file"
            )
        if self.key == "sky":
            for name in ("ra", "dec"):
                if name not in self.columns:
                    raise ValueError(
                        f"columns: key sky needs {name}, the file's column of positions"
                    )
        elif self.key != "catalogue" and self.reference_key is None:
            raise ValueError(
                f"reference_key: this key is missing: the file's column with the {self.key}"
            )
        if self.key == "catalogue" and (self.columns or self.cuts):
            raise ValueError(
                "columns: an entry with key catalogue has none; use derived and catalogue_cuts"
            )
        known = [*self.columns, *self.all_labels]
        for name in (*self.units, *self.errors):
            if name not in known:
                where = "units" if name in self.units else "errors"
                raise ValueError(
                    f"{where}: there is no column or label {name}{nearest(name, known)}"
                )
        for label, source in self.all_labels.items():
            if source is None and self.group is None:
                raise ValueError(
                    f"labels: {label} has no column; without one, the entry needs `group`"
                )
            if label in (*self.columns, *self.derived) and source != label:
                raise ValueError(
                    f"labels: {label} is also a column or formula of the entry; give that another name"
                )
        for label in self.network_labels:
            if label in self.labels:
                raise ValueError(f"network_labels: {label} stands in labels too; name it once")
        if self.group is not None and self.group not in self.columns:
            raise ValueError(
                f"group: there is no column {self.group}{nearest(self.group, self.columns)}"
            )
        if self.colour_teff and not {"teff", "teff_rec"} & set(self.all_labels):
            raise ValueError("colour_teff: the figure needs the label teff or teff_rec")
        if self.group_names and self.group is None:
            raise ValueError("group_names: name the column of groups with `group`")
        if self.key != "catalogue":
            seen = list(self.columns)
            for name, formula in self.derived.items():
                if name in self.columns:
                    raise ValueError(f"derived: {name} is already a column")
                _known([formula], seen, f"derived.{name}")
                seen.append(name)
            _known([cut.cut for cut in self.cuts], self.own_names, "cuts")
        return self


def _known(expressions: Iterable[str], names: Sequence[str], where: str) -> None:
    for text in expressions:
        for name in parse(text).names:
            if name not in names:
                raise ValueError(
                    f"{where}: {text!r}: there is no column {name}{nearest(name, names)}"
                )


_SFD = of_bands(Extinction(), "sfd")  # for a default


def load_comparisons(
    path: str | Path,
    registry: Registry,
    coefficients: Mapping[str, float] = _SFD,
    emulators: Sequence[EmulatorLabels] = (),
) -> list[Comparison]:
    """The comparisons that a YAML file defines, as far as this run has their labels; the word
    `default` in its list stands for the shipped ones.

    Labels under `network_labels` without a network in the run are left out, and so are entries
    without any label left.

    Parameters
    ----------
    registry : the catalogue's columns, with those of the run's networks
    coefficients : band to A / E(B-V), which formulas of entries with key catalogue call
        coefficient_BAND
    emulators : the emulators beside the first, whose labels are compared where the first's are

    Raises
    ------
    UserError
        The file is wrong; the message is one sentence with entry and key.
    """
    content = read_yaml(path, "validation.comparisons:", " with a list `comparisons:`")
    entries = content.get("comparisons") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise UserError(f"validation.comparisons: {path} must be YAML with a list `comparisons:`")
    entries = with_shipped(entries, "comparisons", COMPARISONS_PATH)
    comparisons = [_entry(entry, number, path) for number, entry in enumerate(entries, start=1)]
    names = [comparison.name for comparison in comparisons]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: two entries are called {name}")
    comparisons = [
        _with_emulators(_with_coefficients(comparison, coefficients), emulators)
        for comparison in comparisons
    ]
    found = [
        for_run(comparison, registry, f"{path}: entry {comparison.name}")
        for comparison in comparisons
    ]
    return [comparison for comparison in found if comparison.all_labels]


def _entry(entry: Any, number: int, path: str | Path) -> Comparison:
    try:
        return Comparison.model_validate(entry)
    except ValidationError as error:
        raise UserError(
            f"{path}: entry {entry_name(entry, number)}: {mistake(error, Comparison)}"
        ) from None


def _with_coefficients(comparison: Comparison, coefficients: Mapping[str, float]) -> Comparison:
    """The entry with numbers in the place of coefficient_BAND in formulas of the catalogue."""
    if comparison.key != "catalogue":
        return comparison
    numbers = {f"coefficient_{band}": f"{value:g}" for band, value in coefficients.items()}

    def filled(formulas: Mapping[str, str | None]) -> dict[str, str | None]:
        return {
            name: text and re.sub(r"\bcoefficient_\w+", lambda m: numbers.get(m[0], m[0]), text)
            for name, text in formulas.items()
        }

    keys = ("derived", "labels", "network_labels", "errors")
    return comparison.model_copy(update={key: filled(getattr(comparison, key)) for key in keys})


def _with_emulators(comparison: Comparison, emulators: Sequence[EmulatorLabels]) -> Comparison:
    """The entry with the labels of further emulators, compared with what the first's are."""

    def with_theirs(values: Mapping[str, Any]) -> dict[str, Any]:
        of_labels = {name: value for name, value in values.items() if name in comparison.labels}
        added = {
            emulator.column(name): value
            for emulator in emulators
            for name, value in of_labels.items()
            if name in emulator.labels
        }
        return {**values, **{name: value for name, value in added.items() if name not in values}}

    keys = ("labels", "errors", "units")
    return comparison.model_copy(
        update={key: with_theirs(getattr(comparison, key)) for key in keys}
    )


def numeric_columns(registry: Registry) -> list[str]:
    """The catalogue's columns that can be compared: numbers that are measured."""
    return [column.name for column in registry if column.dtype.startswith("float")]


def for_run(comparison: Comparison, registry: Registry, where: str) -> Comparison:
    """The entry without the network labels that the run does not have.

    Raises
    ------
    UserError
        The entry names a label or column that the catalogue does not have; `where` names it.
    """
    known = registry.names
    names = (*known, *comparison.columns, *comparison.derived, *comparison.catalogue_derived)
    keys = ("labels", "network_labels", "errors", "units")
    own = {key: present_keys(getattr(comparison, key), names) for key in keys}
    comparison = comparison.model_copy(update=own)
    others = comparison.other.labels if comparison.other else []
    for name in others:
        if name in known:
            raise UserError(
                f"{where}: other.name: {name} is a column of the catalogue; choose another"
            )
    derived: dict[str, str] = {}
    absent: dict[str, str] = {}
    for name, formula in comparison.catalogue_derived.items():
        if name in known:
            raise UserError(
                f"{where}: catalogue_derived: {name} is a column of the catalogue; choose another name"
            )
        present = (*known, *derived)
        wanting = [name for name in parse(formula).columns_of(present) if name not in present]
        if wanting:
            absent[name] = wanting[0]
        else:
            derived[name] = formula
    for name, column in absent.items():
        if name.removesuffix("_err") not in comparison.network_labels:
            raise UserError(
                f"{where}: catalogue_derived.{name}: the catalogue has no column {column}{nearest(column, known)}"
            )
    labels = (*numeric_columns(registry), *derived, *others)
    for label in comparison.labels:
        if label not in labels:
            raise UserError(
                f"{where}: labels: this run has no label {label}{nearest(label, labels)}"
            )
    kept = {label: source for label, source in comparison.network_labels.items() if label in labels}
    ours = [*known, *others, *derived]
    conditions = [("catalogue_cuts", cut.cut) for cut in comparison.catalogue_cuts]
    if comparison.key == "catalogue":
        seen = list(ours)
        for name, formula in comparison.derived.items():
            _check(f"{where}: derived.{name}", formula, seen)
            seen.append(name)
        for label, source in {**comparison.labels, **kept, **comparison.errors}.items():
            if source is not None and (label in comparison.labels or label in kept):
                _check(f"{where}: labels.{label}", source, seen)
    for key, condition in conditions:
        _check(f"{where}: {key}", condition, ours)
    references = [f"ref_{name}" for name in comparison.own_names]
    for name, condition in comparison.subsets.items():
        if name in ALWAYS:
            raise UserError(
                f"{where}: subsets.{name}: every comparison has a subset of this name; choose another"
            )
        _check(f"{where}: subsets.{name}", condition, [*ours, *references])
    # Not validated again: without its networks an entry may have no label, and is then left out.
    return comparison.model_copy(
        update={
            "network_labels": kept,
            "catalogue_derived": derived,
            "errors": {
                k: v for k, v in comparison.errors.items() if k in {**comparison.labels, **kept}
            },
            "units": {
                k: v
                for k, v in comparison.units.items()
                if k in {**comparison.labels, **kept, **comparison.columns}
            },
        }
    )


def _check(where: str, text: str, names: Sequence[str]) -> None:
    for name in parse(text).columns_of(names):
        if name not in names:
            raise UserError(f"{where}: {text!r}: there is no column {name}{nearest(name, names)}")


def available(
    comparisons: Iterable[Comparison],
    roots: Sequence[str | Path],
    produced: Iterable[str | Path] = (),
) -> tuple[dict[str, str], list[str]]:
    """Files by name of the possible comparisons ("" without file); a sentence for each other one.

    Parameters
    ----------
    roots : folders in which files are searched, in this order
    produced : files that the run itself writes, which need not exist yet
    """
    files: dict[str, str] = {}
    skipped = []
    for comparison in comparisons:
        found = {name: find(file, roots, produced) for name, file in comparison.files.items()}
        absent = [comparison.files[name] for name, path in found.items() if path is None]
        if absent:
            places = " nor ".join(dict.fromkeys(str(Path(root) / absent[0]) for root in roots))
            skipped.append(f"comparison {comparison.name}: skipped, there is no {places}")
        else:
            files |= {comparison.name: ""} | {name: str(path) for name, path in found.items()}
    return files, skipped


def find(
    file: str, roots: Iterable[str | Path], produced: Iterable[str | Path] = ()
) -> Path | None:
    """The file below the first root that has it, or None; `produced` need not exist yet."""
    written = {str(Path(path)) for path in produced}
    paths = [Path(root) / file for root in roots]
    return next((path for path in paths if path.is_file() or str(path) in written), None)
