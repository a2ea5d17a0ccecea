"""Reading LAMOST low-resolution spectra, every layout seen from the pilot survey to DR13.

The layout is found from the HDUs, never from the release number. A survey has ten million of these
small files, so the bytes are read once and only the necessary parts are parsed; astropy takes
several times as long per file (`make bench`). The reader never guesses: a file that fits no layout
raises `SpectrumRejected` with the reason.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.file_bytes import read_beginning, read_bytes

_BLOCK = 2880
_HEADER_BYTES = 7 * _BLOCK  # real primary headers have four to six blocks
_CARD, _KEY = 80, 10  # bytes of a card, and of its keyword with the "= " before a value
_IMAGE_DTYPES = {-32: ">f4", -64: ">f8"}
_COLUMN_DTYPES = {"E": ">f4", "D": ">f8", "J": ">i4", "I": ">i2", "K": ">i8", "B": "u1"}
_TABLE_COLUMNS = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK")
OPTICAL = (3000.0, 11000.0)  # A; nothing that LAMOST records lies outside
MIN_PIXELS = 1000
_PACKED = {b"BZh": "bzip2", b"PK\3\4": "zip", b"\xfd7zXZ": "xz", b"\x1f\x9d": "compress"}
_TEXT = re.compile(r"'((?:[^']|'')*)'")

HeaderValue = str | int | float | bool | None


class Header(Mapping[str, HeaderValue]):
    """Keyword -> value of a FITS header, the first of cards with the same keyword.

    A card is parsed only on request: a header has some 150, of which a spectrum needs twenty.
    Keywords are compared exactly, padded with spaces to eight characters.
    """

    def __init__(self, cards: bytes) -> None:
        self.cards = cards

    @cached_property
    def _places(self) -> dict[bytes, int]:
        # Most headers of a release have the same keywords in the same order.
        beginnings = np.frombuffer(self.cards, f"S{_KEY}").reshape(-1, _CARD // _KEY)[:, 0]
        return _places(beginnings.tobytes())

    def _start(self, keyword: object) -> int | None:
        return self._places.get(f"{keyword:<8}= ".encode("latin-1"))

    def __getitem__(self, keyword: str) -> HeaderValue:
        if (start := self._start(keyword)) is None:
            raise KeyError(keyword)
        return _parse_value(self.cards[start + _KEY : start + _CARD].decode("latin-1"))

    def get(self, keyword: str, default: Any = None) -> Any:
        # As a mapping's, without the exception for each that is missing, which takes longer.
        return default if self._start(keyword) is None else self[keyword]

    def __iter__(self) -> Iterator[str]:
        cards = (self.cards[at : at + 10] for at in range(0, len(self.cards), _CARD))
        return iter(
            dict.fromkeys(c[:8].decode("latin-1").rstrip(" ") for c in cards if c[8:] == b"= ")
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)


@lru_cache(maxsize=64)
def _places(beginnings: bytes) -> dict[bytes, int]:
    """Where the first card with each beginning is, from the beginnings of all one after the other."""
    keys = [beginnings[at : at + _KEY] for at in range(0, len(beginnings), _KEY)]
    return {key: number * _CARD for number, key in reversed(list(enumerate(keys)))}


@dataclass(frozen=True)
class Spectrum:
    """One spectrum as the survey released it: observed frame, heliocentric, vacuum.

    Attributes
    ----------
    wave : (n,) float64, A, increasing
    flux : (n,) float32, arbitrary units (relative flux calibration)
    ivar : (n,) float32, inverse variance of `flux`; <= 0 or not finite marks an unusable pixel
    andmask, ormask : (n,) int32, bits set in all / in any of the combined exposures
    header : of the primary HDU
    layout : "pilot", "image" or "table"
    """

    wave: NDArray[np.float64]
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    andmask: NDArray[np.int32]
    ormask: NDArray[np.int32]
    header: Header
    layout: str


@dataclass(frozen=True)
class StoredSpectrum:
    """A spectrum as its file stores it: arrays (n,) of the file's number types, of equal lengths.

    Parsing ends here where compiled code does the rest (lamostvac/spectra/batch.py).
    """

    wave: NDArray[np.generic]
    flux: NDArray[np.generic]
    ivar: NDArray[np.generic]
    andmask: NDArray[np.generic]
    ormask: NDArray[np.generic]
    header: Header
    layout: str

    # Values too large for the type become infinite, and are then rejected or masked.
    @np.errstate(over="ignore", invalid="ignore")
    def decoded(self) -> Spectrum:
        """The spectrum with numbers of this machine; raises `SpectrumRejected` (bad_wavelength)."""
        wave = self.wave.astype(np.float64)
        if not _plausible(wave):
            raise SpectrumRejected("bad_wavelength", f"{wave[0]:g} to {wave[-1]:g} A")
        return Spectrum(
            wave=wave,
            flux=self.flux.astype(np.float32),
            ivar=self.ivar.astype(np.float32),
            andmask=_mask(self.andmask),
            ormask=_mask(self.ormask),
            header=self.header,
            layout=self.layout,
        )


def read_spectrum(path: str | PathLike[str]) -> Spectrum:
    """Read one LAMOST LRS file, gzipped or not.

    Raises `SpectrumRejected` with one of the reasons of stage "prepare" in
    `lamostvac.core.rejection`.
    """
    return read_stored(path).decoded()


def read_stored(path: str | PathLike[str]) -> StoredSpectrum:
    """`read_spectrum` up to where numbers are looked at; raises as it does but for wavelengths."""
    return _parse_stored(read_bytes(path))


def read_header(path: str | PathLike[str]) -> Header:
    """The primary header of a LAMOST LRS file, gzipped or not, from the file's first bytes.

    Raises `SpectrumRejected` where the file cannot be read, or its primary array is that of no
    layout. Damage behind the header is not seen.
    """
    data = read_beginning(path, _HEADER_BYTES)
    if _find_card(data, b"END     ") < 0:  # longer than others, or damaged
        data = read_bytes(path)
    return _primary(data)[0]


def parse_spectrum(data: bytes) -> Spectrum:
    """The spectrum in the bytes of an uncompressed FITS file; raises `SpectrumRejected`."""
    return _parse_stored(data).decoded()


@np.errstate(over="ignore", invalid="ignore")  # of scaled values
def _parse_stored(data: bytes) -> StoredSpectrum:
    header, shape, data_start = _primary(data)
    if shape:
        return _parse_image(data, header, data_start, shape)
    return _parse_table(data, header, data_start)


def _primary(data: bytes) -> tuple[Header, tuple[int, ...], int]:
    """Primary header, shape of its array, (5, n) or () where a table follows, and their end."""
    if data[:6] != b"SIMPLE":
        packed = next((name for start, name in _PACKED.items() if data.startswith(start)), "")
        said = f"packed by {packed}; unpack it" if packed else f"begins with {data[:16]!r}"
        raise SpectrumRejected("not_fits", said)
    header, end = _parse_header(data, 0)
    shape = _shape(header)
    if shape and (len(shape) != 2 or shape[0] != 5):
        raise SpectrumRejected("unknown_layout", f"primary array of shape {shape}")
    return header, shape, end


def _parse_header(data: bytes, start: int) -> tuple[Header, int]:
    """The header at `start`, and the byte where its data begin."""
    end = _find_card(data, b"END     ", start)
    if end < 0 or len(data) < end + _CARD:
        raise SpectrumRejected("truncated_fits", "a header without END")
    size = end + _CARD - start
    return Header(data[start:end]), start + -(-size // _BLOCK) * _BLOCK


def _find_card(data: bytes, beginning: bytes, start: int = 0) -> int:
    """Position of the first card from `start` on that begins with `beginning`; -1 without one."""
    at = data.find(beginning, start)
    while at >= 0 and (at - start) % _CARD:
        at = data.find(beginning, at + 1)
    return at


def _parse_value(text: str) -> HeaderValue:
    text = text.lstrip()
    if text.startswith("'"):
        match = _TEXT.match(text)
        return match.group(1).replace("''", "'").rstrip() if match else text[1:].rstrip()
    text = text.partition("/")[0].strip()
    if text in ("T", "F"):
        return text == "T"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text.replace("D", "E"))
    except ValueError:
        return text or None


def finite_number(value: object) -> float | None:
    """A header's value as a number; None for anything else and for what no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _integer(header: Header, keyword: str) -> int:
    value = header.get(keyword)
    if not isinstance(value, int) or isinstance(value, bool):
        raise SpectrumRejected("missing_keyword", f"{keyword} = {value!r}")
    return value


