"""What models keep between chunks."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from toy import BUILD, toy_library

from lamostvac.emulator.model import build_emulator
from lamostvac.fit.settings import FitSettings
from lamostvac.label.models import Models

pytestmark = pytest.mark.numeric


def test_the_emulator_of_a_fold_is_made_ready_once_for_all_types():
    library = toy_library(90, snr=100.0)
    emulator = build_emulator(library, [(4800.5, 8700.0)], BUILD)
    stars = pd.DataFrame({"ra": [10.0], "dec": [20.0], "fold": [2]})
    asked = []

    def read(name, _):
        asked.append(name)
        return stars if name.endswith(".parquet") else emulator

    settings = SimpleNamespace(fit=FitSettings(prior="none", calibration_scale=0.0))
    models = object.__new__(Models)  # without the rest of a pack
    models.pack, models.settings = SimpleNamespace(read=read, using=nullcontext), settings
    fitter = models._emulator("survey")
    for spectral_type in "FG":
        fold = fitter.folds([10.0, 50.0], [20.0, 20.0])
        fits = fitter.fit(library.flux[:2], library.ivar[:2], spectral_type, fold)
        assert np.isfinite(fits.labels).all()
    assert sorted(asked) == [
        "emulator-survey.h5", "emulator-survey_without_2.h5", "stars-survey.parquet",
    ]  # fmt: skip
