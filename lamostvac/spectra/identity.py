"""Checks that a file holds the catalogue's spectrum: identity, position, redshift and frame."""

import math
from collections.abc import Mapping
from typing import Protocol

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.reader import finite_number
from lamostvac.spectra.settings import HeaderTolerances

POSITIONS = (("RA", "DEC"), ("RA_OBS", "DEC_OBS"), ("OBS_RA", "OBS_DEC"))
_FRAME = {"VACUUM": "not_vacuum", "HELIO": "not_heliocentric"}


class Row(Protocol):
    """A spectrum's row of the catalogue; `obsid` is -1 where it has none."""

    lmjd: int
    planid: str
    spid: int
    fiberid: int
    obsid: int
    ra: float
    dec: float
    redshift: float


def check_header(header: Mapping[str, object], row: Row, tolerances: HeaderTolerances) -> None:
    """Compare the header with the catalogue's row; absent and missing values are not compared.

    Raises
    ------
    SpectrumRejected
        `wrong_spectrum`, `wrong_position`, `wrong_redshift`, `not_vacuum` or `not_heliocentric`
    """
    check_identity(header, row.lmjd, row.planid, row.spid, row.fiberid, row.obsid)
    for keyword, reason in _FRAME.items():
        if header.get(keyword) is False:
            raise SpectrumRejected(reason, f"{keyword} = F in the header")
    if tolerances.position_tolerance > 0:
        _check_position(header, row.ra, row.dec, tolerances.position_tolerance)
    if tolerances.redshift_tolerance > 0:
        _check_redshift(header.get("Z"), row.redshift, tolerances.redshift_tolerance)


def check_identity(
    header: Mapping[str, object], lmjd: int, planid: str, spid: int, fiberid: int, obsid: int
) -> None:
    """Compare the keywords that identify a spectrum; -1 is the pilot survey's missing OBSID.

    Raises `SpectrumRejected("wrong_spectrum")` when one differs.
    """
    expected = {"LMJD": lmjd, "PLANID": planid, "SPID": spid, "FIBERID": fiberid}
    if obsid > 0:
        expected["OBSID"] = obsid
    for keyword, value in expected.items():
        found = header.get(keyword)
        if found is None:
            continue
        same = (
            str(found).strip() == str(value).strip()
            or as_integer(found) == as_integer(value) is not None
        )
        if not same:
            raise SpectrumRejected(
                "wrong_spectrum", f"{keyword} is {found} in the file, {value} in the catalogue"
            )


def _check_position(header: Mapping[str, object], ra: float, dec: float, tolerance: float) -> None:
    """The target's or the fibre's position must be near the catalogue's, which may be either."""
    distance, swapped = math.inf, False
    for keys in POSITIONS:
        first, second = (finite_number(header.get(key)) for key in keys)
        if first is None or second is None or not (0 <= first <= 360 and -90 <= second <= 90):
            continue
        distance = min(distance, separation(ra, dec, first, second))
        if distance <= tolerance:
            return
        swapped |= abs(ra) <= 90 and separation(dec % 360.0, ra, first, second) <= tolerance
    if distance == math.inf:
        return
    detail = f"{distance:.1f} arcsec between header and catalogue"
    if swapped:
        detail += "; right ascension and declination are swapped in the catalogue"
    raise SpectrumRejected("wrong_position", detail)


def separation(ra: float, dec: float, other_ra: float, other_dec: float) -> float:
    """Angle between two directions in arcsec; arguments in degrees (Vincenty's formula)."""
    # NumPy takes ten times as long for single numbers.
    one, two = math.radians(dec), math.radians(other_dec)
    delta = math.radians(other_ra - ra)
    across = math.hypot(
        math.cos(two) * math.sin(delta),
        math.cos(one) * math.sin(two) - math.sin(one) * math.cos(two) * math.cos(delta),
    )
    along = math.sin(one) * math.sin(two) + math.cos(one) * math.cos(two) * math.cos(delta)
    return math.degrees(math.atan2(across, along)) * 3600.0


def _check_redshift(value: object, z: float, tolerance: float) -> None:
    found = finite_number(value)
    if found is None or not -1.0 < found < 20.0:  # -9999 where none was found
        return
    if abs(found - z) > tolerance:
        raise SpectrumRejected(
            "wrong_redshift", f"Z is {found:.6f} in the header, {z:.6f} in the catalogue"
        )


def as_integer(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None
