"""MILES (Sanchez-Blazquez+ 2006): 985 stars, 3540-7410 A in air, 2.50 A FWHM everywhere.

Read from one FITS stack: an image of one row per star with a linear air wavelength in its header
(CRVAL1, CDELT1) and a table `STARS` with `miles_id teff logg feh` (formats.md).
"""

from os import PathLike

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.messages import listed
from lamostvac.external.read import read_table
from lamostvac.library.library import RawLibrary, label_table, open_library_file
from lamostvac.library.resolution import constant_fwhm

FWHM = 2.50  # A; Falcon-Barroso+ 2011
ASSUMED_SNR = 100.0  # per pixel; no noise is published, S/N is above 100 (Sanchez-Blazquez+ 2006)
_LABELS = ("teff", "logg", "feh")


def read_miles(
    path: str | PathLike[str], fwhm: float = FWHM, labels_file: str | PathLike[str] | None = None
) -> RawLibrary:
    """The MILES stack. It has no noise; every pixel is given `ASSUMED_SNR`.

    Parameters
    ----------
    labels_file : table `miles_id teff logg feh` of stars whose labels are these instead of the
        stack's; None: no such stars

    Raises
    ------
    UserError
        A file is missing, the first is not such a stack, or the second names stars that it has not.
    """
    with open_library_file(path, "library.spectra") as hdus:
        try:
            header = hdus[0].header
            flux = np.asarray(hdus[0].data, dtype=np.float64)
            table = hdus[1].data
            columns = {name: np.asarray(table[name], dtype=float) for name in _LABELS}
            ids = np.array([str(value).strip() for value in table["miles_id"]])
            start, step = float(header["CRVAL1"]), float(header["CDELT1"])
            if flux.ndim != 2 or len(flux) != len(ids):
                raise TypeError(f"an image of shape {flux.shape} for {len(ids)} stars")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise UserError(
                f"library.spectra: {path} is not a MILES stack (an image with CRVAL1 and CDELT1 and a table with "
                f"miles_id, teff, logg, feh): {error}"
            ) from None
    ivar = np.zeros(flux.shape, dtype=np.float32)
    positive = np.isfinite(flux) & (flux > 0)
    ivar[positive] = (ASSUMED_SNR / flux[positive]) ** 2
    wave = start + step * np.arange(flux.shape[1], dtype=np.float64)
    return RawLibrary(
        ids=ids,
        wave=wave,
        flux=flux,
        ivar=ivar,
        labels=label_table(
            columns if labels_file is None else _replaced(columns, ids, labels_file), len(ids)
        ),
        in_air=True,
        fwhm=constant_fwhm(fwhm),
    )


def _replaced(
    columns: dict[str, NDArray[np.float64]], ids: NDArray[np.str_], path: str | PathLike[str]
) -> dict[str, NDArray[np.float64]]:
    """The labels (n,) with those of the table for its stars; its empty cells change nothing."""
    try:
        table = read_table(str(path), {"miles_id": "miles_id", **{name: name for name in _LABELS}})
    except UserError as error:
        raise UserError(f"library.labels_file: {error}") from None
    # A table of numbers has lost the zeros that names begin with.
    row_of = {name.lstrip("0"): row for row, name in enumerate(ids)}
    names = [str(name).strip().lstrip("0") for name in table["miles_id"]]
    unknown = [name for name in names if name not in row_of]
    if unknown:
        raise UserError(
            f"library.labels_file: {path} has the miles_id {listed(unknown)}, which the stack has not; "
            "name stars of the stack"
        )
    rows = [row_of[name] for name in names]
    found = {name: values.copy() for name, values in columns.items()}
    for name in _LABELS:
        given = table[name].to_numpy(np.float64)
        found[name][rows] = np.where(np.isfinite(given), given, found[name][rows])
    return found
