"""The systematic error: what the cross-validation shows beyond the predicted errors."""

import numpy as np
import pandas as pd
import pytest

from lamostvac.systematic import systematic_errors


def table(
    n: int, predicted: float, actual: float, spectral_type: str = "G", seed: int = 0, known=np.nan
) -> pd.DataFrame:
    truth = np.linspace(5300.0, 5900.0, n)
    noise = np.random.default_rng(seed).normal(0.0, actual, n)
    return pd.DataFrame(
        {
            "spectral_type": spectral_type,
            "teff_true": truth,
            "teff_true_err": known,
            "teff": truth + noise,
            "teff_err": predicted,
        }
    )


def test_what_is_missing_is_added_in_quadrature():
    found = systematic_errors(table(4000, 60.0, 100.0), "G", ["teff"])["teff"]
    assert found == pytest.approx(80.0, rel=0.06)


def test_what_the_librarys_own_errors_explain_is_not_the_fits():
    found = systematic_errors(table(4000, 60.0, 100.0, known=50.0), "G", ["teff"])["teff"]
    assert found == pytest.approx(np.sqrt(100.0**2 - 60.0**2 - 50.0**2), rel=0.08)


def test_errors_that_are_large_enough_stay():
    assert systematic_errors(table(1000, 100.0, 60.0), "G", ["teff"])["teff"] == 0.0


def test_a_few_failures_do_not_decide():
    fits = table(1000, 60.0, 100.0)
    clean = systematic_errors(fits, "G", ["teff"])["teff"]
    fits.loc[:19, "teff"] += 20000.0
    assert systematic_errors(fits, "G", ["teff"])["teff"] == pytest.approx(clean, rel=0.1)


def test_a_type_with_few_stars_takes_the_numbers_of_all():
    fits = pd.concat([table(500, 60.0, 100.0), table(5, 60.0, 5000.0, "OB")])
    assert systematic_errors(fits, "OB", ["teff"]) == systematic_errors(fits, "none such", ["teff"])


def test_a_label_that_the_library_lacks_is_nan():
    assert np.isnan(systematic_errors(table(100, 60.0, 100.0), "G", ["alpha_fe"])["alpha_fe"])
