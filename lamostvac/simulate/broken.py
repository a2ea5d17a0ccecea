"""Deliberately invalid spectra, with the reason for which they must be rejected.

Each kind takes a good spectrum of the simulated release and damages its file or its catalogue row.
The reason is a key of `lamostvac.core.rejection.REASONS`.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamostvac.simulate import release

Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A way to break a spectrum.

    Attributes
    ----------
    file : takes the uncompressed bytes and returns the file's new content; None removes the file
    row : takes the catalogue row and returns the rows that replace it
    gzipped : whether the bytes returned by `file` are to be gzipped
    """

    name: str
    reason: str
    file: Callable[[bytes, Row], bytes | None] | None = None
    row: Callable[[Row], list[Row]] | None = None
    gzipped: bool = True


def unpack(data: bytes) -> tuple[str, int, int, dict[str, np.ndarray]]:
    """Layout, pixels, offset of the data, and copies of the arrays of a file this package wrote."""
    header_end = _header_end(data, 0)
    header = data[:header_end]
    n = int(_value(header, "NAXIS1"))
    names = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK")
    if int(_value(header, "NAXIS")) == 2:
        start, layout = header_end, "image"
    else:
        start, layout = _header_end(data, header_end), "table"
    values = np.frombuffer(data, ">f4", 5 * n, start).reshape(5, n)
    return layout, n, start, {name: values[i].copy() for i, name in enumerate(names)}


