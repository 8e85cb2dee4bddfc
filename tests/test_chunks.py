"""A hashing encoder that is never fitted: an entry depends on its cell and on nothing else."""

import io
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skfm.preprocessing import FieldEncoder

# Texts of cells in a file: what readers make of them depends on the rest of the chunk.
NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6).map(str),
    st.integers(0, 99).map("{:04d}".format),
    st.floats(-1e6, 1e6, width=32).map(repr),
    st.sampled_from(["1e3", "1.50", ".5", "-0", "+7", "2.", "0.1", "123.0", "-0.0"]),
)
CELLS = st.one_of(
    NUMBERS, st.sampled_from(["", "a", "1fbe01fe", "True", "False", "x y", "12ab", "é", "1e5f"])
)


def rows_of(encoder, tables):
    parts = [encoder.transform(table) for table in tables]
    return np.concatenate([part.indices.reshape(part.shape[0], -1) for part in parts])


def readings(text, sizes):
    """The same file in chunks, by several readers."""
    yield list(pd.read_csv(io.StringIO(text), chunksize=sizes, header=None))
    for backend in ("numpy_nullable", "pyarrow"):
        chunks = pd.read_csv(io.StringIO(text), chunksize=sizes, header=None, dtype_backend=backend)
        yield list(chunks)
    frame = pd.read_csv(io.StringIO(text), header=None)
    yield [frame[i : i + sizes].convert_dtypes() for i in range(0, len(frame), sizes)]
    yield [frame]


@given(
    cells=st.lists(st.tuples(CELLS, CELLS, NUMBERS), min_size=1, max_size=12),
    sizes=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore::pandas.errors.DtypeWarning")
def test_any_chunks_of_a_file_give_the_same_rows(cells, sizes):
    text = "".join(",".join(row) + ",end\n" for row in cells)
    for encoder in (
        FieldEncoder(n_buckets=10**6),
        FieldEncoder(n_buckets=10**6, categorical_features=[0, 1, 3]),
    ):
        expected = None
        for tables in readings(text, sizes):
            tables = [table.set_axis(["x0", "x1", "x2", "x3"], axis=1) for table in tables]
            found = rows_of(encoder, tables)
            expected = found if expected is None else expected
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "same",
    [
        [3, 3.0, "3", "3.0", "03", "+3", " 3", "3e0", np.int8(3), np.float32(3), b"3"],
        [0.5, "0.50", ".5", np.float32(0.5), np.float16(0.5)],
        [0.1, "0.1", np.float32(0.1)],
        [2.0**60, 2**60, str(2**60)],
        [0.0, -0.0, "-0", 0, "0.0"],
        [True, "True", "true", np.True_],
        [np.inf, "inf"],
        ["1fbe01fe"],
        ["", b""],
        [None, np.nan, pd.NA, pd.NaT],
    ],
)
def test_what_is_one_category(same):
    encoder = FieldEncoder(n_buckets=2**20)
    alone = [
        encoder.transform(pd.DataFrame({"x": pd.Series([value], dtype=object)})).indices[0]
        for value in same
    ]
    others = pd.DataFrame({"x": pd.Series([*same, "a", 7, None, True], dtype=object)})
    together = encoder.transform(others).indices[: len(same)]
    typed = [
        encoder.transform(pd.DataFrame({"x": [value]})).indices[0]
        for value in same
        if value is not pd.NaT  # makes dates of the column
    ]
    assert len({*alone, *together, *typed}) == 1


def test_a_column_is_a_number_only_if_the_user_says_so():
    encoder = FieldEncoder(n_buckets=1000)
    first, second = encoder.transform([[123], [124]]).indices
    assert first != second
    assert encoder.transform(np.array([[123.0], [np.nan]])).indices[0] == first
    assert encoder.transform(pd.DataFrame({"x": ["123", "b"]})).indices[0] == first
    assert encoder.transform(pl.DataFrame({"x": ["123", "b"]})).indices[0] == first
    numbers = FieldEncoder(n_buckets=1000, categorical_features=[])
    assert len(set(numbers.transform([["123"], [124], [124.5]]).indices)) == 1
    with pytest.raises(ValueError, match=r"'x0' holds 'b', which is no number"):
        numbers.transform([["b"]])


