"""The compiled loops give the bits of NumPy's, and are used only where they are those of this source."""

import ctypes
import importlib.util
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isolation import missing
from preparation import LAMOST, masking, outcome, wild_spectrum

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra import native
from lamostvac.spectra.batch import BATCH, Preparer
from lamostvac.spectra.continuum import running_median
from lamostvac.spectra.grid import GRID
from lamostvac.spectra.network_grid import NetworkPreparation, normalise_network_spectrum
from lamostvac.spectra.normalise import normalise_spectrum
from lamostvac.spectra.reader import Header, StoredSpectrum, read_spectrum
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


def stored(wave, flux, ivar, layout="image"):
    """A spectrum as a file of a layout stores it, with some mask bits."""
    masks = np.arange(len(wave)) % 7
    if layout == "image":
        numbers = [values.astype(">f4") for values in (wave, flux, ivar, masks, masks)]
    else:
        numbers = [
            values.astype(">f8" if layout == "wide" else "f8") for values in (wave, flux, ivar)
        ]
        numbers += [masks.astype(">i2")] * 2
    return StoredSpectrum(*numbers, Header(b""), layout)


def batch(spectra, redshifts, networks=NETWORKS, before=()):
    """All that both systems see of a batch; of what cannot be used, why in words."""
    arrays, preparer = [], Preparer(PREPARATION, networks)
    if before:
        preparer.prepare(*before)
    for found in preparer.prepare(spectra, redshifts):
        if isinstance(found, SpectrumRejected):
            arrays.append(np.array([str(found)]))
            continue
        arrays.append(np.array([found.sum_ormask]))
        for seen in found.seen:
            rejected = isinstance(seen, SpectrumRejected)
            arrays += [np.array([str(seen)])] if rejected else [one.copy() for one in seen]
    return arrays


def mixed_batch(rng):
    """Spectra of every kind and length, among them some that cannot be used, and their redshifts."""
    spectra = []
    for number in range(BATCH):
        wave = LAMOST[: len(LAMOST) - int(rng.integers(0, 3)) * int(rng.integers(0, 200))].copy()
        flux, ivar = wild_spectrum(rng, len(wave), int(rng.choice([0, 3, 40])))
        if number % 5 == 1:  # spacings with which the spline's elimination exchanges rows
            wave[1::2] += 0.6
        if number % 7 == 2:
            flux[:] = rng.choice([0, np.nan])
        if number % 11 == 3:
            wave[100] = wave[99]
        if number % 6 == 4:
            ivar[1400:1500] = 0
        spectra.append(stored(wave, flux, ivar, rng.choice(["image", "table", "wide"])))
    redshifts = rng.choice([0.0, 1e-4, -2e-3, np.nan, -1.0], BATCH, p=[0.3, 0.3, 0.3, 0.05, 0.05])
    return spectra, redshifts.tolist()


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_batches_are_prepared_with_the_bits_of_single_spectra(library, seed):
    spectra, redshifts = mixed_batch(np.random.default_rng(seed))
    few = spectra[: seed % BATCH + 1]
    assert_same_bits(library, batch, few, redshifts[: len(few)])


def test_a_batch_for_the_emulator_alone_has_the_same_bits(library):
    spectra, redshifts = mixed_batch(np.random.default_rng(5))
    assert_same_bits(library, batch, spectra, redshifts, None)


def test_what_a_batch_held_before_does_not_show_in_the_next(library):
    spectra, redshifts = mixed_batch(np.random.default_rng(6))
    found, expected = (
        with_library(library, batch, spectra, redshifts, NETWORKS, before)
        for before in ((spectra[::-1], redshifts[::-1]), ())
    )
    assert sum(len(one) == len(GRID) for one in found) >= 6  # flux and ivar of some are compared
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("function", ["running_median", "bridge_with_slopes"])
def test_without_memory_there_is_an_error_and_the_process_goes_on(library, function):
    far = ctypes.c_int64(1 << 50)  # numbers, which no machine holds; none of them is looked at
    space, one = np.zeros(300), ctypes.c_int64(1)
    at = space.ctypes.data_as(ctypes.c_void_p)
    arguments = {
        "running_median": (at, one, far, one, at),
        "bridge_with_slopes": (at, at, at, far, at),
    }
    status = library[f"lamostvac_{function}"](*arguments[function])
    with pytest.raises(MemoryError, match="no memory to prepare"):
        native.check(status)


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
