"""Whether a run may have its results folder."""

from contextlib import nullcontext as does_not_raise

import pytest

from lamostvac.configuration.root import Configuration
from lamostvac.core.exceptions import UserError
from lamostvac.provenance.record import Record
from lamostvac.run.inputs import require_own_survey


def configuration(results, **simulation) -> Configuration:
    return Configuration.model_validate(
        {"run": {"results": str(results)}, "simulation": simulation}
    )


@pytest.fixture
def finished(tmp_path):
    """A results folder with the record of a finished run on a simulated survey."""
    settings = configuration(tmp_path, n_other=8).model_dump(mode="json")
    del settings["simulation"]["snr_max"]  # a key that an earlier version did not have
    (tmp_path / "catalog").mkdir()
    text = Record({}, settings, {}, {}).text()
    (tmp_path / "catalog/provenance.json").write_text(text)
    return tmp_path


def test_the_same_survey_may_run_again(finished):
    with does_not_raise():
        require_own_survey(configuration(finished, n_other=8))


def test_another_simulated_survey_is_refused_with_what_differs(finished):
    with pytest.raises(UserError, match=r"simulation\.n_other differ.*name another folder"):
        require_own_survey(configuration(finished, n_other=9))


def test_an_empty_folder_takes_any_survey(tmp_path):
    with does_not_raise():
        require_own_survey(configuration(tmp_path, n_other=9))
