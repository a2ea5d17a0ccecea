"""Spectral libraries in one form: labels with errors, normalised spectra on the common grid.

Each format has a reader that returns a `RawLibrary` (`formats/`); `prepare_library` does the rest
in the same way for all of them.
"""

import gzip
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from typing import IO, cast

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from lamostvac.core.damage import damage
from lamostvac.core.exceptions import UserError
from lamostvac.core.fits_headers import headers
from lamostvac.core.hdf5 import (
    atomic_hdf5,
    open_hdf5,
    read_attributes,
    read_columns,
    read_text,
    write_attributes,
    write_columns,
)
from lamostvac.core.messages import listed
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.core.vocabulary import LABELS
from lamostvac.library.resolution import Fwhm, broaden, smoothing_fwhm
from lamostvac.spectra.grid import GRID, air_to_vacuum
from lamostvac.spectra.normalise import prepare_spectrum
from lamostvac.spectra.settings import Preparation

# Physically possible labels; values outside are codes for missing ones.
_LABEL_LIMITS = {
    "teff": (2000.0, 80000.0),
    "logg": (-2.0, 9.0),
    "feh": (-6.0, 2.0),
    "alpha_fe": (-2.0, 2.0),
}


@dataclass(frozen=True)
class RawLibrary:
    """A library as published, at rest.

    Attributes
    ----------
    ids : (n,) names of the spectra
    wave : (p,) A, the same for all spectra
    flux, ivar : (n, p) relative flux and its inverse variance (<= 0: bad pixel)
    labels : (n rows) columns `teff logg feh alpha_fe` and `_err`, NaN where missing
    in_air : wavelengths are air wavelengths
    fwhm : width of the line-spread function
    """

    ids: NDArray[np.str_]
    wave: NDArray[np.float64]
    flux: NDArray[np.floating]
    ivar: NDArray[np.floating]
    labels: pd.DataFrame
    in_air: bool
    fwhm: Fwhm


@dataclass(frozen=True)
class SpectralLibrary:
    """A library ready for the emulator.

    Attributes
    ----------
    name : of the library
    ids : (n,) names of the spectra
    flux, ivar : (n, 4901) float32, normalised, on the common grid; 1 and 0 where masked
    labels : (n rows) columns `teff logg feh alpha_fe` and `_err`; NaN where the library has none
    label_names : the labels that every spectrum has and the fit determines
    attributes : how it was made, for the file's header
    """

    name: str
    ids: NDArray[np.str_]
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    labels: pd.DataFrame
    label_names: tuple[str, ...]
    attributes: dict[str, str | float | bool] = field(default_factory=dict)

    def label_array(self) -> NDArray[np.float64]:
        """(n, d) the labels of `label_names`, in that order."""
        return self.labels[list(self.label_names)].to_numpy(np.float64)


def prepare_library(
    raw: RawLibrary,
    name: str,
    label_names: Sequence[str],
    settings: Preparation,
    survey_fwhm: Fwhm | None,
    min_snr: float = 0.0,
    log: logging.Logger | None = None,
    progress: Callable[[int], None] | None = None,
) -> SpectralLibrary:
    """Bring a library onto the survey's frame, resolution, grid and normalisation.

    Parameters
    ----------
    survey_fwhm : the survey's line width, to which the library is smoothed; None leaves the library
        unchanged
    min_snr : spectra whose median S/N per pixel is not above this are left out (0: all are taken)

    Raises
    ------
    UserError
        No spectrum remains, or wavelengths, line widths or shapes are invalid.
    """
    log = log or logging.getLogger(__name__)
    _check_raw(raw, name)
    wave = air_to_vacuum(raw.wave) if raw.in_air else raw.wave
    smoothing = None
    if survey_fwhm is not None:
        smoothing = smoothing_fwhm(wave, raw.fwhm, survey_fwhm)
    coverage = _coverage(wave, settings)
    complete = complete_labels(raw.labels, label_names)
    log.info(
        "%d of %d spectra have all of %s", complete.sum(), len(complete), ", ".join(label_names)
    )
    snr = _median_snr(raw.flux, raw.ivar)
    bright = (snr > min_snr) | (min_snr == 0)
    log.info("%d of these have S/N > %g", (complete & bright).sum(), min_snr)
    kept: list[int] = []
    fluxes, ivars = [], []
    for row in np.flatnonzero(complete & bright).tolist():
        good = np.isfinite(raw.ivar[row]) & (raw.ivar[row] > 0) & np.isfinite(raw.flux[row])
        try:
            if not good.any():
                raise SpectrumRejected("no_valid_ivar")
            flux = raw.flux[row].astype(np.float64)
            if smoothing is not None and smoothing.any():
                bridged = np.interp(wave, wave[good], flux[good])
                flux = broaden(wave, bridged, smoothing)
            ivar = np.where(good, raw.ivar[row], 0.0)
            prepared = prepare_spectrum(wave, flux, ivar, 0.0, settings, coverage)
        except SpectrumRejected as rejection:
            log.info("library spectrum %s left out: %s", raw.ids[row], rejection)
            continue
        finally:
            if progress is not None:
                progress(1)
        kept.append(row)
        fluxes.append(prepared[0])
        ivars.append(prepared[1])
    if not kept:
        raise UserError(
            f"library.spectra: none of the {len(raw.ids)} spectra of {name} has S/N > {min_snr:g} and all of "
            f"{', '.join(label_names)}; lower library.min_snr or shorten library.labels"
        )
    return SpectralLibrary(
        name=name,
        ids=raw.ids[kept],
        flux=np.array(fluxes),
        ivar=np.array(ivars),
        labels=raw.labels.iloc[kept].reset_index(drop=True),
        label_names=tuple(label_names),
        attributes={"coverage_low": coverage[0], "coverage_high": coverage[1]},
    )


