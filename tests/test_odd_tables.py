"""Tables, names and numbers that an encoder seldom meets."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skfm.preprocessing import FieldEncoder

from .common import few_passes
from .test_preprocessing import mixed

pytestmark = few_passes


@given(st.integers(1, 1000), st.data())
@settings(max_examples=100, deadline=None)
def test_a_category_of_exactly_the_least_share_is_kept(n_rows, data):
    """The share as it is written: 0.07 of 100 rows are 7, though 0.07 * 100 is more."""
    n = data.draw(st.integers(1, n_rows))
    if n < n_rows:
        X = [["a"]] * n + [["b"]] * (n_rows - n)
        for share in (n / n_rows, float(f"{n / n_rows:.17g}")):
            names = FieldEncoder(min_frequency=share).fit(X).get_feature_names_out()
            assert "x0=a" in names
        names = FieldEncoder(min_frequency=np.nextafter(n / n_rows, 1)).fit(X)
        assert "x0=a" not in names.get_feature_names_out()
    X = [["a"]] * 7 + [["b"]] * 93
    assert "x0=a" in FieldEncoder(min_frequency=0.07).fit(X).get_feature_names_out()


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.uint64])
@pytest.mark.parametrize(
    "params",
    [{"n_bins": 100}, {"min_frequency": 3}, {"max_categories": 4}, {"n_buckets": 100}],
)
def test_integers_of_numpy_are_integers(kind, params):
    X = pd.DataFrame({"n": np.arange(1000) / 7, "c": (np.arange(1000) ** 2 % 700).astype(str)})
    encoder = FieldEncoder(**{name: kind(value) for name, value in params.items()})
    expected, found = FieldEncoder(**params).fit(X).transform(X), encoder.fit(X).transform(X)
    np.testing.assert_array_equal(found.toarray(), expected.toarray())


def test_too_many_columns_are_refused_whatever_integer_asks_for_them():
    X = pd.DataFrame({name: ["a"] for name in "abcd"})
    for kind in (int, np.int32, np.uint32, np.int64):
        with pytest.raises(ValueError, match="n_buckets=536870912 for 4 variables are over"):
            FieldEncoder(n_buckets=kind(2**29)).transform(X)


special = st.builds(
    "{}<{}>".format, st.text("\\", max_size=3), st.sampled_from(["missing", "unknown", "number"])
)


@given(st.lists(st.one_of(special, st.none(), st.text(max_size=2)), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_names_of_columns_are_unique(cells):
    encoder = FieldEncoder().fit(pd.DataFrame({"x": pd.Series(cells, dtype=object)}))
    names = encoder.get_feature_names_out().tolist()
    assert len(set(names)) == len(names)
    assert names.count("x=<unknown>") == 1
    assert ("x=<missing>" in names) == (None in cells)
    assert ("x=\\<missing>" in names) == ("<missing>" in cells)


def test_names_that_would_not_be_unique_are_refused():
    for table in (
        pd.DataFrame({"a": ["b=c"], "a=b": ["c"]}),
        pl.DataFrame({"a": ["b=c"], "a=b": ["c"]}),
    ):
        encoder = FieldEncoder().fit(table)
        assert encoder.transform(table).shape == (1, 4)
        with pytest.raises(ValueError, match="Two columns would be called 'a=b=c'"):
            encoder.get_feature_names_out()


@pytest.mark.parametrize(
    "kind", ["float32", "int64", "bool", "U3", "S3", "object", "datetime64[ns]"]
)
@pytest.mark.parametrize("params", [{}, {"categorical_features": "all"}, {"n_buckets": 99}])
def test_masked_cells_are_missing(kind, params):
    values = np.array([["1", "2"], ["3", "1"], ["2", "4"]]).astype("i8").astype(kind)
    mask = [[False, True], [False, False], [True, False]]
    masked = np.ma.array(values, mask=mask)
    expected = pd.DataFrame(values).mask(np.array(mask)).to_numpy(object)
    if kind == "float32":
        expected = np.where(mask, np.float32(np.nan), values)
    expected = FieldEncoder(**params).fit_transform(expected)
    rows = [masked, [*masked]]
    if kind in ("float32", "int64", "object"):
        pairs = zip(values, mask, strict=True)
        rows.append([[np.ma.masked if m else v for v, m in zip(*of, strict=True)] for of in pairs])
    for X in rows:
        found = FieldEncoder(**params).fit_transform(X)
        np.testing.assert_array_equal(found.toarray(), expected.toarray())


@pytest.mark.parametrize("params", [{}, {"categorical_features": "all"}, {"n_buckets": 99}])
def test_arrow_tables(params):
    pa = pytest.importorskip("pyarrow")
    frame = pl.DataFrame(mixed()).with_columns(pl.col("device").cast(pl.Categorical))
    table = frame.to_arrow()
    encoder = FieldEncoder(**params).fit(table)
    expected = FieldEncoder(**params).fit(frame)
    assert encoder.feature_names_in_.tolist() == frame.columns
    np.testing.assert_array_equal(encoder.get_feature_names_out(), expected.get_feature_names_out())
    for rows in (table, table.to_batches()[0], table.slice(3, 5)):
        assert isinstance(rows, pa.Table | pa.RecordBatch)
        found = encoder.transform(rows)
        np.testing.assert_array_equal(
            found.indices, expected.transform(pl.from_arrow(rows)).indices
        )
    with pytest.raises(ValueError, match="feature names"):
        encoder.transform(table.rename_columns(list("abcdef")))


def test_an_arrow_table_without_pandas_is_refused_with_the_remedy(monkeypatch):
    table = pytest.importorskip("pyarrow").table({"a": ["x"]})
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"read by pandas.*polars\.from_arrow"):
        FieldEncoder().fit(table)


@given(st.floats(1e-6, 1e6), st.integers(1, 1000), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_constant_number_keeps_its_unit(value, n_rows, missing):
    X = np.full((n_rows + missing, 1), value)
    X[n_rows:] = np.nan
    encoder = FieldEncoder(numeric="value").fit(X)
    found = encoder.transform([[value], [value + 1]]).toarray()[:, 0]
    np.testing.assert_allclose(found, [0, 1], atol=1e-6 * max(1, value))


def test_infinity_is_refused_where_numbers_stay_numbers():
    encoder = FieldEncoder(numeric="value").fit([[1.0], [2.0]])
    with pytest.raises(ValueError, match="'x0' holds infinity"):
        encoder.transform([[np.inf]])


@given(st.lists(st.sampled_from("abcdef"), min_size=1), st.randoms())
@settings(max_examples=50, deadline=None)
def test_the_order_of_rows_does_not_matter(cells, random):
    shuffled = random.sample(cells, len(cells))
    for limit in (None, 1, 3):
        one, other = (
            FieldEncoder(max_categories=limit).fit([[cell] for cell in c])
            for c in (cells, shuffled)
        )
        assert one.get_feature_names_out().tolist() == other.get_feature_names_out().tolist()
