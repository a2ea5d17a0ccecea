"""Names of spectra as numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.core.exceptions import UserError
from lamostvac.spectra.names import RowsByName, fingerprint, in_order_of, values_at

NAMES = st.lists(st.text("ab-1", min_size=1, max_size=9), max_size=20, unique=True)


def test_fingerprints_differ_where_names_differ():
    names = np.char.mod("58000-HD1-%d", np.arange(20_000)).astype("S48")
    prints = fingerprint(names)
    assert len(np.unique(prints)) == len(names)
    np.testing.assert_array_equal(prints[:5], fingerprint(names[:5]))


def test_no_names_have_no_fingerprints():
    assert fingerprint(np.empty(0, "S48")).shape == (0,)


@given(NAMES, NAMES)
def test_rows_are_found_as_in_a_dictionary(names, wanted):
    """Longer names than the rows' are no rows, though they begin like one."""
    known = {name: row for row, name in enumerate(names)}
    find = RowsByName(np.array(names, "S"))
    asked = [*wanted, *names[:3], *(name + "x" for name in names)]
    assert find(asked).tolist() == [known.get(name, -1) for name in asked]


def test_a_name_in_two_rows_is_an_error():
    with pytest.raises(ValueError, match="two rows"):
        RowsByName(np.array(["a", "b", "a"], "S4"))


@pytest.mark.parametrize("shape", [(), (2,)])
def test_values_of_rows_that_are_not_there_are_missing(shape):
    values = np.arange(3 * np.prod(shape, dtype=int), dtype=np.float32).reshape(3, *shape)
    found = values_at(values, np.array([2, -1, 0]))
    np.testing.assert_array_equal(found[[0, 2]], values[[2, 0]])
    assert np.isnan(found[1]).all()
    assert np.isnan(values_at(values[:0], np.array([-1]))).all()


def test_rows_are_joined_by_their_names():
    names = np.array([b"c", b"a", b"b"])
    table = pd.DataFrame({"spectrum_id": ["a", "b", "c"], "value": [1, 2, 3]})
    joined = in_order_of(names, table, "x.parquet")
    assert joined["value"].tolist() == [3, 1, 2]
    assert joined.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "names", [["a", "b"], ["a", "b", "d"], ["a", "b", "c", "d"], ["a", "b", "b"]]
)
def test_a_table_of_other_spectra_is_not_joined(names):
    table = pd.DataFrame({"spectrum_id": names})
    with pytest.raises(UserError, match=r"x\.parquet has other spectra"):
        in_order_of(np.array([b"a", b"b", b"c"]), table, "x.parquet")
