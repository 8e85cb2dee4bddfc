"""From tables to fields."""

import datetime
import itertools
import math
import pickle
import sys
from decimal import Decimal
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import murmurhash3_32
from sklearn.utils.estimator_checks import parametrize_with_checks

import skfm
from skfm import FFMClassifier, FMClassifier, WideDeepClassifier, infer_fields
from skfm._encodings import SEPARATORS, Vocabulary
from skfm._variables import Variables, read
from skfm.preprocessing import FieldEncoder

from .common import few_passes

pytestmark = few_passes


@parametrize_with_checks(
    [
        FieldEncoder(),
        FieldEncoder(numeric="squared_log"),
        FieldEncoder(numeric="value"),
        FieldEncoder(categorical_features="all", min_frequency=2, max_categories=5),
        FieldEncoder(n_buckets=16),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def mixed(n_rows=400, seed=0):
    """Columns of every type, as Python values, None where they are missing."""
    rng = np.random.default_rng(seed)

    def with_gaps(values, share):
        return [
            None if gap else v for v, gap in zip(values, rng.random(n_rows) < share, strict=True)
        ]

    site = [f"site{int(i)}" for i in rng.zipf(1.5, n_rows) % 30]
    return {
        "site": with_gaps(site, 0.1),
        "device": [["phone", "tablet", "desktop"][i] for i in rng.integers(3, size=n_rows)],
        "hour": rng.integers(24, size=n_rows).tolist(),
        "price": with_gaps(rng.lognormal(size=n_rows).tolist(), 0.2),
        "mobile": (rng.random(n_rows) < 0.3).tolist(),
        "returning": with_gaps((rng.random(n_rows) < 0.5).tolist(), 0.1),
    }


def tables(columns):
    """The same table in every form that users have it in."""
    frame = pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in columns.items()})
    yield "objects", frame
    yield "array", frame.to_numpy()
    typed = pd.DataFrame(columns)
    typed["device"] = typed["device"].astype("category")
    yield "pandas", typed
    yield "nullable", typed.astype({"site": "string", "price": "Float64", "returning": "boolean"})
    yield "float hours", typed.astype({"hour": np.float32})
    yield "polars", pl.DataFrame(columns).with_columns(pl.col("device").cast(pl.Categorical))
    yield (
        "polars enum",
        pl.DataFrame(columns).with_columns(
            pl.col("device").cast(pl.Enum(["desktop", "phone", "tablet"]))
        ),
    )


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"numeric": "squared_log", "min_frequency": 0.05},
        {"numeric": "value", "max_categories": 3},
        {"categorical_features": ["hour", 4]},
        {"categorical_features": "all"},
        {"n_buckets": 32},
        {"n_buckets": 1000, "categorical_features": [0, 1, 2, 4, 5]},
    ],
)
def test_every_table_gives_the_same_matrix(params):
    expected = None
    for name, table in tables(mixed()):
        if name == "array" and "hour" in params.get("categorical_features", ()):
            params = {"categorical_features": [2, 4]}
        encoder = FieldEncoder(**params)
        encoded = encoder.fit_transform(table)
        assert encoded.dtype == np.float32
        n_fields = encoder.fields_[-1] + 1
        np.testing.assert_array_equal(encoded.indptr, np.arange(401) * n_fields)
        again = encoder.transform(table)
        for attribute in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(again, attribute), getattr(encoded, attribute))
        names = encoder.get_feature_names_out(list(mixed(1)))
        assert len(names) == encoded.shape[1] == len(encoder.fields_) == len(set(names))
        if expected is None:
            expected = encoded, names
        np.testing.assert_array_equal(names, expected[1], err_msg=name)
        assert encoded.shape == expected[0].shape
        np.testing.assert_array_equal(encoded.indices, expected[0].indices, err_msg=name)
        np.testing.assert_array_equal(encoded.data, expected[0].data, err_msg=name)


