"""The shipped registry of columns with the labels of a file of training sets."""

from pathlib import Path

from lamostvac.catalog.registry import load_registry, network_labels
from lamostvac.training.load import load_training_sets

PROJECT = Path(__file__).resolve().parents[2]


def shipped_registry(name="training_sets.yaml"):
    return load_registry(
        network_labels(
            {
                "label": label.name,
                "set": entry.name,
                **label.model_dump(include={"unit", "ucd", "description"}),
            }
            for entry in load_training_sets(PROJECT / "config" / name)
            for label in entry.labels
        )
    )


REGISTRY = shipped_registry()
