"""What `lamostvac label` says for somebody who has a pack and a folder, and no configuration."""

import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from lamostvac.configuration.root import Configuration
from lamostvac.core.code_version import script_version
from lamostvac.core.rejection import REASONS
from lamostvac.label import models
from lamostvac.label.folder import REJECTED, Work, nothing_found
from lamostvac.label.other_code import other_code
from lamostvac.label.reasons import reasons_of

HERE = script_version(Path(models.__file__))


def said(packages):
    return other_code(
        SimpleNamespace(
            packages=packages, provenance={"CREATOR": "lamost-vac 9", "GITHASH": "0123456789"}
        )
    )


def test_a_pack_of_the_same_code_is_used_without_a_word():
    assert said(HERE) == ""
    assert said({**HERE, "report": 99}) == ""


def test_a_pack_of_other_code_names_the_packages_that_differ():
    sentence = said({**HERE, "fit": 1000, "report": 99})
    assert (
        f"by lamost-vac 9, commit 01234567, with other code for fit (1000 there, {HERE['fit']}"
        in (sentence)
    )
    assert "report" not in sentence
    assert "did not note the versions" in said({})


def test_no_reason_of_a_pack_names_a_key_or_a_catalogue_that_its_user_does_not_have():
    survey = Configuration().survey
    found = reasons_of(
        SimpleNamespace(
            types=["G"],
            classes=["STAR"],
            snr_band="snrr",
            snr_min=survey.snr_min,
            max_abs_redshift=0.01,
            max_outlier_fraction=0.1,
        )
    )
    assert found.keys() == REASONS.keys()
    # A spectrum's catalogue row is its header here, and the two cannot differ.
    possible = set(REASONS) - {"wrong_spectrum", "wrong_position", "wrong_redshift"}
    keys = re.compile(rf"\b({'|'.join([*Configuration.model_fields, 'network'])})\.\w")
    for reason in sorted(possible):
        assert not keys.search(found[reason]), reason
        assert "catalogue" not in found[reason], reason


@pytest.mark.parametrize(
    ("paths", "rejected", "sentence"),
    [
        (["here"], [], "nothing to label: no spectrum in here, where names that end in .fits"),
        (["gone"], ["gone"], "nothing to label: there is no file or folder gone"),
        (["gone", "here"], ["gone"], "no file or folder gone; no spectrum in here, where"),
        (["a.fits"], ["a.fits/b"], None),  # a member of an archive
    ],
)
def test_nothing_to_label_says_what_was_looked_for_and_where(paths, rejected, sentence):
    rows = pd.DataFrame([(name, "", -1, "missing_file", "") for name in rejected], columns=REJECTED)
    found = nothing_found(paths, Work([], rows))
    assert sentence in found if sentence else found == ""


def test_other_endings_are_counted_where_there_is_nothing_to_label():
    counted = "2 passed over in folders and archives: names that do not end in .fits (2 .txt)"
    work = Work([], pd.DataFrame(columns=REJECTED), (counted,))
    assert nothing_found(["here"], work) == f"nothing to label: no spectrum in here; {counted}"
