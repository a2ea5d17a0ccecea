"""The form of config/photometry.yaml: tables with magnitudes and distances, and their match."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lamostvac.core.messages import nearest, read_model
from lamostvac.core.vocabulary import BANDS
from lamostvac.external.entries import Catalogue, Join, Match, TableFile, check_match

MAGNITUDES = tuple(name for band in BANDS for name in (f"mag_{band}", f"mag_{band}_err"))
OTHERS = (
    "parallax", "parallax_err", "r_geo", "r_geo_lo", "r_geo_hi", "ebv_map", "ebv_map_err",
)  # fmt: skip
COLUMNS = ("gaia_source_id", *MAGNITUDES, *OTHERS)
"""What a join can give: magnitudes (mag), parallax (mas), distances of Bailer-Jones et al. (pc), E(B-V) of a map."""


class PhotometryFile(BaseModel):
    """config/photometry.yaml; the keys are documented there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    catalogue: Catalogue | None = None
    match: Match | None = None
    join: list[Join] = Field(default_factory=list)

    def tables(self) -> Iterator[tuple[str, TableFile]]:
        """Name and entry of every table, the catalogue's first."""
        if self.catalogue is not None:
            yield "catalogue", self.catalogue
        yield from ((join.name, join) for join in self.join)

    def present(self, root: str | Path, produced: Sequence[str] = ()) -> tuple[Self, list[str]]:
        """The entries whose files exist, and a sentence for each one that is left out.

        `produced` are files that the run itself writes, which need not exist yet.
        """
        written = {str(Path(path)) for path in produced}

        def there(table: TableFile) -> bool:
            path = table.path(root)
            return path.is_file() or str(path) in written

        skipped = [
            f"photometry: {name}: skipped, there is no file {table.path(root)}"
            for name, table in self.tables()
            if not there(table)
        ]
        kept = self.catalogue is not None and there(self.catalogue)
        return self.model_copy(
            update={
                "catalogue": self.catalogue if kept else None,
                "match": self.match if kept else None,
                "join": [join for join in self.join if there(join)],
            }
        ), skipped

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.catalogue is None) != (self.match is None):
            raise ValueError("catalogue and match go together")
        if self.catalogue is not None and self.match is not None:
            check_match(self.match, self.catalogue, "match")
        if any(
            match.by == "obsid"
            for match in (self.match, *(join.match for join in self.join))
            if match
        ):
            raise ValueError("match: by obsid finds no photometry; write sky or gaia_id")
        owners: dict[str, str] = {}
        for name, table in self.tables():
            if isinstance(table, Join):
                check_match(table.match, table, f"join: {name}: match")
            for column in table.kept:
                if column.startswith("mag_") and column not in MAGNITUDES:
                    raise ValueError(
                        f"{name}: there is no band of the column {column}{nearest(column, MAGNITUDES)}"
                    )
                if column in COLUMNS and column in owners:
                    raise ValueError(f"{name}: {column} is already a column of {owners[column]}")
                owners[column] = name
            decides = getattr(table, "magnitude", None)
            known = (*table.columns, *table.derived)
            if decides is not None and decides not in known:
                raise ValueError(
                    f"{name}: magnitude: there is no column {decides}{nearest(decides, known)}"
                )
        return self


def load_photometry(path: str | Path) -> PhotometryFile:
    """The tables that a YAML file names.

    Raises
    ------
    UserError
        One sentence with the key that is wrong.
    """
    return read_model(path, "photometry.file:", PhotometryFile)