@pytest.mark.parametrize("numeric", ["piecewise_linear", "quantile", "squared_log", "value"])
@pytest.mark.parametrize("min_frequency", [None, 5, 1000])
def test_fields_are_inferred_in_every_part(numeric, min_frequency):
    table = pd.DataFrame(mixed())
    table["nothing"], table["one"], table["gone"] = np.nan, "same", None
    for rows in (slice(0, 3), slice(100, 150), slice(0, 400)):
        encoder = FieldEncoder(numeric=numeric, min_frequency=min_frequency)
        encoded = encoder.fit_transform(table[rows])
        np.testing.assert_array_equal(infer_fields(encoded), encoder.fields_)


def test_a_vocabulary_by_hand():
    X = [["b", 1], ["a", 2], [None, 3], ["a", 4], ["c", None], ["b", 4], ["a", 4]]
    encoder = FieldEncoder(numeric="quantile", min_frequency=2, n_bins=2).fit(X)
    assert encoder.get_feature_names_out(["x", "n"]).tolist() == [
        *("x=a", "x=b", "x=<missing>", "x=<unknown>"),
        *("n<4", "n>=4", "n=<missing>"),
    ]
    expected = [[1, 4], [0, 4], [2, 4], [0, 5], [3, 6], [1, 5], [0, 5]]
    assert encoder.transform(X).indices.reshape(-1, 2).tolist() == expected
    unknown = encoder.transform([["new", -1e300], [float("nan"), float("inf")], [b"a", 3]])
    assert unknown.indices.reshape(-1, 2).tolist() == [[3, 4], [2, 5], [0, 4]]
    # The text decides between those that are as frequent; a share of rows; a limit.
    assert FieldEncoder(max_categories=2).fit([["z"], ["a"], ["a"], ["q"]]).get_feature_names_out(
        ["x"]
    ).tolist() == ["x=a", "x=q", "x=<unknown>"]
    assert FieldEncoder(min_frequency=0.5).fit([["z"], ["a"], ["a"], ["q"]]).fields_.size == 2


def test_missing_values_that_training_had_none_of_are_unknown():
    encoder = FieldEncoder().fit([["a", 1.0], ["b", 2.0]])
    assert encoder.get_feature_names_out().tolist() == [
        *("x0=a", "x0=b", "x0=<unknown>"),
        *("x1<2", "x1>=2", "x1=<missing>"),
    ]
    assert encoder.transform([[None, None]]).indices.tolist() == [2, 5]


@given(
    st.lists(st.one_of(st.none(), st.floats(width=64, allow_nan=False)), min_size=1, max_size=60),
    st.integers(2, 12),
)
@settings(max_examples=200, deadline=None)
def test_quantile_bins(numbers, n_bins):
    """Monotone, every one used, few distinct numbers apart, and about equally full."""
    encoder = FieldEncoder(numeric="quantile", n_bins=n_bins)
    column = np.array(numbers, np.float64)[:, None]
    bins = encoder.fit_transform(column).indices
    missing = np.isnan(column[:, 0])
    width = len(encoder.fields_)
    assert (bins[missing] == width - 1).all()
    assert (bins[~missing] < width - 1).all()
    assert set(bins[~missing]) == set(range(width - 1))
    assert width - 1 <= n_bins
    pairs = sorted(zip(column[~missing, 0], bins[~missing], strict=True))
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(pairs))
    distinct = np.unique(column[~missing])
    if len(distinct) <= n_bins:
        assert width - 1 == len(distinct)
    elif len(distinct) == (~missing).sum():
        counts = np.bincount(bins[~missing])
        assert counts.max() - counts.min() <= 1


def test_many_zeros_take_one_bin():
    rng = np.random.default_rng(0)
    column = np.where(rng.random(5000) < 0.9, 0, rng.lognormal(size=5000))[:, None]
    counts = np.bincount(FieldEncoder(numeric="quantile", n_bins=16).fit_transform(column).indices)
    assert counts[0] == (column == 0).sum()
    assert len(counts) == 16
    assert counts[1:].max() - counts[1:].min() <= 1


def logarithmic_bin(x):
    n = math.floor(x)
    size = abs(n) if abs(n) <= 2 else 2 + math.floor(math.log(abs(n)) ** 2)
    return size if n >= 0 else -size


