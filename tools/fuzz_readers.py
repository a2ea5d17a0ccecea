"""What `tools/fuzz.py` gives its inputs to: each reader, from a file to results that have to be finite.

A reader either raises `UserError` or `SpectrumRejected` with a sentence, or what it gives is looked at here.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from lamostvac.catalog.registry import load_registry
from lamostvac.configuration.root import read_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.distance.schema import load_photometry
from lamostvac.emulator.model import read_emulator
from lamostvac.external.columns import read_columns
from lamostvac.external.read import numbers_of, read_table
from lamostvac.fetch.sources import load_sources
from lamostvac.library.formats.choose import read_raw
from lamostvac.library.library import prepare_library
from lamostvac.library.resolution import resolving_power_fwhm
from lamostvac.library.settings import Library
from lamostvac.networks.agreement import check_agreement
from lamostvac.networks.ensemble import load_network
from lamostvac.networks.predict import NetworkStack, predict
from lamostvac.recommend.definitions import load_definitions
from lamostvac.spectra.batch import Prepared, Preparer
from lamostvac.spectra.identity import check_header
from lamostvac.spectra.network_grid import NetworkPreparation, normalise_network_spectrum
from lamostvac.spectra.normalise import normalise_spectrum
from lamostvac.spectra.reader import Header, StoredSpectrum, finite_number, read_stored
from lamostvac.spectra.rest_frame import rest_spectrum
from lamostvac.spectra.settings import Preparation
from lamostvac.survey import files, selection
from lamostvac.survey.catalogue import read_catalogues
from lamostvac.survey.chunks import chunks
from lamostvac.survey.headers import scan
from lamostvac.survey.paths import check_paths
from lamostvac.survey.settings import Survey
from lamostvac.training.load import load_training_sets
from lamostvac.uncertainty.type_errors import read_type_errors
from lamostvac.validation.schema import load_comparisons

SMALL_WINDOWS = NetworkPreparation(windows=[(4000.0, 4060.0), (8450.0, 8500.0)])
"""The grid of the networks that are mutated: small, so that findings are small files."""
PREPARATION = Preparation()
NETWORKS = NetworkPreparation()
REGISTRY = load_registry()
SURVEY = Survey()
_SILENT = logging.getLogger("fuzz")
_SILENT.disabled = True


class NotFinite(Exception):
    """A reader accepted an input and gave something that is not finite."""


def require_finite(name: str, values: Any) -> None:
    """Raise `NotFinite` unless all values are finite numbers."""
    if not np.isfinite(np.asarray(values, np.float64)).all():
        raise NotFinite(name)


class OtherInBatch(Exception):
    """A spectrum is not prepared in a batch as it is by itself."""


def _words(found: Prepared | SpectrumRejected) -> list[str]:
    """Rejections in words and digits of all pixels of what `Preparer.prepare` gives."""
    if isinstance(found, SpectrumRejected):
        return [f"{found.reason}: {found}"]
    words = [str(found.sum_ormask)]
    for seen in found.seen:
        if isinstance(seen, SpectrumRejected):
            words.append(f"{seen.reason}: {seen}")
        else:
            # Which NaN it is, and the sign of a zero, say nothing.
            words += [str(np.nan_to_num(pixels + np.float32(0)).tobytes()) for pixels in seen]
    return words


@cache
def _preparers() -> tuple[Preparer, Preparer]:
    """What prepares a batch in compiled code, where there is any, and what prepares one by one."""
    batch, alone = Preparer(PREPARATION, NETWORKS), Preparer(PREPARATION, NETWORKS)
    alone._compiled = None
    return batch, alone


@cache
def _neighbours() -> list[StoredSpectrum]:
    """Two ordinary spectra of different lengths; the second in the order of bytes of a file."""
    rng = np.random.default_rng(3)
    found = []
    for n, kind in ((3909, "f8"), (3700, ">f4")):
        wave = 10 ** (3.5682 + 1e-4 * np.arange(n))
        numbers = (wave, 1000 + 20 * rng.normal(size=n), np.full(n, 0.01), np.arange(n) % 3)
        wave, flux, ivar, mask = (values.astype(kind) for values in numbers)
        masks = mask.astype(">i2" if kind == "f8" else ">f4")
        found.append(StoredSpectrum(wave, flux, ivar, masks, masks, Header(b""), "image"))
    return found


def in_a_batch(stored: StoredSpectrum, redshift: float) -> None:
    """Raise `OtherInBatch` unless a spectrum and its neighbours are prepared together as alone."""
    long, short = _neighbours()
    spectra = [long, stored, short, stored, long]
    redshifts = [0.0, redshift, 1e-4, -redshift, 0.0]
    batch, alone = _preparers()
    found = [_words(one) for one in batch.prepare(spectra, redshifts)]
    for number, (one, z) in enumerate(zip(spectra, redshifts, strict=True)):
        if found[number] != _words(alone.prepare([one], [z])[0]):
            raise OtherInBatch(f"spectrum {number} of the batch, redshift {z!r}")


class OtherInTable(Exception):
    """A file is neither a row of the catalogue of its folder nor rejected."""


def header(path: Path) -> None:
    """As a folder without a catalogue is read; raises `OtherInTable` unless the file is in one of the tables."""
    found = scan([path])
    if len(found.table) + len(found.rejected) != 1:
        raise OtherInTable(f"{len(found.table)} rows, {len(found.rejected)} rejected")
    selection.select(found.table, SURVEY)
    for name in ("ra", "dec", "redshift", "snrr"):
        require_finite(name, found.table[name].drop_null().to_numpy())


def spectrum(path: Path) -> None:
    """As a chunk's spectra are read; the catalogue's row says what the header says where it can."""
    header(path)
    stored = read_stored(path)
    z = finite_number(stored.header.get("Z"))
    in_a_batch(stored, 0.0 if z is None else z)
    found = stored.decoded()
    said = found.header

    def number(keyword: str, absent: float) -> float:
        value = finite_number(said.get(keyword))
        return absent if value is None else value

    row = SimpleNamespace(
        lmjd=said.get("LMJD", 1),
        planid=str(said.get("PLANID")),
        spid=said.get("SPID", 1),
        fiberid=said.get("FIBERID", 1),
        obsid=int(number("OBSID", -1)),
        ra=number("RA", 10.0),
        dec=number("DEC", 10.0),
        redshift=number("Z", 0.0) if abs(number("Z", 0.0)) < SURVEY.max_abs_redshift else 0.0,
    )
    check_header(said, row, PREPARATION)
    rest = rest_spectrum(found.wave, found.flux, found.ivar, row.redshift)
    for name, values in zip(("flux", "ivar"), normalise_spectrum(rest, PREPARATION), strict=True):
        require_finite(name, values)
    for name, values in zip(
        ("flux", "ivar"), normalise_network_spectrum(rest, NETWORKS), strict=True
    ):
        require_finite(f"{name} for networks", values)


def table(path: Path) -> None:
    """The first columns of a table, as identifiers, numbers, texts, and as they come."""
    kinds = [pa.int64(), pa.float64(), pa.large_string(), None, pa.float32(), pa.int32(), None]
    names: list[str] = []

    def choose(found: Sequence[str]) -> dict[str, int]:
        names[:] = found
        return {f"c{i}": i for i in range(min(len(found), 2 * len(kinds)))}

    wanted = {f"c{i}": kind for i, kind in enumerate(2 * kinds) if kind is not None}
    columns, notes = read_columns(path, choose, wanted, len)
    notes.sentences(path)
    for name, column in columns.items():
        if pa.types.is_floating(column.type):
            require_finite(name, column.drop_null().to_numpy())
    own = {f"c{i}": name for i, name in enumerate(names[:6])}
    if len(set(own.values())) == len(own) > 0:
        rows = read_table(path, own, missing=(99.9,))
        for name in own:
            with suppress(UserError):  # a column of texts is right, too
                numbers_of(rows, name)


def catalogue(path: Path) -> None:
    """All that the survey does with a catalogue."""
    found = read_catalogues([str(path)])
    check_paths(found, SURVEY.file_pattern)
    selection.require_snr(found, SURVEY.snr_band)
    selected = selection.select(found, SURVEY)
    selection.counts(selected)
    rejections = selection.rejections(found, selected)
    selection.require_some(selected, [str(path)])
    made = chunks(found, selected, SURVEY.chunk_size)
    with tempfile.TemporaryDirectory() as folder:
        files.write_chunks(Path(folder), found, made, "release", SURVEY.file_pattern)
        files.write_rejected(f"{folder}/rejected.csv", rejections)
    for chunk in made:
        for name in ("ra", "dec", "redshift"):
            require_finite(name, found[name].take(pa.array(chunk.rows)).to_numpy())


def library(path: Path) -> None:
    """A library of the format that the file's name begins with, read and prepared."""
    kind = path.name.partition("_")[0]
    settings = Library(format=kind, name=kind, labels=["teff", "logg"]).model_dump(mode="json")
    with tempfile.TemporaryDirectory() as folder:
        place = path
        if kind in ("elodie", "stelib"):
            place = Path(folder)
            os.link(path, place / path.name)
        raw = read_raw(str(place), None, settings, _SILENT)
    width = resolving_power_fwhm(1800.0)
    found = prepare_library(raw, kind, ["teff", "logg"], PREPARATION, width, 0.0, _SILENT)
    for name, values in (
        ("flux", found.flux),
        ("ivar", found.ivar),
        ("labels", found.label_array()),
    ):
        require_finite(name, values)


