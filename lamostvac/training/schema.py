"""The training sets of the networks: the form of config/training_sets.yaml.

Names of columns are checked when the file is read, as far as the file alone allows; the columns of
a catalogue are known only when it is read.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lamostvac.core.messages import nearest
from lamostvac.core.vocabulary import BANDS
from lamostvac.external.entries import (
    Catalogue,
    Cut,
    Entry,
    Formula,
    Join,
    Match,
    Name,
    check_known,
    check_match,
)

SURVEY_COLUMNS = (
    "spectrum_id", "obsid", "designation", "lmjd", "planid", "spid", "fiberid", "ra", "dec", "snru", "snrg",
    "snrr", "snri", "snrz", "lamost_class", "subclass", "spectral_type", "redshift", "path",
)  # fmt: skip
"""What candidates keep of the survey's columns."""
ADDED_COLUMNS = ("snr", "l", "b", "separation", "star", "identifier")
"""What candidates have besides: S/N in the set's band, Galactic position, distance to the catalogue's star
(arcsec), number of the star, its identifier in the catalogue."""

Bands = Literal["snru", "snrg", "snrr", "snri", "snrz"]


class Measured(Entry):
    """A quantity that several measurements of a star are combined to."""

    error: Name | None = None
    floor: float = Field(default=0.0, ge=0)


class Combine(Entry):
    """Several rows of a star become one."""

    by: Name
    labels: dict[Name, Measured]
    reference: Name | None = None
    recalibration: str = "none"
    min_common: int = Field(default=5, ge=2)

    @model_validator(mode="after")
    def _recalibrates(self) -> Self:
        if self.recalibration != "none" and self.reference is None:
            raise ValueError(
                f"recalibration {self.recalibration} needs the key reference: the column of references"
            )
        if self.recalibration not in ("none", "offsets") and not self.recalibration.endswith(
            (".csv", ".csv.gz")
        ):
            raise ValueError(
                "recalibration is none, offsets, or the name of a CSV file with offsets"
            )
        return self


class Band(Entry):
    """The apparent magnitude of a band and its extinction per E(B-V): that of a band of the section
    `extinction`, or a number, where `scale` may say of which E(B-V).
    """

    magnitude: Name
    error: Name | None = None
    band: Name | None = None
    coefficient: float | None = Field(default=None, ge=0)
    scale: str = ""

    @model_validator(mode="after")
    def _one_coefficient(self) -> Self:
        if (self.band is None) == (self.coefficient is None):
            raise ValueError(
                "write either band (one of the section extinction) or coefficient (a number)"
            )
        if self.band is not None and self.band not in BANDS:
            raise ValueError(f"band: there is no band {self.band}{nearest(self.band, BANDS)}")
        return self


class AbsoluteMagnitudes(Entry):
    """M = m - 5 log10(d / 10 pc) - R E(B-V), and its error."""

    distance: Name
    distance_error: Name | None = None
    ebv: Name | None = None
    ebv_error: Name | None = None
    bands: dict[Name, Band]

    @property
    def columns(self) -> list[str]:
        """The columns that it adds: label and error of each band."""
        return [name for label in self.bands for name in (label, f"{label}_err")]

    def with_coefficients(self, of_bands: Mapping[str, float]) -> Self:
        """The same with numbers in the place of names of bands; `of_bands` is band to A / E(B-V)."""
        bands = {
            label: entry
            if entry.band is None
            else entry.model_copy(update={"band": None, "coefficient": of_bands[entry.band]})
            for label, entry in self.bands.items()
        }
        return self.model_copy(update={"bands": bands})


class Label(Entry):
    """One quantity that a network learns."""

    name: Name
    column: Name
    error: Name | None = None
    unit: str = ""
    ucd: str = ""
    description: str
    learn: Literal["linear", "reciprocal"] = "linear"
    range: tuple[float, float] | None = None
    cuts: list[Cut] = Field(default_factory=list)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range: {list(self.range)} is not [low, high]")
        return self


class Split(Entry):
    """Which stars train; all others test."""

    train: Formula | None = None
    train_fraction: float | None = Field(default=None, ge=0, le=1)
    prefer: list[Formula] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.train is None) == (self.train_fraction is None):
            raise ValueError("write either train (a condition) or train_fraction (from 0 to 1)")
        if self.prefer and self.train_fraction is None:
            raise ValueError("prefer goes with train_fraction")
        return self


class Clip(Entry):
    """Stars that a first network shows to be unlike their label."""

    label: Name
    binary_magnitude: float = Field(gt=0)
    sigma: float = Field(gt=0)
    except_: Formula | None = Field(default=None, alias="except")


class Network(Entry):
    """What this set's networks do otherwise than section `networks` of the configuration says."""

    layers: list[Annotated[int, Field(gt=0)]] | None = Field(default=None, min_length=1)
    windows: list[tuple[float, float]] | None = Field(default=None, min_length=1)
    apply: Formula | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for low, high in self.windows or []:
            if not low < high:
                raise ValueError(f"windows: [{low:g}, {high:g}] is not [low, high]")
        return self


