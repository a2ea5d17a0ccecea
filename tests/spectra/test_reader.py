"""Every layout is read as astropy reads it, and whatever is not one of them is rejected by name."""

import csv
import gzip
import io
import os
import tracemalloc
import warnings
import zlib
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import example, given, settings
from preparation import masking

from lamostvac.core.rejection import SpectrumRejected
from lamostvac.simulate import release
from lamostvac.spectra.file_bytes import read_bytes
from lamostvac.spectra.normalise import prepare_spectrum
from lamostvac.spectra.reader import parse_spectrum, read_spectrum

NAMES = ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK", "ORMASK")
ROW = {
    "obsid": 123456, "obsdate": "2012-03-04", "lmjd": 55991, "mjd": 55990, "planid": "GAC_080N28_B1", "spid": 5,
    "fiberid": 17, "ra": 80.1, "dec": 28.2, "ra_obs": 80.1, "dec_obs": 28.2, "designation": "LAMOST J052024+281200",
    "tsource": "O'Brien", "tfrom": "x", "fibermask": 0, "class": "STAR", "subclass": "G5", "z": 1e-4, "z_err": 1e-5,
    "helio_rv": 3.0, **{f"mag_ps_{band}": 14.0 for band in "grizy"}, **{f"snr{band}": 30.0 for band in "ugriz"},
}  # fmt: skip


def arrays(n=3909):
    """Columns of a believable star, as float32."""
    rng = np.random.default_rng(n)
    wave = 10 ** (3.5682 + 1e-4 * np.arange(n))
    flux = 1000 * (1 + 0.1 * np.sin(wave / 50)) + rng.normal(0, 10, n)
    ivar = np.full(n, 0.01)
    ivar[[5, 70, n - 1]] = 0, -1, 0
    masks = rng.integers(0, 2**16, (2, n))
    return {
        name: values.astype("f4")
        for name, values in zip(NAMES, (flux, ivar, wave, *masks), strict=True)
    }


def bytes_of(hdus):
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


def image(columns, dtype=">f4", extension="Flux, Inverse, Wavelength, Andmask, Ormask", **keywords):
    hdu = fits.PrimaryHDU(np.array([columns[name] for name in NAMES]).astype(dtype))
    cards = {"EXTEN0": extension, "COEFF0": 3.5682, "COEFF1": 1e-4, "OBSID": 123456} | keywords
    hdu.header.update({name: value for name, value in cards.items() if value is not None})
    return bytes_of([hdu])


def pilot(columns, **keywords):
    spoiled = columns | {"WAVELENGTH": np.ones_like(columns["FLUX"])}
    return image(spoiled, extension="Flux Inverse Subcontinuum Andmask Ormask", **keywords)


def table(columns, order=NAMES, n_rows=1, form="E"):
    made = [
        fits.Column(name, f"{len(columns[name])}{form}", array=np.array([columns[name]] * n_rows))
        for name in order
    ]
    return bytes_of([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made, name="COADD")])


def released(columns, layout):
    flux, ivar, wave, andmask, ormask = (columns[name] for name in NAMES)
    return release.spectrum_bytes(ROW, layout, wave, flux, ivar, andmask, ormask)


LAYOUTS = {
    "image": (image, "image"),
    "image of float64": (lambda columns: image(columns, ">f8"), "image"),
    "image as released": (lambda columns: released(columns, "image"), "image"),
    "pilot": (pilot, "pilot"),
    "table": (table, "table"),
    "table of float64": (lambda columns: table(columns, form="D"), "table"),
    "table in another order": (lambda columns: table(columns, NAMES[::-1]), "table"),
    "table with one more column": (
        lambda columns: table(
            columns | {"NORMALIZATION": columns["FLUX"]}, ("NORMALIZATION", *NAMES)
        ),
        "table",
    ),
    # its primary header keeps NAXIS1 and NAXIS2 although NAXIS is 0
    "table as released": (lambda columns: released(columns, "table"), "table"),
}


@pytest.mark.parametrize("n", [3751, 3820, 3909])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_arrays(name, n):
    write, layout = LAYOUTS[name]
    columns = arrays(n)
    spectrum = parse_spectrum(write(columns))
    assert spectrum.layout == layout
    assert spectrum.wave.dtype == np.float64
    np.testing.assert_allclose(spectrum.wave, columns["WAVELENGTH"], rtol=1e-7)
    for key in ("FLUX", "IVAR", "ANDMASK", "ORMASK"):
        np.testing.assert_array_equal(getattr(spectrum, key.lower()), columns[key], strict=False)
    assert (spectrum.flux.dtype, spectrum.andmask.dtype) == (np.float32, np.int32)
    assert spectrum.flux.dtype.isnative


