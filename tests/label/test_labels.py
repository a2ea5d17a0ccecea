"""Labels by a pack: those of the run that it comes from, for files, folders and arrays."""

import gzip
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import h5py
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.table import Column, MaskedColumn, Table
from astropy.utils.masked import Masked
from click.testing import CliRunner

from lamostvac import Labeller, OutsideLibrary
from lamostvac.catalog.files import read_rows
from lamostvac.catalog.repeat_differences import FLAG
from lamostvac.cli.main import main
from lamostvac.core.exceptions import UserError
from lamostvac.core.vocabulary import LABELS, SPECTRAL_TYPES
from lamostvac.label.tables import FORMS, write_table
from lamostvac.networks.predict import set_flags as set_network_flags
from lamostvac.spectra.reader import read_spectrum


@pytest.fixture(scope="module")
def labeller(run):
    with Labeller(run / "models.lvpack") as found:
        yield found


@pytest.fixture(scope="module")
def catalogue(run, labeller):
    rows = read_rows(run / "catalog/recommended.fits", labeller.models.registry)
    return rows[np.argsort(rows["spectrum_id"])]


@pytest.fixture(scope="module")
def labelled(run, labeller):
    """What became of the simulated release's tree of files."""
    return labeller.label_files([run / "simulated/lamost"])


def same(found, expected, label):
    """Equal to a thousandth of the error; missing where it is missing."""
    error = expected[f"{label}_err"].astype(float)
    known = np.isfinite(expected[label])
    assert np.array_equal(np.isfinite(found[label]), known), label
    assert (abs(found[label][known] - expected[label][known]) <= 1e-3 * error[known]).all(), label


def test_files_have_the_labels_and_flags_of_the_run(labelled, labeller, catalogue):
    rows = labelled.rows[np.argsort(labelled.rows["spectrum_id"])]
    rows = rows[np.isin(rows["spectrum_id"], catalogue["spectrum_id"])]
    assert np.array_equal(rows["spectrum_id"], catalogue["spectrum_id"])
    expected = catalogue
    recommended = [f"{item.label}_rec" for item in labeller.models.settings.definitions]
    networks = [one.label for one in labeller.models.network_labels]
    for label in (*LABELS, *networks, *recommended, "logg_imig", "rv_fit", "line_width"):
        same(rows, expected, label)
    flags = [name for name in labelled.registry.names if name.startswith("flag_")]
    assert FLAG not in flags
    for name in (*flags, "recommended", "fit_status", "in_library"):
        assert np.array_equal(rows[name], expected[name]), name
    # What needs the star's other spectra is not known here.
    repeats = 1 << labeller.models.registry.flag_bits[FLAG]
    assert np.array_equal(rows["flags"], np.asarray(expected["flags"]) & ~repeats)


def test_each_file_has_labels_or_a_reason(run, labelled):
    files = {str(path) for path in (run / "simulated/lamost").rglob("*.fits*")}
    named = [name.decode() for name in labelled.rows["file"]] + labelled.rejected["file"].tolist()
    assert sorted(named) == sorted(files)
    assert labelled.rejected["reason"].ne("").all()


def test_only_what_the_catalogue_says_can_make_the_run_reject_what_has_labels(run, labelled):
    said = pd.read_csv(run / "catalog/rejected.csv", dtype=str).set_index("spectrum_id")["reason"]
    more = said[said.index.isin(labelled.rows["spectrum_id"].astype(str))]
    assert set(more) <= {
        *("wrong_redshift", "wrong_position", "wrong_spectrum", "bad_redshift", "bad_coordinates"),
        *("not_a_star", "no_spectral_type", "low_snr", "duplicate_spectrum", "duplicate_obsid"),
    }


def test_broken_files_have_the_reasons_of_the_run(run, labelled):
    said = pd.read_csv(run / "catalog/rejected.csv", dtype=str).set_index("spectrum_id")["reason"]
    broken = labelled.rejected[labelled.rejected["spectrum_id"].isin(said.index)]
    own = {"bad_coordinates", "bad_redshift", "low_snr", "not_a_star", "no_spectral_type"}
    compared = broken[~broken["reason"].isin(own)].set_index("spectrum_id")["reason"]
    agree = compared == said[compared.index]
    assert len(compared) > 5
    assert agree.all(), pd.concat([compared, said[compared.index]], axis=1)[~agree]


@pytest.fixture(scope="module")
def some(labelled):
    """A few rows of different types."""
    rows = labelled.rows
    return rows[np.unique(rows["spectral_type"], return_index=True)[1]]


