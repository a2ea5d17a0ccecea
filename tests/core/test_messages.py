"""A mistake in any file that a user writes is told by its place, with the key that was meant."""

import copy
from typing import Any

import pytest
import yaml
from registries import REGISTRY

from lamostvac.core.exceptions import UserError
from lamostvac.distance.schema import load_photometry
from lamostvac.fetch.sources import load_sources
from lamostvac.recommend.definitions import load_definitions
from lamostvac.training.load import load_training_sets
from lamostvac.validation.schema import load_comparisons

READERS = {
    "comparisons": lambda path: load_comparisons(path, REGISTRY),
    "photometry": load_photometry,
    "recommended": lambda path: load_definitions(path, REGISTRY.names),
    "sources": load_sources,
    "training_sets": load_training_sets,
}


def renamed(content: Any, place: str, name: str) -> Any:
    """The content with another name for a key."""
    content = copy.deepcopy(content)
    *outer, last = place.split(".")
    inner = content
    for part in outer:
        inner = inner[int(part) if part.isdigit() else part]
    inner[name] = inner.pop(last)
    return content


@pytest.mark.parametrize(
    ("file", "place", "wrong", "told"),
    [
        ("comparisons", "comparisons.0.labels", "label", "entry apogee: label"),
        ("comparisons", "comparisons.0.sky.radius", "radis", "entry apogee: sky.radis"),
        ("photometry", "catalogue.columns", "colums", "catalogue.colums"),
        ("photometry", "match.radius", "raduis", "match.raduis"),
        ("photometry", "join.0.match.by", "bye", "join.0.match.bye"),
        ("recommended", "recommended.0.scale", "scales", "teff: scales"),
        ("recommended", "recommended.0.sources.1.within", "with", "teff: sources.1.with"),
        ("sources", "sources.0.content", "contents", "source mastar_spectra: contents"),
        ("sources", "sources.0.urls", "url", "source mastar_spectra: url"),
        ("sources", "sources", "source", "source"),
        ("training_sets", "training_sets.0.labels.0.range", "rang", "set pastel: labels.0.rang"),
    ],
)
def test_a_misspelt_key_is_told_with_its_place_and_the_key_that_was_meant(
    project, tmp_path, file, place, wrong, told
):
    content = yaml.safe_load((project / f"config/{file}.yaml").read_text())
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(renamed(content, place, wrong)))
    with pytest.raises(UserError) as caught:
        READERS[file](path)
    meant = place.rpartition(".")[2]
    assert str(caught.value) == f"{path}: {told}: there is no such key; did you mean {meant}?"


def test_the_shipped_files_are_right(project):
    for name, read in READERS.items():
        assert read(project / f"config/{name}.yaml")
