"""Relations as files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from lamostvac.core.hdf5 import atomic_hdf5, open_hdf5, read_text, write_attributes
from lamostvac.recommend.correlations import Correlation
from lamostvac.recommend.known import KnownStars
from lamostvac.recommend.relations import LabelRelations, Relation
from lamostvac.recommend.scales import ErrorScale

_RELATION = ("order", "scatter", "n", "shift", "common")
_CORRELATION = ("rho", "shares", "systematic", "n")


def save(path: str | Path, fitted: Sequence[LabelRelations]) -> None:
    """Write relations to HDF5: a group per label with `relations/{source}`,
    `correlations/{a} {b}`, where weights were learned `scales/{source}` and `learned/{a} {b}`, and
    where networks were trained `known/{source}`.
    """
    with atomic_hdf5(path) as handle:
        for item in sorted(fitted, key=lambda item: item.label):
            group = handle.create_group(item.label)
            write_attributes(group, {"scale": item.scale})
            for name, relation in sorted(item.relations.items()):
                part = group.create_group(f"relations/{name}")
                write_attributes(part, {key: getattr(relation, key) for key in _RELATION})
                for key in ("coefficients", "covariance", "limits"):
                    part.create_dataset(key, data=getattr(relation, key), track_times=False)
            for (a, b), correlation in sorted(item.correlations.items()):
                part = group.create_group(f"correlations/{a} {b}")
                write_attributes(part, {key: getattr(correlation, key) for key in _CORRELATION})
            for name, scale in sorted(item.scales.items()):
                part = group.create_group(f"scales/{name}")
                write_attributes(part, {"n": scale.n})
                for key in ("coefficients", "centre", "limits"):
                    part.create_dataset(key, data=getattr(scale, key), track_times=False)
            for (a, b), learned in sorted(item.learned.items()):
                part = group.create_group(f"learned/{a} {b}")
                write_attributes(part, {"correlation": learned})
            for name, known in sorted(item.known.items()):
                part = group.create_group(f"known/{name}")
                for key in ("places", "labels", "star"):
                    part.create_dataset(key, data=getattr(known, key), track_times=False)


def in_words(fitted: Sequence[LabelRelations]) -> Iterator[str]:
    """What was found, a line for each relation, factor and correlation."""
    for item in fitted:
        for source, relation in item.relations.items():
            numbers = np.round(relation.coefficients, 4).tolist()
            yield (
                f"{item.label}: {source} to the scale of {item.scale} from {relation.n} stars, "
                f"{numbers}"
            )
        used = {name: scale for name, scale in item.scales.items() if scale.n}
        for source, scale in used.items():
            numbers = np.round(scale.coefficients, 2).tolist()
            yield (
                f"{item.label}: errors of {source} times {np.exp(scale.coefficients[0]):.2f} from "
                f"{scale.n} left-out stars, {numbers}"
            )
        for (a, b), learned in item.learned.items():
            if a in used and b in used:
                yield f"{item.label}: correlation of the errors of {a} and {b} {learned:.2f}"


def load(path: str | Path) -> list[LabelRelations]:
    """The relations that `save` wrote, labels in alphabetical order."""
    with open_hdf5(path) as handle:
        return [_load_label(handle[label], label) for label in sorted(handle)]


def _load_label(group: h5py.Group, label: str) -> LabelRelations:
    relations = {
        name: Relation(
            int(part.attrs["order"]),
            part["coefficients"][()],
            part["covariance"][()],
            part["limits"][()],
            float(part.attrs["scatter"]),
            int(part.attrs["n"]),
            float(part.attrs["shift"]),
            float(part.attrs.get("common", 0.0)),  # packs of before have none
        )
        for name, part in group["relations"].items()
    }
    correlations = {}
    for name, part in group.get("correlations", {}).items():
        first, second = (float(share) for share in part.attrs["shares"])
        correlations[_pair(name)] = Correlation(
            float(part.attrs["rho"]),
            (first, second),
            int(part.attrs["n"]),
            float(part.attrs["systematic"]),
        )
    scales = {
        name: ErrorScale(
            part["coefficients"][()], part["centre"][()], part["limits"][()], int(part.attrs["n"])
        )
        for name, part in group.get("scales", {}).items()
    }
    learned = {
        _pair(name): float(part.attrs["correlation"])
        for name, part in group.get("learned", {}).items()
    }
    known = {
        name: KnownStars(part["places"][()], part["labels"][()], part["star"][()])
        for name, part in group.get("known", {}).items()
    }
    return LabelRelations(
        label, read_text(group.attrs, "scale"), relations, correlations, scales, learned, known
    )


def _pair(name: str) -> tuple[str, str]:
    a, b = name.split(" ")
    return a, b
