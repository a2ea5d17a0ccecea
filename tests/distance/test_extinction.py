"""Coefficients of extinction: one place, one scale, for E(B-V), training sets and comparisons."""

import re

import pytest
from registries import REGISTRY

from lamostvac.configuration.root import load_configuration
from lamostvac.core.exceptions import UserError
from lamostvac.core.extinction_coefficients import COEFFICIENTS, SFD_TO_TRUE
from lamostvac.core.vocabulary import BANDS
from lamostvac.training.load import load_training_sets
from lamostvac.validation.schema import load_comparisons

REAL = {
    "simulation": {"enabled": False},
    "survey": {"catalogues": ["c.csv"]},
    "library": {"spectra": "l.fits"},
}


def test_the_earlier_name_of_the_mixed_scale_is_refused_with_what_to_write():
    with pytest.raises(UserError) as error:
        load_configuration({"extinction": {"scale": "published"}})
    message = str(error.value)
    assert message.startswith('configuration key extinction.scale = "published" is not allowed')
    assert "write mixed" in message
    assert "sfd" in message
    assert "\n" not in message


def test_real_files_get_one_scale_and_a_simulated_survey_the_one_that_it_is_made_with():
    assert load_configuration(REAL).extinction_used.scale == "sfd"
    assert load_configuration({}).extinction_used.scale == "mixed"
    chosen = load_configuration(REAL | {"extinction": {"scale": "corrected"}})
    assert chosen.extinction_used.scale == "corrected"


def test_bands_are_all_there_and_on_the_scale_that_was_chosen():
    assert tuple(COEFFICIENTS) == BANDS
    printed = {band: one.value for band, one in COEFFICIENTS.items()}
    assert load_configuration({}).band_coefficients == printed
    sfd = load_configuration(REAL).band_coefficients
    assert sfd["bp"] == pytest.approx(printed["bp"] * SFD_TO_TRUE)
    assert sfd["ks"] == printed["ks"]


def test_training_sets_and_comparisons_take_the_coefficients_of_the_section(project):
    changed = load_configuration(
        REAL | {"extinction": {"scale": "corrected", "corrected": {"g_gaia": 2.7, "bp": 3, "rp": 2}}}
    ).band_coefficients  # fmt: skip
    sets = load_training_sets(project / "config/training_sets.yaml")
    (magnitudes,) = (one.with_coefficients(changed) for one in sets if one.absolute_magnitudes)
    bands = magnitudes.absolute_magnitudes.bands
    assert {name: band.coefficient for name, band in bands.items()} == {
        f"abs_mag_{band}": value for band, value in changed.items()
    }
    entries = load_comparisons(project / "config/comparisons.yaml", REGISTRY, changed)
    (entry,) = (entry for entry in entries if entry.name == "photometric_magnitudes")
    assert entry.network_labels["abs_mag_g_gaia"] == "mag_g_gaia - modulus - 2.7 * ebv"
    assert entry.network_labels["abs_mag_ks"] == f"mag_ks - modulus - {0.306 / 0.86:g} * ebv"


@pytest.mark.parametrize(
    ("band", "message"),
    [
        ("{magnitude: m, band: g, coefficient: 2}", "either band .* or coefficient"),
        ("{magnitude: m}", "either band .* or coefficient"),
        ("{magnitude: m, band: g_gaja}", "no band g_gaja.*g_gaia"),
    ],
)
def test_a_band_without_one_coefficient_is_refused(tmp_path, project, band, message):
    text = (project / "config/training_sets.yaml").read_text()
    shipped = "{magnitude: g_mag, error: g_mag_err, band: g_gaia}"
    assert shipped in text
    path = tmp_path / "sets.yaml"
    path.write_text(text.replace(shipped, band.replace(": m", ": g_mag")))
    with pytest.raises(UserError, match=message):
        load_training_sets(path)


def test_the_numbers_stand_in_one_module(project):
    """Three digits that only a coefficient has, in code and configuration; generated files and the
    page that explains the section show its defaults."""
    number = re.compile(r"(?<![\d.])(3\.626|2\.742|2\.285|3\.24|1\.91)(?![\d])")
    generated = {"config/config.yaml"}
    files = [*project.glob("config/*.yaml"), *project.glob("lamostvac/[!s]*/*.py")]
    files += [*project.glob("lamostvac/simulate/ph*.py"), *project.glob("workflow_scripts/*.py")]
    holders = {
        str(path.relative_to(project)) for path in files if number.search(path.read_text())
    } - generated
    assert holders == {"lamostvac/core/extinction_coefficients.py"}


def test_the_table_of_the_page_has_the_numbers_of_the_module(project):
    page = (project / "docs/distance.md").read_text()
    for first, rest in (("Gaia G", ("g_gaia", "bp", "rp")), ("J", ("j", "h", "ks")),
                        ("W1", ("w1", "w2")), ("B, V", ("b_apass", "v_apass", "r_apass")),
                        ("g, r", ("g_sdss", "r_sdss", "i_sdss"))):  # fmt: skip
        (row,) = re.findall(rf"^\| {first}.*$", page, re.MULTILINE)
        shown = [float(text) for text in row.split("|")[2].split(",")]
        assert shown == [COEFFICIENTS[band].value for band in rest]
