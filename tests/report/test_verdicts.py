"""What the report says beside a comparison's title."""

import pandas as pd
import pytest

from lamostvac.report.verdicts import light, verdicts, verdicts_of

ROWS = [
    ("lasp", "all", "teff", 900, -23.0, 114.0),
    ("lasp", "all", "teff_rec", 900, -5.0, 67.0),
    ("lasp", "recommended", "teff_rec", 700, -0.4, 57.2),
    ("lasp", "recommended", "logg_rec", 9, 0.1, 0.1),
    ("lasp", "all", "logg_rec", 90, 0.04, 0.1),
    ("few", "all", "teff", 9, 1.0, 2.0),
    ("apogee", "all", "feh", 10, -0.2, 0.3),
    ("apogee", "all", "rv_fit", 10, -0.2, 0.3),
]


def table():
    names = ["dataset", "subset", "label", "n", "offset", "robust_sigma"]
    return pd.DataFrame(ROWS, columns=names)


def words(verdict):
    return {label: text.replace("\N{NO-BREAK SPACE}", " ") for label, text in verdict.items()}


def test_recommended_values_of_recommended_stars_come_first_where_there_are_ten():
    found = verdicts(table())
    assert words(found["lasp"]) == {"Teff / K": "+0 ± 57 green", "log g": "+0.04 ± 0.10 yellow"}
    assert words(found["apogee"]) == {"[Fe/H]": "-0.20 ± 0.30 red"}
    assert "few" not in found


@pytest.mark.parametrize(
    ("offset", "scatter", "colour"),
    [(0.25, 1, "green"), (-0.25, 1, "green"), (-0.3, 1, "yellow"), (0.5, 1, "yellow"), (0.6, 1, "red"), (0, 0, "red")],
)  # fmt: skip
def test_an_offset_is_judged_by_the_scatter_of_single_stars(offset, scatter, colour):
    assert light(offset, scatter) == colour


def test_a_report_written_before_any_comparison_has_no_verdicts(tmp_path):
    assert verdicts_of(tmp_path / "comparisons.csv") == {}
    table().to_csv(tmp_path / "comparisons.csv", index=False)
    assert set(verdicts_of(tmp_path / "comparisons.csv")) == {"lasp", "apogee"}
