"""The comparison of two runs as a whole: what was found, and the files that say it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.compare.causes import Causes, causes, causes_of_cards
from lamostvac.compare.figures import counts_figure, label_figure
from lamostvac.compare.labels import (
    COLUMNS,
    Shifts,
    compared_labels,
    flag_changes,
    moved,
    shifts,
    summary,
)
from lamostvac.compare.tables import Catalogue, Pairing, pair, reasons
from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import write_csv
from lamostvac.core.former_names import present_name
from lamostvac.core.messages import nearest
from lamostvac.core.vocabulary import LABELS, TYPE_ORDER
from lamostvac.provenance.record import read_record
from lamostvac.report.style import svg_source

MAIN = tuple(f"{label}_rec" for label in LABELS)
"""The labels that have figures and whose moved spectra are listed, unless others are wanted."""
_DIGITS = 6


@dataclass(frozen=True)
class RunFiles:
    """Files of a finished run: `recommended.parquet`, `rejected.csv`, `provenance.json`."""

    name: str
    catalogue: Path
    rejected: Path
    record: Path


@dataclass
class Comparison:
    """What differs between two runs.

    Attributes
    ----------
    names : of the two runs
    n_before, n_after, n_both : spectra in the first, the second, both
    came, went : counts by `spectral_type` and `reason` of the run that does not have them
    n_moved : spectra of which one of the listed labels moved beyond `limit` combined errors
    by_type : words to counts in the order of `TYPE_ORDER`
    new_type : spectra of another spectral type
    labels : rows of `labels.COLUMNS`
    listed : labels with figures, and whose moved spectra are listed
    flags : of `labels.flag_changes`
    only_before, only_after, other_unit : names of columns
    renamed : columns that the two catalogues call differently, `old, now new`
    causes : what differs between settings, versions and inputs
    images : label to its figure's source; "" is that of the counts
    """

    names: tuple[str, str]
    limit: float
    n_before: int = 0
    n_after: int = 0
    n_both: int = 0
    n_moved: int = 0
    new_type: int = 0
    came: pd.DataFrame = field(default_factory=pd.DataFrame)
    went: pd.DataFrame = field(default_factory=pd.DataFrame)
    by_type: dict[str, list[int]] = field(default_factory=dict)
    labels: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(COLUMNS)))
    listed: list[str] = field(default_factory=list)
    flags: pd.DataFrame = field(default_factory=pd.DataFrame)
    only_before: list[str] = field(default_factory=list)
    only_after: list[str] = field(default_factory=list)
    other_unit: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    causes: Causes = field(default_factory=Causes)
    images: dict[str, str] = field(default_factory=dict)


def compare_runs(
    before: RunFiles,
    after: RunFiles,
    folder: Path,
    limit: float = 1.0,
    wanted: Sequence[str] = (),
) -> Comparison:
    """Compare two runs, and write the tables `labels.csv`, `moved.csv` and `came_and_went.csv`.

    Parameters
    ----------
    folder : for the tables; made if it does not exist
    limit : a label moved when its shift is larger than so many combined errors
    wanted : labels with figures and in `moved.csv`; by default `MAIN`, as far as both runs have them

    Raises
    ------
    UserError
        A run has no catalogue, or the two do not have a wanted label.
    """
    old, new = Catalogue(before.catalogue), Catalogue(after.catalogue)
    found = Comparison((before.name, after.name), limit)
    names = compared_labels(old, new)
    wanted = [present_name(name, names) for name in wanted]
    for name in wanted:
        if name not in names:
            raise UserError(
                f"--label {name}: the two catalogues have no such column with an error{nearest(name, names)}"
            )
    found.listed = list(wanted or (name for name in MAIN if name in names))
    found.units = {name: new.about(name, "unit") for name in names}
    _columns(found, old, new)
    folder.mkdir(parents=True, exist_ok=True)
    pairing = pair(old.names(), new.names())
    _came_and_went(found, old, new, pairing, before, after, folder)
    old_types, types = old.types()[pairing.before], new.types()[pairing.after]
    found.new_type = int(np.count_nonzero(old_types != types))
    any_moved = np.zeros(found.n_both, bool)
    parts = []
    with atomic(folder / "moved.csv") as temporary:
        for name in [*found.listed, *(name for name in names if name not in found.listed)]:
            one = shifts(old, new, pairing, types, name)
            parts.append(summary(one))
            if name in found.listed:
                any_moved |= np.nan_to_num(np.abs(one.sigmas)) > limit
                _list(temporary, old, pairing, one, limit, first=name == found.listed[0])
                if np.isfinite(one.shift).any():
                    found.images[name] = svg_source(label_figure(one, found.units[name]))
        if not found.listed:
            temporary.write_text("", encoding="utf-8")
    if parts:
        found.labels = pd.concat(parts, ignore_index=True)
    found.n_moved = int(any_moved.sum())
    found.by_type["moved"] = _per_type(types[any_moved])
    write_csv(folder / "labels.csv", found.labels, _DIGITS)
    both = set(old.columns) & set(new.columns)
    flags = [
        name for name in new.columns if name in both and name.startswith(("flag_", "recommended"))
    ]
    found.flags = flag_changes(old, new, pairing, flags)
    found.images[""] = svg_source(counts_figure(found.by_type))
    found.causes = _causes(before, after, old, new)
    return found


def _columns(found: Comparison, old: Catalogue, new: Catalogue) -> None:
    found.renamed = [
        f"{old.stored[name]}, now {stored}"
        for name, stored in new.stored.items()
        if old.stored.get(name, stored) != stored
    ]
    found.only_before = [name for name in old.columns if name not in new.columns]
    found.only_after = [name for name in new.columns if name not in old.columns]
    found.other_unit = [
        f"{name} ({old.about(name, 'unit') or 'none'}, then {new.about(name, 'unit') or 'none'})"
        for name in new.columns
        if name in old.columns and old.about(name, "unit") != new.about(name, "unit")
    ]


def _came_and_went(
    found: Comparison,
    old: Catalogue,
    new: Catalogue,
    pairing: Pairing,
    before: RunFiles,
    after: RunFiles,
    folder: Path,
) -> None:
    found.n_both = len(pairing.before)
    found.n_before = found.n_both + len(pairing.went)
    found.n_after = found.n_both + len(pairing.came)
    came = reasons(new, pairing.came, before.rejected).assign(change="came")
    went = reasons(old, pairing.went, after.rejected).assign(change="went")
    table = pd.concat([came, went], ignore_index=True)
    columns = ["change", "spectrum_id", "spectral_type", "reason"]
    write_csv(folder / "came_and_went.csv", table[columns], _DIGITS)
    keys = ["spectral_type", "reason"]
    found.came = came.groupby(keys, as_index=False).size()
    found.went = went.groupby(keys, as_index=False).size()
    found.by_type = {
        "came": [int((came["spectral_type"] == name).sum()) for name in TYPE_ORDER],
        "went": [int((went["spectral_type"] == name).sum()) for name in TYPE_ORDER],
    }


def _per_type(types: NDArray[np.int8]) -> list[int]:
    return [int(np.count_nonzero(types == number)) for number in range(len(TYPE_ORDER))]


def _list(
    path: Path, old: Catalogue, pairing: Pairing, one: Shifts, limit: float, first: bool
) -> None:
    """Append a label's moved spectra to the table, which `first` begins with its heading."""
    empty = pd.DataFrame(
        columns=[
            *("spectrum_id", "spectral_type", "label", "before", "before_err", "after"),
            *("after_err", "shift", "sigmas"),
        ]
    )
    if first:
        empty.to_csv(path, index=False, lineterminator="\n")
    for part in moved(old, pairing, one, limit):
        part[list(empty.columns)].to_csv(
            path, mode="a", header=False, index=False, float_format=f"%.{_DIGITS}g",
            lineterminator="\n",
        )  # fmt: skip


def _causes(before: RunFiles, after: RunFiles, old: Catalogue, new: Catalogue) -> Causes:
    without = [run for run in (before, after) if not run.record.is_file()]
    if not without:
        return causes(read_record(before.record), read_record(after.record))
    notes = [
        f"{run.name} has no {run.record.name} (made by an earlier version), so single settings and versions of "
        "packages are not compared: only the headers of the catalogues are"
        for run in without
    ]
    return causes_of_cards(old.card, new.card, notes)
