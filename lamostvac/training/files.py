"""Training sets as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from numpy.typing import NDArray

from lamostvac.core.atomic import atomic
from lamostvac.core.exceptions import UserError
from lamostvac.core.files import sha256
from lamostvac.core.hdf5 import atomic_hdf5, open_hdf5
from lamostvac.training.load import table_columns
from lamostvac.training.schema import TrainingSet


def write_training(
    path: str | Path,
    table: pd.DataFrame,
    entry: TrainingSet,
    cards: Sequence[tuple[str, str, str]] = (),
) -> None:
    """The training set as FITS: one table, units and descriptions in the header, no dates.

    Parameters
    ----------
    cards : (keyword, value, comment) for the header
    """
    describe = {
        "spectrum_id": ("", "lmjd-planid-spid-fiberid of the LAMOST spectrum", "meta.id;meta.main"),
        "obsid": ("", "obsid of the LAMOST spectrum; -1 where it has none", "meta.id"),
        "ra": ("deg", "right ascension of the fibre", "pos.eq.ra;meta.main"),
        "dec": ("deg", "declination of the fibre", "pos.eq.dec;meta.main"),
        "spectral_type": ("", "OB A F G K M, after the survey's SUBCLASS", "src.spType"),
        "snr": ("", f"S/N per pixel, {entry.snr_band} of the LAMOST catalogue", "stat.snr"),
        "star": ("", "number of the star within this file", "meta.id"),
        "identifier": ("", "the star in the catalogue that the labels are from", "meta.id"),
        "split": ("", "train, test, binary or clipped", "meta.code"),
    }
    for label in entry.labels:
        describe[label.name] = (label.unit, label.description, label.ucd)
        describe[f"{label.name}_err"] = (
            label.unit,
            f"error of {label.name}",
            f"stat.error;{label.ucd}" if label.ucd else "stat.error",
        )
    columns = []
    for name in table_columns(entry):
        values = np.asarray(table[name])
        if values.dtype.kind in "OUST":
            text = (
                np.char.encode(values.astype(str), "ascii", "replace")
                if len(values)
                else np.empty(0, "S1")
            )
            width = max(1, text.dtype.itemsize)
            columns.append(fits.Column(name, f"{width}A", array=text.astype(f"S{width}")))
        elif values.dtype.kind in "iu":
            columns.append(fits.Column(name, "K", array=values.astype(np.int64)))
        else:
            columns.append(
                fits.Column(
                    name, "D", array=values.astype(np.float64), unit=describe[name][0] or None
                )
            )
    hdu = fits.BinTableHDU.from_columns(columns, name="TRAINING")
    for number, name in enumerate(table_columns(entry), start=1):
        hdu.header.comments[f"TTYPE{number}"] = _ascii(describe[name][1])[:45]
        if describe[name][2]:
            hdu.header.set(f"TUCD{number}", describe[name][2], after=f"TFORM{number}")
    hdu.header["TRAINSET"] = (entry.name, "name of the training set")
    hdu.header["TITLE"] = _ascii(entry.title)[:68]
    for keyword, value, comment in cards:
        hdu.header[keyword] = (_ascii(value)[:68], _ascii(comment))
    for cut in entry.cuts:
        hdu.header["HISTORY"] = _ascii(f"cut: {cut.cut}")
    with atomic(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary, checksum=False)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")


def read_training(path: str | Path) -> pd.DataFrame:
    """The table that `write_training` wrote."""
    with fits.open(path, memmap=False) as hdus:
        data = hdus[1].data
        columns: dict[str, Any] = {}
        for name in data.names:
            values = np.asarray(data[name])
            columns[name] = (
                values.astype(str).astype(object)
                if values.dtype.kind in "SU"
                else values.astype(values.dtype.newbyteorder("="))
            )
    return pd.DataFrame(columns)


def origin_cards(parent: str | None, files: Sequence[str]) -> list[tuple[str, str, str]]:
    """Header cards on a set's origin: its parent, or name and SHA-256 of its catalogue files."""
    cards = [("PARENT", parent, "rows and spectra are this set's")] if parent else []
    for number, path in enumerate(files, start=1):
        cards.append((f"FILE{number}", Path(path).name, "input"))
        cards.append((f"SHA{number}", sha256(path), ""))
    return cards


def write_spectra(
    path: str | Path, names: pd.Series, flux: NDArray[np.float32], ivar: NDArray[np.float32]
) -> None:
    """The spectra (n, n_pixels) of a training set with their `spectrum_id` (n,), in the order of its
    table.
    """
    with atomic_hdf5(path) as handle:
        texts = np.asarray(names, "S") if len(names) else np.empty(0, "S1")
        handle.create_dataset("spectrum_id", data=texts, track_times=False)
        for name, values in (("flux", flux), ("ivar", ivar)):
            handle.create_dataset(name, data=values, track_times=False)


def read_spectra(
    path: str | Path, table: pd.DataFrame, rows: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Flux and ivar (k, n_pixels) of some rows of a set's table, in increasing order.

    Raises
    ------
    UserError
        The file, which `write_spectra` wrote, has other spectra than the table.
    """
    with open_hdf5(path) as handle:
        names = np.asarray(table["spectrum_id"].iloc[rows], str)
        if "spectrum_id" not in handle or len(handle["spectrum_id"]) != len(table):
            same = False
        else:
            same = np.array_equal(handle["spectrum_id"][()][rows].astype(str), names)
        if not same:
            raise UserError(
                f"{path} has other spectra than the table beside it; delete both and run again"
            )
        return handle["flux"][rows], handle["ivar"][rows]