def _coverage(wave: NDArray[np.float64], settings: Preparation) -> tuple[float, float]:
    """The part of the grid where library and survey are normalised alike.

    Near an end of the library its running median has a window that is cut off, while the survey's
    is complete. So half a window is excluded where the library ends inside the grid.
    """
    half = (settings.median_window // 2) * (GRID[1] - GRID[0])
    low = GRID[0] if wave[0] <= GRID[0] else wave[0] + half
    high = GRID[-1] if wave[-1] >= GRID[-1] else wave[-1] - half
    inside = GRID[(GRID >= low) & (GRID <= high)]
    if len(inside) < 2:
        raise UserError(
            f"library.spectra: {wave[0]:.0f}-{wave[-1]:.0f} A do not reach the survey's 3800-8700 A"
        )
    return float(inside[0]), float(inside[-1])


def complete_labels(labels: pd.DataFrame, names: Sequence[str]) -> NDArray[np.bool_]:
    """Where the labels (n rows) `names` are all known and physically possible (n,)."""
    complete = np.ones(len(labels), dtype=bool)
    for name in names:
        low, high = _LABEL_LIMITS[name]
        complete &= labels[name].between(low, high).to_numpy(bool)
    return complete


def _median_snr(flux: NDArray[np.floating], ivar: NDArray[np.floating]) -> NDArray[np.float64]:
    snr = np.zeros(len(flux))
    for row in range(len(flux)):
        good = np.isfinite(ivar[row]) & (ivar[row] > 0) & np.isfinite(flux[row])
        if good.any():
            snr[row] = np.median(flux[row][good] * np.sqrt(ivar[row][good]))
    return snr


@contextmanager
def readable(path: str | PathLike[str], key: str) -> Iterator[None]:
    """Every failure in reading a library's file as a `UserError` that names it and the
    configuration's `key`.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # astropy has errors of every kind, some only when data are used
        what = " ".join(str(error).split())[:300]
        raise UserError(
            f"{key}: {path} cannot be read ({what or type(error).__name__}); copy it anew, or see docs/libraries.md "
            "for what such a file has to hold"
        ) from error


@contextmanager
def open_library_file(path: str | PathLike[str], key: str) -> Iterator[fits.HDUList]:
    """The HDUs of a FITS file, plain or gzipped, to be taken in their order; `UserError` naming the
    configuration's `key` for any other file.
    """
    with readable(path, key), warnings.catch_warnings():
        warnings.filterwarnings("error", "File may have been truncated", AstropyUserWarning)
        if not os.path.isfile(path):
            raise UserError(f"{key}: there is no file {path}; put it there or change {key}")
        with open(path, "rb") as handle:
            _check_headers(handle)
            # Opened here, because astropy leaves its own handle open when a warning ends
            # `fits.open`.
            with fits.open(handle, memmap=False) as hdus:
                yield hdus


def _check_headers(handle: IO[bytes]) -> None:
    """Raise `ValueError` where a header, up to that of the first table, says something impossible."""
    packed = handle.read(2) == b"\x1f\x8b"
    handle.seek(0)
    stream = gzip.GzipFile(fileobj=handle) if packed else handle
    try:
        for header in headers(cast(IO[bytes], stream)):
            if header.get("XTENSION") in ("BINTABLE", "TABLE"):
                break  # before gigabytes of spectra, after which no reader looks
    except EOFError:
        pass
    handle.seek(0)


def first_table(
    path: str | PathLike[str], key: str, needed: Sequence[str]
) -> tuple[fits.Header, fits.FITS_rec]:
    """Header and rows of the first table in a FITS file, which must have the columns `needed`.

    Raises `UserError` naming the configuration's `key` when there is no such file, table or column.
    """
    with open_library_file(path, key) as hdus:
        table = next(
            (hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)), None
        )
        if table is None:
            what = damage(path)
            raise UserError(
                f"{key}: {path} is damaged ({what}); copy it anew"
                if what
                else f"{key}: {path} holds no table"
            )
        header, rows = table.header, table.data
    names = {name.upper() for name in rows.names}
    missing = [name for name in needed if name not in names]
    if missing:
        raise UserError(
            f"{key}: {path} has no column {', '.join(missing)}; it has {listed(rows.names)}"
        )
    return header, rows


def _check_raw(raw: RawLibrary, name: str) -> None:
    """Raise `UserError` where what a format's reader found cannot be spectra."""
    if not (np.diff(raw.wave) > 0).all():
        raise UserError(
            f"library.spectra: the wavelengths of {name} do not increase from pixel to pixel"
        )
    shape = (len(raw.labels), len(raw.wave))
    for what, values in (("fluxes", raw.flux), ("inverse variances", raw.ivar)):
        if values.shape != shape:
            raise UserError(
                f"library.spectra: {name} has {shape[0]} spectra of {shape[1]} wavelengths, but its {what} have the "
                f"shape {values.shape}"
            )
    with np.errstate(divide="ignore"):  # a resolving power of 0
        width = raw.fwhm(raw.wave)
    if not (np.isfinite(width) & (width >= 0)).all():
        raise UserError(
            f"library.spectra: the line width of {name} is no positive number; correct it in the file's header, or set "
            "library.resolution.library_fwhm"
        )


def label_table(columns: Mapping[str, NDArray[np.floating]], n: int) -> pd.DataFrame:
    """A label table with every column of `LABELS` and its error; NaN for columns not given."""
    names = [column for label in LABELS for column in (label, f"{label}_err")]
    return pd.DataFrame(
        {name: np.asarray(columns.get(name, np.full(n, np.nan)), dtype=float) for name in names}
    )


def write_library(library: SpectralLibrary, path: str | PathLike[str]) -> None:
    """Write a library as HDF5 (docs/internals.md)."""
    with atomic_hdf5(path) as handle:
        handle.create_dataset("flux", data=library.flux, track_times=False)
        handle.create_dataset("ivar", data=library.ivar, track_times=False)
        write_columns(handle.create_group("labels"), library.labels)
        write_columns(handle.create_group("ids"), {"id": library.ids})
        fixed = {"name": library.name, "label_names": ",".join(library.label_names)}
        write_attributes(handle, fixed | library.attributes)


def read_library(path: str | PathLike[str]) -> SpectralLibrary:
    """The library that `write_library` wrote."""
    with open_hdf5(path) as handle:
        attributes = read_attributes(handle)
        return SpectralLibrary(
            name=attributes.pop("name"),
            ids=read_columns(handle["ids"])["id"].to_numpy(str),
            flux=handle["flux"][()],
            ivar=handle["ivar"][()],
            labels=read_columns(handle["labels"]),
            label_names=tuple(attributes.pop("label_names").split(",")),
            attributes=attributes,
        )


def read_library_labels(path: str | PathLike[str]) -> NDArray[np.float64]:
    """`label_array` of the library that `write_library` wrote, without reading its spectra."""
    names = read_label_names(path)
    with open_hdf5(path) as handle:
        return read_columns(handle["labels"], list(names)).to_numpy(np.float64)


def read_places(path: str | PathLike[str]) -> NDArray[np.float64] | None:
    """RA and Dec (N, 2) in degrees of a library of the survey's own spectra; None for others."""
    with open_hdf5(path) as handle:
        if "ra" not in handle["labels"]:
            return None
        return read_columns(handle["labels"], ["ra", "dec"]).to_numpy(np.float64)


def read_label_names(path: str | PathLike[str]) -> tuple[str, ...]:
    """`label_names` of the library that `write_library` wrote."""
    with open_hdf5(path) as handle:
        return tuple(read_text(handle.attrs, "label_names").split(","))


def read_catalogue_labels(path: str | PathLike[str]) -> NDArray[np.float64]:
    """The catalogue's four labels (N, 4) of the library's stars; NaN for labels that it lacks."""
    with open_hdf5(path) as handle:
        table = read_columns(handle["labels"])
    return table.reindex(columns=list(LABELS)).to_numpy(np.float64)