@pytest.mark.parametrize("packed", [False, True])
def test_the_content_decides_whether_a_file_is_gzipped(tmp_path, packed):
    data = image(arrays())
    path = tmp_path / "spec.fits.gz"
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    np.testing.assert_array_equal(read_spectrum(path).flux, parse_spectrum(data).flux)


def test_a_third_row_that_cannot_be_a_wavelength_is_none_even_if_the_header_is_silent():
    columns = arrays()
    spoiled = columns | {"WAVELENGTH": np.ones_like(columns["FLUX"])}
    spectrum = parse_spectrum(image(spoiled, extension=None))
    assert spectrum.layout == "pilot"
    np.testing.assert_allclose(spectrum.wave, columns["WAVELENGTH"], rtol=1e-7)
    assert parse_spectrum(image(columns, extension=None)).layout == "image"


def test_header_values_have_their_types():
    header = parse_spectrum(released(arrays(), "image")).header
    assert header["TSOURCE"] == "O'Brien"
    assert (header["OBSID"], header["HELIO"], header["COEFF1"]) == (123456, True, 1e-4)
    assert header["SUBCLASS"] == "G5"


def test_a_header_is_read_as_it_stands():
    """The first of equal keywords, nothing from inside a card, and every keyword that has a value."""
    cards = image(
        arrays(),
        NOTE="OBSID   = 5 END       ",
        TSOURCE="x",
        TCOMMENT="",
        LASTKEY=2.5,
        COMMENT="LASTKEY = 3",
    )
    data = replace_card(cards, "TSOURCE", "OBSID   = 654321")
    header = parse_spectrum(data).header
    assert header["OBSID"] == 123456
    assert header["NOTE"] == "OBSID   = 5 END"
    assert header["LASTKEY"] == 2.5
    assert header.get("TSOURCE") is None
    assert "COMMENT" not in header
    assert "LASTKEY = 2" not in header
    with fits.open(io.BytesIO(data)) as hdus:
        expected = {key: value for key, value in hdus[0].header.items() if key != "COMMENT"}
    expected["OBSID"] = 123456  # of which astropy gives the last here
    assert dict(header) == expected
    assert len(header) == len(expected)


def test_tables_with_other_headers_do_not_mix():
    columns = arrays()
    for _ in range(2):
        for order in (NAMES, NAMES[::-1]):
            spectrum = parse_spectrum(table(columns, order))
            np.testing.assert_array_equal(spectrum.flux, columns["FLUX"])
            np.testing.assert_array_equal(spectrum.ivar, columns["IVAR"])


def test_a_nan_among_the_mask_bits_is_no_bit():
    columns = arrays()
    columns["ORMASK"][:3] = np.nan, np.inf, -1
    assert not parse_spectrum(image(columns)).ormask[:3].any()


def without_end(data):
    return data.replace(b"END".ljust(80), b"COMMENT".ljust(80), 1)[:2880]


def changed(name, value, index=slice(None)):
    columns = arrays()
    columns[name][index] = value
    return columns


def replace_card(data, keyword, text):
    at = data.index(f"{keyword:<8}=".encode())
    return data[:at] + text.encode().ljust(80) + data[at + 80 :]


