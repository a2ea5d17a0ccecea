"""Orders of rows that follow from their content."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.core.ordering import by_value


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 60), different=st.integers(1, 60))
def test_rows_are_ordered_as_by_all_keys(seed, n, different):
    rng = np.random.default_rng(seed)
    values, first, second = rng.integers(0, different, (3, n)).astype(float)
    order, expected = by_value(values, [first, second]), np.lexsort((second, first, values))
    assert sorted(order) == list(range(n))
    # Which of two rows with the same content comes first says nothing.
    for key in (values, first, second):
        np.testing.assert_array_equal(key[order], key[expected])
