"""Labels of spectra in memory or in files by a model pack, in Python."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from astropy import units
from astropy.nddata import InverseVariance
from astropy.table import QTable, Row
from numpy.typing import ArrayLike, NDArray

from lamostvac.catalog.flags import outside_library
from lamostvac.core.exceptions import UserError
from lamostvac.core.rejection import REASON_FLAGS, SpectrumRejected
from lamostvac.core.vocabulary import LABELS, SPECTRAL_TYPES
from lamostvac.label.arrays import Spectra, chunk_of, each, reader, spectra_of
from lamostvac.label.folder import LabelledFiles, find_work, label_work
from lamostvac.label.missing import look
from lamostvac.label.models import Models
from lamostvac.label.pack import Closed, Pack
from lamostvac.label.reasons import reasons_of
from lamostvac.label.tables import as_qtable
from lamostvac.spectra.grid import GRID


class OutsideLibrary(UserWarning):
    """A spectrum is asked for at labels where the library has no stars."""


class Labeller(Closed):
    """Gives spectra the labels that the run of a pack would give them.

    It can be used in a `with` statement, after which its temporary files are gone.

    Parameters
    ----------
    pack : file that `lamostvac pack` wrote

    Raises
    ------
    UserError
        There is no such file, it is no pack of this version, or it is damaged.
    """

    def __init__(self, pack: str | os.PathLike[str]) -> None:
        self._pack = Pack(pack)
        self.models = Models(self._pack)

    @property
    def meta(self) -> dict[str, Any]:
        """Where its labels come from; the `meta` of each table that it gives."""
        settings = self.models.settings
        return {
            "pack": self._pack.path.name,
            "simulated": settings.simulated,
            **settings.provenance,
        }

    def label(
        self,
        wavelength: Any,
        flux: Any = None,
        ivar: Any = None,
        *,
        z: ArrayLike | None = None,
        spectral_type: str | Sequence[str] | None = None,
        mask: Any = None,
        ra: ArrayLike | None = None,
        dec: ArrayLike | None = None,
    ) -> QTable:
        """Labels of one spectrum or several.

        Parameters
        ----------
        wavelength : (p,) for all spectra or (n, p), A or a quantity, in vacuum, as observed and
            barycentric; or a specutils `Spectrum` with an uncertainty, and nothing for `flux` and
            `ivar`
        flux : (p,), (n, p), or n arrays, in any unit
        ivar : inverse variance, like `flux`; 0 where a pixel is not to be used
        z : redshift of one or of all (n,); by default it is found from each spectrum
        spectral_type : OB A F G K M, of one or of all (n,), on which errors depend; by default it
            is found from each spectrum
        mask : true where a pixel is not to be used, like `flux`
        ra, dec : degrees, by which stars that the models learned from are known and labelled
            without what they taught; by default the spectra are taken to be of other stars

        Returns
        -------
        A row for each spectrum in their order; `rejected` is "" where a system gives labels, or
        says why none does, and `no_fit` says why a row has labels of networks alone.
        Descriptions of the columns are in their `info.description`.

        Raises
        ------
        UserError
            Shapes, units or types are wrong.
        """
        if flux is None:
            wavelength, flux, ivar, mask = _parts(wavelength)
        spectra = spectra_of(wavelength, flux, ivar, mask)
        types = self._types(len(spectra), spectral_type)
        chunk = chunk_of(spectra, np.nan if z is None else z, ra, dec)
        why = self._find(spectra, chunk, types)
        read = reader(spectra)
        n, registry = len(spectra), self.models.columns
        rows, rejected = registry.empty(n), np.full(n, "", object)
        selected = self.models.settings.types
        others = f"type_not_selected: the pack has {' '.join(selected)}"
        rejected[~np.isin(types, selected)] = others
        rejected[types == ""] = why[types == ""]
        for name in selected:
            part = np.flatnonzero(types == name)
            if not len(part):
                continue
            found = self.models.label(chunk.iloc[part].reset_index(drop=True), name, read)
            for column in registry.names:
                rows[column][found.rows["spectrum_id"].astype(int)] = found.rows[column]
            lost = found.rejected
            said = (lost["reason"] + ": " + lost["detail"]).to_numpy()
            rejected[lost["spectrum_id"].astype(int)] = said
        rows["spectrum_id"] = np.arange(n).astype(bytes)
        table = as_qtable(rows, registry, self.meta)
        table["rejected"] = rejected.astype(str)
        table["no_fit"] = _no_fit(rows, reasons_of(self.models.settings))
        return table

    def _types(self, n: int, given: str | Sequence[str] | None) -> NDArray[np.str_]:
        """Spectral types (n,), checked; "" where they are to be found."""
        types = each("spectral_type", "" if given is None else given, n, np.str_)
        if unknown := sorted(set(types) - {"", *SPECTRAL_TYPES}):
            raise UserError(
                f"spectral_type: there is no {unknown[0]}; give {' '.join(SPECTRAL_TYPES)}"
            )
        return types.astype("U2")  # which holds every type that may be found

    def _find(
        self, spectra: Spectra, chunk: pd.DataFrame, types: NDArray[np.str_]
    ) -> NDArray[np.object_]:
        """Put redshifts into `chunk` and spectral types into `types` (n,) where they are missing;
        returns why (n,) a type could not be found.
        """
        why = np.full(len(spectra), "no_spectral_type: none that is reliable", object)
        z = chunk["redshift"].to_numpy(copy=True)
        for number in np.flatnonzero(~np.isfinite(z) | (types == "")).tolist():
            try:
                one = spectra.stored(number).decoded()
            except SpectrumRejected as error:
                why[number] = str(error)
                continue
            known = np.isfinite(z[number])
            arrays = one.wave / (1 + z[number] if known else 1), one.flux, one.ivar
            found = look(arrays, self.models.templates, self.models.settings.prepare)
            if not known:
                z[number] = found.z
                chunk.loc[number, "redshift_err"] = found.z_err
            types[number] = types[number] or found.type
            why[number] = found.why or why[number]
        chunk["redshift"] = z
        return why

    def label_files(
        self, paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    ) -> LabelledFiles:
        """Labels of the spectra in a file or folder, or several, by what their headers say
        (`label.folder`).
        """
        several = [paths] if isinstance(paths, (str, os.PathLike)) else paths
        work = find_work(several, self.models)
        return label_work(work, self.models)

    def model(
        self, labels: Mapping[str, Any] | Row
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """The first emulator's normalised spectrum at given labels.

        Parameters
        ----------
        labels : the emulator's labels by name (K, dex), such as a row of `label` has them

        Returns
        -------
        wave : (4901,) A, vacuum, at rest
        flux : (4901,) NaN where the emulator has no pixel

        Raises
        ------
        UserError
            A label is missing, not finite, or Teff is not positive.

        Warns
        -----
        OutsideLibrary
            The labels are farther from every library star than `flag_outside_library` allows, so the
            spectrum is an extrapolation.
        """
        emulator = self.models.emulator(self.models.settings.library).whole.emulator
        values = []
        for name in emulator.label_names:
            try:
                values.append(float(units.Quantity(labels[name]).value))
            except KeyError:
                known = ", ".join(emulator.label_names)
                raise UserError(f"labels: there is no {name}; the emulator has {known}") from None
            if not np.isfinite(values[-1]) or (name == "teff" and values[-1] <= 0):
                raise UserError(f"labels: {name} is {values[-1]:g}, of which there is no spectrum")
        if self._outside(emulator.label_names, values):
            said = ", ".join(
                f"{name} {value:g}"
                for name, value in zip(emulator.label_names, values, strict=True)
            )
            warnings.warn(
                f"no star of the library is near {said}: this spectrum is an extrapolation",
                OutsideLibrary,
                stacklevel=2,
            )
        flux = np.full(len(GRID), np.nan, np.float32)
        flux[emulator.pixels] = emulator.spectra(np.array([values]))[0]
        return GRID.copy(), flux

    def _outside(self, names: Sequence[str], values: Sequence[float]) -> bool:
        """Whether labels are where the first emulator extrapolates (`catalog.flags`)."""
        library = self.models.library_labels(self.models.settings.library)
        columns = [LABELS.index(name) for name in names if name in LABELS]
        own = [value for name, value in zip(names, values, strict=True) if name in LABELS]
        return bool(outside_library(np.array([own]), library[:, columns])[0])

    def close(self) -> None:
        """Remove temporary files."""
        self._pack.close()


def _no_fit(rows: NDArray[np.void], reasons: Mapping[str, str]) -> NDArray[np.str_]:
    """Why (n,) the first emulator gives no labels where networks do; "" elsewhere."""
    said = np.full(len(rows), "", object)
    for reason, flag in REASON_FLAGS["emulator"].items():
        said[rows[flag] == 1] = f"{reason}: {reasons[reason]}"
    return said.astype(str)


def _parts(spectrum: Any) -> tuple[Any, Any, Any, Any]:
    """Wavelength, flux, inverse variance and mask of a specutils `Spectrum`.

    Raises `UserError` where it is none, or has no uncertainty.
    """
    if not hasattr(spectrum, "spectral_axis"):
        raise UserError("label takes wavelength, flux and ivar, or a specutils Spectrum")
    uncertainty = getattr(spectrum, "uncertainty", None)
    if uncertainty is None:
        raise UserError("the spectrum has no uncertainty; labels need the noise of each pixel")
    ivar = uncertainty.represent_as(InverseVariance).array
    axis = units.Quantity(spectrum.spectral_axis).to(units.AA, units.spectral())
    return axis, units.Quantity(spectrum.flux).value, ivar, getattr(spectrum, "mask", None)