def test_values_that_are_equal_but_of_other_texts_are_apart():
    table = pd.DataFrame({"a": pd.Series([1, True, 0, False, 1.0], dtype=object)})
    table["b"] = [[1], [True], [0], [False], [1.0]]
    for rows in (
        table[["a"]],
        table[["b"]],
        pl.DataFrame({"a": pl.Series(table.a.tolist(), dtype=pl.Object)}),
    ):
        indices = FieldEncoder(n_buckets=2**20).transform(rows).indices
        assert len(set(indices[:4])) == 4
        assert indices[0] == indices[4]


# Cells of a variable of numbers, and what they say.
SAYING = [
    *(("12", 12), (" 1.5 ", 1.5), ("1e3", 1000), ("+.5", 0.5), ("-7.", -7), (b"12", 12)),
    *((True, 1), (np.False_, 0), ("True", 1), ("FALSE", 0), (Decimal("1.50"), 1.5)),
    *((np.float32(2.5), 2.5), (np.int8(-3), -3), (Fraction(7, 2), 3.5), ("inf", np.inf)),
    *((None, np.nan), (np.nan, np.nan), (pd.NA, np.nan), (Decimal("nan"), np.nan)),
]


@pytest.mark.parametrize("params", [{"numeric": "value"}, {"n_buckets": 50}])
def test_numbers_of_every_type(params):
    """Alone and side by side; the data of "value" show them."""
    if "n_buckets" in params:
        params = params | {"categorical_features": []}
    encoder = FieldEncoder(**params).fit([[0.0], [4.0], [2.0]])
    cells, numbers = (np.array([list(c)], object).T for c in zip(*SAYING, strict=True))
    expected = encoder.transform(numbers.astype(float))
    for rows in (slice(None), *(slice(i, i + 1) for i in range(len(cells)))):
        found = encoder.transform(cells[rows])
        np.testing.assert_array_equal(found.indices, expected.indices[rows])
        np.testing.assert_array_equal(found.data, expected.data[rows])


@pytest.mark.parametrize("value", ["x", "", "1,5", "1_000", "0x10", "٣", "nan", b"\xff", (1,)])
def test_what_is_no_number_is_named(value):
    column = np.empty((2, 1), object)
    column[:, 0] = 1, value
    shown = re.escape(f"{value!r}, which is no number. If the values are categories, name the")
    with pytest.raises(ValueError, match=f"Variable 'x0' holds {shown}"):
        FieldEncoder(n_buckets=8, categorical_features=[]).transform(column)
    with pytest.raises(ValueError, match=f"'x0' held numbers in fit, but now {shown}"):
        FieldEncoder().fit([[1], [2]]).transform(column)


@pytest.mark.parametrize("choice", [None, "all", [], ["b"], [1], [False, True], np.array([1])])
def test_hashing_takes_for_numbers_what_is_not_named(choice):
    table = pd.DataFrame({"a": ["123", "124"], "b": [123, 124]})
    shared = FieldEncoder(n_buckets=2**20, categorical_features=choice).transform(table)
    shared = (shared.indices.reshape(2, 2)[0] == shared.indices.reshape(2, 2)[1]).tolist()
    if choice is None or isinstance(choice, str):
        assert shared == [False, False]
    else:
        assert shared == [True, len(choice) == 0]


def test_ids_that_are_not_the_same_stay_apart():
    """Strings too large for float64 are not all infinity, nor long integers their float64."""
    encoder = FieldEncoder(n_buckets=2**20)
    for ids in (["1e999999", "2e888888", "inf"], [2**60, 2**60 + 1], [str(2**60), str(2**60 + 1)]):
        assert len(set(encoder.transform(pd.DataFrame({"x": ids})).indices)) == len(ids)


def test_a_variable_of_numbers_has_no_separator():
    encoder = FieldEncoder(n_buckets=8, categorical_features=[], separators={"x0": "|"})
    with pytest.raises(ValueError, match="separators names 'x0', which holds numbers; name it in"):
        encoder.transform([["1"]])
