"""Fields: inferred exactly where they can be, checked where they are given."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix
from sklearn.preprocessing import OneHotEncoder

from skfm import FFMClassifier, FFMRegressor, WideDeepClassifier, infer_fields
from skfm._fields import check_fields
from skfm.datasets import make_clicks

from .common import few_passes

pytestmark = few_passes


def infer_by_scanning(X):
    """The definition: extend a field while no row has two entries in it."""
    field, fields, occupied = 0, [], np.zeros(len(X), bool)
    for column in (X != 0).T:
        if (occupied & column).any():
            field, occupied = field + 1, np.zeros(len(X), bool)
        occupied |= column
        fields.append(field)
    return fields


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 8),
    st.integers(1, 12),
    st.sampled_from([0.1, 0.4, 0.9]),
)
def test_inference_equals_its_definition(seed, n_rows, n_columns, density):
    X = (np.random.default_rng(seed).random((n_rows, n_columns)) < density).astype(float)
    expected = infer_by_scanning(X)
    for form in (X, csr_array(X), csr_matrix(X)):
        fields = infer_fields(form)
        assert fields.dtype == np.int32
        np.testing.assert_array_equal(fields, expected)


def test_inference_does_not_depend_on_the_chunks(monkeypatch):
    import skfm._batch

    clicks = make_clicks(500, random_state=0)
    expected = infer_fields(clicks.X)
    monkeypatch.setattr(skfm._batch, "_CHUNK", 7)
    np.testing.assert_array_equal(infer_fields(clicks.X), expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_inference_is_exact_for_one_hot_encoders(seed, n_variables):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, n_variables)
    frame = pd.DataFrame({f"v{i}": rng.integers(n, size=30) for i, n in enumerate(sizes)})
    encoder = OneHotEncoder().fit(frame)
    expected = np.repeat(np.arange(n_variables), [len(c) for c in encoder.categories_])
    np.testing.assert_array_equal(infer_fields(encoder.transform(frame)), expected)


def test_dense_numbers_are_a_field_each():
    X = np.random.default_rng(0).normal(size=(10, 5))
    np.testing.assert_array_equal(infer_fields(X), np.arange(5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_fields(None, csr_array(X))


@pytest.mark.filterwarnings(
    "ignore:The model (is constant|has learned nothing)"
)  # there are two or three rows
@pytest.mark.parametrize(
    ("X", "doubt"),
    [
        (np.array([[1, 0, 0], [0, 0, 1], [0, 1, 1]]), "some rows have no entry"),
        (np.ones((2, 300)), "more than 256"),
    ],
)
def test_a_guess_warns_the_caller_and_names_the_parameter(X, doubt):
    with pytest.warns(UserWarning, match=f"guess: {doubt}.*fields=") as record:
        FFMRegressor(max_iter=1, k=1).fit(X, np.arange(len(X)))
    assert record[0].filename == __file__


def test_code_without_a_module_name_is_warned_too():
    X = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 1]])
    with pytest.warns(UserWarning, match="guess: some rows") as record:
        exec("check_fields(None, X)", {"check_fields": check_fields, "X": csr_array(X)})
    assert record[0].filename == "<string>"


def test_fields_as_a_number_of_blocks_or_as_ids():
    X = csr_array(np.eye(6))
    for fields, expected in [
        (3, [0, 0, 1, 1, 2, 2]),
        (1, [0] * 6),
        (np.int64(6), range(6)),
        ([1, 1, 0, 0, 2, 1], [1, 1, 0, 0, 2, 1]),
        (np.array([0, 0, 0, 0, 4, 4], np.uint8), [0, 0, 0, 0, 1, 1]),
    ]:
        checked = check_fields(fields, X)
        np.testing.assert_array_equal(checked.of(np.arange(6)), list(expected))
        assert checked.n_fields == len(set(expected))
        assert checked.ascending == all(np.diff(list(expected)) >= 0)


@pytest.mark.parametrize(
    "fields",
    [[0, 1], [[0] * 6], [0, 0, 1, 1, 2, -1], [0.0] * 6, ["a"] * 6, "auto", 0, -2, 4, True, []],
)
def test_bad_fields(fields):
    with pytest.raises(ValueError, match=r"fields.*(n_features,\) = \(6,\)|6 columns)"):
        FFMClassifier(fields=fields).fit(np.eye(6), [0, 1] * 3)


def test_wide_hashed_matrices_need_only_a_few_numbers():
    X = csr_array((np.ones(8), np.arange(8) * 2**21, np.arange(0, 9, 8)), shape=(1, 2**24))
    fields = check_fields(8, X)
    assert len(fields.starts) == 8
    np.testing.assert_array_equal(fields.of(X.indices), np.arange(8))


def test_order_of_columns_does_not_matter():
    """The same model with its columns, and their fields, in another order."""
    clicks = make_clicks(200, n_fields=3, n_categories=4, random_state=0)
    # One multi-valued field, and fields that do not ascend after the permutation.
    X = clicks.X.toarray()
    X[::3, 1] = 1
    order = np.random.default_rng(0).permutation(12)
    params = dict(k=2, max_iter=3, init_scale=1e-8, shuffle=False)
    plain = FFMClassifier(fields=clicks.fields, **params).fit(X, clicks.y)
    moved = FFMClassifier(fields=clicks.fields[order], **params).fit(X[:, order], clicks.y)
    np.testing.assert_allclose(
        moved.decision_function(X[:, order]), plain.decision_function(X), atol=1e-5
    )


def test_gaps_in_field_ids_cost_nothing():
    clicks = make_clicks(200, n_fields=3, n_categories=4, random_state=0)
    params = dict(k=2, max_iter=3, random_state=0)
    plain = FFMClassifier(fields=clicks.fields, **params).fit(clicks.X, clicks.y)
    apart = FFMClassifier(fields=clicks.fields * 300 + 7, **params).fit(clicks.X, clicks.y)
    assert apart.factors_.shape == plain.factors_.shape
    np.testing.assert_array_equal(apart.fields_, clicks.fields * 300 + 7)
    np.testing.assert_array_equal(
        apart.decision_function(clicks.X), plain.decision_function(clicks.X)
    )
    wide = dict(max_iter=3, random_state=0)
    plain = WideDeepClassifier(fields=clicks.fields, crosses=[(0, 2)], **wide)
    apart = WideDeepClassifier(fields=clicks.fields * 300, crosses=[(600, 0)], **wide)
    for model in (plain, apart):
        model.fit(clicks.X, clicks.y)
    np.testing.assert_array_equal(apart.predict_proba(clicks.X), plain.predict_proba(clicks.X))
    with pytest.raises(ValueError, match="names field 1, but there are 3 fields, from 0 to 600"):
        apart.set_params(crosses=[(0, 1)]).fit(clicks.X, clicks.y)
