"""Libraries that are published as a folder with one FITS file per spectrum (ELODIE, STELIB).

A file is a one-dimensional image of the flux with a linear wavelength in its header
(CRVAL1, CDELT1, CRPIX1), perhaps an image `NOISE`, and the star's labels as header keywords. A file
that cannot be used is left out, and the log names it and says why.
"""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import listed
from lamostvac.core.vocabulary import LABELS
from lamostvac.external.read import read_table
from lamostvac.library.library import RawLibrary, label_table, open_library_file, readable
from lamostvac.library.resolution import Fwhm
from lamostvac.library.source import spectrum_files

# Columns of a labels file that may name the file of a row; the first one present is used.
NUMBER_COLUMNS = ("number", "num", "id", "file")
_KEY = "library.spectra"
_LEADING_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?)")


@dataclass(frozen=True)
class StarSpectrum:
    """One file: name without suffix; wavelength (A), flux, error or None, each (p,); header."""

    file: str
    wave: NDArray[np.float64]
    flux: NDArray[np.float64]
    noise: NDArray[np.float64] | None
    header: fits.Header

    @property
    def star(self) -> str:
        """The header's OBJECT without blanks and underscores, else the file's name."""
        name = re.sub(r"[\s_]+", "", str(self.header.get("OBJECT", "")))
        return name or self.file.replace("_", "-")


def read_spectrum(path: str | PathLike[str]) -> StarSpectrum:
    """One file. Raises `UserError`, naming the file, if its layout is not the one above."""
    with readable(path, _KEY):
        return _read_spectrum(path)


def _read_spectrum(path: str | PathLike[str]) -> StarSpectrum:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # STELIB has cards that are not quite FITS
        with open_library_file(path, _KEY) as hdus:
            header = hdus[0].header
            flux = (
                None
                if hdus[0].data is None
                else np.squeeze(np.asarray(hdus[0].data, dtype=np.float64))
            )
            noise = None
            for hdu in hdus[1:]:
                if hdu.name == "NOISE":
                    noise = np.squeeze(np.asarray(hdu.data, dtype=np.float64))
            header = fits.Header(header, copy=True)
    if flux is None or flux.ndim != 1 or len(flux) < 2:
        raise UserError(
            f"{_KEY}: {path} has no one-dimensional image of a spectrum as its first HDU"
        )
    if noise is not None and noise.shape != flux.shape:
        raise UserError(f"{_KEY}: {path} has {noise.size} values in NOISE for {flux.size} pixels")
    start = _number(header.get("CRVAL1"))
    step = _number(header.get("CDELT1", header.get("CD1_1")))
    pixel = _number(header.get("CRPIX1", 1.0))
    if not np.isfinite(start + step + pixel):
        raise UserError(f"{_KEY}: {path} has no wavelengths, CRVAL1 and CDELT1, in its header")
    wave: NDArray[np.float64] = start + step * (
        np.arange(len(flux), dtype=np.float64) + 1.0 - pixel
    )
    if step <= 0 or not 1000 < wave[0] < 30000:
        raise UserError(
            f"{_KEY}: the wavelengths of {path} begin at {wave[0]:g} in steps of {step:g}, which are not "
            "increasing Angstroms"
        )
    name = re.sub(r"\.fits?(\.gz)?$", "", Path(path).name, flags=re.IGNORECASE)
    return StarSpectrum(name, wave, flux, noise, header)


def read_folder(
    folder: str | PathLike[str],
    keywords: Mapping[str, Sequence[str]],
    fwhm: Fwhm,
    assumed_snr: float,
    labels_file: str | PathLike[str] | None = None,
    label_columns: Mapping[str, str] | None = None,
    quality_columns: Mapping[str, str] | None = None,
    min_quality: float = 0.0,
    log: logging.Logger | None = None,
) -> RawLibrary:
    """A folder of spectra in air, at rest, as a library.

    Parameters
    ----------
    keywords : header keywords of each label; the first that a file has is taken
    fwhm : width of the line-spread function
    assumed_snr : per pixel, for files without NOISE
    labels_file : table of the labels, used instead of the headers; one of `NUMBER_COLUMNS` is the
        number of the file (1 for 00001.fits) or its name
    label_columns : label -> keyword or column, where it differs from `keywords`
    quality_columns : label -> keyword or column of its quality flag; a label whose flag is missing
        or below `min_quality` counts as missing

    Returns
    -------
    Spectra in the order of the files' names, called `star_file`, so that spectra of one star share
    a fold of the cross-validation. A pixel is bad where the flux is not finite, or the noise not
    positive, or, without noise, the flux not positive (gaps are filled with 0).

    Raises
    ------
    UserError
        No folder, no file, no readable file, or a keyword or column that no file or table has.
    """
    log = log or logging.getLogger(__name__)
    spectra, mistakes = [], []
    for path in spectrum_files(folder):
        try:
            spectra.append(read_spectrum(path))
        except UserError as mistake:
            mistakes.append(str(mistake).removeprefix("library.spectra: "))
            log.warning("left out: %s", mistakes[-1])
    if not spectra:
        raise UserError(f"library.spectra: no file in {folder} could be used; {mistakes[0]}")
    names = {label: (label_columns or {}).get(label) for label in LABELS}
    if labels_file is not None:
        table = _label_rows(labels_file, spectra, keywords, names, quality_columns or {})
    else:
        table = _header_labels(spectra, keywords, names, quality_columns or {})
    for label in quality_columns or {}:
        doubtful = ~(table[f"{label}_quality"] >= min_quality)
        log.info("%d of %d spectra have a doubtful %s", doubtful.sum(), len(table), label)
        table.loc[doubtful, label] = np.nan
    wave, flux, ivar = on_one_grid(spectra, assumed_snr)
    return RawLibrary(
        ids=np.array([f"{spectrum.star}_{spectrum.file}" for spectrum in spectra]),
        wave=wave,
        flux=flux,
        ivar=ivar,
        labels=label_table(
            {label: table[label].to_numpy(float) for label in keywords}, len(spectra)
        ),
        in_air=True,
        fwhm=fwhm,
    )


