"""The compiled loops give the bits of NumPy's, and are used only where they are those of this source."""

import importlib.util
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isolation import missing
from preparation import LAMOST, masking, outcome, wild_spectrum

from lamostvac.spectra import native
from lamostvac.spectra.continuum import running_median
from lamostvac.spectra.network_grid import NetworkPreparation, normalise_network_spectrum
from lamostvac.spectra.normalise import normalise_spectrum
from lamostvac.spectra.reader import read_spectrum
from lamostvac.spectra.rest_frame import rest_spectrum

pytestmark = pytest.mark.numeric

PREPARATION = masking((4400.0, 4440.0), (6860.0, 6960.0), min_good_fraction=0.3)
NETWORKS = NetworkPreparation()


@pytest.fixture(scope="session")
def compiler(project):
    """tools/compile_native.py."""
    path = project / "tools/compile_native.py"
    spec = importlib.util.spec_from_file_location("compile_native", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def library(compiler, tmp_path_factory):
    """The library, compiled from the source as it is."""
    if shutil.which("cc") is None:
        missing("there is no C compiler `cc`")
    path = tmp_path_factory.mktemp("native") / "native.lib"
    assert compiler.compile_native(str(native.SOURCE), str(path)) is None
    loaded = native.load(path)
    assert loaded is not None
    return loaded


def with_library(library, function, *arguments):
    """What a function gives with a library, or with None."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "compiled", lambda: library)
        return function(*arguments)


def assert_same_bits(library, function, *arguments):
    found, expected = (with_library(one, function, *arguments) for one in (library, None))
    if isinstance(expected, str):
        assert found == expected
        return
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        # Which NaN it is, and the sign of a zero, say nothing.
        np.testing.assert_array_equal(one, other)


def prepared(wave, flux, ivar, redshift):
    """All that both preparations make of a spectrum; of one that cannot be used, why."""
    spectrum = outcome(rest_spectrum, wave, flux, ivar, redshift)
    if isinstance(spectrum, str):
        return spectrum
    arrays = [spectrum.flux, spectrum.slope, spectrum.ivar]
    for normalise, preparation in (
        (normalise_spectrum, PREPARATION),
        (normalise_network_spectrum, NETWORKS),
    ):
        found = outcome(normalise, spectrum, preparation)
        arrays += [np.array([found])] if isinstance(found, str) else found
    return arrays


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), bad=st.integers(0, 60), redshift=st.floats(-0.002, 0.002))
def test_wild_spectra_are_prepared_with_the_same_bits(library, seed, bad, redshift):
    flux, ivar = wild_spectrum(np.random.default_rng(seed), len(LAMOST), bad)
    assert_same_bits(library, prepared, LAMOST, flux, ivar, redshift)


@pytest.mark.parametrize("flux", [0.0, 1.0, -1.0, 3e38, 1e-38, np.nan])
def test_constant_spectra_are_prepared_with_the_same_bits(library, flux):
    flux = np.full(len(LAMOST), flux, np.float32)
    flux[700:720], flux[1500] = np.nan, np.inf
    assert_same_bits(library, prepared, LAMOST, flux, np.full_like(flux, 100.0), 0.0)


def test_real_spectra_are_prepared_with_the_same_bits(library, real_data):
    files = sorted((real_data / "lamost").rglob("*.fits.gz"))[::100]
    assert len(files) > 5
    for path in files:
        spectrum = outcome(read_spectrum, path)
        if not isinstance(spectrum, str):
            arguments = (spectrum.wave, spectrum.flux, spectrum.ivar, 1e-4)
            assert_same_bits(library, prepared, *arguments)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 300),
    redshift=st.sampled_from([0.0, 1e-4, 0.3]),
)
def test_any_grid_has_the_same_bits(library, seed, n, redshift):
    rng = np.random.default_rng(seed)
    wave = 4000 + np.cumsum(rng.uniform(0.01, 3, n))
    rest = wave / (1 + redshift)
    grid = rng.permutation(
        np.concatenate([rng.uniform(rest[0] - 2, rest[-1] + 2, 200), rest, np.nextafter(rest, 0)])
    )

    def onto(width):
        spectrum = outcome(
            rest_spectrum, wave, *wild_spectrum(np.random.default_rng(seed), n, 3), redshift
        )
        return spectrum if isinstance(spectrum, str) else spectrum.onto(grid, width)

    assert_same_bits(library, onto, 1.5)
    assert_same_bits(library, onto, rng.uniform(0.5, 2, len(grid)))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 400),
    window=st.integers(1, 450),
    kind=st.sampled_from(["noise", "few values", "nearly equal", "rising", "huge"]),
    share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
)
def test_running_medians_are_those_of_bottleneck(library, seed, n, window, kind, share):
    rng = np.random.default_rng(seed)
    flux = rng.normal(0, 10 ** rng.uniform(-3, 3), n)
    flux = {
        "noise": flux,
        "few values": np.round(flux),
        "nearly equal": 1 + 1e-12 * flux,  # the same in single precision
        "rising": np.sort(flux),
        "huge": flux * 1e300,
    }[kind]
    good = rng.random(n) >= share
    for shape in ((n,), (1, n)) if n else ((n,),):
        arguments = (flux.reshape(shape), good.reshape(shape), window)
        found, expected = (with_library(one, running_median, *arguments) for one in (library, None))
        np.testing.assert_array_equal(found, expected)


def test_a_library_of_another_source_is_not_used(compiler, library, tmp_path):
    other = tmp_path / "native.c"
    other.write_text(native.SOURCE.read_text() + "\n/* changed */\n")
    path = tmp_path / "native.lib"
    assert compiler.compile_native(str(other), str(path)) is None
    assert compiler.is_compiled(str(other), str(path))
    assert not compiler.is_compiled(str(native.SOURCE), str(path))
    assert native.load(path) is None
    foreign = tmp_path / "foreign.so"  # bytes of a loaded library must not change
    foreign.write_bytes(b"for another processor")
    assert native.load(foreign) is None
    assert native.load(tmp_path / "not_there.so") is None


def test_what_cannot_be_compiled_is_said_and_leaves_what_was_there(
    compiler, tmp_path, monkeypatch, capsys
):
    source, path = tmp_path / "native.c", tmp_path / "native.lib"
    source.write_text("int anything;")
    path.write_text("before")
    monkeypatch.setattr(compiler, "SOURCE", str(source))
    monkeypatch.setattr(compiler, "COMPILED", str(path))
    for program, why in (("no_such_compiler", "No such file"), ("false", "false failed")):
        monkeypatch.setenv("CC", program)
        compiler.main()
        said = capsys.readouterr().out
        assert said.startswith("lamostvac/spectra/native.c is not compiled, NumPy does the same")
        assert why in said
        assert len(said.splitlines()) == 1
        assert path.read_text() == "before"
        assert {found.name for found in tmp_path.iterdir()} == {"native.c", "native.lib"}