def given(rows):
    spectra = [read_spectrum(name.decode()) for name in rows["file"]]
    arrays = [[getattr(one, name) for one in spectra] for name in ("wave", "flux", "ivar")]
    types = [name.decode() for name in rows["spectral_type"]]
    return arrays, {"z": rows["redshift"].astype(float), "spectral_type": types}


def test_arrays_have_the_labels_of_their_files(labeller, some):
    arrays, known = given(some)
    table = labeller.label(*arrays, **known, ra=some["ra"], dec=some["dec"])
    assert set(table["rejected"]) == {""}
    for label in LABELS:
        values = {name: np.asarray(table[name]) for name in (label, f"{label}_err")}
        same(values, some, label)
    assert table["teff"].unit == units.K
    assert table["teff"].info.description
    # S/N is measured on the spectrum, which the header's follows.
    assert np.asarray(table["snrr"]) == pytest.approx(some["snrr"].astype(float), rel=0.3)


def test_redshift_and_type_are_found_where_none_is_given(labeller, labelled):
    bright = labelled.rows[(labelled.rows["snrr"] > 40) & (labelled.rows["recommended"] == 1)][:12]
    arrays, known = given(bright)
    table = labeller.label(*arrays)
    velocity = (np.asarray(table["redshift"]) - known["z"]) * 299792.458
    assert (abs(velocity) < 30).all()
    error = np.asarray(bright["teff_err"], float)
    moved = abs(np.asarray(table["teff"], float) - bright["teff"]) / error
    assert np.median(moved) < 0.2
    order = {name: number for number, name in enumerate(SPECTRAL_TYPES)}
    steps = [
        order[str(one)] - order[two]
        for one, two in zip(table["spectral_type"], known["spectral_type"], strict=True)
    ]
    assert max(map(abs, steps)) <= 1


def test_files_without_redshift_and_class_in_the_header_are_labelled(labeller, labelled, tmp_path):
    row = labelled.rows[np.argmax(labelled.rows["snrr"])]
    source = Path(row["file"].decode())
    with fits.open(source) as handle:
        header = handle[0].header
        header["Z"] = -9999.0
        for keyword in ("CLASS", "SUBCLASS"):
            header.remove(keyword, ignore_missing=True)
        handle.writeto(tmp_path / source.name)
    found = labeller.label_files(str(tmp_path))  # one path; its letters are none
    assert found.rejected.empty
    assert found.rows["lamost_class"][0] == b"STAR"
    assert found.rows["redshift"][0] == pytest.approx(row["redshift"], abs=30 / 299792.458)
    assert found.rows["redshift_err"][0] > 0


def test_quantities_and_spectra_of_specutils_give_the_same(labeller, some):
    class Spectrum:  # what specutils' class has, which is not installed with the program
        pass

    arrays, known = given(some[:1])
    wave, flux, ivar = (array[0] for array in arrays)
    expected = labeller.label(wave, flux, ivar, **known)
    unit = units.erg / units.s / units.cm**2 / units.AA
    with np.errstate(divide="ignore"):
        sigma = np.where(ivar > 0, 1 / np.sqrt(ivar), np.inf)
    spectrum = Spectrum()
    spectrum.spectral_axis, spectrum.flux = (wave / 10) * units.nm, flux * unit
    spectrum.uncertainty, spectrum.mask = StdDevUncertainty(sigma), ivar <= 0
    small = 1e-17 * unit  # as a flux in cgs units is
    quantities = (wave / 10) * units.nm, flux * small, ivar.astype(float) / small**2
    for found in (labeller.label(*quantities, **known), labeller.label(spectrum, **known)):
        assert found["teff"][0].value == pytest.approx(expected["teff"][0].value, rel=1e-5)


def test_the_columns_of_many_networks_are_joined_at_once(labeller, some, monkeypatch):
    def of_many(columns, *rest):
        set_network_flags(columns, *rest)
        first = next(iter(columns.values()))
        columns.update({f"more_{number}": first for number in range(150)})

    monkeypatch.setattr("lamostvac.label.models.set_network_flags", of_many)
    arrays, known = given(some[2:3])
    assert labeller.label(*arrays, **known)["rejected"][0] == ""


