"""Several libraries' cross-validations side by side: dispersions by type and subclass, and their figure."""

import numpy as np
import pandas as pd
import pytest
from preparation import masking

from lamostvac.core.vocabulary import spectral_type_of
from lamostvac.emulator.settings import DistilSettings, EmulatorSettings
from lamostvac.fit.crossvalidation import cross_validate
from lamostvac.fit.settings import FitSettings
from lamostvac.library.formats.stelib import read_stelib
from lamostvac.library.library import prepare_library
from lamostvac.report.catalogue import libraries
from lamostvac.report.style import save
from lamostvac.spectra.grid import GRID
from lamostvac.validation.comparisons import compare_crossvalidation
from lamostvac.validation.libraries import (
    COLUMNS,
    MIN_STARS,
    PUBLISHED_FGK,
    SUBCLASSES,
    compare_libraries,
    curve,
    subclass_of,
)

pytestmark = pytest.mark.numeric


def crossvalidation(n=600, seed=1, scatter=100.0, labels=("teff", "logg", "feh")):
    """A cross-validation table whose errors of Teff have the standard deviation `scatter` K, others 0.2."""
    rng = np.random.default_rng([seed, n])
    table = pd.DataFrame({"teff_true": rng.uniform(3000, 16000, n)})
    table["teff"] = table["teff_true"] + scatter * rng.standard_normal(n)
    for label in labels[1:]:
        table[f"{label}_true"] = rng.uniform(0, 4, n)
        table[label] = table[f"{label}_true"] + 0.2 * rng.standard_normal(n)
    return table


def row(table, library, subset, label):
    found = table[
        (table["library"] == library) & (table["subset"] == subset) & (table["label"] == label)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_subclasses_divide_the_types_in_two_and_go_from_hot_to_cool():
    teff = np.linspace(2500, 40000, 4000)
    names = subclass_of(teff)
    order = [SUBCLASSES.index(name) for name in names]
    assert (np.diff(order) <= 0).all()
    assert set(names) == set(SUBCLASSES)
    for name, kind in zip(names, spectral_type_of(teff), strict=True):
        assert name[0] in kind
    # MK standards of the middle of a subclass: the Sun, Procyon, Vega, 61 Cyg A, Barnard's star
    assert subclass_of([5772, 6550, 9600, 4400, 3200]).tolist() == [
        "G0-G4",
        "F5-F9",
        "A0-A4",
        "K5-K9",
        "M3-M9",
    ]


def test_each_number_is_what_its_stars_say_and_each_library_has_its_own():
    tables = {"a": crossvalidation(scatter=100.0), "b": crossvalidation(seed=2, scatter=300.0)}
    tables["a"].loc[0, "teff"] = np.nan
    result = compare_libraries(tables)
    assert list(result.columns) == COLUMNS
    for name, table in tables.items():
        difference = table["teff"] - table["teff_true"]
        late_f = difference[(table["teff_true"] >= 6000) & (table["teff_true"] < 6600)].dropna()
        numbers = row(result, name, "F5-F9", "teff")
        assert numbers["n"] == len(late_f)
        assert numbers["sigma"] == pytest.approx(late_f.std(ddof=0))
        assert numbers["robust_sigma"] == pytest.approx(
            1.4826 * (late_f - late_f.median()).abs().median()
        )
        assert numbers["offset"] == pytest.approx(late_f.median())
    assert row(result, "a", "all", "teff")["robust_sigma"] == pytest.approx(100, rel=0.15)
    assert row(result, "b", "all", "teff")["robust_sigma"] == pytest.approx(300, rel=0.15)
    assert "alpha_fe" not in set(result["label"])


def test_fgk_means_the_same_as_in_the_comparisons_and_carries_the_published_numbers():
    table = crossvalidation()
    result = compare_libraries({"x": table})
    for line in compare_crossvalidation(table, "x"):
        if line["subset"] == "FGK":
            for number in ("n", "offset", "sigma", "robust_sigma"):
                assert row(result, "x", "FGK", line["label"])[number] == pytest.approx(line[number])
    published = result[result["subset"] == "FGK"].set_index("label")["published"]
    assert published.to_dict() == PUBLISHED_FGK
    assert result.loc[result["subset"] != "FGK", "published"].isna().all()


def test_a_curve_leaves_out_subclasses_with_too_few_stars():
    table = crossvalidation(40)
    result = compare_libraries({"x": table})
    counts = (
        pd.Series(subclass_of(table["teff_true"])).value_counts().reindex(SUBCLASSES, fill_value=0)
    )
    assert (counts[counts > 0] < MIN_STARS).any()
    drawn = np.isfinite(curve(result, "x", "teff", "sigma"))
    assert drawn.tolist() == (counts >= MIN_STARS).tolist()


def test_the_figure_shows_every_library_and_the_published_line_and_is_the_same_every_time(tmp_path):
    with_alpha = crossvalidation(labels=("teff", "logg", "feh", "alpha_fe"))
    table = compare_libraries({"mastar": with_alpha, "elodie": crossvalidation(seed=3)})
    figure = libraries(table)
    panels = figure.axes
    assert len(panels) == 4
    assert [text.get_text() for text in panels[0].get_legend().get_texts()] == ["mastar", "elodie"]
    for label, axes in zip(("teff", "logg", "feh"), panels, strict=False):
        levels = [set(np.asarray(line.get_ydata())) for line in axes.lines]
        assert {PUBLISHED_FGK[label]} in levels
        assert len(axes.lines) == 5  # two libraries with two kinds of sigma, and the published line
    save(figure, tmp_path / "a.png")
    save(libraries(table), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    few = libraries(compare_libraries({"x": crossvalidation(3)}))
    assert "enough stars" in few.axes[0].texts[0].get_text()
    save(few, tmp_path / "c.png")


def test_the_emulator_of_the_real_stelib_recovers_its_fgk_stars(real_data):
    """Not worse than what Liang et al. (2024) give for ELODIE and MILES, though STELIB is smaller than both."""
    folder = real_data / "libraries/stelib/spectra"
    if not folder.is_dir():
        pytest.skip(f"no STELIB at {folder}")
    settings = masking()
    library = prepare_library(
        read_stelib(folder), "stelib", ("teff", "logg", "feh"), settings, None
    )
    assert library.flux.shape[1] == len(GRID)
    emulator = EmulatorSettings(variance=0.99)
    table = cross_validate(
        library, settings.masked_regions, emulator, 5, 1, FitSettings(), DistilSettings()
    )
    result = compare_libraries({"stelib": table})
    for label, published in PUBLISHED_FGK.items():
        assert 0.3 * published < row(result, "stelib", "FGK", label)["robust_sigma"] < published