def _shape(header: Header) -> tuple[int, ...]:
    """Array shape in NumPy order; DR9+ primaries carry stray NAXISn cards beside NAXIS = 0."""
    return tuple(_integer(header, f"NAXIS{i}") for i in range(_integer(header, "NAXIS"), 0, -1))


def _array(data: bytes, dtype: str, start: int, count: int) -> NDArray[np.generic]:
    if start + np.dtype(dtype).itemsize * count > len(data):
        raise SpectrumRejected(
            "truncated_fits", f"{len(data)} bytes, {count} values expected at {start}"
        )
    return np.frombuffer(data, dtype=dtype, count=count, offset=start)


def _parse_image(data: bytes, header: Header, start: int, shape: tuple[int, ...]) -> StoredSpectrum:
    bitpix = _integer(header, "BITPIX")
    if bitpix not in _IMAGE_DTYPES:
        raise SpectrumRejected("unknown_layout", f"BITPIX = {bitpix}")
    n = shape[1]
    if n < MIN_PIXELS:
        raise SpectrumRejected("wrong_shape", f"{n} pixels")
    rows = _scaled(
        _array(data, _IMAGE_DTYPES[bitpix], start, 5 * n),
        _factor(header, "BSCALE", 1),
        _factor(header, "BZERO", 0),
    ).reshape(5, n)
    flux, ivar, third, andmask, ormask = rows
    # The pilot's third row is the continuum-subtracted spectrum, as its header says. If a header
    # does not, a row whose values cannot be wavelengths is not taken for them.
    says = str(header.get("EXTEN0", "")).lower()
    if "subcontinuum" in says or (
        "wavelength" not in says and not _plausible(third.astype(np.float64))
    ):
        wave = _wave_from_keywords(header, n)
        return _stored(wave, flux, ivar, andmask, ormask, header, "pilot")
    return _stored(third, flux, ivar, andmask, ormask, header, "image")


