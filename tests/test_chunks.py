"""A hashing encoder that is never fitted: an entry depends on its cell and on nothing else."""

import datetime as dt
import enum
import io
import os
import re
import subprocess
import sys
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
    with pytest.raises(ValueError, match=r"'x0' holds 'b', which is not a number"):
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
    saying = SAYING
    if params.get("numeric") == "value":  # infinity is refused
        saying = [pair for pair in SAYING if not np.isinf(pair[1])]
    cells, numbers = (np.array([list(c)], object).T for c in zip(*saying, strict=True))
    expected = encoder.transform(numbers.astype(float))
    for rows in (slice(None), *(slice(i, i + 1) for i in range(len(cells)))):
        found = encoder.transform(cells[rows])
        np.testing.assert_array_equal(found.indices, expected.indices[rows])
        np.testing.assert_array_equal(found.data, expected.data[rows])


@pytest.mark.parametrize("value", ["x", "", "1,5", "1_000", "0x10", "٣", "nan", b"\xff", (1,)])
def test_what_is_no_number_is_named(value):
    column = np.empty((2, 1), object)
    column[:, 0] = 1, value
    shown = re.escape(f"{value!r}, which is not a number. If the values are categories, name the")
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


# -- cells of any type ----------------------------------------------------------------


class Color(str, enum.Enum):  # noqa: UP042, its text is that of its name
    RED = "red"
    THREE = "3"


class Level(int, enum.Enum):
    ONE = 1
    THREE = 3


class Kind(enum.Enum):
    RED = "red"
    HALF = 0.5


NOON = dt.datetime(2026, 1, 1, 12)
MOMENTS = [
    dt.date(2026, 1, 1),
    dt.datetime(2026, 1, 1),
    NOON,
    *(NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=hours))) for hours in (-3, 0, 9)),
    dt.datetime(2026, 1, 1, 15, tzinfo=dt.timezone.utc),  # noqa: UP017
    pd.Timestamp("2026-01-01"),
    pd.Timestamp("2026-01-01 21:00", tz="Asia/Tokyo"),
    np.datetime64("2026-01-01"),
    np.datetime64("2026-01-01T12", "ns"),
    dt.time(12),
]
ANYTHING = [
    *(
        "red",
        "3",
        "1",
        "0.5",
        "2026-01-01",
        "True",
        b"red",
        np.str_("red"),
        "",
        None,
        np.nan,
        pd.NA,
    ),
    *(1, 1.0, True, np.True_, 3, 10**5000, np.int8(3), np.uint64(3), -0.0, Decimal("3.0")),
    *(0.1, np.float32(0.1), float(np.float32(0.1)), np.float16(0.1), Decimal("0.1"), np.inf),
    *(Color.RED, Color.THREE, Level.ONE, Level.THREE, Kind.RED, Kind.HALF, Fraction(1, 2)),
    *(Decimal("sNaN"), pd.NaT, np.datetime64("NaT"), complex(1), pd.Period("2026-01"), *MOMENTS),
]
cells_of_any_type = st.one_of(
    st.sampled_from(ANYTHING),
    st.lists(st.sampled_from(ANYTHING), max_size=3),
    st.frozensets(st.sampled_from(["red", "3", 3.5, dt.date(2026, 1, 1), None]), max_size=3),
)


def objects(cells):
    column = np.empty((len(cells), 1), object)
    for i, cell in enumerate(cells):
        column[i, 0] = cell
    return column


def entries(table):
    """Of each row, its columns."""
    encoded = FieldEncoder(n_buckets=2**24).transform(table)
    return [part.tolist() for part in np.split(encoded.indices, encoded.indptr[1:-1])]


@given(st.lists(cells_of_any_type, min_size=1, max_size=12))
@settings(max_examples=300, deadline=None)
def test_an_entry_follows_from_its_cell_whatever_its_type(cells):
    table = objects(cells)
    alone = [entries(table[i : i + 1])[0] for i in range(len(cells))]
    assert entries(table) == alone
    assert entries(pd.DataFrame(table)) == alone
    assert entries(pl.DataFrame({"x": pl.Series(cells, dtype=pl.Object)})) == alone