def _header_end(data: bytes, start: int) -> int:
    position = start
    while data[position : position + 8] != b"END     ":
        position += 80
    return start + -(-(position + 80 - start) // 2880) * 2880


def _value(header: bytes, keyword: str) -> str:
    at = header.index(keyword.ljust(8).encode() + b"= ")
    return header[at + 10 : at + 80].split(b"/")[0].decode().strip()


def _with_arrays(data: bytes, arrays: dict[str, np.ndarray]) -> bytes:
    _, n, start, _ = unpack(data)
    block = b"".join(np.asarray(a, dtype=">f4").tobytes() for a in arrays.values())
    return data[:start] + block + data[start + 20 * n :]


def _change(function: Callable[[dict[str, np.ndarray]], None]) -> Callable[[bytes, Row], bytes]:
    def apply(data: bytes, row: Row) -> bytes:
        _, _, _, arrays = unpack(data)
        function(arrays)
        return _with_arrays(data, arrays)

    return apply


def _set(name: str, value: float) -> Callable[[bytes, Row], bytes]:
    return _change(lambda arrays: arrays[name].fill(value))


def _replace(data: bytes, keyword: str, card: str) -> bytes:
    at = data.index(keyword.ljust(8).encode() + b"= ")
    return data[:at] + card.encode().ljust(80) + data[at + 80 :]


def _truncated_gzip(data: bytes, row: Row) -> bytes:
    packed = gzip.compress(data, 1, mtime=0)
    return packed[: len(packed) // 2]


def _damaged_gzip(data: bytes, row: Row) -> bytes:
    packed = bytearray(gzip.compress(data, 1, mtime=0))
    middle = len(packed) // 2
    packed[middle : middle + 64] = bytes(64)
    return bytes(packed)


def _wrong_hdus(data: bytes, row: Row) -> bytes:
    primary = [release.card("SIMPLE", True), release.card("BITPIX", 8), release.card("NAXIS", 0)]
    return release._header(primary)


def _missing_column(data: bytes, row: Row) -> bytes:
    _, _, _, arrays = unpack(data)
    data = release.spectrum_bytes(_row_for(row), "table", *_ordered(arrays))
    return data.replace(b"TTYPE2  = 'IVAR    '", b"TTYPE2  = 'VARIANCE'")


def _row_for(row: Row) -> Row:
    return {"helio_rv": 0.0, **row}


def _ordered(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [arrays[name] for name in ("WAVELENGTH", "FLUX", "IVAR", "ANDMASK", "ORMASK")]


def _pilot_without_coefficients(data: bytes, row: Row) -> bytes:
    _, _, _, arrays = unpack(data)
    image = release.spectrum_bytes(_row_for(row), "image", *_ordered(arrays))
    # the pilot's third row is the sub-continuum spectrum, so that only the keywords give
    # wavelengths
    arrays["WAVELENGTH"] = np.ones_like(arrays["WAVELENGTH"])
    image = _with_arrays(image, arrays)
    image = _replace(
        image, "EXTEN0", release.card("EXTEN0", "Flux Inverse Subcontinuum Andmask Ormask")
    )
    return _replace(image, "COEFF0", release.card("COMMENT", " COEFF0 was here"))


def _two_rows(data: bytes, row: Row) -> bytes:
    _, n, _, arrays = unpack(data)
    image = release.spectrum_bytes(_row_for(row), "image", *_ordered(arrays))
    image = _replace(image, "NAXIS2", release.card("NAXIS2", 2))
    start = _header_end(image, 0)
    return image[: start + -(-8 * n // 2880) * 2880]


def _reverse(arrays: dict[str, np.ndarray]) -> None:
    arrays["WAVELENGTH"] = arrays["WAVELENGTH"][::-1].copy()


def _fold(arrays: dict[str, np.ndarray]) -> None:
    arrays["WAVELENGTH"][1500:1600] = arrays["WAVELENGTH"][1400:1500]


def _infrared(arrays: dict[str, np.ndarray]) -> None:
    arrays["WAVELENGTH"] = arrays["WAVELENGTH"] * 3


def _few_good(arrays: dict[str, np.ndarray]) -> None:
    arrays["IVAR"][:-300] = 0


def _negative(arrays: dict[str, np.ndarray]) -> None:
    arrays["FLUX"] = -np.abs(arrays["FLUX"])


def _other_obsid(data: bytes, row: Row) -> bytes:
    changed = _replace(data, "OBSID", release.card("OBSID", int(row["obsid"]) + 777_000_000))
    changed = _replace(changed, "FIBERID", release.card("FIBERID", int(row["fiberid"]) % 250 + 1))
    return _replace(changed, "PLANID", release.card("PLANID", "HD000000N000000V99"))


def _row(**values: Any) -> Callable[[Row], list[Row]]:
    return lambda row: [{**row, **values}]


def _random_bytes(data: bytes, row: Row) -> bytes:
    return np.random.default_rng(int(row["obsid"])).bytes(5000)


KINDS: tuple[Kind, ...] = (
    Kind("missing", "missing_file", lambda data, row: None),
    Kind("empty", "empty_file", lambda data, row: b"", gzipped=False),
    Kind("truncated_gzip", "corrupt_gzip", _truncated_gzip, gzipped=False),
    Kind("damaged_gzip", "corrupt_gzip", _damaged_gzip, gzipped=False),
    Kind("not_fits", "not_fits", _random_bytes),
    Kind("truncated_fits", "truncated_fits", lambda data, row: data[: len(data) // 2]),
    Kind("wrong_hdus", "unknown_layout", _wrong_hdus),
    Kind("two_rows", "unknown_layout", _two_rows),
    Kind("missing_column", "missing_column", _missing_column),
    Kind("missing_keyword", "missing_keyword", _pilot_without_coefficients),
    Kind("nan_flux", "nan_flux", _set("FLUX", np.nan)),
    Kind("zero_flux", "zero_flux", _set("FLUX", 0.0)),
    Kind("no_ivar", "no_valid_ivar", _set("IVAR", 0.0)),
    Kind("negative_ivar", "no_valid_ivar", _set("IVAR", -1.0)),
    Kind("reversed_wavelength", "bad_wavelength", _change(_reverse)),
    Kind("folded_wavelength", "bad_wavelength", _change(_fold)),
    Kind("infrared", "bad_wavelength", _change(_infrared)),
    Kind("few_good_pixels", "too_few_pixels", _change(_few_good)),
    Kind("negative_flux", "negative_continuum", _change(_negative)),
    Kind("other_spectrum", "wrong_spectrum", _other_obsid),
    Kind("absurd_redshift", "bad_redshift", row=_row(z=3.5)),
    Kind("no_redshift", "bad_redshift", row=_row(z=None)),
    Kind("duplicate_row", "duplicate_spectrum", row=lambda row: [row, dict(row)]),
    Kind("no_fibre", "bad_identifier", row=_row(fiberid="")),
    Kind("bad_coordinates", "bad_coordinates", row=_row(ra=412.0, ra_obs=412.0)),
    Kind(
        "no_coordinates", "bad_coordinates", row=_row(ra=None, ra_obs=None, dec=None, dec_obs=None)
    ),
    Kind("no_subclass", "no_spectral_type", row=_row(subclass="Non")),
)
BY_NAME = {kind.name: kind for kind in KINDS}
# needs a second spectrum, so it is not among KINDS: see `break_release`
DUPLICATE_OBSID = Kind("duplicate_obsid", "duplicate_obsid")


def break_file(path: Path, row: Row, kind: Kind) -> None:
    """Damage the spectrum in `path`; kinds that only change the catalogue have no effect here."""
    if kind.file is None:
        return
    content = kind.file(gzip.decompress(path.read_bytes()), row)
    if content is None:
        path.unlink()
    elif kind.gzipped:
        path.write_bytes(gzip.compress(content, 1, mtime=0))
    else:
        path.write_bytes(content)


def break_release(
    folder: Path, rows: list[Row], truth: list[dict[str, Any]], number: int, seed: int
) -> tuple[list[Row], list[dict[str, Any]]]:
    """Break `number` good stars of a written release, the kinds in turn.

    folder: contains the nights' folders. Returns the new catalogue rows and the truth, whose
    `expected_reason` names the reason (for a duplicate row, of its second appearance).
    """
    rng = np.random.default_rng([seed, 5])
    good = [i for i, t in enumerate(truth) if not t["expected_reason"] and not t["low_snr"]]
    kinds = (*KINDS, DUPLICATE_OBSID)
    chosen = [int(i) for i in rng.permutation(good)[:number]]
    replaced: dict[int, list[Row]] = {}
    truth = [dict(t) for t in truth]
    for k, i in enumerate(chosen):
        kind, row = kinds[k % len(kinds)], rows[i]
        if kind is DUPLICATE_OBSID:
            # the obsid is that of the good spectrum just before it in the catalogue
            earlier = [j for j in good if j < i and j not in chosen]
            if not earlier:
                continue
            replaced[i] = [{**row, "obsid": rows[earlier[-1]]["obsid"]}]
        else:
            break_file(folder / release.file_name(row), row, kind)
            replaced[i] = kind.row(row) if kind.row else [row]
        truth[i]["expected_reason"] = kind.reason
    new_rows = [new for i, row in enumerate(rows) for new in replaced.get(i, [row])]
    return new_rows, truth
