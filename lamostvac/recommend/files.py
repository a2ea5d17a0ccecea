"""Relations as files."""

from collections.abc import Sequence
from pathlib import Path

import h5py

from lamostvac.core.hdf5 import atomic_hdf5, open_hdf5
from lamostvac.recommend.relations import Correlation, LabelRelations, Relation


def save(path: str | Path, fitted: Sequence[LabelRelations]) -> None:
    """Write relations to HDF5: a group per label with `relations/{source}` and
    `correlations/{a} {b}`.
    """
    with atomic_hdf5(path) as handle:
        for item in sorted(fitted, key=lambda item: item.label):
            group = handle.create_group(item.label)
            group.attrs["scale"] = item.scale
            for name, relation in sorted(item.relations.items()):
                part = group.create_group(f"relations/{name}")
                part.attrs["order"] = relation.order
                part.attrs["scatter"] = relation.scatter
                part.attrs["n"] = relation.n
                for key in ("coefficients", "covariance", "limits"):
                    part.create_dataset(key, data=getattr(relation, key), track_times=False)
            for (a, b), correlation in sorted(item.correlations.items()):
                part = group.create_group(f"correlations/{a} {b}")
                part.attrs["rho"] = correlation.rho
                part.attrs["shares"] = correlation.shares
                part.attrs["systematic"] = correlation.systematic
                part.attrs["n"] = correlation.n


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
        )
        for name, part in group["relations"].items()
    }
    correlations = {}
    for name, part in group.get("correlations", {}).items():
        a, b = name.split(" ")
        first, second = (float(share) for share in part.attrs["shares"])
        correlations[(a, b)] = Correlation(
            float(part.attrs["rho"]),
            (first, second),
            int(part.attrs["n"]),
            float(part.attrs["systematic"]),
        )
    return LabelRelations(label, str(group.attrs["scale"]), relations, correlations)
