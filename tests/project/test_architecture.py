"""The library's packages: what may import what, how large a module may be, where things live."""

from workflow_run import fresh_python

from tools import architecture, versions


def test_every_package_has_its_layer():
    assert sorted(name for layer in architecture.LAYERS for name in layer) == versions.packages()


def test_no_package_imports_from_one_above_it():
    assert architecture.upwards() == []
    assert len(architecture.arrows()) > 50


def test_no_modules_import_each_other():
    assert architecture.cycles() == []


def test_an_import_upwards_and_a_cycle_are_seen(tmp_path, monkeypatch):
    """The two tests above can fail."""
    from lamostvac.core import code_version

    for path, text in {
        "core/a.py": "from lamostvac.run.b import x\n",
        "run/b.py": "from lamostvac.core.a import y\n",
    }.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    for module in (architecture, code_version):
        monkeypatch.setattr(module, "LIBRARY", tmp_path)
    code_version.find_file.cache_clear()
    try:
        assert architecture.upwards() == ["core/a.py imports run/b.py"]
        assert [sorted(cycle) for cycle in architecture.cycles()] == [["core/a.py", "run/b.py"]]
    finally:
        code_version.find_file.cache_clear()


def test_no_module_is_too_long():
    too_long = [
        (lines, name) for lines, name in architecture.sizes() if lines > architecture.LARGEST
    ]
    assert too_long == []


def test_importing_the_library_loads_nothing_else(project):
    program = "import lamostvac, sys; print(*sys.modules)"
    before = set(fresh_python(project, "import sys; print(*sys.modules)"))
    assert set(fresh_python(project, program)) - before == {"lamostvac"}


def test_the_picture_is_drawn(tmp_path):
    architecture.draw(str(tmp_path / "packages.png"))
    assert (tmp_path / "packages.png").stat().st_size > 20_000
