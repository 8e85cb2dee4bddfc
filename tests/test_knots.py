"""Numbers between knots: a piecewise-linear encoding."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline

from skfm import FFMRegressor, FMClassifier, FMRegressor, infer_fields
from skfm.preprocessing import FieldEncoder

numbers = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=60)


def hats(x, knots):
    """What each knot has of a number, by definition."""
    x = np.clip(x, knots[0], knots[-1])
    values = []
    for j, knot in enumerate(knots):
        left = knots[j - 1] if j else -np.inf
        right = knots[j + 1] if j + 1 < len(knots) else np.inf
        if x == knot:
            values.append(1.0)
        elif left < x < knot:
            values.append((x - left) / (knot - left))
        elif knot < x < right:
            values.append((right - x) / (right - knot))
        else:
            values.append(0.0)
    return values


@given(seen=numbers, new=numbers, n_knots=st.integers(2, 12), repeats=st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_a_number_is_shared_by_the_two_knots_next_to_it(seen, new, n_knots, repeats):
    seen = np.array([*seen, *[seen[0]] * repeats, np.nan])
    encoder = FieldEncoder(numeric="piecewise_linear", n_bins=n_knots).fit(seen[:, None])
    encoding = encoder._encodings[0]
    X = encoder.transform(seen[:, None])
    np.testing.assert_array_equal(infer_fields(X), encoder.fields_)
    assert len(set(encoder.get_feature_names_out())) == X.shape[1]
    if len(encoding.widths) == 1:  # as many columns as numbers
        assert X.shape[1] == len(np.unique(seen[:-1])) + 1
        return
    knots, frequent = encoding.knots, encoding.frequent
    counts = pd.Series(seen[:-1]).value_counts()
    rest = counts[~counts.index.isin(frequent)]
    assert sorted(counts[counts > rest.sum() / n_knots].index) == frequent.tolist()
    n_even, n_odd = (len(knots) + 1) // 2, len(knots) // 2
    for x, row in zip(new, encoder.transform(np.array(new)[:, None]).toarray(), strict=True):
        even, alone, odd = row[:n_even], row[n_even:-n_odd], row[-n_odd:]
        assert alone.tolist() == [*(frequent == x), False]
        if x in frequent:
            assert not even.any()
            assert not odd.any()
        else:
            expected = hats(x, knots)
            np.testing.assert_allclose(even, expected[::2], atol=1e-6)
            np.testing.assert_allclose(odd, expected[1::2], atol=1e-6)
            assert row.sum() == pytest.approx(1)


def test_missing_and_infinite_numbers():
    X = np.append(np.arange(50.0), [np.nan, np.inf])[:, None]
    encoder = FieldEncoder(numeric="piecewise_linear", n_bins=4)
    encoded = encoder.fit_transform(X).toarray()
    names = encoder.get_feature_names_out().tolist()
    assert names[2:3] + names[:2] + names[3:] == [
        *("x0=<missing>", "x0~0", "x0~32.666666666666664"),
        *("x0~16.333333333333332", "x0~49"),
    ]
    assert encoded[50].tolist() == [0, 0, 1, 0, 0]
    assert encoded[51].tolist() == [0, 0, 0, 0, 1]
    assert encoder.transform([[-np.inf]]).toarray().tolist() == [[1, 0, 0, 0, 0]]


@pytest.mark.parametrize(("n_rows", "n_knots"), [(50, 2), (500, 5), (5000, 24)])
def test_the_number_of_knots_follows_from_the_rows(n_rows, n_knots):
    encoder = FieldEncoder().fit(np.random.default_rng(0).normal(size=(n_rows, 1)))
    assert len(encoder._encodings[0].knots) == n_knots


@pytest.mark.parametrize("cls", [FMRegressor, FFMRegressor])
def test_a_smooth_function_is_learned_better_than_from_bins(cls):
    X = np.random.default_rng(0).uniform(-1, 1, size=(3000, 2))
    y = np.sin(3 * X[:, 0]) + X[:, 0] * X[:, 1]
    errors = []
    for numeric in ("piecewise_linear", "quantile"):
        model = make_pipeline(FieldEncoder(numeric=numeric), cls(random_state=0))
        errors.append(np.std(y[400:] - model.fit(X[:400], y[:400]).predict(X[400:])))
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize(
    "numbers",
    [
        np.linspace(-1e-310, 1e-310, 300),
        np.exp(-np.linspace(0, 744, 300)),
        np.linspace(-0.95, 0.95, 300) * np.finfo(float).max,
    ],
    ids=["denormal", "likelihoods", "largest"],
)
def test_knots_at_the_ends_of_what_floats_can_hold(numbers):
    X = FieldEncoder().fit_transform(numbers[:, None])
    assert X.indices.min() >= 0
    assert X.indices.max() < X.shape[1]
    assert ((X.data >= 0) & (X.data <= 1)).all()
    np.testing.assert_allclose(X.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("offset", [0, 1.7e9, -1e12])
def test_numbers_come_back_to_float32_of_their_range(offset):
    numbers = offset + np.random.default_rng(0).normal(size=500)
    encoder = FieldEncoder()
    back = encoder.inverse_transform(encoder.fit_transform(numbers[:, None]))[:, 0]
    error = np.abs(back.astype(float) - numbers)
    assert error.max() <= 1e-6 * np.ptp(numbers) + 4 * np.spacing(abs(offset))


def test_a_number_on_a_knot_is_no_outlier():
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.uniform(0, 0.02, 400), np.linspace(0, 1, 9)])[:, None]
    X = FieldEncoder(n_bins=4).fit(np.linspace(0, 1, 400)[:, None]).transform(numbers)
    nameless = csr_array((X.data, X.indices, X.indptr), shape=X.shape)
    for matrix, hints in ((X, False), (nameless, True)):
        with pytest.warns(ConvergenceWarning, match="constant|learned nothing") as caught:
            FMClassifier(l1_linear=1e6, l1_factors=1e6).fit(matrix, np.arange(409) % 2)
        assert any("clip outliers" in str(w.message) for w in caught) == hints