def test_wrong_arrays_are_told_in_a_sentence(labeller):
    wave = np.linspace(3700, 9100, 3000)
    one = np.ones(3000)
    with pytest.raises(UserError, match="ivar has other shapes than flux"):
        labeller.label(wave, one, one[:-1], z=0, spectral_type="G")
    with pytest.raises(UserError, match=r"no conversion|not convertible"):
        labeller.label(wave * units.K, one, one, z=0, spectral_type="G")
    with pytest.raises(UserError, match="spectral_type: there is no X"):
        labeller.label(wave, one, one, z=0, spectral_type="X")
    with pytest.raises(UserError, match="z: give one value, or one for each of the 1 spectra"):
        labeller.label(wave, one, one, z=[0, 0], spectral_type="G")
    with pytest.raises(UserError, match="ivar is missing"):
        labeller.label(wave, one, z=0, spectral_type="G")
    with pytest.raises(UserError, match="label takes wavelength, flux and ivar"):
        labeller.label(wave)


def test_masks_of_masked_arrays_count_like_a_mask(labeller, some):
    arrays, known = given(some[1:2])
    wave, flux, ivar = (array[0] for array in arrays)
    bad = np.arange(len(wave)) % 40 == 0
    spoiled = np.where(bad, 3 * flux, flux)
    expected = labeller.label(wave, spoiled, ivar, mask=bad, **known)["teff"][0].value
    for masked in (
        np.ma.array(spoiled, mask=bad),
        MaskedColumn(spoiled, mask=bad, unit=units.ct),
        Masked(spoiled * units.ct, mask=bad),
    ):
        assert labeller.label(wave, masked, ivar, **known)["teff"][0].value == expected
    unknown = labeller.label(wave, flux, ivar, z=np.ma.array([0.002], mask=[True]))
    assert abs(unknown["redshift"][0] - known["z"][0]) < 1e-4


def test_units_of_lists_and_columns_count(labeller, some):
    arrays, known = given(some[:2])
    expected = labeller.label(*arrays, **known)["teff"].value
    waves = [(wave / 1e4) * units.um for wave in arrays[0]]
    assert labeller.label(waves, *arrays[1:], **known)["teff"].value == pytest.approx(expected)
    one, known = given(some[:1])
    column = Column(one[0][0] / 10, unit="nm")
    found = labeller.label(column, one[1][0], one[2][0], **known)
    assert found["teff"][0].value == pytest.approx(expected[0])
    with pytest.raises(UserError, match="z has a unit"):
        labeller.label(*one, z=30 * units.km / units.s, spectral_type="G")
    with pytest.raises(UserError, match="ra is no angle"):
        labeller.label(*one, **known, ra=10 * units.K, dec=0)


def test_a_place_that_is_none_on_the_sky_is_refused(labeller, some):
    arrays, known = given(some[:1])
    with pytest.raises(UserError, match="ra and dec belong together"):
        labeller.label(*arrays, **known, ra=10)
    with pytest.raises(UserError, match="dec is 100; it is in degrees, -90 to 90"):
        labeller.label(*arrays, **known, ra=10, dec=100)
    with pytest.raises(UserError, match="ra is 1000"):
        labeller.label(*arrays, **known, ra=1000, dec=0)


def test_too_few_pixels_are_rejected_like_those_of_a_file(labeller):
    for known in ({}, {"z": 0, "spectral_type": "G"}):
        for n in (1, 2, 999):
            wave, one = np.linspace(5000, 6000, n), np.ones(n)
            assert labeller.label(wave, one, one, **known)["rejected"][0].startswith("wrong_shape")


def test_what_is_wrong_with_a_spectrum_is_said_without_a_type_too(labeller):
    wave, one = np.linspace(3700, 9100, 3000), np.ones(3000)
    said = [
        labeller.label(*arrays)["rejected"][0].partition(":")[0]
        for arrays in ((wave[::-1], one, one), (wave, one * np.nan, one), (wave, one, 0 * one))
    ]
    assert said == ["bad_wavelength", "nan_flux", "no_valid_ivar"]


def test_a_useless_spectrum_has_its_reason_in_the_table(labeller):
    wave = np.linspace(3700, 9100, 3000)
    table = labeller.label(wave, np.zeros(3000), np.ones(3000), z=0, spectral_type="G")
    assert table["rejected"][0].startswith("zero_flux")
    assert np.isnan(table["teff"][0])


def test_the_model_at_a_stars_labels_is_like_its_spectrum(labeller, some):
    row = {name: float(some[name][2]) for name in LABELS}
    wave, flux = labeller.model(row)
    known = np.isfinite(flux)
    assert len(wave) == len(flux) == 4901
    assert known.mean() > 0.7  # but for what the air and the arms' joint mask
    assert np.median(flux[known]) == pytest.approx(1, abs=0.1)
    with pytest.raises(UserError, match="labels: there is no teff"):
        labeller.model({"logg": 4.0})
    with pytest.raises(UserError, match=r"labels: teff is -5000, of which there is no spectrum"):
        labeller.model(row | {"teff": -5000.0})
    with pytest.warns(OutsideLibrary, match=r"logg -3.* is an extrapolation"):
        labeller.model(row | {"logg": -3.0})


