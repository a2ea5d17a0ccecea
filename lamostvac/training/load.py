"""Reading and checking the file of the training sets, and which of them a run has the files for."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse
from lamostvac.core.files import read_yaml, with_shipped
from lamostvac.core.messages import entry_name, mistake, nearest
from lamostvac.core.paths import TRAINING_SETS_PATH
from lamostvac.training.schema import TrainingSet


def load_training_sets(path: str | Path) -> list[TrainingSet]:
    """The training sets that a YAML file defines, parents before children; the word `default` in its
    list stands for the shipped ones.

    Raises
    ------
    UserError
        An entry is wrong, a label or name occurs twice, or a parent is unknown; the message is one
        sentence that names entry and key.
    """
    content = read_yaml(path, "networks.training_sets:")
    entries = content.get("training_sets") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UserError(f"networks.training_sets: {path} must be YAML with a list `training_sets:`")
    entries = with_shipped(entries, "training_sets", TRAINING_SETS_PATH)
    sets = [_entry(entry, number, path) for number, entry in enumerate(entries, start=1)]
    _check_sets(sets, path)
    return _parents_first(sets, path)


def _entry(entry: Any, number: int, path: str | Path) -> TrainingSet:
    try:
        return TrainingSet.model_validate(entry)
    except ValidationError as error:
        raise UserError(
            f"{path}: set {entry_name(entry, number)}: {mistake(error, TrainingSet)}"
        ) from None


def _check_sets(sets: Sequence[TrainingSet], path: str | Path) -> None:
    names = [entry.name for entry in sets]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: two training sets are called {name}")
    labels = [(label, entry.name) for entry in sets for label in entry.label_names]
    owners: dict[str, str] = {}
    for label, owner in labels:
        if label in owners:
            raise UserError(
                f"{path}: the label {label} is defined twice, in {owners[label]} and in {owner}"
            )
        owners[label] = owner
    for entry in sets:
        if entry.parent is not None and entry.parent not in names:
            raise UserError(
                f"{path}: set {entry.name}: there is no parent {entry.parent}{nearest(entry.parent, names)}"
            )
        for label in entry.grid:
            if label not in owners:
                raise UserError(
                    f"{path}: set {entry.name}: grid: there is no label {label}{nearest(label, owners)}"
                )
        if entry.network.apply is not None:
            for label in parse(entry.network.apply).names:
                if label not in owners:
                    raise UserError(
                        f"{path}: set {entry.name}: network.apply: there is no label {label}{nearest(label, owners)}"
                    )
                if owners[label] == entry.name:
                    raise UserError(
                        f"{path}: set {entry.name}: network.apply: {label} is what the set itself predicts; "
                        "name labels of other sets"
                    )


def _parents_first(sets: Sequence[TrainingSet], path: str | Path) -> list[TrainingSet]:
    ordered: dict[str, TrainingSet] = {}
    waiting = list(sets)
    while waiting:
        ready = [entry for entry in waiting if entry.parent is None or entry.parent in ordered]
        if not ready:
            raise UserError(f"{path}: set {waiting[0].name}: its parents go round in a circle")
        ordered |= {entry.name: entry for entry in ready}
        waiting = [entry for entry in waiting if entry.name not in ordered]
    for entry in ordered.values():
        if entry.parent is not None:
            _check_child(entry, ordered[entry.parent], path)
    return list(ordered.values())


def _check_child(entry: TrainingSet, parent: TrainingSet, path: str | Path) -> None:
    """A child's labels and cuts name columns of the parent's table."""
    known = table_columns(parent)
    expressions = [cut.cut for cut in entry.cuts] + [
        cut.cut for label in entry.labels for cut in label.cuts
    ]
    columns = [column for label in entry.labels for column in (label.column, label.error) if column]
    named = [name for text in expressions for name in parse(text).names]
    for name in (*columns, *named):
        if name not in known:
            raise UserError(
                f"{path}: set {entry.name}: the table of its parent {parent.name} has no column {name}"
                f"{nearest(name, known)}"
            )


def table_columns(entry: TrainingSet) -> list[str]:
    """The columns of the set's FITS table."""
    labels = [name for label in entry.label_names for name in (label, f"{label}_err")]
    keys = ["spectrum_id", "obsid", "ra", "dec", "spectral_type", "snr", "star", "identifier"]
    return [*keys, *labels, "split"]


def available_sets(
    sets: Sequence[TrainingSet], root: str | Path, produced: Iterable[str] = ()
) -> tuple[list[TrainingSet], list[str]]:
    """The sets whose files exist, and a sentence for each that is skipped.

    Parameters
    ----------
    sets : parents before children
    root : networks.root
    produced : files that the run itself writes, which need not exist yet

    Raises
    ------
    UserError
        A file of a set that is not optional is missing.
    """
    written = {str(Path(path)) for path in produced}
    present: list[TrainingSet] = []
    skipped = []
    for entry in sets:
        if entry.parent is not None:
            if entry.parent in [other.name for other in present]:
                present.append(entry)
            else:
                skipped.append(
                    f"training set {entry.name}: skipped, because its parent {entry.parent} is"
                )
            continue
        absent = [
            Path(root) / name
            for name in entry.files()
            if not (Path(root) / name).is_file() and str(Path(root) / name) not in written
        ]
        if not absent:
            present.append(entry)
        elif entry.optional:
            skipped.append(f"training set {entry.name}: skipped, there is no file {absent[0]}")
        else:
            # A run that makes its catalogues has them in a folder of its own, whatever networks.root is.
            place = "give its absolute path" if written else "set networks.root to its folder"
            raise UserError(
                f"training set {entry.name}: there is no file {absent[0]}; put it there, {place}, or mark the set "
                "`optional: true`"
            )
    return present, skipped
