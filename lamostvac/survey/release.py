"""The release: the rows of its catalogues or, where it has none, of its spectra's headers."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from lamostvac.core.atomic import atomic
from lamostvac.core.files import sha256
from lamostvac.core.progress import Progress
from lamostvac.survey.catalogue import read_catalogues
from lamostvac.survey.files import write_plain
from lamostvac.survey.headers import REJECTED, Scanned, below_root, scan


@dataclass(frozen=True)
class Folder:
    """A folder whose spectra's headers are its catalogue.

    Attributes
    ----------
    root : the folder
    skip : a folder in it that is left out, that of the results
    found : folder for what was found: `catalogue.csv` with the columns of a general catalogue and
        `path` below the root, `rejected.csv` with the files that are no spectra, and the cache of
        the scan
    """

    root: str
    skip: str
    found: Path

    def scan(self, log: logging.Logger, threads: int) -> Scanned:
        """Read the headers, and write what was found."""
        progress = Progress(log, total=0, unit="headers")

        def add(done: int, total: int) -> None:
            progress.total = total
            progress.add(done - progress.count)

        found = scan(
            [self.root],
            threads=threads,
            cache=self.found / "cache",
            skip=self.skip,
            progress=add,
        )
        progress.done()
        for sentence in found.passed_over:
            log.info(sentence)
        found = replace(found, table=below_root(found.table, self.root))
        self.found.mkdir(parents=True, exist_ok=True)
        write_plain(self.found / "catalogue.csv", found.table, "|")
        with atomic(self.found / "rejected.csv") as temporary:
            found.rejected.to_csv(temporary, index=False, lineterminator="\n")
        return found


@dataclass(frozen=True)
class Release:
    """A release's rows.

    Attributes
    ----------
    table : `catalogue.COLUMNS`
    rejected : `headers.REJECTED`, files that give no row; none in a release with catalogues
    inputs : `file` and `sha256` of each file that the rows are of
    """

    table: pa.Table
    rejected: pd.DataFrame
    inputs: list[dict[str, str]]

    def rejections(self, selected: pa.Table) -> pa.Table:
        """The survey's rejected rows, `selection.rejections`, and the rejected files.

        A file that does not say which spectrum it is has its path for `spectrum_id`.
        """
        names = self.rejected["spectrum_id"].where(
            self.rejected["spectrum_id"] != "", self.rejected["path"]
        )
        columns = [names, self.rejected["obsid"], ["survey"] * len(names), self.rejected["reason"]]
        arrays = [pa.array(c, kind) for c, kind in zip(columns, selected.schema.types, strict=True)]
        return pa.concat_tables([selected, pa.table(arrays, schema=selected.schema)])

    def counts(self, totals: Mapping[str, Any]) -> dict[str, Any]:
        """`selection.counts` of the rows, with the rejected files, and `inputs`."""
        n = len(self.rejected)
        reasons = self.rejected["reason"].value_counts().sort_index().to_dict()
        rejected = dict(totals["rejected"])
        for reason, number in reasons.items():
            rejected[reason] = rejected.get(reason, 0) + number
        more = {name: totals[name] + n for name in ("n_in", "n_rejected")}
        return {**totals, **more, "rejected": rejected, "inputs": self.inputs}


def read_release(
    paths: Sequence[str],
    aliases: Mapping[str, str],
    folder: Folder | None,
    log: logging.Logger,
    threads: int = 1,
) -> Release:
    """The rows of catalogues or, with `folder`, of the headers of its spectra.

    Parameters
    ----------
    paths, aliases : as for `catalogue.read_catalogues`
    """
    if folder is None:
        notes: list[str] = []
        table = read_catalogues(paths, aliases, notes)
        for note in notes:
            log.warning(note)
        log.info("%d rows in %d catalogue file(s)", len(table), len(paths))
        inputs = [{"file": path, "sha256": sha256(path)} for path in paths]
        return Release(table, pd.DataFrame(columns=list(REJECTED)), inputs)
    found = folder.scan(log, threads)
    log.info(
        "%d headers of spectra below %s; %d files rejected, in %s",
        len(found.table), folder.root, len(found.rejected), folder.found / "rejected.csv",
    )  # fmt: skip
    catalogue = str(folder.found / "catalogue.csv")
    inputs = [{"file": catalogue, "sha256": sha256(catalogue)}]
    return Release(found.table, found.rejected, inputs)
