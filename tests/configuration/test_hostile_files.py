"""Files that the configuration names, with odd values anywhere: read, or one sentence."""

import copy
import functools

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamostvac.catalog.registry import load_registry
from lamostvac.configuration.root import read_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.distance.schema import load_photometry
from lamostvac.fetch.sources import load_sources
from lamostvac.recommend.definitions import load_definitions
from lamostvac.report.overview import load_limits
from lamostvac.run.resources import load_model
from lamostvac.run.site import load_site
from lamostvac.training.load import load_training_sets
from lamostvac.validation.schema import load_comparisons

REGISTRY = load_registry()
READERS = {
    "columns": lambda path: load_registry((), path),
    "comparisons": lambda path: load_comparisons(path, REGISTRY),
    "lamost_dr10": read_configuration,
    "overview": load_limits,
    "photometry": load_photometry,
    "recommended": lambda path: load_definitions(path, REGISTRY.names),
    "resources": load_model,
    "sources": load_sources,
    "training_sets": load_training_sets,
}
ODD = [
    None, True, -1, 0, 1.5, float("nan"), float("inf"), 2**63 - 1, -(2**63), "", "x", "{x}", "(", "(a+)+$", "é", "a\nb",
    [], {}, [None], {"a": 1}, {1: 2}, {None: None}, "2020-01-01", [[["x"]]], "x" * 5000, "1+" * 300 + "1", ".", "..",
]  # fmt: skip


@functools.cache
def content_of(path):
    """The content of a shipped file, not to be changed."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def write(path, content):
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    path.write_text(yaml.dump(content, Dumper=dumper, allow_unicode=True), encoding="utf-8")


def places(content, place=()):
    yield place
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from places(value, (*place, key))


def refusal(read, *arguments):
    """What a reader says where it refuses; nothing where it does not."""
    try:
        read(*arguments)
    except UserError as error:
        return str(error)
    return ""


def changed(content, draw):
    """The content with one value replaced, left out, or added."""
    content = copy.deepcopy(content)
    *inside, last = draw(st.sampled_from([place for place in places(content) if place]))
    parent = content
    for key in inside:
        parent = parent[key]
    how = draw(st.sampled_from(["replace", "replace", "leave out", "add"]))
    if how == "replace":
        parent[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
    elif how == "leave out":
        del parent[last]
    elif isinstance(parent, dict):
        parent[draw(st.sampled_from(["x", "", 1, None, True]))] = draw(st.sampled_from(ODD))
    else:
        parent.append(copy.deepcopy(parent[last]))
    return content


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_odd_value_anywhere_is_read_or_refused_in_a_sentence(project, tmp_path, name, data):
    path = tmp_path / "f.yaml"
    write(path, changed(content_of(project / f"config/{name}.yaml"), data.draw))
    assert "\n" not in refusal(READERS[name], path)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_odd_value_in_the_site_file_is_read_or_refused(project, tmp_path, monkeypatch, data):
    path = tmp_path / "site.yaml"
    write(path, changed(content_of(project / "config/site_example.yaml"), data.draw))
    monkeypatch.setenv("LAMOSTVAC_SITE", str(path))
    assert "\n" not in refusal(load_site, project)


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_stands_for_gigabytes_is_refused(tmp_path, name):
    path = tmp_path / "f.yaml"
    aliases = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    path.write_text(f"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{aliases}")
    with pytest.raises(UserError, match="it stands for more than 100000 values"):
        READERS[name](path)
