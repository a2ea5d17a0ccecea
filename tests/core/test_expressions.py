"""Expressions are NumPy's arithmetic on columns, and nothing else."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamostvac.core.exceptions import UserError
from lamostvac.core.expressions import parse, renamed

COLUMNS = {
    "snr": np.array([10.0, 50.0, 90.0, np.nan]),
    "feh": np.array([-2.5, -1.0, 0.0, 0.3]),
    "flag": np.array([0, 1 << 7, (1 << 23) | 1, 7]),
    "name": np.array(["AAA", "BBA", "", "AAA"], dtype=object),
}


def values(text, columns=COLUMNS):
    return parse(text).values(columns).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("snr > 20", [False, True, True, False]),
        ("not snr > 20", [True, False, False, True]),
        ("snr != 50", [True, False, True, False]),  # NaN compares false, also here
        ("20 < snr <= 50", [False, True, False, False]),
        ("snr > 20 and feh < -0.5 or feh > 0.2", [False, True, False, True]),
        ("not bit(flag, 7)", [True, False, True, True]),
        ("bit(flag, 23)", [False, False, True, False]),
        ("bit(flag, 0) and bit(flag, 1)", [False, False, False, True]),
        ("flag == 7", [False, False, False, True]),
        ("isfinite(snr)", [True, True, True, False]),
        ("abs(feh) > 0.9", [True, True, False, False]),
        ("name == 'AAA'", [True, False, False, True]),
        ("1 < 2", [True] * 4),
        ("-feh ** 2", [-6.25, -1.0, 0.0, -0.09]),
        ("2 * feh - 1 / 4", [-5.25, -2.25, -0.25, 0.35]),
        ("log10(sqrt(10000))", [2.0] * 4),
    ],
)
def test_value(text, expected):
    found = values(text)
    assert found == expected if isinstance(expected[0], bool) else found == pytest.approx(expected)


def test_flags_with_missing_rows_keep_their_bits():
    flag = np.array([np.nan, 2.0**23 + 2**7, 0.0])
    assert values("bit(flag, 23)", {"flag": flag}) == [False, True, False]


def test_integers_of_64_bits_compare_exactly():
    ids = np.array([2**62 + 1, 2**62 + 2])
    assert values(f"id == {2**62 + 1}", {"id": ids}) == [True, False]


def test_columns_may_be_called_by_words_of_python():
    columns = {"class": np.array(["STAR", "class"], object), "in": np.array([1.0, 3.0])}
    assert values("class == 'class' and not in < 2", columns) == [False, True]
    assert values('class == "STAR" or in > 2', columns) == [True, True]
    assert parse("class == 'class'").names == ("class",)
    with pytest.raises(UserError, match="bit\\(class, 2\\)': class is a text"):
        values("bit(class, 2)", columns)
    for text in ("snr in", "class class", "1 if class else 2"):
        with pytest.raises(UserError, match="is no expression"):
            parse(text)


def test_a_former_name_that_is_a_word_of_python_is_understood():
    columns = {"lamost_class": np.array(["STAR", "QSO"], object)}
    assert values("class == 'STAR'", columns) == [True, False]
    assert renamed("class == 'STAR'", list(columns)) == "lamost_class == 'STAR'"


def test_data_frames_serve_as_columns():
    frame = pd.DataFrame({"x": [1.0, 3.0], "text": ["a", None]}, index=[7, 3])
    assert parse("x > 2").holds(frame).tolist() == [False, True]
    assert parse("text == 'a'").holds(frame).tolist() == [True, False]
    assert parse("x > 2").holds(frame.iloc[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("snr_g > 3", "there is no column snr_g; did you mean snr?"),
        ("snr >", "is no expression"),
        ("snr.max()", "no function call that is known"),
        ("__import__('os').system('x')", "no function call that is known"),
        ("[x for x in y]", "is not understood"),
        ("lambda: 1", "is not understood"),
        ("snr[0]", "is not understood"),
        ("snr & 4", "is not understood"),
        ("(snr, feh)", "is not understood"),
        ("bit(flag, feh)", "a number from 0 to 62"),
        ("snr > True", "no values here"),
        ("not flag", "is a number where a condition is wanted"),
        ("snr and feh > 1", "is a number where a condition is wanted"),
        ("name > 3", "compares a text with a number|compares a number with a text"),
        ("name", "is a text"),
        ("(snr > 1) + 1", "is a condition where a number is wanted"),
        ("1" * 30, "too large"),
        ("(" * 300 + "1" + ")" * 300, "no expression|nested"),
        ("-" * 1900 + "1", "nested|no expression"),
        ("x" * 3000, "too long"),
    ],
)
def test_mistakes_end_in_one_sentence(text, message):
    with pytest.raises(UserError, match=message) as error:
        parse(text, "cuts").values(COLUMNS)
    assert str(error.value).startswith("cuts: ")
    assert "\n" not in str(error.value)


def test_a_formula_is_no_condition():
    with pytest.raises(UserError, match="write a condition"):
        parse("snr + 1").holds(COLUMNS)


NUMBERS = st.sampled_from(["a", "b", "1", "2.5", "0"])
FORMULAS = st.recursive(
    NUMBERS,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*", "/"]), part).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        part.map(lambda text: f"abs({text})"),
        part.map(lambda text: f"(-{text})"),
    ),
    max_leaves=8,
)


@given(FORMULAS, FORMULAS, st.lists(st.tuples(*[st.floats(-100, 100)] * 2), min_size=1, max_size=5))
def test_agrees_with_python(left, right, rows):
    a, b = (np.array(column) for column in zip(*rows, strict=True))
    names = {"a": a, "b": b, "abs": np.abs, "number": np.float64, "__builtins__": {}}

    def numpy_says(text):
        # Python's own numbers raise where NumPy gives infinity.
        with np.errstate(all="ignore"):
            return eval(re.sub(r"([0-9.]+)", r"number(\1)", text), names)

    expected = np.broadcast_to(numpy_says(left), a.shape)
    np.testing.assert_allclose(parse(left).values({"a": a, "b": b}), expected)
    holds = np.broadcast_to(numpy_says(left) < numpy_says(right), a.shape)
    assert np.array_equal(parse(f"{left} < {right}").holds({"a": a, "b": b}), holds)