def _wave_from_keywords(header: Header, n: int) -> NDArray[np.float64]:
    coefficients = []
    for keyword in ("COEFF0", "COEFF1"):
        if (number := finite_number(header.get(keyword))) is None:
            raise SpectrumRejected("missing_keyword", f"{keyword} = {header.get(keyword)!r}")
        coefficients.append(number)
    return np.asarray(10.0 ** (coefficients[0] + coefficients[1] * np.arange(n)), dtype=np.float64)


def _parse_table(data: bytes, header: Header, start: int) -> StoredSpectrum:
    if start >= len(data):
        raise SpectrumRejected("unknown_layout", "an empty primary HDU and no extension")
    extension, table_start = _parse_header(data, start)
    columns: dict[str, NDArray[np.generic]] = {}
    position = table_start
    for name, dtype, count, scale, zero in _columns(extension.cards):
        column = _array(data, dtype, position, count)
        position += column.nbytes
        columns[name] = _scaled(column, scale, zero)
    missing = [name for name in _TABLE_COLUMNS if name not in columns]
    if missing:
        raise SpectrumRejected("missing_column", ", ".join(missing))
    flux, ivar, wave, andmask, ormask = (columns[name] for name in _TABLE_COLUMNS)
    return _stored(wave, flux, ivar, andmask, ormask, header, "table")


@lru_cache(maxsize=64)
def _columns(cards: bytes) -> tuple[tuple[str, str, int, float, float], ...]:
    """Name, type, length, TSCAL and TZERO of a one-row table's columns (cached)."""
    extension = Header(cards)
    if extension.get("XTENSION") != "BINTABLE":
        raise SpectrumRejected("unknown_layout", f"extension of type {extension.get('XTENSION')!r}")
    if _integer(extension, "NAXIS2") != 1:
        raise SpectrumRejected(
            "wrong_shape", f"{extension['NAXIS2']} rows in the table, 1 expected"
        )
    columns = []
    for i in range(1, _integer(extension, "TFIELDS") + 1):
        match = re.fullmatch(r"(\d*)([A-Z])", str(extension.get(f"TFORM{i}")).strip())
        if match is None or match.group(2) not in _COLUMN_DTYPES:
            raise SpectrumRejected("unknown_layout", f"TFORM{i} = {extension.get(f'TFORM{i}')!r}")
        name = str(extension.get(f"TTYPE{i}")).upper().strip()
        scale, zero = (
            _factor(extension, f"{key}{i}", i0) for key, i0 in (("TSCAL", 1), ("TZERO", 0))
        )
        columns.append(
            (name, _COLUMN_DTYPES[match.group(2)], int(match.group(1) or 1), scale, zero)
        )
    if sum(np.dtype(dtype).itemsize * count for _, dtype, count, *_ in columns) != _integer(
        extension, "NAXIS1"
    ):
        raise SpectrumRejected("wrong_shape", "the columns do not fill the row that NAXIS1 says")
    return tuple(columns)


def _factor(header: Header, keyword: str, absent: float) -> float:
    """A scale or zero point of FITS; `absent` where the header has none."""
    value = header.get(keyword)
    if value is None:
        return float(absent)
    if (number := finite_number(value)) is None:
        raise SpectrumRejected("unknown_layout", f"{keyword} = {value!r}"[:100])
    return number


def _scaled(values: NDArray[np.generic], scale: float, zero: float) -> NDArray[np.generic]:
    """Physical values of stored values."""
    if (scale, zero) == (1.0, 0.0):
        return values
    return np.asarray(values.astype(np.float64) * scale + zero)


def _plausible(wave: NDArray[np.float64]) -> bool:
    return bool(
        wave.min() > OPTICAL[0]  # false for NaN
        and wave.max() < OPTICAL[1]
        and (wave[1:] > wave[:-1]).all()
    )


def _stored(
    wave: NDArray[np.generic],
    flux: NDArray[np.generic],
    ivar: NDArray[np.generic],
    andmask: NDArray[np.generic],
    ormask: NDArray[np.generic],
    header: Header,
    layout: str,
) -> StoredSpectrum:
    n = len(wave)
    if n < MIN_PIXELS or any(len(a) != n for a in (flux, ivar, andmask, ormask)):
        raise SpectrumRejected("wrong_shape", f"{n} wavelengths, {len(flux)} fluxes")
    return StoredSpectrum(wave, flux, ivar, andmask, ormask, header, layout)


def _mask(values: NDArray[np.generic]) -> NDArray[np.int32]:
    """Mask bits, stored as floats, as integers; NaN and too large values count as 0."""
    numbers = values.astype(values.dtype.newbyteorder("="))
    sensible = (numbers >= 0) & (numbers < 2**31)
    if not sensible.all():
        numbers[~sensible] = 0
    return numbers.astype(np.int32)