def test_a_row_of_networks_alone_says_why_it_has_no_fit(labeller, some):
    arrays, known = given(some[2:3])
    red = arrays[0][0] > 3950
    table = labeller.label(*([one[0][red]] for one in arrays), **known)
    assert table["rejected"][0] == ""
    assert np.isnan(table["teff"][0])
    assert table["no_fit"][0].startswith("wavelength_coverage: the spectrum does not cover")
    assert labeller.label(*arrays, **known)["no_fit"][0] == ""


def command(*words):
    return CliRunner().invoke(main, ["label", *map(str, words)])


def test_the_command_writes_the_labels_of_files(run, some, tmp_path):
    files = [name.decode() for name in some["file"]]
    output = tmp_path / "labels.fits"
    done = command(*files, "--model", run / "models.lvpack", "-o", output)
    assert done.exit_code == 0, done.output
    assert "SIMULATED" in done.output
    assert pd.read_csv(tmp_path / "labels_rejected.csv").empty
    table = Table.read(output).to_pandas().set_index("file")
    for row in some:
        assert table.loc[row["file"], "teff"] == pytest.approx(float(row["teff"]), rel=1e-6)
    assert fits.getheader(output)["SIMULATE"]


def test_tables_of_all_forms_have_the_same_values_and_units(labelled, tmp_path):
    tables = []
    for form in FORMS:
        path = tmp_path / f"labels{form}"
        write_table(path, labelled.rows, labelled.registry, {"PACK": "tiny.lvpack"})
        options = {"format": "votable"} if form == ".vot" else {}
        tables.append(Table.read(path, **options) if form != ".csv" else pd.read_csv(path))
    for table in tables:
        for name in ("teff", "ra", "flags"):
            expected = labelled.rows[name].astype(float)
            found = np.ma.filled(np.ma.asarray(table[name], float), np.nan)
            np.testing.assert_allclose(found, expected, rtol=1e-7)
        assert [str(one) for one in table["file"]] == list(labelled.rows["file"].astype(str))
    assert [str(table["teff"].unit) for table in (tables[0], tables[3])] == ["K", "K"]


def test_the_command_names_files_without_labels_and_says_so_by_its_exit_code(run, some, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/spec-1-a_sp01-001.fits").write_text("nothing")
    words = ("--model", run / "models.lvpack", "-o", tmp_path / "labels.csv")
    done = command(tmp_path / "in", *words)
    assert done.exit_code == 1
    assert "1 rejected: the file is not FITS" in done.output
    done = command(tmp_path / "in", some["file"][0].decode(), "--plot", tmp_path / "plots", *words)
    assert done.exit_code == 3
    rejected = pd.read_csv(tmp_path / "labels_rejected.csv")
    assert rejected["reason"].tolist() == ["not_fits"]
    name = some["spectrum_id"][0].decode()
    written = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert set(written) == {f"{name}.png", f"{name}.html", "index.html"}
    assert written[f"{name}.png"][:4] == b"\x89PNG"
    page = written[f"{name}.html"].decode()
    for part in ("SIMULATED", "flag_outside_library", "teff_pastel", "models.lvpack"):
        assert part in page
    assert page.count("data:image/svg+xml") == 3
    row = some[0]
    found_again = re.search(r"Misfit found again ([\d.]+) over (\d+) pixels", page)
    assert float(found_again[1]) == pytest.approx(row["chi2"], abs=2e-3)
    assert int(found_again[2]) == row["n_pixels"]
    assert f'href="{name}.html"' in written["index.html"].decode()


def test_a_pack_cites_what_its_run_does(run):
    both = [CliRunner().invoke(main, ["cite", str(path)]) for path in (run, run / "models.lvpack")]
    assert both[0].output == both[1].output
    assert "Liang2024," in both[0].output


def without_dataset(content):
    with h5py.File(io.BytesIO(content)) as old, h5py.File(new := io.BytesIO(), "w") as handle:
        for name in list(old)[1:]:
            old.copy(name, handle)
    return new.getvalue()


def without_rows(content):
    new = io.BytesIO()
    pd.read_parquet(io.BytesIO(content)).iloc[:0, :1].to_parquet(new)
    return new.getvalue()


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (r"emulator-mastar\.h5", without_dataset),
        (r"errors-G\.h5", without_dataset),
        (r"relations-G\.h5", without_dataset),
        (r"labels-mastar\.parquet", without_rows),
        (r"stars-mastar\.parquet", without_rows),
        (r"left_out-.*\.parquet", lambda content: b"PAR1"),
        (r"network-.*\.h5", lambda content: b"no HDF5"),
        ("pack.json", lambda settings: settings.update(network_labels=[{"label": 5}])),
        ("pack.json", lambda settings: settings["flags"].clear()),
        ("pack.json", lambda settings: settings["chi2"].clear()),
    ],
)
def test_a_pack_whose_content_does_not_fit_is_told_in_a_sentence(
    run, labelled, tmp_path, part, change
):
    row = labelled.rows[labelled.rows["spectral_type"] == b"G"][0]
    with zipfile.ZipFile(run / "models.lvpack") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(members.pop("pack.json"))
    if part == "pack.json":
        change(content["settings"])
    name = next((one for one in members if re.fullmatch(part, one)), None)
    if name:
        members[name] = change(members[name])
        content["members"][name] = hashlib.sha256(members[name]).hexdigest()
    with zipfile.ZipFile(tmp_path / "made.lvpack", "w") as archive:
        for one, data in members.items():
            archive.writestr(one, data)
        archive.writestr("pack.json", json.dumps(content))
    words = ("--model", tmp_path / "made.lvpack", "-o", tmp_path / "labels.csv")
    done = command(row["file"].decode(), *words)
    assert done.exit_code == 2, done.output
    assert not isinstance(done.exception, Exception), done.exception
    assert "made.lvpack" in done.output.splitlines()[-1]


