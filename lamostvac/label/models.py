"""The models of a pack, read once, and the labels that they give to the spectra of one chunk.

Each step is the function that the workflow's script of that name calls, so a spectrum gets the
labels that the run would give it. What differs: errors, relations, factors and the regression of
chi2 are the run's, whatever the few spectra here; each star is fitted from its own spectrum alone;
and there is no photometry, so no distance and no extinction.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamostvac.catalog.best_spectrum import set_unique
from lamostvac.catalog.flags import flag_further, set_flags
from lamostvac.catalog.left_out import read_left_out
from lamostvac.catalog.registry import (
    Registry,
    emulator_labels,
    load_registry,
    network_labels,
)
from lamostvac.catalog.rows import apply_curves, apply_errors, assemble, read_chunk
from lamostvac.core.exceptions import UserError
from lamostvac.core.hdf5 import atomic_hdf5, write_columns
from lamostvac.core.vocabulary import SpectralType
from lamostvac.emulator.model import read_emulator
from lamostvac.fit.fitter import StarFitter
from lamostvac.fit.left_out import LeftOutFitter
from lamostvac.fit.redshift import Templates, templates_of
from lamostvac.fit.results import fit_tables
from lamostvac.label.make import PLACES
from lamostvac.label.pack import CONTENT, Pack, PackSettings, member
from lamostvac.networks.ensemble import Network, load_network
from lamostvac.networks.predict import joined, predict_chunk, restrict
from lamostvac.networks.predict import set_flags as set_network_flags
from lamostvac.recommend import combine, files
from lamostvac.spectra.chunk import Reader, prepare_chunk
from lamostvac.uncertainty.model_files import load_models
from lamostvac.uncertainty.type_errors import read_type_errors

# Stages of the workflow without a part in this, by the first word of a column's origin.
_ELSEWHERE = ("photometry", "distance", "search", "merge")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """Rows of the catalogue (n,) and the rejected spectra, `spectrum_id obsid stage reason detail`."""

    rows: NDArray[np.void]
    rejected: pd.DataFrame


class Models:
    """What a pack holds, read when it is needed first.

    Attributes
    ----------
    network_labels, emulators : the labels that its networks give, and its emulators beside the first
    registry, columns : all columns of the run's catalogue, and those that a pack can fill

    Raises
    ------
    UserError
        A member of the pack is damaged or missing.
    """

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.settings: PackSettings = pack.settings
        self.emulator = cache(self._emulator)
        self.library_labels = cache(self._library_labels)
        self.library_places = cache(self._library_places)
        with pack.using(CONTENT):
            self.network_labels = network_labels(self.settings.network_labels)
            self.emulators = emulator_labels(self.settings.emulators)
            self.registry = load_registry(self.network_labels, emulators=self.emulators)
            self.columns = self._columns()
            missing = {name for name in self._needed() if name not in pack}
            if missing:
                raise UserError(f"{pack.path} is damaged: it has no {', '.join(sorted(missing))}")

    def _needed(self) -> Iterator[str]:
        """Names of the members without which no label can be given."""
        settings = self.settings
        emulators = [settings.library, *(system.name for system in self.emulators)]
        for name in emulators:
            yield member("emulator", name)
            yield from (member(part, name, ".parquet") for part in ("labels", "stars"))
        if settings.second:
            yield member("emulator", settings.second)
        yield from (member("network", one.label) for one in self.network_labels)
        yield from (
            member(kind, name) for kind in ("errors", "relations") for name in settings.types
        )
        yield from (member("left_out", name, ".parquet") for name in settings.trained)

    def _columns(self) -> Registry:
        elsewhere = _ELSEWHERE if self.settings.second else (*_ELSEWHERE, "fit_imig")
        return Registry(
            tuple(
                column
                for column in self.registry
                if column.origin.partition(":")[0].split(",")[0] not in elsewhere
            )
        )

    @cached_property
    def networks(self) -> list[Network]:
        """The networks in the order of the catalogue."""
        names = [one.label for one in self.network_labels]
        return [self.pack.read(member("network", name), load_network) for name in names]

    def _emulator(self, name: str) -> LeftOutFitter:
        """An emulator, with those without each fold where its library's stars are the survey's."""

        def fitter(of: str, few: bool = False) -> StarFitter:
            emulator = self.pack.read(member("emulator", of), read_emulator)
            with self.pack.using(member("emulator", of)):
                return StarFitter(emulator, self.settings.fit, few)

        # Kept for the next type of stars, as one for few spectra takes some 50 MB.
        without = cache(lambda fold: fitter(f"{name}_without_{fold}", few=True))
        stars = self.pack.read(member("stars", name, ".parquet"), pd.read_parquet)
        return LeftOutFitter(fitter(name), without, stars)

    @cached_property
    def templates(self) -> Templates:
        """Templates of all emulators for redshifts and types."""
        settings = self.settings
        names = [settings.library, *(system.name for system in self.emulators)]
        with self.pack.using("emulators"):
            return templates_of([self.emulator(name).whole.emulator for name in names])

    def _library_labels(self, name: str) -> NDArray[np.float64]:
        """Labels (m, k) of a library's stars."""
        table = self.pack.read(member("labels", name, ".parquet"), pd.read_parquet)
        labels = table.drop(columns=list(PLACES), errors="ignore")
        return np.asarray(labels.to_numpy(np.float64))

    def _library_places(self, name: str) -> NDArray[np.float64] | None:
        """RA and Dec (m, 2) of these stars, None where they are not the survey's."""
        table = self.pack.read(member("labels", name, ".parquet"), pd.read_parquet)
        known = set(PLACES) <= set(table)
        return table[list(PLACES)].to_numpy(np.float64) if known else None

    def label(
        self,
        chunk: pd.DataFrame,
        spectral_type: SpectralType,
        read: Reader | None = None,
        progress: Callable[[int], None] = lambda count: None,
    ) -> Labels:
        """Labels of spectra of one spectral type.

        Parameters
        ----------
        chunk : rows with the columns `survey.chunks.CHUNK_COLUMNS`
        read : gives a row's spectrum; by default from the file at `path`
        progress : called with the number of spectra done since it was called last
        """
        with tempfile.TemporaryDirectory(prefix="lamostvac-label-") as folder:
            accepted, rejected = self._systems(Path(folder), chunk, spectral_type, read, progress)
        rows, rejected = assemble(
            spectral_type, len(chunk), [(accepted, rejected)], self.registry,
            self.settings.library, self.settings.gaia_release,
        )  # fmt: skip
        with self.pack.using(f"errors and flags of {spectral_type}"):
            self._errors_and_flags(rows, spectral_type)
        with self.pack.using(f"relations of {spectral_type}"):
            self._recommend(rows, spectral_type)
        set_unique(rows)
        return Labels(rows, rejected)

    def _systems(
        self,
        folder: Path,
        chunk: pd.DataFrame,
        spectral_type: SpectralType,
        read: Reader | None,
        progress: Callable[[int], None],
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """What emulators and networks say of a chunk: accepted and rejected (`rows.read_chunk`)."""
        settings = self.settings
        names = (
            "chunk.parquet",
            "prepared.h5",
            "fit.h5",
            "predicted.h5",
            "second.h5",
            "further.h5",
        )
        rows, prepared, fit, predicted, second, further = (folder / name for name in names)
        chunk.to_parquet(rows, index=False)
        with atomic_hdf5(folder / "spectra.h5") as handle:
            tables = prepare_chunk(chunk, handle, settings.prepare, settings.networks, _LOG, read)
            _write_tables(prepared, tables)
            meta = tables["meta"]
            _write_tables(fit, self._fit(settings.library, handle, meta, spectral_type))
            if settings.second:
                _write_tables(second, self._fit(settings.second, handle, meta, spectral_type))
            with atomic_hdf5(further) as written:
                for system in self.emulators:
                    found = self._fit(system.name, handle, meta, spectral_type)
                    for part, table in found.items():
                        write_columns(written.create_group(f"{system.name}/{part}"), table)
            if settings.networks:
                with self.pack.using("networks"):
                    labels = self._predict(handle, tables, spectral_type)
                _write_tables(predicted, {"labels": labels})
        progress(len(chunk))
        return read_chunk(
            rows,
            prepared,
            fit,
            predicted if settings.networks else None,
            self.network_labels,
            second if settings.second else None,
            further_fit=further,
            emulators=self.emulators,
        )

    def _fit(
        self, name: str, handle: h5py.File, meta: pd.DataFrame, spectral_type: SpectralType
    ) -> dict[str, pd.DataFrame]:
        """`fit_tables` of an emulator for the prepared spectra `meta`."""
        with self.pack.using(f"the emulator {name}"):
            fitter = self.emulator(name)
            fold = fitter.folds(meta["ra"], meta["dec"])
            fits = fitter.fit(handle["flux"], handle["ivar"], spectral_type, fold)
            names = fitter.whole.emulator.label_names
            return fit_tables(meta, names, fits, fold, self.settings.max_outlier_fraction)

    def _predict(
        self, handle: h5py.File, tables: Mapping[str, pd.DataFrame], spectral_type: SpectralType
    ) -> pd.DataFrame:
        """The networks' columns for the spectra that they see."""
        meta = tables["network_meta"]
        snr = {
            network.label: meta[str(network.attributes["snr_band"])].to_numpy(np.float32)
            for network in self.networks
        }
        seen = handle["network_flux"], handle["network_ivar"]
        columns = joined(self.networks, predict_chunk(self.networks, *seen, snr))
        for label, condition in self.settings.apply.items():
            restrict(columns, label, condition)
        set_network_flags(columns, self.networks, spectral_type, self.settings.grids)
        return pd.DataFrame({"spectrum_id": meta["spectrum_id"].to_numpy(), **columns})

    def _errors_and_flags(self, rows: NDArray[np.void], spectral_type: SpectralType) -> None:
        """Errors and flags by what the run learned of this type."""
        settings = self.settings
        models, _ = self.pack.read(member("errors", spectral_type), read_type_errors)
        apply_errors(rows, models)
        if member("curves", "networks") in self.pack:
            curves = self.pack.read(member("curves", "networks"), load_models)
            apply_curves(rows, curves, settings.keep_errors)
        dwarf, giant = settings.snr_thresholds[spectral_type]
        set_flags(
            rows, self.registry, self.library_labels(settings.library), settings.snr_band,
            dwarf, giant, **settings.flags, regression=settings.chi2[spectral_type],
        )  # fmt: skip
        for system in self.emulators:
            flag_further(
                rows, system, self.library_labels(system.name), self.library_places(system.name)
            )

    def _recommend(self, rows: NDArray[np.void], spectral_type: SpectralType) -> None:
        """Recommended values by the run's relations and factors."""
        settings = self.settings
        fitted = self.pack.read(member("relations", spectral_type), files.load)
        members = {
            name: self.pack.file(member("left_out", name, ".parquet")) for name in settings.trained
        }
        left_out = read_left_out(rows["spectrum_id"], {k: str(v) for k, v in members.items()})
        library = self.library_labels(settings.library)
        combine.apply(rows, fitted, settings.definitions, settings.recommended, left_out, library)


def _write_tables(path: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Tables as groups of an HDF5 file, as the workflow passes them on."""
    with atomic_hdf5(path) as handle:
        for name, table in tables.items():
            write_columns(handle.create_group(name), table)
