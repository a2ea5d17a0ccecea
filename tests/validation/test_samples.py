"""Sizes of training sets and library beside the papers' numbers."""

import numpy as np
import pandas as pd
import pytest

from lamostvac.catalog.published_samples import published_samples
from lamostvac.validation.samples import COLUMNS, sample_sizes, sentences


def steps(**counts):
    """The accounting of a set; a step without a number of stars yet stands first."""
    rows = [("rows of the file", np.nan), *((f"split {name}", n) for name, n in counts.items())]
    return pd.DataFrame(rows, columns=["step", "n_stars"])


@pytest.fixture
def table():
    sets = {
        "pastel": steps(train=1281, test=462),
        "lgmwas": steps(train=5000, binary=400, clipped=600, test=3000),
        "mine": steps(train=10, test=5),
    }
    return sample_sizes(sets, ("own", "mastar", 17000), published_samples())


def test_every_part_of_every_sample_stands_beside_the_published_number(table):
    assert list(table.columns) == list(COLUMNS)
    found = table.set_index(["sample", "part"])
    assert found.loc[("training set pastel", "train"), "difference_percent"] == 0
    assert found.loc[("training set lgmwas", "train"), ["n", "published"]].tolist() == [6000, 6000]
    assert found.loc[("library own", "all"), "difference_percent"] == pytest.approx(-8.87, abs=0.01)


def test_what_no_paper_gives_is_missing_and_has_no_sentence(table):
    unknown = table["published"].isna()
    assert unknown.sum() == 4  # test stars of lgmwas, and all of a set of one's own
    assert table.loc[unknown, "difference_percent"].isna().all()
    assert (table.loc[unknown, "source"] == "").all()
    said = sentences(table)
    assert len(said) == len(table) - 4
    assert said[-1] == (
        "library own, all, spectra: 17,000; L24 section 3.1 has 18,654, so this run is off by -8.9 %"
    )


def test_another_library_has_no_published_size():
    table = sample_sizes({}, ("miles", "miles", 900), published_samples())
    assert table["published"].isna().all()
    assert sentences(table) == []
