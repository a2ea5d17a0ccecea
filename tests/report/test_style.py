"""Titles of labels, colours, and pictures as files."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from lamostvac.report.style import VIRIDIS, lay_out, save, title_of


def test_a_label_has_a_title_for_people_whatever_system_it_is_of():
    titles = {
        "feh_rec": "[Fe/H] (recommended)",
        "teff_survey_lasp": r"$T_{\rm eff}$ / K (survey lasp)",
        "c_fe_apogee": "[C/Fe] (apogee)",
        "dist_ks": "distance (Ks) / kpc",
        "abs_mag_ks": "M ks",
        "chi2_of_nothing": "chi2_of_nothing",
    }
    assert {label: title_of(label) for label in titles} == titles


def test_no_colour_of_points_vanishes_on_white():
    light = VIRIDIS(np.linspace(0, 1, 256))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert light.max() < 0.8
    assert plt.colormaps["viridis"](1.0)[1] > 0.85  # what it would be


# Of 1.15 inches no whole number of pixels comes out in binary arithmetic.
@pytest.mark.parametrize("width", [4, 1.15])
def test_a_figure_is_saved_in_a_palette_and_looks_the_same(tmp_path, width):
    figure, axes = plt.subplots(figsize=(width, 3))
    x = np.linspace(0, 1, 2000)
    axes.scatter(x, np.sin(9 * x), c=x, s=4, cmap="viridis")
    lay_out(figure)
    figure.savefig(tmp_path / "whole.png", facecolor="white")
    save(figure, tmp_path / "palette.png")
    whole, palette = Image.open(tmp_path / "whole.png"), Image.open(tmp_path / "palette.png")
    assert palette.mode == "P"
    assert (tmp_path / "palette.png").stat().st_size < 0.7 * (tmp_path / "whole.png").stat().st_size
    before, after = (np.asarray(one.convert("RGB")).astype(int) for one in (whole, palette))
    assert after.shape == before.shape
    assert abs(after - before).max() <= 16
    assert tuple(after[1, 1]) == (255, 255, 255)
