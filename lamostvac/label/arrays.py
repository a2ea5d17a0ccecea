"""Spectra in memory as the rows and spectra of a chunk: units, frames, masks, S/N."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from astropy import units
from astropy.table import Column
from astropy.utils.masked import Masked
from numpy.typing import ArrayLike, NDArray

from lamostvac.core.exceptions import UserError
from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.reader import MIN_PIXELS, Header, StoredSpectrum
from lamostvac.survey.chunks import CHUNK_COLUMNS

Array = NDArray[np.float64]

# Where the median of flux over error is LAMOST's S/N of a band, in A: within 4 % of what the headers
# of 1,000 real F, G and K stars say.
SNR_RANGES = {
    "snru": (3700.0, 3850.0),
    "snrg": (3950.0, 5450.0),
    "snrr": (5450.0, 6950.0),
    "snri": (6900.0, 8200.0),
    "snrz": (8300.0, 9000.0),
}
_WIDTH = 24  # characters of the names made here


@dataclass(frozen=True)
class Spectra:
    """n spectra of any lengths: vacuum wavelengths in A, flux, inverse variance (0: not usable)."""

    wave: Sequence[Array]
    flux: Sequence[NDArray[np.float32]]
    ivar: Sequence[NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.flux)

    def snr(self) -> dict[str, NDArray[np.float32]]:
        """S/N (n,) by band (`SNR_RANGES`); NaN where a band has fewer than 50 usable pixels."""
        found = {band: np.full(len(self), np.nan, np.float32) for band in SNR_RANGES}
        for number, (wave, flux, ivar) in enumerate(
            zip(self.wave, self.flux, self.ivar, strict=True)
        ):
            for band, (low, high) in SNR_RANGES.items():
                part = (wave >= low) & (wave < high) & (ivar > 0) & np.isfinite(flux)
                if np.count_nonzero(part) >= 50:
                    found[band][number] = np.median(flux[part] * np.sqrt(ivar[part]))
        return found

    def stored(self, number: int) -> StoredSpectrum:
        """One of them as a file would hold it; raises `SpectrumRejected` for one that is too short."""
        if len(self.wave[number]) < MIN_PIXELS:
            raise SpectrumRejected("wrong_shape", f"{len(self.wave[number])} pixels")
        mask = np.zeros(len(self.wave[number]), ">f4")
        parts = (
            self.wave[number],
            self.flux[number].astype(">f4"),
            self.ivar[number].astype(">f4"),
        )
        return StoredSpectrum(*parts, mask, mask, Header(b""), "array")


def spectra_of(wavelength: Any, flux: Any, ivar: Any, mask: Any = None) -> Spectra:
    """Arrays or quantities as spectra.

    Parameters
    ----------
    wavelength : (p,) for all spectra or one for each; A, or a quantity of length, in vacuum
    flux : (p,) or (n, p), or n arrays; any unit, since a spectrum is divided by its continuum
    ivar : inverse variance, as `flux`; a quantity in one over the square of its unit
    mask : true where a pixel is not to be used, as `flux`

    Raises
    ------
    UserError
        Shapes do not fit, or a unit is no length.
    """
    for what, given in (("wavelength", wavelength), ("flux", flux), ("ivar", ivar)):
        if _is_scalar(given):
            raise UserError(f"{what} is missing: give an array with a value for each pixel")
    fluxes = _rows(_in_unit(flux, None))
    weights = _rows(_in_unit(ivar, _inverse_square(flux)))
    waves = _rows(_in_unit(wavelength, units.AA))
    if len(waves) == 1:
        waves = waves * len(fluxes)
    if mask is not None and _is_scalar(mask):
        raise UserError("mask has other shapes than flux: give each spectrum as many of both")
    masks = _rows(mask) if mask is not None else [np.zeros(len(one), bool) for one in fluxes]
    for what, rows in (("ivar", weights), ("wavelength", waves), ("mask", masks)):
        if [len(row) for row in rows] != [len(row) for row in fluxes]:
            raise UserError(
                f"{what} has other shapes than flux: give each spectrum as many of both"
            )
    scaled = [
        _of_order_one(np.ma.getdata(flux), np.ma.getdata(ivar), _masked(flux, ivar, mask))
        for flux, ivar, mask in zip(fluxes, weights, masks, strict=True)
    ]
    return Spectra(
        [np.asarray(wave, np.float64) for wave in waves],
        [flux for flux, _ in scaled],
        [ivar for _, ivar in scaled],
    )


def _masked(*arrays: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels (p,) that a mask, the last array, or that of a masked array excludes."""
    masks = [np.ma.getmaskarray(one) for one in arrays]
    return np.any([*masks, np.ma.getdata(arrays[-1]).astype(bool)], axis=0)


