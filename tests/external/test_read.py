"""Tables of every kind come in the same form, and identifiers keep their digits."""

import gzip

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.core.exceptions import UserError
from lamostvac.external.read import read_table
from lamostvac.external.sky import positions_of_names

GAIA = 2**62 + 1  # not a multiple of 512, as floats of this size are

VIZIER = """\
#RESOURCE=yCat
#Name: B/pastel
#Column _RAJ2000 (F9.5)

_RAJ2000\t_DEJ2000\tID\tTeff\te_Teff\t[Fe/H]\tAuthor\tbibcode
deg\tdeg\t \tK\tK\t[-]\t \t 
---------\t---------\t------\t-----\t---\t-----\t------\t-------------------
000.00042\t+12.26715\tBD+11 1\t 5650\t 50\t-0.17\tM"ore\t2002A&A...383..227A
000.00042\t+12.26715\tBD+11 1\t 5702\t   \t     \t      \t2010A&A...515A.111S
012.50000\t-02.00000\tHD 5#2\t     \t   \t-2.10\tXu    \t2010A&A...515A.111S

#END#
"""  # noqa: W291
PASTEL = {
    "ra": "_RAJ2000",
    "id": "ID",
    "teff": "Teff",
    "e_teff": "e_Teff",
    "feh": "[Fe/H]",
    "author": "Author",
}


def write(path, text, compress=False):
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if compress else data)
    return path


@pytest.mark.parametrize("compress", [False, True])
def test_vizier(tmp_path, compress):
    table = read_table(write(tmp_path / "pastel.tsv", VIZIER, compress), PASTEL)
    assert list(table) == list(PASTEL)
    assert table["ra"].tolist() == [0.00042, 0.00042, 12.5]
    assert table["id"].tolist() == ["BD+11 1", "BD+11 1", "HD 5#2"]
    assert table["teff"].tolist()[:2] == [5650, 5702]
    assert np.isnan(table["teff"][2])
    assert np.isnan(table["feh"][1])
    assert table["feh"][2] == -2.1
    assert table["author"].tolist() == ['M"ore', "", "Xu"]


@pytest.mark.parametrize("separator", [",", "|", ";", "\t"])
def test_csv_with_any_separator(tmp_path, separator):
    rows = [["source_id", "J", "name"], [GAIA, 12.5, "a"], ["", "", ""], [7, -9999, "c"]]
    path = write(
        tmp_path / "t.csv", "\n".join(separator.join(map(str, row)) for row in rows) + "\n"
    )
    table = read_table(
        path, {"id": "SOURCE_ID", "j": "j", "name": "name"}, identifiers=["id"], missing=[-9999]
    )
    assert table["id"].tolist() == [GAIA, -1, 7]
    assert table["id"].dtype == np.int64
    assert table["j"].tolist()[0] == 12.5
    assert table["j"].isna().tolist() == [False, True, True]
    assert table["name"].tolist() == ["a", "", "c"]


def test_quoted_text_and_numbers_that_turn_into_text_late(tmp_path):
    lines = ["x,name", *['1,"a, b"'] * 3, 'bad,"c"']
    table = read_table(write(tmp_path / "t.csv", "\n".join(lines)), {"x": "x", "name": "name"})
    assert table["x"].tolist() == ["1", "1", "1", "bad"]
    assert table["name"].tolist() == ["a, b"] * 3 + ["c"]