def _network(path: Path) -> None:
    network = load_network(path)
    check_agreement("teff_x", str(path), network, SMALL_WINDOWS, "snrg")
    flux = np.ones((3, SMALL_WINDOWS.n_pixels), np.float32)
    with np.errstate(all="ignore"):  # what a network makes of its weights is not the reader's
        for _ in predict(NetworkStack([network]), flux, flux, {"teff_x": np.full(3, 30.0)}):
            pass


def _emulator(path: Path) -> None:
    emulator = read_emulator(path)
    with np.errstate(all="ignore"):
        emulator.spectra(np.full((2, len(emulator.label_names)), 5000.0))


def _errors(path: Path) -> None:
    errors, _ = read_type_errors(path)
    stars = np.ones(2)
    with np.errstate(all="ignore"):
        for model in errors.values():
            model.apply(np.ones((2, len(model.theta))), stars, stars, stars)


def hdf5(path: Path) -> None:
    """A network, an emulator or a file of error models, by the beginning of the file's name."""
    {"network": _network, "emulator": _emulator, "errors": _errors}[path.name.partition("_")[0]](
        path
    )


def _training_sets(path: Path) -> None:
    for entry in load_training_sets(path):
        entry.files()
        if entry.network.apply:
            parse(entry.network.apply, "apply")


_LOADERS: dict[str, Callable[[Path], object]] = {
    "config": read_configuration,
    "training": _training_sets,
    "comparisons": lambda path: load_comparisons(path, REGISTRY),
    "photometry": load_photometry,
    "sources": load_sources,
    "recommended": lambda path: load_definitions(path, REGISTRY.names),
    "columns": lambda path: load_registry((), path),
}


def configuration(path: Path) -> None:
    """A file of config/, by the beginning of its name."""
    _LOADERS[path.name.partition("_")[0]](path)


READERS: dict[str, Callable[[Path], None]] = {
    "spectrum": spectrum,
    "text_table": table,
    "fits_table": table,
    "catalogue": catalogue,
    "library": library,
    "hdf5": hdf5,
    "configuration": configuration,
}