def _of_order_one(
    flux: NDArray[Any], ivar: NDArray[Any], mask: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Flux and inverse variance in a unit of the spectrum's own, so that single precision holds
    them: a flux in erg/s/cm2/A has inverse variances of 10^36.
    """
    wide, weight = np.asarray(flux, np.float64), np.where(mask, 0.0, ivar).astype(np.float64)
    usable = np.isfinite(wide) & (wide != 0) & (weight > 0)
    scale = float(np.median(np.abs(wide[usable]))) if usable.any() else 1.0
    with np.errstate(over="ignore"):
        return (wide / scale).astype(np.float32), (weight * scale**2).astype(np.float32)


def each(what: str, given: ArrayLike, n: int, kind: Any) -> NDArray[Any]:
    """One value or n as n values; raises `UserError` where there are others."""
    try:
        values = np.ma.asarray(given).astype(kind)
        if values.dtype.kind == "f":
            values = np.ma.filled(values, np.nan)  # what is masked is not known
        return np.broadcast_to(np.ma.getdata(values), (n,)).copy()
    except (ValueError, TypeError):
        raise UserError(
            f"{what}: give one value, or one for each of the {n} spectra, without a unit"
        ) from None


def position(
    n: int, ra: ArrayLike | None, dec: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascension and declination (n,), deg; NaN where there are none.

    Raises `UserError` where one is given without the other, or is no place on the sky.
    """
    if (ra is None) != (dec is None):
        raise UserError("ra and dec belong together: give both or none")
    if ra is None or dec is None:
        return np.full(n, np.nan), np.full(n, np.nan)
    found = (
        each("ra", angle("ra", ra), n, np.float64),
        each("dec", angle("dec", dec), n, np.float64),
    )
    for what, values, low, high in (("ra", found[0], -360, 360), ("dec", found[1], -90, 90)):
        beyond = values[(values < low) | (values > high)]
        if len(beyond):
            raise UserError(f"{what} is {beyond[0]:g}; it is in degrees, {low} to {high}")
    return found


def angle(what: str, given: Any) -> Any:
    """Degrees of a quantity, or numbers as they are."""
    try:
        return _in_unit(given, units.deg)
    except UserError:
        raise UserError(f"{what} is no angle") from None


def number(what: str, given: Any) -> Any:
    """Numbers of a quantity without a unit, or numbers as they are."""
    try:
        return _in_unit(given, units.one)
    except UserError:
        raise UserError(f"{what} has a unit, and is a number without one") from None


def _in_unit(values: Any, unit: Any) -> Any:
    """Numbers of a quantity, a column with a unit, or several of them, in a unit or their own;
    numbers as they are. What is masked is masked in the result too.
    """
    if isinstance(values, list | tuple):
        return [_in_unit(one, unit) for one in values]
    if isinstance(values, Column) and values.unit is not None:
        return np.ma.array(_in_unit(values.data * values.unit, unit), mask=_mask_of(values))
    if isinstance(values, Masked):
        return np.ma.array(_in_unit(values.unmasked, unit), mask=values.mask)
    if not isinstance(values, units.Quantity):
        return values
    try:
        return values.value if unit is None else values.to_value(unit)
    except units.UnitConversionError as error:
        raise UserError(f"wavelength or ivar: {error}") from None


def _mask_of(values: Any) -> Any:
    return getattr(values, "mask", np.ma.nomask)


def _inverse_square(flux: Any) -> Any:
    """The unit of inverse variances of a flux with a unit; None for numbers."""
    one = flux[0] if isinstance(flux, list | tuple) and len(flux) else flux
    unit = getattr(one, "unit", None)
    return None if unit is None else unit**-2


def _is_scalar(values: Any) -> bool:
    """Whether something is no array and no list of arrays, which may have different lengths."""
    return not isinstance(values, list | tuple) and np.ndim(values) == 0


def _rows(values: Any) -> list[NDArray[Any]]:
    """Spectra one by one: of one array (p,), of (n, p), or of a list of arrays."""
    if isinstance(values, np.ndarray):
        return [values] if values.ndim == 1 else list(values)
    rows = list(values)
    if rows and np.ndim(rows[0]) == 0:
        return [np.asarray(rows)]
    return [row if isinstance(row, np.ma.MaskedArray) else np.asarray(row) for row in rows]


def chunk_of(
    spectra: Spectra, z: ArrayLike, ra: ArrayLike | None, dec: ArrayLike | None
) -> pd.DataFrame:
    """Rows of a chunk (`CHUNK_COLUMNS`) for spectra without a catalogue; z (n,)."""
    n = len(spectra)
    numbers = [f"{number:08d}" for number in range(n)]
    right_ascension, declination = position(n, ra, dec)
    known: dict[str, Any] = {
        "spectrum_id": numbers,
        "ra": right_ascension,
        "dec": declination,
        "redshift": each("z", number("z", z), n, np.float64),
        "path": numbers,
        "lmjd": np.zeros(n, np.int32),
        "spid": np.zeros(n, np.int32),
        "fiberid": np.zeros(n, np.int32),
        **spectra.snr(),
    }
    texts = ("planid", "designation", "obsdate", "lamost_class", "subclass", "uid")
    known |= dict.fromkeys(texts, "")
    known |= dict.fromkeys(("obsid", "gaia_source_id"), -1)
    known |= dict.fromkeys(("redshift_err", "rv", "rv_err"), np.float32(np.nan))
    return pd.DataFrame({name: known[name] for name in CHUNK_COLUMNS}, index=range(n))


def reader(spectra: Spectra) -> Any:
    """Gives the spectrum of a row of `chunk_of` (`spectra.chunk.Reader`)."""

    def read(row: Any) -> StoredSpectrum:
        number = int(row.spectrum_id)
        if not np.isfinite(row.redshift):
            raise SpectrumRejected("bad_redshift", "none was given, and none is reliable")
        return spectra.stored(number)

    return read