GOOD_IMAGE, GOOD_TABLE = image(arrays()), released(arrays(), "table")
BROKEN = {
    "text": (b"<html>404 not found</html>", "not_fits"),
    "one byte": (b"S", "not_fits"),
    "a header without END": (without_end(GOOD_IMAGE), "truncated_fits"),
    "half an image": (GOOD_IMAGE[: len(GOOD_IMAGE) // 2], "truncated_fits"),
    "half a table": (GOOD_TABLE[: len(GOOD_TABLE) // 2], "truncated_fits"),
    "only the primary HDU": (bytes_of([fits.PrimaryHDU()]), "unknown_layout"),
    "an image extension": (bytes_of([fits.PrimaryHDU(), fits.ImageHDU(np.ones((5, 3909)))]), "unknown_layout"),
    "four rows": (bytes_of([fits.PrimaryHDU(np.ones((4, 3909), "f4"))]), "unknown_layout"),
    "a cube": (bytes_of([fits.PrimaryHDU(np.ones((2, 5, 1000), "f4"))]), "unknown_layout"),
    "integers": (bytes_of([fits.PrimaryHDU(np.ones((5, 3909), "i2"))]), "unknown_layout"),
    "strings in the table": (replace_card(GOOD_TABLE, "TFORM1", "TFORM1  = '3909A   '"), "unknown_layout"),
    "no form of a column": (replace_card(GOOD_TABLE, "TFORM2", "COMMENT"), "unknown_layout"),
    "no IVAR": (table(arrays(), ("FLUX", "WAVELENGTH", "ANDMASK", "ORMASK")), "missing_column"),
    "no NAXIS": (replace_card(GOOD_IMAGE, "NAXIS", "COMMENT"), "missing_keyword"),
    "NAXIS1 is text": (replace_card(GOOD_IMAGE, "NAXIS1", "NAXIS1  = 'many'"), "missing_keyword"),
    "NAXIS1 is a truth value": (replace_card(GOOD_IMAGE, "NAXIS1", "NAXIS1  = T"), "missing_keyword"),
    "no COEFF0 in the pilot": (pilot(arrays(), COEFF0=None), "missing_keyword"),
    "COEFF1 is text in the pilot": (pilot(arrays(), COEFF1="steep"), "missing_keyword"),
    "two rows in the table": (table(arrays(), n_rows=2), "wrong_shape"),
    "few pixels": (image(arrays(500)), "wrong_shape"),
    "no pixels": (replace_card(GOOD_IMAGE, "NAXIS1", "NAXIS1  = 0"), "wrong_shape"),
    "fewer than no pixels": (replace_card(GOOD_IMAGE, "NAXIS1", "NAXIS1  = -3909"), "wrong_shape"),
    "columns of two lengths": (table(arrays() | {"IVAR": np.ones(3000, "f4")}), "wrong_shape"),
    "a row longer than its columns": (replace_card(GOOD_TABLE, "TFIELDS", "TFIELDS = 5"), "wrong_shape"),
    "a NaN wavelength": (image(changed("WAVELENGTH", np.nan, 7)), "bad_wavelength"),
    "a repeated wavelength": (image(changed("WAVELENGTH", 5000.0, slice(9, 11))), "bad_wavelength"),
    "logarithmic wavelengths": (
        table(arrays() | {"WAVELENGTH": np.log10(arrays()["WAVELENGTH"])}), "bad_wavelength",
    ),
    "absurd coefficients": (pilot(arrays(), COEFF1=10.0), "bad_wavelength"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_rejected_with_its_reason(name):
    data, reason = BROKEN[name]
    with pytest.raises(SpectrumRejected) as rejection:
        parse_spectrum(data)
    assert rejection.value.reason == reason


PACKED = gzip.compress(GOOD_IMAGE, 1, mtime=0)
BROKEN_FILES = {
    "nothing": (b"", "empty_file"),
    "gzip of nothing": (gzip.compress(b"", mtime=0), "empty_file"),
    "half a gzip stream": (PACKED[: len(PACKED) // 2], "corrupt_gzip"),
    "two bytes of gzip": (PACKED[:2], "corrupt_gzip"),
    "a hole in the gzip stream": (PACKED[:9000] + bytes(64) + PACKED[9064:], "corrupt_gzip"),
    "a wrong checksum": (PACKED[:-8] + bytes(4) + PACKED[-4:], "corrupt_gzip"),
    "gzip with something behind": (PACKED + b"<html>", "corrupt_gzip"),
    "gzip of text": (gzip.compress(b"hello", mtime=0), "not_fits"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_stream_is_rejected_with_its_reason(tmp_path, name):
    data, reason = BROKEN_FILES[name]
    path = tmp_path / "spec.fits.gz"
    path.write_bytes(data)
    with pytest.raises(SpectrumRejected) as rejection:
        read_spectrum(path)
    assert rejection.value.reason == reason


def test_a_missing_file_and_one_that_cannot_be_read_are_told_apart(tmp_path):
    for path, reason in ((tmp_path / "none.fits", "missing_file"), (tmp_path, "unreadable_file")):
        with pytest.raises(SpectrumRejected) as rejection:
            read_spectrum(path)
        assert rejection.value.reason == reason


# Most damage goes where it can do harm: into the headers.
positions = st.one_of(
    st.integers(0, 2900), st.integers(0, 12000), st.integers(0, len(GOOD_TABLE) - 1)
)
damage = st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=12)
digits = st.lists(
    st.tuples(st.integers(0, 12000), st.sampled_from(b"0123456789-.'TFE=/ ")), max_size=30
)


SOURCES = {
    "image": GOOD_IMAGE,
    "image of float64": image(arrays(), ">f8"),
    "pilot": pilot(arrays()),
    "table": GOOD_TABLE,
}


def damaged(data, changes, end):
    spoiled = bytearray(data)
    for position, value in changes:
        spoiled[position % len(spoiled)] = value
    return bytes(spoiled[: int(end * len(spoiled))])


def read_or_reject(data):
    """Parse and prepare; nothing but a rejection may be raised, and what comes out is clean."""
    try:
        spectrum = parse_spectrum(data)
        assert (
            len(spectrum.wave) == len(spectrum.flux) == len(spectrum.ivar) == len(spectrum.ormask)
        )
        flux, ivar = prepare_spectrum(spectrum.wave, spectrum.flux, spectrum.ivar, 1e-4, masking())
    except SpectrumRejected:
        return
    assert np.isfinite(flux).all()
    assert np.isfinite(ivar).all()
    assert (ivar >= 0).all()
    assert (flux[ivar == 0] == 1).all()


@settings(max_examples=400)
@given(
    source=st.sampled_from(sorted(SOURCES)),
    changes=st.one_of(damage, digits),
    end=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damaged_bytes_are_read_or_rejected_and_never_crash(source, changes, end):
    read_or_reject(damaged(SOURCES[source], changes, end))


@given(
    keyword=st.sampled_from(["BITPIX", "NAXIS", "NAXIS1", "NAXIS2"]),
    value=st.integers(-(10**18), 10**18),
)
@example("NAXIS1", 2**62)
@example("NAXIS", 10**18)
def test_absurd_sizes_are_rejected_at_once(keyword, value):
    read_or_reject(replace_card(GOOD_IMAGE, keyword, f"{keyword:<8}= {value}"))


@given(
    name=st.sampled_from(NAMES),
    where=st.integers(0, 3908),
    raw=st.binary(min_size=64, max_size=64),
    dtype=st.sampled_from([">f4", ">f8"]),
)
@example("FLUX", 100, b"\x7f\x7f\xff\xff" * 16, ">f4")  # the largest float32
@example("IVAR", 100, b"\x7f\x7f\xff\xff" * 16, ">f4")
@example("FLUX", 100, b"\x7f\xef\xff\xff\xff\xff\xff\xff" * 8, ">f8")  # the largest float64
@example("FLUX", 100, b"\x7f\x80\x00\x01" * 16, ">f4")  # a signalling NaN
@example("ORMASK", 100, b"\x7f\xf0\x00\x00\x00\x00\x00\x01" * 8, ">f8")
@example("WAVELENGTH", 0, b"\xff\xef\xff\xff\xff\xff\xff\xff" * 8, ">f8")
def test_any_bits_may_stand_for_a_value(name, where, raw, dtype):
    values = {key: column.astype(dtype) for key, column in arrays().items()}
    spoiled = bytearray(values[name].tobytes())
    at = where * values[name].itemsize
    spoiled[at : at + len(raw)] = raw[: len(spoiled) - at]
    values[name] = np.frombuffer(bytes(spoiled), dtype)
    source = SOURCES["image of float64" if dtype == ">f8" else "image"]
    header = source[: source.index(b"END".ljust(80)) // 2880 * 2880 + 2880]
    read_or_reject(header + b"".join(values[key].tobytes() for key in NAMES))


BYTES = st.tuples(st.integers(0, len(PACKED) - 1), st.integers(0, 255))
ENDS = st.tuples(st.one_of(st.integers(0, 12), st.integers(-12, -1)), st.integers(0, 255))


@settings(max_examples=400)
@given(
    changes=st.lists(st.one_of(BYTES, ENDS), max_size=5),
    end=st.one_of(st.just(1.0), st.floats(0, 1)),
    behind=st.sampled_from(
        [b"", bytes(512), PACKED, bytes(7) + PACKED, PACKED[:30], b"\x1f", b"<html>"]
    ),
)
@example([], 1.0, PACKED)  # a gzip file may be several streams, with zeros behind each
@example([], 1.0, bytes(7) + PACKED)
@example([(3, 0xE0)], 1.0, b"")  # reserved flags
def test_streams_are_unpacked_or_refused_as_python_does(tmp_path_factory, changes, end, behind):
    path = tmp_path_factory.getbasetemp() / "damaged.fits.gz"
    data = damaged(PACKED, changes, end) + behind
    path.write_bytes(data)
    try:
        expected = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except (EOFError, OSError, zlib.error):
        expected = b""
        with pytest.raises(SpectrumRejected, match="corrupt_gzip"):
            read_spectrum(path)
    if expected[:6] == b"SIMPLE":
        assert read_bytes(path) == expected


def astropy_arrays(path):
    """The same five arrays by astropy, and the layout that its HDUs show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            if len(hdus) > 1 and hdus[0].data is None:
                return [np.asarray(hdus[1].data[name][0]) for name in NAMES], "table"
            rows, header = hdus[0].data, hdus[0].header
            if "Subcontinuum" not in str(header.get("EXTEN0", "")):
                return list(rows), "image"
            wave = 10.0 ** (header["COEFF0"] + header["COEFF1"] * np.arange(rows.shape[1]))
            return [rows[0], rows[1], wave, rows[3], rows[4]], "pilot"


def test_all_real_files_are_read_as_astropy_reads_them(real_data):
    paths = []
    for catalogue in sorted(real_data.glob("lamost/*/catalogue.csv")):
        with open(catalogue, newline="") as handle:
            paths += [real_data / row["path"] for row in csv.DictReader(handle, delimiter="|")]
    counts = Counter()
    for path in paths:
        try:
            spectrum = read_spectrum(path)
        except SpectrumRejected as rejection:
            counts[rejection.reason] += 1
            continue
        expected, layout = astropy_arrays(path)
        assert spectrum.layout == layout, path
        read = (spectrum.flux, spectrum.ivar, spectrum.wave, spectrum.andmask, spectrum.ormask)
        for name, ours, theirs in zip(NAMES, read, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs.astype(ours.dtype), err_msg=f"{path} {name}")
        counts[layout] += 1
    assert sum(counts.values()) == len(paths)
    if len(paths) == 1097:  # the collection that the counts are known of; another tree may be named
        assert counts == {"table": 791, "image": 275, "pilot": 31}


# ---------------------------------------------------------------- hostile and unusual files


def test_scaled_columns_are_scaled_as_astropy_scales_them():
    columns = arrays()
    made = [
        fits.Column(
            "FLUX", "3909J", array=[np.rint((columns["FLUX"] - 500.0) / 0.01).astype("i4")]
        ),
        *(
            fits.Column(name, "3909E", array=[columns[name]])
            for name in ("IVAR", "WAVELENGTH", "ANDMASK")
        ),
        fits.Column("ORMASK", "3909I", bzero=32768, array=[columns["ORMASK"].astype("u2")]),
    ]
    hdu = fits.BinTableHDU.from_columns(made)
    hdu.header.set("TSCAL1", 0.01, after="TFORM1")
    hdu.header.set("TZERO1", 500.0, after="TSCAL1")
    found = parse_spectrum(bytes_of([fits.PrimaryHDU(), hdu]))
    np.testing.assert_allclose(found.flux, columns["FLUX"], atol=0.006)
    np.testing.assert_array_equal(found.ormask, columns["ORMASK"].astype(int))


def test_a_scaled_image_is_scaled():
    """Stored are halves of flux, inverse variance and wavelength; the header says to double them."""
    columns = arrays()
    halves = {name: values / 2 for name, values in columns.items()}
    data = bytearray(image(halves))
    at = data.index(b"OBSID   =")
    data[at : at + 80] = b"BSCALE  =                  2.0".ljust(80)
    found = parse_spectrum(bytes(data))
    np.testing.assert_allclose(found.flux, columns["FLUX"], rtol=1e-6)
    np.testing.assert_allclose(found.wave, columns["WAVELENGTH"], rtol=1e-6)
    data[at : at + 80] = b"BSCALE  = 'two'".ljust(80)
    with pytest.raises(SpectrumRejected, match="unknown_layout: BSCALE"):
        parse_spectrum(bytes(data))


def test_a_pipe_is_no_spectrum_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "spec.fits")
    with pytest.raises(SpectrumRejected, match=r"unreadable_file: .* is no file"):
        read_spectrum(tmp_path / "spec.fits")


def test_a_folder_is_no_spectrum(tmp_path):
    with pytest.raises(SpectrumRejected, match="unreadable_file"):
        read_spectrum(tmp_path)


def test_a_file_that_unpacks_to_gigabytes_is_refused_without_the_memory(tmp_path):
    packed = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    with open(tmp_path / "bomb.fits.gz", "wb") as handle:
        for _ in range(300):
            handle.write(packed.compress(zeros))
        handle.write(packed.flush())
    tracemalloc.start()
    try:
        with pytest.raises(SpectrumRejected, match="too_large"):
            read_spectrum(tmp_path / "bomb.fits.gz")
        assert tracemalloc.get_traced_memory()[1] < 250e6
    finally:
        tracemalloc.stop()


def test_a_file_larger_than_any_spectrum_is_not_read(tmp_path):
    with open(tmp_path / "large.fits", "wb") as handle:
        handle.truncate(1 << 30)
    with pytest.raises(SpectrumRejected, match="too_large"):
        read_spectrum(tmp_path / "large.fits")