@given(
    st.lists(st.one_of(st.integers(-5, 5000), st.floats(-1e6, 1e6)), min_size=1, max_size=40),
    st.lists(st.integers(-7000, 7000), min_size=1, max_size=10),
)
@settings(max_examples=200, deadline=None)
def test_logarithmic_bins(numbers, others):
    """Those of the Criteo challenge; one not seen is the nearest below, or the lowest."""
    seen = sorted({logarithmic_bin(x) for x in numbers})
    encoder = FieldEncoder(numeric="squared_log")
    bins = encoder.fit_transform(np.array(numbers, float)[:, None]).indices
    np.testing.assert_array_equal(bins, [seen.index(logarithmic_bin(x)) for x in numbers])
    expected = [max(0, sum(b <= logarithmic_bin(x) for b in seen) - 1) for x in others]
    found = encoder.transform(np.array(others, float)[:, None]).indices
    np.testing.assert_array_equal(found, expected)
    hashed = FieldEncoder(n_buckets=50, categorical_features=[])
    hashed = hashed.transform(np.array(numbers, float)[:, None])
    expected = [1 + logarithmic_bin(x) % 49 for x in numbers]
    np.testing.assert_array_equal(hashed.indices, expected)


def test_names_of_bins():
    encoder = FieldEncoder(numeric="squared_log").fit(
        np.array([[-9], [0], [1], [2], [3], [30], [1e6]])
    )
    last = math.ceil(math.exp(math.sqrt(math.floor(math.log(1e6) ** 2))))
    assert encoder.get_feature_names_out(["n"]).tolist() == [
        *("n<0", "n=[0, 1)", "n=[1, 2)", "n=[2, 3)", "n=[3, 28)", f"n=[28, {last})", f"n>={last}"),
        "n=<missing>",
    ]
    encoder = FieldEncoder().fit(np.array([[0.5], [1.25], [np.nan]]))
    assert encoder.get_feature_names_out().tolist() == ["x0<1.25", "x0>=1.25", "x0=<missing>"]
    assert FieldEncoder().fit([[1], [1]]).get_feature_names_out(["n"]).tolist() == [
        *("n=<number>", "n=<missing>"),
    ]
    assert FieldEncoder(n_buckets=3).fit([["a"]]).get_feature_names_out(["n"]).tolist() == [
        *("n=<missing>", "n=#1", "n=#2"),
    ]


def test_numbers_as_they_are():
    X = np.array([[1.0], [3.0], [np.nan], [2.0]])
    encoded = FieldEncoder(numeric="value").fit_transform(X)
    scale = np.sqrt(2 / 3)
    np.testing.assert_allclose(
        encoded.toarray(), [[-1 / scale, 0], [1 / scale, 0], [0, 1], [0, 0]], rtol=1e-6
    )
    np.testing.assert_array_equal(encoded.indices, [0, 0, 1, 0])  # zero is stored
    far = FieldEncoder(numeric="value").fit(X).transform([[1e300], [-1e308]])
    assert np.isfinite(far.data).all()


def test_buckets_are_those_of_murmurhash():
    X = [["a", 3], ["ü", 3.0], [None, None], [True, -2], ["", 10**6]]
    encoder = FieldEncoder(n_buckets=20)
    encoded = encoder.transform(X)  # never fitted
    assert encoded.shape == (5, 40)
    texts = [("a", "3"), ("ü", "3"), (None, None), ("True", "-2"), ("", "1000000")]
    for row, pair in zip(encoded.indices.reshape(-1, 2), texts, strict=True):
        for column, (field, text) in zip(row, enumerate(pair), strict=True):
            bucket = 0 if text is None else 1 + murmurhash3_32(text, positive=True) % 19
            assert column == 20 * field + bucket


