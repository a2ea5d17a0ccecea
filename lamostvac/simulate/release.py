"""Writers of LAMOST files: spectra as images (DR1 to DR8) and binary tables (DR9 on), catalogue.

The bytes are made here and not by astropy: a release has many small files with some hundred cards
each, and joining a header from texts takes a tenth of the time. There are no time stamps, so equal
input gives equal bytes.
"""

import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lamostvac.core.atomic import atomic
from lamostvac.simulate.instrument import COEFF0, COEFF1

_BLOCK = 2880

# Columns of the general catalogue, as DR10 names and orders them
CATALOGUE_COLUMNS = (
    "obsid", "uid", "gp_id", "designation", "obsdate", "lmjd", "mjd", "planid", "spid", "fiberid", "ra_obs", "dec_obs",
    "snru", "snrg", "snrr", "snri", "snrz", "class", "subclass", "z", "z_err", "ps_id", "mag_ps_g", "mag_ps_r",
    "mag_ps_i", "mag_ps_z", "mag_ps_y", "gaia_source_id", "gaia_g_mean_mag", "tsource", "fibertype", "tfrom",
    "tcomment", "offsets", "offset_v", "ra", "dec", "fibermask", "with_norm_flux",
)  # fmt: skip


def file_name(row: Mapping[str, Any]) -> str:
    """Path of a spectrum below the release's folder: `YYYYMMDD/planid/spec-....fits.gz`."""
    name = f"spec-{row['lmjd']}-{row['planid']}_sp{int(row['spid']):02d}-{int(row['fiberid']):03d}.fits.gz"
    return f"{str(row['obsdate']).replace('-', '')}/{row['planid']}/{name}"


def spectrum_id(row: Mapping[str, Any]) -> str:
    """`lmjd-planid-spid-fiberid`: pilot files have no obsid."""
    return f"{row['lmjd']}-{row['planid']}-{row['spid']}-{row['fiberid']}"


def designation(ra: float, dec: float) -> str:
    """'LAMOST Jhhmmss.ss+ddmmss.s', truncated by the IAU's rule; arguments in degrees."""
    hours = int(ra / 15 * 3600 * 100) % (24 * 3600 * 100)
    arcsec = int(abs(dec) * 3600 * 10)
    sign = "-" if dec < 0 else "+"
    return (
        f"LAMOST J{hours // 360000:02d}{hours // 6000 % 60:02d}{hours % 6000 / 100:05.2f}"
        f"{sign}{arcsec // 36000:02d}{arcsec // 600 % 60:02d}{arcsec % 600 / 10:04.1f}"
    )


def card(keyword: str, value: Any, comment: str = "") -> str:
    """One 80-character FITS card; value is bool, int, float, str or an already formatted number."""
    if keyword in ("COMMENT", ""):
        return f"{keyword:<8}{value}"[:80].ljust(80)
    if isinstance(value, bool | np.bool_):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, int | np.integer):
        text = f"{value:>20d}"
    elif isinstance(value, float | np.floating):
        text = f"{value:>20.8f}"
    else:
        text = "'" + f"{value!s:<8}".replace("'", "''") + "'"
        text = f"{text:<20}"
    line = f"{keyword:<8}= {text}"
    if comment:
        line += f" / {comment}"
    return line[:80].ljust(80)