def test_columns_may_be_separated_by_blanks(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text(
        "Name    RA          DEC        Fe    Ref \n"
        "S10-14  10_13_34.7  -2_7_57.9  4.79  AOK09\n"
        "S11-37  1_0_0       0_30_0     *     *\n"
    )
    wanted = {"ra": "RA", "dec": "DEC", "fe": "Fe", "ref": "Ref"}
    read = read_table(path, wanted, conversions={"ra": "hourangle", "dec": "deg"})
    np.testing.assert_allclose(read["ra"], [153.394583, 15], rtol=1e-8)
    np.testing.assert_allclose(read["dec"], [-2.13275, 0.5], rtol=1e-8)
    np.testing.assert_array_equal(read["fe"], [4.79, np.nan])
    assert read["ref"].tolist() == ["AOK09", ""]
    path.write_text("Name  RA\na  1\nb  2  3\n")
    with pytest.raises(UserError, match=r"table\.txt cannot be read as a table"):
        read_table(path, {"ra": "RA"})


def test_a_table_without_rows(tmp_path):
    assert read_table(write(tmp_path / "t.csv", "x,y\n"), {"x": "x"}).shape == (0, 1)


def allstar(path, **extra):
    columns = [
        fits.Column("APOGEE_ID", "18A", array=["2M01", "2M02", ""]),
        fits.Column("TEFF", "E", array=[5000.0, -9999.0, np.nan]),
        fits.Column("ASPCAPFLAG", "J", array=[1 << 23, 0, -9999]),
        fits.Column("GAIA_SOURCE_ID", "K", array=[GAIA, 0, -1]),
        fits.Column("NVISITS", "I", array=[3, 99, 5], null=99),
        fits.Column("PARAM", "9E", array=np.zeros((3, 9))),
        fits.Column("MAG", "E", array=[99.9, 12.0, 99.9]),
        fits.Column("TARGET", "J", array=[2**31, 2**31 + 1, 2**31 + 2], bzero=2**31),
    ]
    hdus = fits.HDUList([fits.PrimaryHDU(np.zeros((3, 4))), fits.BinTableHDU.from_columns(columns)])
    hdus.writeto(path)
    return path


@pytest.mark.parametrize("name", ["allStar.fits", "allStar.fits.gz", "no_suffix"])
def test_fits(tmp_path, name, monkeypatch):
    monkeypatch.setattr("lamostvac.external.fits_table.BLOCK", 100)  # one row at a time
    path = allstar(tmp_path / "plain.fits")
    path = write_bytes(tmp_path / name, path.read_bytes())
    wanted = {"id": "APOGEE_ID", "teff": "teff", "flag": "ASPCAPFLAG", "gaia": "GAIA_SOURCE_ID"}
    wanted |= {"n": "NVISITS", "mag": "MAG", "target": "TARGET"}
    table = read_table(path, wanted, identifiers=["gaia"], missing=[-9999, 99.9])
    assert table["id"].tolist() == ["2M01", "2M02", ""]
    assert table["teff"].isna().tolist() == [False, True, True]
    assert table["flag"][0] == 1 << 23
    assert np.isnan(table["flag"][2])
    assert table["gaia"].tolist() == [GAIA, 0, -1]
    assert table["n"].isna().tolist() == [False, True, False]
    assert table["mag"].isna().tolist() == [True, False, True]
    assert table["target"].tolist() == [2**31, 2**31 + 1, 2**31 + 2]
    assert all(table[column].dtype.isnative for column in ("teff", "gaia", "mag"))


def write_bytes(path, data):
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def test_units(tmp_path):
    path = write(tmp_path / "t.csv", "ra,dec,r,hms\n1.5,-3600,2.5,12 30 00.0\n,,,\n")
    table = read_table(
        path,
        {"ra": "ra", "dec": "dec", "dist": "r"},
        conversions={"ra": "hourangle", "dec": "arcsec", "dist": "kpc -> pc"},
    )
    assert table.iloc[0].tolist() == pytest.approx([22.5, -1.0, 2500.0])
    assert table.iloc[1].isna().all()
    assert read_table(path, {"ra": "hms"}, conversions={"ra": "hourangle"})["ra"][
        0
    ] == pytest.approx(187.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"columns": {"teff": "Tef"}},
            r"t.csv has no column Tef \(for teff\); did you mean Teff\?",
        ),
        (
            {"columns": {"x": "name"}, "identifiers": ["x"]},
            "is a text where a whole number identifies",
        ),
        ({"columns": {"x": "Teff"}, "identifiers": ["x"]}, "is no whole number in every row"),
        ({"columns": {"x": "Teff"}, "conversions": {"x": "K"}}, "write `K -> unit`"),
        ({"columns": {"x": "Teff"}, "conversions": {"x": "K -> parsec"}}, "not convertible"),
        ({"columns": {"x": "Teff"}, "conversions": {"x": "kelwin -> K"}}, "kelwin"),
    ],
)
def test_mistakes(tmp_path, arguments, message):
    path = write(tmp_path / "t.csv", "Teff,name\n5000.5,a\n")
    with pytest.raises(UserError, match=message) as error:
        read_table(path, **arguments)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        read_table(tmp_path / "absent.csv", {"x": "x"})
    with pytest.raises(UserError, match="no line that names columns"):
        read_table(write(tmp_path / "empty.csv", ""), {"x": "x"})
    with pytest.raises(UserError, match="cannot be read"):
        read_table(write(tmp_path / "ragged.csv", "x,y\n1,2\n1,2,3\n"), {"x": "x"})
    data = allstar(tmp_path / "a.fits").read_bytes()
    with pytest.raises(UserError, match=r"truncated|cannot be read"):
        read_table(write_bytes(tmp_path / "short.fits", data[:-2880]), {"x": "TEFF"})
    with pytest.raises(UserError, match="holds arrays"):
        read_table(tmp_path / "a.fits", {"x": "PARAM"})
    fits.PrimaryHDU().writeto(tmp_path / "image.fits")
    with pytest.raises(UserError, match="contains no FITS table"):
        read_table(tmp_path / "image.fits", {"x": "x"})


@given(st.floats(0, 359.9999), st.floats(-89.9999, 89.9999))
def test_a_name_that_is_a_position_is_read_to_its_last_digit(ra, dec):
    star = SkyCoord(ra, dec, unit="deg")
    right = star.ra.to_string(unit="hourangle", sep="", precision=2, pad=True)
    up = star.dec.to_string(sep="", precision=1, pad=True, alwayssign=True)
    name = f"2M{right}{up}".replace(".", "")
    found = SkyCoord(*positions_of_names([name]), unit="deg")[0]
    assert star.separation(found).arcsec < 0.12  # half of the last digit in both directions


def test_names_that_are_no_positions_have_none(tmp_path):
    names = ["2M18401164+4321331", "HD 1", "", "2M25401164+4321331", "2M18401164-9921331"]
    ra, dec = positions_of_names(names)
    np.testing.assert_allclose((ra[0], dec[0]), (280.0485, 43.359194), atol=1e-6)
    assert np.isnan(ra[1:]).all()
    assert np.isnan(dec[1:]).all()
    path = tmp_path / "stars.csv"
    path.write_text("id,n\n" + "\n".join(f"{name or '-'},{i}" for i, name in enumerate(names)))
    units = {"ra": "name", "dec": "name"}
    table = read_table(path, {"ra": "id", "dec": "id"}, conversions=units)
    np.testing.assert_array_equal(table["dec"], dec)
    with pytest.raises(
        UserError, match=r"column n: units: ra: name is for texts, and this is a number"
    ):
        read_table(path, {"ra": "n"}, conversions={"ra": "name"})