def test_hashing_needs_no_fit_and_no_more_than_its_rows():
    table = pd.DataFrame(mixed())
    fitted = FieldEncoder(n_buckets=64).fit(table[:1])
    whole = FieldEncoder(n_buckets=64).transform(table)
    parts = [fitted.transform(table[i : i + 7]) for i in range(0, 400, 7)]
    np.testing.assert_array_equal(np.concatenate([p.indices for p in parts]), whole.indices)
    assert (whole.indices // 64 == np.tile(np.arange(6), 400)).all()
    np.testing.assert_array_equal(fitted.fields_, np.repeat(np.arange(6), 64))


def list_tables():
    genres = [["drama", "comedy"], [], None, ["drama"], ["drama", "war", "comedy"]]
    user = ["u1", "u2", "u1", None, "u3"]
    yield pd.DataFrame({"user": user, "genres": genres}), {}
    yield pl.DataFrame({"user": user, "genres": genres}), {}
    yield pd.DataFrame({"user": user, "genres": [g and tuple(g) for g in genres]}), {}
    yield pd.DataFrame({"user": user, "genres": [g and np.array(g) for g in genres]}), {}
    yield pd.DataFrame({"user": user, "genres": [g and set(g) for g in genres]}), {}
    text = [g if g is None else "|".join(g) for g in genres]
    for separators in ({"genres": "|"}, {1: "|"}):
        yield pd.DataFrame({"user": user, "genres": text}), {"separators": separators}
        yield pl.DataFrame({"user": user, "genres": text}), {"separators": separators}
    yield np.array([user, text], object).T, {"separators": {"x1": "|"}}


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_lists_are_one_field(pooling):
    n = 100
    bucket = {
        g: n + 1 + murmurhash3_32(g, positive=True) % (n - 1) for g in ("drama", "comedy", "war")
    }
    rows = [["drama", "comedy"], [], [], ["drama"], ["drama", "war", "comedy"]]
    for table, params in list_tables():
        encoded = FieldEncoder(n_buckets=n, pooling=pooling, **params).fit_transform(table)
        assert encoded.shape == (5, 2 * n)
        for i, genres in enumerate(rows):
            found = encoded[[i]].toarray()[0]
            assert (found[:n] != 0).sum() == 1
            expected = np.zeros(n)
            weight = 1 / len(genres) if pooling == "mean" and genres else 1
            for genre in genres:
                expected[bucket[genre] - n] += np.float32(weight)
            if not genres:
                expected[0] = 1
            np.testing.assert_array_equal(found[n:], expected)


def test_values_that_share_a_bucket_are_summed():
    X = pd.DataFrame({"tags": [["a", "b", "a", None], ["c"]]})
    encoded = FieldEncoder(n_buckets=2).fit_transform(X)
    assert encoded.has_canonical_format
    np.testing.assert_array_equal(encoded.toarray(), [[0, 3], [0, 1]])
    mean = FieldEncoder(n_buckets=2, pooling="mean").fit_transform(X)
    np.testing.assert_allclose(mean.toarray(), [[0, 1], [0, 1]])


def test_a_list_column_trains_as_one_field():
    rng = np.random.default_rng(0)
    genres = [[f"g{g}" for g in rng.integers(8, size=rng.integers(1, 4))] for _ in range(600)]
    users = rng.integers(20, size=600).astype(str)
    y = np.array([("g1" in g) ^ (int(u) % 2) for g, u in zip(genres, users, strict=True)])
    X = pd.DataFrame({"user": users, "genres": genres})
    model = make_pipeline(
        FieldEncoder(n_buckets=256), FFMClassifier(fields=2, random_state=0, max_iter=30)
    ).fit(X, y)
    assert model[-1].factors_.shape[2] == 2
    assert model.score(X, y) > 0.9


def test_in_a_grid_search_with_every_type_of_column():
    table = pd.DataFrame(mixed(600))
    table["device"] = table["device"].astype("category")
    y = (table["mobile"] ^ (table["device"] == "phone")).to_numpy()
    pipeline = make_pipeline(FieldEncoder(), FFMClassifier(3, random_state=0, max_iter=20))
    grid = {
        "fieldencoder__n_bins": [4, 16],
        "fieldencoder__min_frequency": [None, 3],
        "ffmclassifier__l2_factors": [0.002],
    }
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(table, y)
    assert search.best_score_ > 0.9
    new = table[:20].copy()
    new["site"], new["price"] = "never seen", np.nan
    assert np.isfinite(search.predict_proba(new)).all()
    best = search.best_estimator_
    assert len(best[:-1].get_feature_names_out()) == best[-1].n_features_in_
    np.testing.assert_array_equal(best[-1].fields_, best[0].fields_)


def test_wide_and_deep_takes_numbers_as_they_are():
    table = pd.DataFrame(mixed(600))
    y = table["price"].fillna(0) > 1
    model = make_pipeline(
        FieldEncoder(numeric="value"), WideDeepClassifier(random_state=0, max_iter=20)
    )
    assert model.fit(table, y).score(table, y) > 0.9


@pytest.mark.parametrize(
    ("params", "X", "message"),
    [
        ({}, {"a": [["x"], ["y", "z"]]}, "'a' holds lists, which need n_buckets.*fields="),
        ({}, {"a": [("x", "y"), ("y",)]}, "'a' holds lists"),
        ({}, {"a": [{"x": 1}, {"y": 2}]}, "'a' holds values that cannot be categories"),
        ({"separators": {"a": "|"}}, {"a": ["x|y"]}, "separators need n_buckets"),
        ({"separators": {"b": "|"}, "n_buckets": 4}, {"a": ["x"]}, "separators names 'b'"),
        ({"numeric": "quantile", "n_buckets": 4}, {"a": [1.0]}, "numeric='squared_log'"),
        ({"min_frequency": 2, "n_buckets": 4}, {"a": [1.0]}, "min_frequency"),
        ({"n_buckets": 2**30}, {"a": [1.0], "b": [1.0], "c": [1.0]}, "columns"),
        ({"n_buckets": 1}, {"a": [1.0]}, "n_buckets"),
        ({"categorical_features": ["b"]}, {"a": [1.0]}, "categorical_features names 'b'.*: a"),
        ({"categorical_features": [7]}, {"a": [1.0]}, "categorical_features names 7"),
        ({"numeric": "value"}, {"a": [1.0, np.inf]}, "'a' holds infinity"),
        (
            {},
            {"a": pd.to_timedelta(["1h"])},
            "'a' holds values that cannot be categories: durations",
        ),
        (
            {"n_buckets": 4, "categorical_features": []},
            {"a": pd.to_datetime(["2026-01-01"])},
            "'a' holds '2026-01-01', which is not a number",
        ),
        ({"pooling": "max"}, {"a": [1.0]}, "pooling"),
        ({"categorical_features": [True]}, {"a": [1], "b": [2]}, "mask of 1 for 2 variables"),
        ({"categorical_features": [["a"]]}, {"a": [1]}, "categorical_features names"),
        ({"categorical_features": [True, "b"]}, {"a": [1], "b": [2]}, "features names True"),
        ({"categorical_features": ["a", np.False_]}, {"a": [1], "b": [2]}, "features names .*Fals"),
        ({"separators": {True: "|"}, "n_buckets": 4}, {"a": [1], "b": ["x"]}, "names True"),
        ({"separators": {"a": "|", 0: ","}, "n_buckets": 4}, {"a": ["x"]}, "'?a variable twice"),
        ({"separators": {"a": ""}, "n_buckets": 4}, {"a": ["x"]}, "separators must be strings"),
        ({}, {"a": pd.Series([10**400], dtype=object)}, "'a' holds numbers too large"),
        ({"min_frequency": 1.5}, {"a": [1.0]}, "min_frequency"),
        ({}, {"a": []}, r"0 sample\(s\)"),
        ({}, {}, "feature"),
    ],
)
def test_bad_input(params, X, message):
    frame = pd.DataFrame(X, index=range(1) if not X else None)
    with pytest.raises(ValueError, match=message):
        FieldEncoder(**params).fit(frame)


def test_a_refused_fit_leaves_the_encoder_as_it_was():
    frame = pd.DataFrame({"a": ["x", "y"], "b": [1, 2]})
    encoder = FieldEncoder().fit(frame)
    with pytest.raises(ValueError, match="holds lists"):
        encoder.fit(pd.DataFrame({"z": [[1], [2]]}))
    assert encoder.transform(frame).shape == (2, 6)
    assert encoder.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="lists"):
        FieldEncoder().fit(pd.DataFrame({"z": [[1], [2]]})).transform(frame)


