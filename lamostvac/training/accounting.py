"""How many spectra and stars each step leaves."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lamostvac.core.atomic import atomic

STEP_COLUMNS = ("set", "step", "cut", "n_spectra", "n_stars")


class Accounting:
    """What is left after each step: rows of {set}_cuts.csv."""

    def __init__(self, name: str, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.name = name
        self.rows: list[dict[str, Any]] = [dict(row) for row in rows]

    def add(self, step: str, cut: str, n_spectra: int | None, n_stars: int | None) -> None:
        """Another step; None where the number has no meaning yet."""
        self.rows.append(
            dict(zip(STEP_COLUMNS, (self.name, step, cut, n_spectra, n_stars), strict=True))
        )

    def count(self, step: str, cut: str, table: pd.DataFrame) -> None:
        """Another step, with the spectra and stars of `table` (column `star`)."""
        self.add(step, cut, len(table), int(table["star"].nunique()))

    def table(self) -> pd.DataFrame:
        """All steps; missing numbers are blank in CSV."""
        table = pd.DataFrame(self.rows, columns=list(STEP_COLUMNS))
        return table.astype({"n_spectra": "Int64", "n_stars": "Int64"})

    def write(self, path: str | Path) -> None:
        """The steps as CSV."""
        with atomic(path) as temporary:
            self.table().to_csv(temporary, index=False, lineterminator="\n")

    @classmethod
    def read(cls, name: str, path: str | Path) -> "Accounting":
        """The steps that an earlier stage of the set wrote."""
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
        rows = table.to_dict("records")
        for row in rows:
            for column in ("n_spectra", "n_stars"):
                row[column] = int(row[column]) if row[column] else None
        return cls(name, [{str(key): value for key, value in row.items()} for row in rows])