def _header(cards: Iterable[str]) -> bytes:
    text = "".join(cards) + "END".ljust(80)
    return text.encode("ascii").ljust(-(-len(text) // _BLOCK) * _BLOCK)


def _data(array: bytes) -> bytes:
    return array.ljust(-(-len(array) // _BLOCK) * _BLOCK, b"\0")


def meta_cards(row: Mapping[str, Any], layout: str, n_pixels: int) -> list[str]:
    """Cards of the primary header after the mandatory ones, as the release has them."""
    release = "LAMOST DR10" if layout == "table" else "LAMOST DR8"
    fibre_type, fibre_mask = (
        ("FIB_TYPE", "FIB_MASK") if layout == "table" else ("FIBERTYP", "FIBERMAS")
    )
    name = Path(file_name(row)).name.removesuffix(".gz")
    cards = [
        card("COMMENT", "--------FILE INFORMATION"),
        card("FILENAME", name),
        card("OBSID", int(row["obsid"]), "Unique number ID of this spectrum"),
        card("AUTHOR", "LAMOST Pipeline", "Who compiled the information"),
        card("DATA_V", release, "Data release version"),
    ]
    if layout == "image":
        cards += [
            card("EXTEN0", "Flux, Inverse, Wavelength, Andmask, Ormask"),
            card("N_EXTEN", 1, "The extension number"),
            card("EXTNAME", "Flux", "The extension name"),
        ]
    else:
        cards += [
            card("N_EXTEN", 2, "The amount of extension"),
            card("NORM", 0, "1 if there exists a normalized spectrum"),
        ]
    cards += [
        card("ORIGIN", "NAOC-LAMOST", "Organization responsible for creating this file"),
        card("DATE", f"{row['obsdate']}T00:00:00", "Time when this HDU is created (UTC)"),
        card("COMMENT", "--------TELESCOPE PARAMETERS"),
        card("TELESCOP", "LAMOST", "GuoShouJing Telescope"),
        card("LONGITUD", 117.58, "[deg] Longitude of site"),
        card("LATITUDE", 40.39, "[deg] Latitude of site"),
        card("COMMENT", "--------OBSERVATION PARAMETERS"),
        card("DATE-OBS", f"{row['obsdate']}T16:00:00", "The observation median UTC"),
        card("LMJD", int(row["lmjd"]), "Local Modified Julian Day"),
        card("MJD", int(row["mjd"]), "Modified Julian Day"),
        card("PLANID", row["planid"], "Plan ID in use"),
        card("RA", float(row["ra"]), "[deg] Right ascension of object"),
        card("DEC", float(row["dec"]), "[deg] Declination of object"),
        card("RA_OBS", float(row["ra_obs"]), "[deg] Right ascension during observing"),
        card("DEC_OBS", float(row["dec_obs"]), "[deg] Declination during observing"),
        card("DESIG", row["designation"], "Designation of LAMOST target"),
        card("FIBERID", int(row["fiberid"]), "Fiber ID of Object"),
        card("OBJTYPE", "Star", "Object type from input catalog"),
        card("TSOURCE", row["tsource"], "Name of input catalog"),
        card("TFROM", row["tfrom"], "Target catalog"),
        card(fibre_type, "Obj", "Fiber type of object"),
        card(fibre_mask, int(row["fibermask"]), "Bitmask of warning values, 0 means all is well"),
    ]
    magnitudes = [float(row[f"mag_ps_{band}"]) for band in "grizy"]
    if layout == "table":
        cards += [
            card(f"MAG_PS_{band.upper()}", magnitude, "[mag] Magnitude of object")
            for band, magnitude in zip("grizy", magnitudes, strict=True)
        ]
    else:
        cards.append(card("MAGTYPE", "grizy", "Magnitude type of object"))
        cards += [
            card(
                f"MAG{i + 1}", magnitude if magnitude > -99 else 99.0, f"[mag] Mag{i + 1} of object"
            )
            for i, magnitude in enumerate([*magnitudes, 99.0, 99.0])
        ]
    cards += [
        card("OBS_TYPE", "OBJ", "The type of target (OBJ, FLAT, ARC or BIAS)"),
        card("RADECSYS", "FK5", "Equatorial coordinate system"),
        card("EQUINOX", 2000.0, "Equinox in years"),
        card("NEXP", 3, "Number of valid exposures"),
        card("EXPTIME", 5400.0, "[s] Minimum of exposure time for all cameras"),
        card("COMMENT", "--------SPECTROGRAPH PARAMETERS"),
        card("SPID", int(row["spid"]), "Spectrograph ID"),
        card("SLIT_MOD", "x2/3", "Slit mode, x1, x2/3 or x1/2"),
        card("COMMENT", "--------DATA REDUCTION PARAMETERS"),
        card("HELIO", True, "Heliocentric correction"),
        card("HELIO_RV", float(row["helio_rv"]), "[km/s] Heliocentric correction"),
        card("VACUUM", True, "Wavelengths are in vacuum"),
        card("NWORDER", 2, "Number of linear-log10 coefficients"),
        card("WFITTYPE", "LOG-LINEAR", "Linear-log10 dispersion"),
        card("COEFF0", COEFF0, "Central wavelength (log10) of first pixel"),
        card("COEFF1", COEFF1, "Log10 dispersion per pixel"),
        card("WAT0_001", "system=linear"),
        card("WAT1_001", "wtype=linear label=Wavelength units=Angstroms"),
        card("CRVAL1", COEFF0, "Central wavelength (log10) of first pixel"),
        card("CD1_1", COEFF1, "Log10 dispersion per pixel"),
        card("CRPIX1", 1, "Starting pixel (1-indexed)"),
        card("CTYPE1", "LINEAR"),
        card("DC-FLAG", 1, "Log-linear flag"),
        card("COMMENT", "--------SPECTRA ANALYSIS RESULTS"),
        card("VERSPIPE", "v2.9.8", "Version of Pipeline"),
        card("CLASS", row["class"], "Class of object"),
        card("SUBCLASS", row["subclass"], "Subclass of object"),
        card("Z", float(row["z"]), "Redshift of object"),
        card("Z_ERR", float(row["z_err"]), "Redshift error of object"),
        card("ZFLAG", "LASP", "Which method computes the redshift"),
    ]
    cards += [card(f"SNR{b.upper()}", float(row[f"snr{b}"]), f"SNR of {b} filter") for b in "ugriz"]
    return cards


def spectrum_bytes(
    row: Mapping[str, Any],
    layout: str,
    wave: np.ndarray,
    flux: np.ndarray,
    ivar: np.ndarray,
    andmask: np.ndarray,
    ormask: np.ndarray,
) -> bytes:
    """An uncompressed LAMOST file; arrays (n,), layout "image" or "table".

    Raises ValueError for another layout.
    """
    n = wave.size
    columns = [np.asarray(x, dtype=">f4") for x in (flux, ivar, wave, andmask, ormask)]
    first = [card("SIMPLE", True, "Primary Header created by MWRFITS v1.11b")]
    meta = meta_cards(row, layout, n)
    if layout == "image":
        first += [
            card("BITPIX", -32), card("NAXIS", 2), card("NAXIS1", n), card("NAXIS2", 5), card("EXTEND", True),
        ]  # fmt: skip
        return _header(first + meta) + _data(b"".join(c.tobytes() for c in columns))
    if layout != "table":
        raise ValueError(f"unknown layout {layout!r}; use image or table")
    # the releases' primary headers keep NAXIS1 and NAXIS2 of the former image although NAXIS is 0
    first += [
        card("BITPIX", 16),
        card("NAXIS", 0),
        card("NAXIS1", n),
        card("NAXIS2", 5),
        card("EXTEND", True),
    ]
    names = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK", "NORMALIZATION")
    columns.append(np.full(n, -9999.0, dtype=">f4"))
    table = [
        card("XTENSION", "BINTABLE", "Binary table written by MWRFITS v1.11b"),
        card("BITPIX", 8), card("NAXIS", 2), card("NAXIS1", 24 * n), card("NAXIS2", 1), card("PCOUNT", 0),
        card("GCOUNT", 1), card("TFIELDS", 6), card("EXTNAME", "COADD", "The extension name"),
    ]  # fmt: skip
    for i, name in enumerate(names, start=1):
        table += [card(f"TTYPE{i}", name), card(f"TFORM{i}", f"{n}E")]
    return _header(first + meta) + _header(table) + _data(b"".join(c.tobytes() for c in columns))


def write_gzip(path: Path, data: bytes) -> None:
    """Write bytes gzipped, without name and time in the gzip header; parents are made."""
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(data, compresslevel=1, mtime=0))


def write_catalogue(path: Path, rows: list[dict[str, Any]]) -> None:
    """The general catalogue, `|`-separated, in the order of `rows`."""
    table = pd.DataFrame(rows, columns=list(CATALOGUE_COLUMNS))
    formats = {
        "ra": "%.6f",
        "dec": "%.6f",
        "ra_obs": "%.6f",
        "dec_obs": "%.6f",
        "z": "%.8f",
        "z_err": "%.8f",
    }
    for name in ("snru", "snrg", "snrr", "snri", "snrz", "gaia_g_mean_mag", "offset_v"):
        formats[name] = "%.2f"
    for name in "grizy":
        formats[f"mag_ps_{name}"] = "%.2f"
    for name, pattern in formats.items():
        numbers = pd.to_numeric(table[name], errors="coerce")
        text = [pattern % value if np.isfinite(value) else "" for value in numbers]
        # other values than numbers are written unchanged, as broken catalogues need
        raw = table[name].astype(object)
        table[name] = [
            t if t or v is None or (isinstance(v, float) and np.isnan(v)) else str(v)
            for t, v in zip(text, raw, strict=True)
        ]
    with atomic(path) as temporary:
        table.to_csv(temporary, sep="|", index=False, lineterminator="\n")