def on_one_grid(
    spectra: Sequence[StarSpectrum], assumed_snr: float
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """Wavelengths (p,), flux and inverse variance (n, p) of spectra that may have different pixels.

    Spectra with the same pixels are taken unchanged. Otherwise the grid covers all of them with the
    finest of their steps, and each is interpolated with a cubic spline; a grid pixel is good
    between two good pixels.
    """
    wave = spectra[0].wave
    same = all(len(s.wave) == len(wave) and abs(s.wave - wave).max() < 1e-3 for s in spectra)
    if not same:
        step = min(s.wave[1] - s.wave[0] for s in spectra)
        low, high = min(s.wave[0] for s in spectra), max(s.wave[-1] for s in spectra)
        wave = low + step * np.arange(round((high - low) / step) + 1)
    flux = np.zeros((len(spectra), len(wave)), dtype=np.float32)
    ivar = np.zeros_like(flux)
    for row, spectrum in enumerate(spectra):
        good = np.isfinite(spectrum.flux)
        if spectrum.noise is None:
            good &= spectrum.flux > 0
            noise = np.where(good, spectrum.flux, 1.0) / assumed_snr
        else:
            good &= np.isfinite(spectrum.noise) & (spectrum.noise > 0)
            noise = np.where(good, spectrum.noise, 1.0)
        if same:
            flux[row] = spectrum.flux
            ivar[row] = np.where(good, noise, np.inf) ** -2.0
        elif good.any():
            bridged = np.interp(spectrum.wave, spectrum.wave[good], spectrum.flux[good])
            flux[row] = CubicSpline(spectrum.wave, bridged, extrapolate=False)(wave)
            between = (
                np.interp(wave, spectrum.wave, good.astype(float), left=0.0, right=0.0) > 1 - 1e-9
            )
            sigma = np.interp(
                wave, spectrum.wave, np.interp(spectrum.wave, spectrum.wave[good], noise[good])
            )
            ivar[row, between] = sigma[between] ** -2.0
    return wave, flux, ivar


def _number(value: object) -> float:
    """A header's or table's value as a number, also of a text that begins with one; else NaN."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return float(value)
    match = _LEADING_NUMBER.match(value) if isinstance(value, str) else None
    return float(match[1].upper().replace("D", "E")) if match else float("nan")


def _header_labels(
    spectra: Sequence[StarSpectrum],
    keywords: Mapping[str, Sequence[str]],
    names: Mapping[str, str | None],
    quality: Mapping[str, str],
) -> pd.DataFrame:
    """Columns `{label}` and `{label}_quality` (n rows) from the headers."""
    wanted = {
        label: (own,) if (own := names[label]) else tuple(keywords[label]) for label in keywords
    }
    wanted |= {f"{label}_quality": (keyword,) for label, keyword in quality.items()}
    columns = {}
    for column, choices in wanted.items():
        found = [
            next((s.header[name] for name in choices if name in s.header), None) for s in spectra
        ]
        if all(value is None for value in found):
            section = "quality_columns" if column.endswith("_quality") else "label_columns"
            seen = listed(dict.fromkeys(key for key in spectra[0].header if key))
            raise UserError(
                f"library.{section}.{column.removesuffix('_quality')}: no file has the keyword "
                f"{' or '.join(choices)} in its header; {spectra[0].file} has {seen}"
            )
        columns[column] = [_number(value) for value in found]
    return pd.DataFrame(columns, dtype=float)


def _label_rows(
    path: str | PathLike[str],
    spectra: Sequence[StarSpectrum],
    keywords: Mapping[str, Sequence[str]],
    names: Mapping[str, str | None],
    quality: Mapping[str, str],
) -> pd.DataFrame:
    """The same columns from the rows of a table; NaN for a file that is not in it."""
    columns = {label: names[label] or label for label in keywords}
    columns |= {f"{label}_quality": column for label, column in quality.items()}
    for number in NUMBER_COLUMNS:
        try:
            table = read_table(str(path), {"number": number, **columns})
            break
        except UserError as error:
            if "(for number)" not in str(error) or number == NUMBER_COLUMNS[-1]:
                raise UserError(f"library.labels_file: {error}") from None
    table.index = pd.Index([_file_key(value) for value in table.pop("number")])
    table = table[~table.index.duplicated()].reindex([_file_key(s.file) for s in spectra])
    if table.isna().all(axis=None):
        raise UserError(
            f"library.labels_file: no row of {path} has the number or name of a file in its column {number}; "
            f"the files are called like {spectra[0].file}"
        )
    return table.apply(pd.to_numeric, errors="coerce").reset_index(drop=True)


def _file_key(value: object) -> str:
    """A file's name or number as text: numbers without leading zeros, names without suffix."""
    text = str(value).strip()
    text = re.sub(r"\.0$", "", text) if not isinstance(value, str) else text
    text = re.sub(r"\.fits?(\.gz)?$", "", text, flags=re.IGNORECASE)
    return str(int(text)) if text.isdigit() else text