@given(st.lists(st.sampled_from(ANYTHING), min_size=2, max_size=12))
@settings(max_examples=100, deadline=None)
def test_a_vocabulary_is_that_of_the_texts(cells):
    """Values of one text are one category, counted together."""
    encoder = FieldEncoder(categorical_features="all")
    encoded = encoder.fit_transform(objects(cells))
    names = encoder.get_feature_names_out()
    assert len(set(names)) == len(names)
    buckets = entries(objects(cells))
    for i, j in zip(range(len(cells)), range(1, len(cells)), strict=False):
        assert (encoded.indices[i] == encoded.indices[j]) == (buckets[i] == buckets[j])
    counts = np.bincount(encoded.indices, minlength=len(names))
    n_categories = len(set(map(tuple, buckets)) - {(0,)})
    assert (np.diff(counts[:n_categories]) <= 0).all()
    assert (counts[:n_categories] > 0).all()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("red", [Color.RED, Kind.RED, np.str_("red"), b"red"]),
        ("3", [Color.THREE, Level.THREE, Decimal("3.0"), np.uint64(3)]),
        ("0.5", [Kind.HALF, Fraction(1, 2)]),
        ("1" + "0" * 5000, [10**5000, Decimal(10**5000)]),
        ("2026-01-01", [*MOMENTS[:2], MOMENTS[7], MOMENTS[9], np.datetime64("2026-01", "M")]),
        ("2026-01-01 12:00:00", [NOON, MOMENTS[10], pd.Timestamp(NOON)]),
        ("2026-01-01 12:00:00+00:00", [MOMENTS[4], MOMENTS[8]]),
        ("2026-01-01 15:00:00+00:00", [MOMENTS[3], MOMENTS[6]]),
        ("2026-01-01 00:00:00.05", [dt.datetime(2026, 1, 1, 0, 0, 0, 50000)]),
        ("12:00:00.5", [dt.time(12, 0, 0, 500000)]),
        ("20000-01-01", [np.datetime64("20000-01-01")]),
    ],
)
def test_the_text_of_a_value(text, same):
    assert len(set(map(tuple, entries(objects([text, *same]))))) == 1
    assert len(set(map(tuple, entries(objects([[text], *([s] for s in same)]))))) == 1


def dates(moments, zone=None):
    """The same dates or moments in every table that has a type for them."""
    series = pd.Series(moments).dt.tz_localize(zone)
    arrow = pytest.importorskip("pyarrow").table({"x0": pd.array(series)})
    for unit in ("s", "ms", "us", "ns"):
        yield series.dt.as_unit(unit).to_frame("x0")
        if zone is None:
            yield series.dt.as_unit(unit).to_numpy()[:, None]
            yield objects(list(series.dt.as_unit(unit).to_numpy()))
        if unit != "s":
            column = pl.Series(moments).cast(pl.Datetime(unit))
            yield pl.DataFrame({"x0": column.dt.replace_time_zone(zone)})
    yield objects(series.tolist())
    yield objects([None if m is pd.NaT else m for m in series.dt.to_pydatetime()])
    yield arrow
    yield arrow.to_pandas(types_mapper=pd.ArrowDtype)
    yield arrow.to_pandas(types_mapper=pd.ArrowDtype).astype("category")
    yield series.to_frame("x0").astype("category")
    if zone is None and not any(m and m.time() != dt.time() for m in moments):
        yield pl.DataFrame({"x0": pl.Series(moments).cast(pl.Date)})
        yield objects([m and m.date() for m in moments])
        yield objects([m and str(m.date()) for m in moments])
        yield np.array([m and m.date() for m in moments], "datetime64[D]")[:, None]


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
@pytest.mark.parametrize("hour", [0, 7])
def test_dates_are_the_same_in_every_table(zone, hour):
    moments = [dt.datetime(2026, 1, day, hour) for day in (1, 2, 2)] + [None]
    expected = None
    for table in dates(moments, zone):
        names = FieldEncoder().fit(table).get_feature_names_out().tolist()
        expected = expected or (entries(table), names)
        assert (entries(table), names) == expected
        assert [entries(table[i : i + 1])[0] for i in range(4)] == expected[0]
    assert expected[0][-1] == [0]
    texts = {
        (None, 0): ("2026-01-02", "2026-01-01"),
        (None, 7): ("2026-01-02 07:00:00", "2026-01-01 07:00:00"),
        ("Asia/Tokyo", 0): ("2026-01-01 15:00:00+00:00", "2025-12-31 15:00:00+00:00"),
        ("Asia/Tokyo", 7): ("2026-01-01 22:00:00+00:00", "2025-12-31 22:00:00+00:00"),
    }[zone, hour]
    assert expected[1] == [f"x0={text}" for text in (*texts, "<missing>", "<unknown>")]