class TrainingSet(Entry):
    """One entry of config/training_sets.yaml; the fields are documented there."""

    name: Name
    title: str
    optional: bool = False
    parent: Name | None = None
    catalogue: Catalogue | None = None
    match: Match | None = None
    combine: Combine | None = None
    join: list[Join] = Field(default_factory=list)
    derived: dict[Name, Formula] = Field(default_factory=dict)
    absolute_magnitudes: AbsoluteMagnitudes | None = None
    snr_band: Bands = "snrg"
    spectra: Literal["best", "all"] = "best"
    max_bad_fraction: float = Field(default=0.1, ge=0, le=1)
    cuts: list[Cut] = Field(default_factory=list)
    labels: list[Label] = Field(min_length=1)
    grid: dict[Name, tuple[float, float]] = Field(default_factory=dict)
    split: Split | None = None
    clip: Clip | None = None
    network: Network = Network()

    def own_columns(self) -> list[str]:
        """The columns of the catalogue that candidates have, after combining."""
        assert self.catalogue is not None
        if self.combine is None:
            return self.catalogue.kept
        spent = {measured.error for measured in self.combine.labels.values()} | {
            self.combine.reference
        }
        made = [f"{label}{end}" for label in self.combine.labels for end in ("_err", "_n")]
        return [name for name in self.catalogue.kept if name not in spent] + made

    @property
    def label_names(self) -> list[str]:
        """Names of the labels in their order."""
        return [label.name for label in self.labels]

    def with_coefficients(self, of_bands: Mapping[str, float]) -> Self:
        """The same with the numbers of extinction, band to A / E(B-V), of the run."""
        if self.absolute_magnitudes is None:
            return self
        filled = self.absolute_magnitudes.with_coefficients(of_bands)
        return self.model_copy(update={"absolute_magnitudes": filled})

    def files(self) -> list[str]:
        """The files that the set needs, as the entry writes them."""
        if self.catalogue is None:
            return []
        files = [self.catalogue.file, *(join.file for join in self.join)]
        if self.combine is not None and self.combine.recalibration not in ("none", "offsets"):
            files.append(self.combine.recalibration)
        return files

    def columns(self) -> list[str]:
        """The columns of the set's candidates, in order."""
        assert self.catalogue is not None
        added = [name for join in self.join for name in (*join.kept, f"{join.name}_separation")]
        magnitudes = (
            self.absolute_magnitudes.columns if self.absolute_magnitudes is not None else []
        )
        names = [
            *SURVEY_COLUMNS, *ADDED_COLUMNS, *self.own_columns(), *added,
            *self.derived, *magnitudes,
        ]  # fmt: skip
        return list(dict.fromkeys(names))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.parent is not None:
            for key in (
                "catalogue",
                "match",
                "combine",
                "join",
                "derived",
                "absolute_magnitudes",
                "split",
                "clip",
            ):
                if getattr(self, key):
                    raise ValueError(
                        f"{key} and parent exclude each other: rows come from the parent"
                    )
            return self
        for key in ("catalogue", "match", "split"):
            if getattr(self, key) is None:
                raise ValueError(f"{key} is missing (or name a parent)")
        self._check_sources()
        known = self.columns()
        check_known([cut.cut for cut in self.cuts], known, "cuts")
        for label in self.labels:
            where = f"labels: {label.name}"
            for column in (label.column, label.error):
                if column is not None and column not in known:
                    raise ValueError(
                        f"{where}: there is no column {column}{nearest(column, known)}"
                    )
            check_known([cut.cut for cut in label.cuts], known, f"{where}: cuts")
        assert self.split is not None
        check_known(
            [*([self.split.train] if self.split.train else []), *self.split.prefer], known, "split"
        )
        if self.clip is not None:
            if self.clip.label not in self.label_names:
                raise ValueError(
                    f"clip: there is no label {self.clip.label}{nearest(self.clip.label, self.label_names)}"
                )
            if self.clip.except_ is not None:
                check_known([self.clip.except_], self.label_names, "clip: except")
        return self

    def _check_sources(self) -> None:
        """The catalogue, what is joined to it, and the columns that follow from both."""
        assert self.catalogue is not None
        assert self.match is not None
        check_match(self.match, self.catalogue, "match")
        known: list[str] = [*SURVEY_COLUMNS, *ADDED_COLUMNS]
        for table, where in [
            (self.catalogue, "catalogue"),
            *((join, f"join: {join.name}") for join in self.join),
        ]:
            for name in table.kept:
                if name in known:
                    raise ValueError(
                        f"{where}: {name} is already the name of another column; choose another"
                    )
                known.append(name)
            for key in ("magnitude", "identifier"):
                column = getattr(table, key, None)
                if column is not None and column not in (*table.columns, *table.derived):
                    raise ValueError(
                        f"{where}: {key}: there is no column {column}{nearest(column, table.columns)}"
                    )
        for join in self.join:
            check_match(join.match, join, f"join: {join.name}: match")
            check_match(join.match, self.catalogue, f"join: {join.name}: match (in the catalogue)")
            known.append(f"{join.name}_separation")
        if self.combine is not None:
            available = [*self.catalogue.columns, *self.catalogue.derived]
            named = [self.combine.by, *self.combine.labels]
            named += [measured.error for measured in self.combine.labels.values() if measured.error]
            named += [self.combine.reference] if self.combine.reference else []
            for column in named:
                if column not in available:
                    raise ValueError(
                        f"combine: there is no column {column}{nearest(column, available)}"
                    )
            known += [f"{label}{end}" for label in self.combine.labels for end in ("_err", "_n")]
        for name, formula in self.derived.items():
            if name in known:
                raise ValueError(
                    f"derived: {name} is already the name of another column; choose another"
                )
            check_known([formula], known, f"derived.{name}")
            known.append(name)
        if self.absolute_magnitudes is not None:
            absolute = self.absolute_magnitudes
            named = [absolute.distance]
            named += [n for n in (absolute.distance_error, absolute.ebv, absolute.ebv_error) if n]
            for band in absolute.bands.values():
                named += [n for n in (band.magnitude, band.error) if n]
            for column in named:
                if column not in known:
                    raise ValueError(
                        f"absolute_magnitudes: there is no column {column}{nearest(column, known)}"
                    )
            for name in absolute.columns:
                if name in known:
                    raise ValueError(
                        f"absolute_magnitudes: {name} is already the name of another column"
                    )
