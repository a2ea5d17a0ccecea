"""Whether a run may have its results folder."""

from contextlib import nullcontext as does_not_raise

import pytest

from lamostvac.configuration.root import Configuration
from lamostvac.core.exceptions import UserError
from lamostvac.provenance.record import Record
from lamostvac.run.inputs import require_finished, require_own_survey


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


@pytest.fixture
def of_pack(finished):
    """What a pack of the finished run takes, and the settings that its rows depend on."""
    (finished / "K.h5").touch()
    record = str(finished / "catalog/provenance.json")
    settings = configuration(finished, n_other=8).model_dump(mode="json")
    return {"record": record, "errors": [str(finished / "K.h5")]}, settings


def test_a_pack_takes_a_finished_run_as_it_is(of_pack):
    with does_not_raise():
        require_finished(*of_pack, "mine.yaml")


def test_what_a_run_lacks_is_told_and_not_made_for_a_pack(of_pack, finished):
    files, settings = of_pack
    files["errors"] += [str(finished / f"{number}.h5") for number in range(4)]
    with pytest.raises(UserError, match=r"0\.h5, .*2\.h5 and 1 more; `lamostvac run --config mine"):
        require_finished(files, settings, "mine.yaml")


def test_a_pack_is_not_made_of_results_of_other_settings(of_pack):
    files, settings = of_pack
    settings["simulation"]["n_other"] = 9
    with pytest.raises(UserError, match=r"than mine\.yaml has now \(simulation\.n_other\)"):
        require_finished(files, settings, "mine.yaml")