@pytest.mark.parametrize("name", ["decimal", "time", "float32", "float16", "float64"])
@pytest.mark.parametrize("in_lists", [False, True])
def test_types_of_arrow_and_polars(name, in_lists):
    pa = pytest.importorskip("pyarrow")
    cells = {
        "decimal": [Decimal("12345678901234567.89"), Decimal("0.10"), None, Decimal("3.00")],
        "time": [dt.time(1, 2, 3, 500000), None, dt.time(0), dt.time(12)],
    }.get(name, [0.1, 2.5, None, 3.0])
    kind = {"decimal": pa.decimal128(20, 2), "time": pa.time64("us")}.get(name)
    kind = kind or pa.from_numpy_dtype(name)
    as_objects = [c if c is None or "float" not in name else getattr(np, name)(c) for c in cells]
    if in_lists:
        kind, cells = pa.list_(kind), [[c] for c in cells]
        as_objects = [[c] for c in as_objects]
    arrow = pa.table({"x0": pa.array(cells, kind)})
    tables = [
        objects(as_objects),
        arrow,
        arrow.to_pandas(types_mapper=pd.ArrowDtype),
        pl.from_arrow(arrow),
    ]
    if not in_lists and name != "float16":  # of which pandas makes no categories
        tables.append(arrow.to_pandas(types_mapper=pd.ArrowDtype).astype("category"))
    expected = entries(tables[0])
    texts = ["0.1", "2.5", None, "3"] if "float" in name else None
    assert texts is None or expected == entries(objects(texts))
    for table in tables:
        assert entries(table) == expected
        if not in_lists:
            everything = FieldEncoder(categorical_features="all").fit(table)
            assert len(everything.get_feature_names_out()) == 5
            first = FieldEncoder().fit(table).get_feature_names_out()[0]
            is_number = name != "time" and not any(table is other for other in tables[4:])
            assert first.startswith(("x0<", "x0~") if is_number else "x0=")


class Bare:
    pass


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (Bare(), "the text of Bare objects, such as .* differs .* give the class a __str__"),
        ([1, Bare()], "the text of Bare objects"),
        (lambda: 1, "the text of function objects"),
        (dt.timedelta(hours=1), "durations; divide them by a unit"),
        (pd.Timedelta("1h"), "durations"),
        (np.timedelta64(1, "h"), "durations"),
        ([np.timedelta64(1, "h")], "durations"),
        ([["a"]], "lists in lists"),
        ([("a",)], "lists in lists"),
        ([frozenset("a")], "lists in lists"),
        ({"a": 1}, "unhashable type: 'dict'"),
        ([{"a": 1}], "unhashable type: 'dict'"),
        (Fraction(10**400, 3), "too large for a float"),
    ],
)
def test_what_is_no_category_is_named(cell, message):
    for table in (objects([cell]), pd.DataFrame({"x0": pd.Series([cell, "a"], dtype=object)})):
        with pytest.raises(
            ValueError, match=f"'x0' holds values that cannot be categories: .*{message}"
        ):
            entries(table)


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_durations_are_refused_in_every_table(unit):
    pa = pytest.importorskip("pyarrow")
    series = pd.Series([pd.Timedelta("1h"), pd.NaT]).dt.as_unit(unit)
    arrow = pa.table({"x0": pd.array(series)})
    tables = [series.to_frame("x0"), series.to_numpy()[:, None], objects(series.tolist()), arrow]
    tables += [arrow.to_pandas(types_mapper=pd.ArrowDtype), pl.DataFrame({"x0": [dt.timedelta(1)]})]
    for table in tables:
        for encoder in (FieldEncoder(), FieldEncoder(n_buckets=4, categorical_features=[])):
            with pytest.raises(ValueError, match=r"'x0' holds .*: durations"):
                encoder.fit(table)


def test_sets_are_the_same_in_every_process():
    code = (
        "from skfm.preprocessing import FieldEncoder; import pandas as pd;"
        "X = pd.DataFrame({'x': [frozenset('abc'), {'c', 'b', 'a'}, frozenset('b'), set()]});"
        "print(FieldEncoder(n_buckets=2**20).transform(X).indices.tolist())"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in "12"
    }  # fmt: skip
    column = objects([["a", "b", "c"], ["c", "a", "b"], ["b"], []])
    expected = FieldEncoder(n_buckets=2**20).transform(column).indices.tolist()
    assert texts == {f"{expected}\n"}
