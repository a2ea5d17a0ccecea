"""How one value is made from several systems: the form of config/recommended.yaml."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse, renamed
from lamostvac.core.files import read_yaml
from lamostvac.core.former_names import present_keys, present_name
from lamostvac.core.messages import entry_name, mistake, nearest

CORE = 0.5  # a source counts as valid for fits where its weight is at least this
MOST_SYSTEMS = 4  # all subsets of the systems are gone through for each star
Columns = Mapping[str, NDArray[Any]] | NDArray[np.void]
Limit = tuple[float | None, float | None, Annotated[float, Field(ge=0)]]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Entry):
    """A source column of a recommended label; config/recommended.yaml documents the keys."""

    column: str
    system: str = Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
    bit: int = Field(ge=0, le=7)
    within: dict[str, Limit] = Field(default_factory=dict)
    where: str | None = None
    unless: list[str] = Field(default_factory=list)
    relation: bool = True
    shrunk: bool = True
    distance: str | None = None

    @property
    def names(self) -> list[str]:
        """All columns that the source needs."""
        condition = parse(self.where, f"source {self.column}: where").names if self.where else ()
        distance = () if self.distance is None else (self.distance,)
        own = (self.column, f"{self.column}_err")
        return list(dict.fromkeys([*own, *self.within, *self.unless, *condition, *distance]))

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for name, (low, high, taper) in self.within.items():
            if low is not None and high is not None and not high - low >= 2 * taper:
                raise ValueError(f"within.{name}: the range must be at least two tapers wide")
        if self.where is not None:
            try:
                parse(self.where)
            except UserError as error:
                raise ValueError(f"where: {error}") from None
        return self


class Definition(_Entry):
    """A recommended label; the keys are documented in config/recommended.yaml."""

    label: str = Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$")
    scale: list[str] = Field(min_length=1)
    order: int = Field(1, ge=0, le=3)
    covariates: list[str] = Field(default_factory=list)
    prior: float = Field(gt=0)
    sources: list[Source] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        columns = [source.column for source in self.sources]
        for name in (*columns, *(str(source.bit) for source in self.sources)):
            if (columns + [str(source.bit) for source in self.sources]).count(name) > 1:
                raise ValueError(f"two sources have the column or bit {name}")
        for name in self.scale:
            if name not in columns:
                raise ValueError(f"scale: there is no source {name}{nearest(name, columns)}")
        if len(self.systems) > MOST_SYSTEMS:
            raise ValueError(f"{len(self.systems)} systems; at most {MOST_SYSTEMS} are combined")
        return self

    @property
    def systems(self) -> list[str]:
        """The systems in the order in which their sources are listed."""
        return list(dict.fromkeys(source.system for source in self.sources))


def load_definitions(path: str | Path, columns: Sequence[str]) -> list[Definition]:
    """The recommended labels that a YAML file defines, with the sources that the run has.

    Parameters
    ----------
    columns : all columns of the catalogue

    Raises
    ------
    UserError
        The file cannot be read, an entry is wrong, or a source of the run names a column that the
        run does not have; the message names entry and key.
    """
    content = read_yaml(path, "recommended.definitions:", " with a list `recommended:`")
    if not isinstance(content, dict) or "recommended" not in content:
        raise UserError(f"recommended.definitions: {path} must be YAML with a list `recommended:`")
    entries = content["recommended"]
    found: list[Definition] = []
    for number, entry in enumerate(entries or [], start=1):
        name = entry_name(entry, number, "label")
        try:
            definition = Definition.model_validate(entry)
        except ValidationError as error:
            raise UserError(f"{path}: {name}: {mistake(error, Definition)}") from None
        if any(definition.label == other.label for other in found):
            raise UserError(f"{path}: two entries are for {name}")
        found.append(_present(definition, columns, f"{path}: {name}"))
    return found


def _present(definition: Definition, columns: Sequence[str], where: str) -> Definition:
    """The definition with the sources whose columns are among `columns`, under present names."""
    sources = [
        _with_present_names(source, columns)
        for source in definition.sources
        if source.column in columns
    ]
    covariates = [present_name(name, columns) for name in definition.covariates]
    for name in [
        *result_columns(definition.label),
        *covariates,
        *(name for source in sources for name in source.names),
    ]:
        if name not in columns:
            raise UserError(f"{where}: the catalogue has no column {name}{nearest(name, columns)}")
    names = [source.column for source in sources]
    scale = [name for name in definition.scale if name in names]
    if not scale:
        raise UserError(f"{where}: scale: the run has none of {', '.join(definition.scale)}")
    return definition.model_copy(
        update={"sources": sources, "scale": scale, "covariates": covariates}
    )


def _with_present_names(source: Source, columns: Sequence[str]) -> Source:
    """The source with columns that it calls by former names (`core.former_names`) under theirs."""
    return source.model_copy(
        update={
            "within": present_keys(source.within, columns),
            "unless": [present_name(name, columns) for name in source.unless],
            "where": source.where and renamed(source.where, columns),
        }
    )


def result_columns(label: str) -> tuple[str, str, str, str, str, str]:
    """Value, error, source, disagreement, extrapolation and random error of a recommended label."""
    own = (f"{label}_rec", f"{label}_rec_err", f"{label}_rec_source")
    return *own, f"flag_{label}_disagree", f"flag_{label}_extrapolated", f"{label}_rec_err_random"


def ramp(x: NDArray[np.float64], limit: Limit) -> NDArray[np.float64]:
    """Weight (n,) of a range [low, high] with tapers: 0 outside and at the limits, 1 inside.

    Within a taper it is 3 t^2 - 2 t^3, with t the distance from the limit in units of the taper; a
    missing x has weight 0.
    """
    low, high, taper = limit
    weight = np.where(np.isfinite(x), 1.0, 0.0)
    for distance in ([] if low is None else [x - low]) + ([] if high is None else [high - x]):
        with np.errstate(over="ignore", invalid="ignore"):
            t = (
                np.clip(distance / taper, 0.0, 1.0)
                if taper > 0
                else (distance >= 0).astype(np.float64)
            )
        weight *= np.where(np.isnan(t), 0.0, t * t * (3.0 - 2.0 * t))
    return weight


def validity(source: Source, columns: Columns) -> NDArray[np.float64]:
    """Weight (n,) in [0, 1] of a source: 0 without value or error, flagged, or out of range."""
    value, error = number(columns, source.column), number(columns, f"{source.column}_err")
    usable = np.isfinite(value) & np.isfinite(error) & (error > 0)
    for name in source.unless:
        usable &= np.asarray(columns[name]) == 0
    if source.where is not None:
        condition = parse(source.where, f"source {source.column}: where")
        usable &= condition.holds({name: columns[name] for name in condition.names})
    weight = usable.astype(np.float64)
    for name, limit in source.within.items():
        weight *= ramp(number(columns, name), limit)
    return weight


def number(columns: Columns, name: str) -> NDArray[np.float64]:
    return np.asarray(columns[name]).astype(np.float64)
