"""A file that holds another spectrum than the catalogue says, or one in another frame, is told by name."""

from contextlib import nullcontext as does_not_raise
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.spectra.identity import check_header, check_identity, separation
from lamostvac.spectra.settings import HeaderTolerances

HEADER = {"LMJD": 55991, "PLANID": "GAC_080N28_B1", "SPID": 5, "FIBERID": 17, "OBSID": 123456}
IDENTITY = {"lmjd": 55991, "planid": "GAC_080N28_B1", "spid": 5, "fiberid": 17, "obsid": 123456}


@pytest.mark.parametrize("keyword", HEADER)
def test_a_file_of_another_spectrum_is_noticed_by_every_keyword(keyword):
    other = HEADER | {keyword: "OTHER" if keyword == "PLANID" else 9}
    with pytest.raises(SpectrumRejected, match=f"wrong_spectrum: {keyword} is .* in the file"):
        check_identity(other, **IDENTITY)


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        {},  # nothing to compare
        HEADER | {"FIBERID": "017", "SPID": "05"},  # numbers as text
        HEADER | {"PLANID": " GAC_080N28_B1 "},
        {key: value for key, value in HEADER.items() if key != "OBSID"},  # the pilot survey
    ],
)
def test_the_right_file_is_accepted_however_its_header_writes_numbers(header):
    with does_not_raise():
        check_identity(header, **IDENTITY)


def test_a_catalogue_without_obsid_does_not_compare_it():
    with does_not_raise():
        check_identity(HEADER, **(IDENTITY | {"obsid": -1}))


ROW = SimpleNamespace(**IDENTITY, ra=120.0, dec=30.0, redshift=1e-4)
FULL = HEADER | {"RA": 120.0, "DEC": 30.0, "Z": 1e-4, "VACUUM": True, "HELIO": True}


def limits(position, redshift):
    return HeaderTolerances(position_tolerance=position, redshift_tolerance=redshift)


def moved(**change):
    return SimpleNamespace(**(vars(ROW) | change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"VACUUM": False}, "not_vacuum"),
        ({"HELIO": False}, "not_heliocentric"),
        ({"DEC": 30.0 + 6 / 3600}, "wrong_position: 6.0 arcsec"),
        ({"RA": 120.0 + 6 / 3600 / np.cos(np.radians(30))}, "wrong_position: 6.0 arcsec"),
        ({"Z": 0.0012}, "wrong_redshift: Z is 0.001200 in the header, 0.000100 in the catalogue"),
        ({"FIBERID": 18}, "wrong_spectrum"),
    ],
)
def test_a_header_that_contradicts_the_catalogue_has_its_reason(change, reason):
    with pytest.raises(SpectrumRejected, match=reason):
        check_header(FULL | change, ROW, HeaderTolerances())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"DEC": 30.0 + 4 / 3600},
        {"Z": 0.00105},
        {"Z": -9999.0},
        {"RA": None, "DEC": None, "Z": None, "VACUUM": None, "HELIO": None},
        {"RA": "unknown", "Z": "unknown"},
        {"RA": 10.0, "DEC": 0.0, "RA_OBS": 120.0, "DEC_OBS": 30.0},  # the fibre was there
        {"RA": -999.0, "DEC": -999.0},
    ],
)
def test_what_agrees_within_the_tolerance_or_says_nothing_is_accepted(change):
    with does_not_raise():
        check_header(FULL | change, ROW, HeaderTolerances())


def test_swapped_coordinates_are_called_that():
    header = FULL | {"RA": 30.0, "DEC": 60.0}
    with pytest.raises(SpectrumRejected, match="declination are swapped in the catalogue"):
        check_header(header, moved(ra=60.0, dec=30.0), HeaderTolerances())


def test_tolerances_can_be_widened_and_switched_off():
    header = FULL | {"DEC": 30.01, "Z": 0.01}
    for position, redshift in ((40.0, 0.02), (0.0, 0.0)):
        check_header(header, ROW, limits(position, redshift))
    with pytest.raises(SpectrumRejected, match="wrong_redshift"):
        check_header(header, ROW, limits(0.0, 0.001))


@given(st.floats(0, 360), st.floats(-90, 90), st.floats(0, 360), st.floats(-90, 90))
def test_the_angle_is_astropys(ra, dec, other_ra, other_dec):
    one, two = SkyCoord(ra, dec, unit="deg"), SkyCoord(other_ra, other_dec, unit="deg")
    assert separation(ra, dec, other_ra, other_dec) == pytest.approx(
        one.separation(two).arcsec, abs=1e-6, rel=1e-12
    )


def test_a_number_of_hundreds_of_digits_is_not_compared():
    with does_not_raise():
        check_header(FULL | {"RA": 10**400, "Z": 2**70}, ROW, limits(5, 1e-3))