def test_several_processes_give_the_same_bytes(run, some, tmp_path):
    files = [name.decode() for name in some["file"]]
    tables = []
    for number in ("1", "2"):
        output = tmp_path / f"{number}.fits"
        words = ("--model", run / "models.lvpack", "-o", output, "--processes", number)
        assert command(*files, *words).exit_code == 0
        tables.append(output.read_bytes())
    assert tables[0] == tables[1]


def test_files_none_of_which_can_be_read_are_rejected_by_name(run, some, tmp_path):
    for number, row in enumerate(some):
        source = Path(row["file"].decode())
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        packed = gzip.compress(gzip.decompress(source.read_bytes()))
        (tmp_path / "in" / str(number) / source.name).write_bytes(packed[:-2000])
    output = tmp_path / "labels.csv"
    output.write_text("an older table")
    done = command(tmp_path / "in", "--model", run / "models.lvpack", "-o", output)
    assert done.exit_code == 1, done.output
    assert "no table is written" in done.output
    assert output.read_text() == "an older table"
    rejected = pd.read_csv(tmp_path / "labels_rejected.csv")
    assert rejected["reason"].tolist() == ["corrupt_gzip"] * len(some)


def test_the_command_refuses_what_it_cannot_write(run, tmp_path):
    for words, code, sentence in (
        (("-o", tmp_path / "no/labels.csv"), 2, "there is no folder .*/no; make it first"),
        (("--plot", tmp_path / "no/plots"), 2, "there is no folder .*/no; make it first"),
        ((), 1, "nothing to label: no spectrum in "),
    ):
        done = command(tmp_path, "--model", run / "models.lvpack", *words)
        assert done.exit_code == code
        assert re.search(sentence, done.output)
        assert list(tmp_path.iterdir()) == []
    done = command(tmp_path, "--model", run / "models.lvpack", "-o", tmp_path / "labels.xls")
    assert done.exit_code == 2
    assert "has to end in .fits, .parquet, .csv, .vot" in done.output


def test_the_notebook_runs_from_its_first_cell_to_its_last(run, project, monkeypatch, capsys):
    monkeypatch.setenv("LAMOSTVAC_PACK", str(run / "models.lvpack"))
    monkeypatch.setenv("LAMOSTVAC_SPECTRA", str(run / "simulated/lamost"))
    cells = json.loads((project / "docs/label.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    with matplotlib.rc_context({"backend": "agg"}):
        for number, cell in enumerate(one for one in cells if one["cell_type"] == "code"):
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        figures = plt.get_fignums()
        plt.close("all")
    assert len(figures) == 2
    assert "spectra have labels" in capsys.readouterr().out
    assert set(names["table"]["rejected"]) == {""}
    used = (names["ivar"] > 0) & np.isfinite(names["model"])
    residual = (names["flux"] - names["model"])[used]
    assert np.sqrt(np.mean(residual**2)) < 0.05