def test_categorical_types_and_named_numbers_are_categories():
    frame = pd.DataFrame({"a": pd.Categorical([1, 2, None]), "b": [1.5, 2, 3], "c": [7, 8, 2**60]})
    expected = ["a=1", "a=2", "a=<missing>", "a=<unknown>"]
    for choice in (["b", "c"], [1, 2], [False, True, True], np.array([False, True, True])):
        names = FieldEncoder(categorical_features=choice).fit(frame).get_feature_names_out()
        assert names.tolist() == [
            *expected,
            *("b=1.5", "b=2", "b=3", "b=<unknown>"),
            *(f"c={2**60}", "c=7", "c=8", "c=<unknown>"),
        ]


def test_bad_input_after_fit():
    encoder = FieldEncoder().fit(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    with pytest.raises(ValueError, match="'a' held numbers in fit, but now 'x'"):
        encoder.transform(pd.DataFrame({"a": ["x"], "b": ["x"]}))
    with pytest.raises(ValueError, match="feature names"):
        encoder.transform(pd.DataFrame({"b": [1], "a": ["x"]}))
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        encoder.transform(pd.DataFrame({"a": [], "b": []}))
    with pytest.raises(ValueError, match="'a' held numbers in fit, but now '2026-01-01'"):
        encoder.transform(pd.DataFrame({"a": pd.to_datetime(["2026-01-01"]), "b": ["x"]}))
    with pytest.raises(ValueError, match="'b' holds lists"):
        encoder.transform(pd.DataFrame({"a": [1], "b": [["x"]]}))


def everything():
    """A column of each type that a category may have."""
    day = datetime.date(2026, 11, 25)
    return pd.DataFrame(
        {
            "flag": pd.Series([True, False, None, True], dtype=object),
            "mixed": pd.Series([True, "True", 1, 1.0], dtype=object),
            "raw": pd.Series([b"ab", "ab", b"\xff", None], dtype=object),
            "money": pd.Series([Decimal("1.50"), Decimal("3"), 3, "3"], dtype=object),
            "day": pd.Series([day, None, day, "2026-11-25"], dtype=object),
            "text": pd.Series(["x" * 10_000, "\ud800", "\0", ""], dtype=object),
            "number": [1.5, 2.5, np.nan, 4.0],
        }
    )


@pytest.mark.parametrize(
    "params", [{}, {"numeric": "value"}, {"n_buckets": 9}, {"categorical_features": "all"}]
)
def test_saved_encoders_encode_the_same(params, tmp_path):
    skops = pytest.importorskip("skops.io")
    encoder = FieldEncoder(**params).fit(everything())
    expected = encoder.transform(everything())
    joblib.dump(encoder, tmp_path / "encoder.joblib")
    skops.dump(encoder, tmp_path / "encoder.skops")
    names = skops.get_untrusted_types(file=tmp_path / "encoder.skops")
    assert all(name.startswith("skfm.") for name in names)
    for loaded in (
        joblib.load(tmp_path / "encoder.joblib"),
        skops.load(tmp_path / "encoder.skops", trusted=names),
    ):
        found = loaded.transform(everything())
        for attribute in ("data", "indices", "indptr"):
            expect = getattr(expected, attribute)
            np.testing.assert_array_equal(getattr(found, attribute), expect)
        np.testing.assert_array_equal(
            loaded.get_feature_names_out(), encoder.get_feature_names_out()
        )


def test_a_category_is_its_text():
    encoder = FieldEncoder(categorical_features=["money"]).fit(everything())
    names = encoder.get_feature_names_out().tolist()
    assert [name for name in names if name.startswith("flag")] == [
        *("flag=True", "flag=False", "flag=<missing>", "flag=<unknown>"),
    ]
    assert "mixed=True" in names
    assert "mixed=1" in names
    assert {"raw=ab", "raw=\\xff", "money=3", "money=1.5", "day=2026-11-25"} <= set(names)
    codes = FieldEncoder().fit(pd.DataFrame({"code": ["03", "3", "a"]}))
    assert codes.get_feature_names_out().tolist() == [
        *("code=03", "code=3", "code=a", "code=<unknown>"),
    ]


# Older versions of scikit-learn do not find the names in a table of a new polars.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_other_types_after_fit():
    table = pd.DataFrame({"id": [3, 3, 4, 5], "n": [1.0, 2.0, 3.5, 4.0]})
    encoder = FieldEncoder(categorical_features=["id"]).fit(table)
    expected = encoder.transform(table[:2]).indices
    for other in (
        pd.DataFrame({"id": [3.0, 3.0], "n": [1, 2]}),
        pd.DataFrame({"id": ["3", "3"], "n": ["1", " 2.0"]}),
        pd.DataFrame({"id": pd.array([3, 3], "Int64"), "n": [Decimal(1), Decimal(2)]}),
        pl.DataFrame({"id": ["3", "3"], "n": ["1e0", "2"]}),
    ):
        np.testing.assert_array_equal(encoder.transform(other).indices, expected)
    with pytest.raises(ValueError, match="'n' held numbers in fit, but now 'x', which is not"):
        encoder.transform(pd.DataFrame({"id": [1], "n": ["x"]}))


def test_at_every_line_of_a_refit_the_encoder_is_the_old_one_or_the_new():
    """Another thread may transform between two lines of fit, or fit between two of transform."""
    old, new = pd.DataFrame({"a": ["x", "y"]}), pd.DataFrame({"b": ["x", "y", "z"], "c": [1, 2, 3]})
    package, inside, seen = str(Path(skfm.__file__).parent), [False], set()
    encoder = FieldEncoder().fit(old)

    def on_each_line(action):
        def trace(frame, event, _):
            if not frame.f_code.co_filename.startswith(package):
                return None
            if event == "line" and not inside[0]:
                inside[0] = True
                action()
                inside[0] = False
            return trace

        return trace

    def look():
        shapes = []
        for table in (old, new):
            try:
                shapes.append(encoder.transform(table).shape)
            except ValueError as error:
                shapes.append("feature names" in str(error))
        seen.add(tuple(shapes))

    def refit():
        encoder.fit(new if encoder.n_features_in_ == 1 else old)

    before = sys.gettrace()
    for action, call in ((look, lambda: encoder.fit(new)), (refit, look)):
        sys.settrace(on_each_line(action))
        try:
            call()
        finally:
            sys.settrace(before)
    shapes = {((2, 3), True), (True, (3, 7))}
    # Refitted between the looks at the two tables, it may know both or none of them.
    assert shapes <= seen <= shapes | {((2, 3), (3, 7)), (True, True)}


def test_names_of_columns_are_told_from_those_of_variables():
    table = [[place, number] for place in "abc" for number in [1, 2, 3, 5, 8, 13, 21, 34, None]]
    options = ["piecewise_linear", "quantile", "squared_log", "value"]
    for params in [{"numeric": numeric} for numeric in options] + [{"n_buckets": 8}]:
        for encoding in FieldEncoder(n_bins=4, **params).fit(table)._encodings:
            assert all(not label or label[0] in SEPARATORS for label in encoding.labels())


def test_variables_of_one_name_keep_their_columns():
    cells = [np.array(["x", "y", "y"], object), np.array(["u", "v", "w"], object)]
    encodings = [Vocabulary(read(column, "a"), 1, None) for column in cells]
    variables = Variables(["a", "a"], encodings)
    assert variables == {"a": [0, 3]}
    assert variables.column_names([0, 2, 4]) == ["a=y", "a=<unknown>", "a=v"]
    assert pickle.loads(pickle.dumps(variables)).names == ["a", "a"]
    X, y = [[0.0, 1.0], [1.0, 0.0]] * 20, [0, 1] * 20
    frame = pd.DataFrame(X, columns=["variables", "names"])  # no variables of an encoder
    np.testing.assert_array_equal(
        FMClassifier(random_state=0).fit(frame, y).predict(frame),
        FMClassifier(random_state=0).fit(X, y).predict(X),
    )


def test_the_columns_of_a_hashing_encoder_follow_from_fit():
    encoder = FieldEncoder(n_buckets=4)
    for look in (lambda: encoder.get_feature_names_out(["a"]), lambda: encoder.fields_):
        with pytest.raises(NotFittedError, match="does not know its variables"):
            look()
    assert len(encoder.fit([["b"]]).get_feature_names_out(["a"])) == len(encoder.fields_) == 4
