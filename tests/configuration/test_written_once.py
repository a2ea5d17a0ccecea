"""A setting and its default are written once, in the section of its stage."""

import ast
from collections import Counter, defaultdict

import pytest

from lamostvac.configuration.root import Configuration
from lamostvac.core.models import submodel, walk


def sections():
    """Every model of the configuration, by its place; the entries of lists are made of sections."""

    def of(model, place):
        yield place, model
        for name, field in model.model_fields.items():
            if inner := submodel(field):
                yield from of(inner, f"{place}.{name}")

    for name, field in Configuration.model_fields.items():
        if inner := submodel(field):
            yield from of(inner, name)


def repeating(text, name="x.py", common=3):
    """Classes of a module that define `common` or more keys of one section, with defaults of their own."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef):
            continue
        given = {
            line.target.id
            for line in node.body
            if isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and line.value is not None
        }
        for place, model in sections():
            if len(given & set(model.model_fields)) >= common:
                found.append(f"{name}: {node.name} repeats {place}")
    return found


def package_keys(settings):
    """Name and default, as text, of every key that a stage's settings.py defines."""
    keys = defaultdict(set)
    for node in ast.walk(ast.parse(settings.read_text())):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
            given = [
                *node.value.args,
                *(k.value for k in node.value.keywords if k.arg == "default"),
            ]
            if given:
                keys[node.target.id].add(ast.unparse(given[0]))
    return keys


def repeated_defaults(text, keys):
    """Parameters of functions whose name and default are those of a key; `None`, 0 and the like mean many things."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef):
            continue
        named = [*node.args.posonlyargs, *node.args.args]
        pairs = [
            *zip(named[len(named) - len(node.args.defaults) :], node.args.defaults, strict=True),
            *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
        ]
        for argument, default in pairs:
            given = isinstance(default, ast.Constant) and default.value
            if given and ast.unparse(default) in keys.get(argument.arg, ()):
                found.append(f"{node.name}({argument.arg}={ast.unparse(default)})")
    return found


def test_no_class_outside_the_sections_repeats_a_section(project):
    found = []
    for path in sorted((project / "lamostvac").rglob("*.py")):
        if path.name not in ("settings.py", "root.py"):
            found += repeating(path.read_text(), str(path.relative_to(project)))
    assert found == []


def test_no_function_repeats_the_default_of_its_stage(project):
    found = []
    for settings in sorted((project / "lamostvac").glob("*/settings.py")):
        keys = package_keys(settings)
        for path in sorted(settings.parent.rglob("*.py")):
            found += [
                f"{path.relative_to(project)}: {what}"
                for what in repeated_defaults(path.read_text(), keys)
            ]
    assert found == []


def test_each_key_is_defined_by_one_class_of_its_section():
    """Sections are composed of parts; a key that two of them define would have two defaults."""
    for place, model in sections():
        own = [
            name
            for base in model.__mro__
            for name in vars(base).get("__annotations__", {})
            if name in model.model_fields
        ]
        twice = [name for name, count in Counter(own).items() if count > 1]
        assert not twice, (place, twice)


def test_every_key_of_the_configuration_has_a_default():
    assert [path for path, field in walk(Configuration) if field.is_required()] == []


@pytest.mark.parametrize("base", ["", "(Section)"])
def test_a_class_that_repeats_a_section_is_found(base):
    text = f"class Settings{base}:\n    clip: float = 5.0\n    min_snr: float = 1.0\n    max_ebv: float = 0\n"
    assert repeating(text) == ["x.py: Settings repeats star_pairs"]
    assert repeating(text.replace("    clip: float = 5.0\n", "    clip: float\n")) == []


def test_a_default_that_is_repeated_is_found():
    keys = {"clip": {"5.0"}}
    assert repeated_defaults("def f(a, clip=5.0): ...", keys) == ["f(clip=5.0)"]
    assert repeated_defaults("def f(a, *, clip=5.0): ...", keys) == ["f(clip=5.0)"]
    assert repeated_defaults("def f(a, clip=4.0): ...", keys) == []
