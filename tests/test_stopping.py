"""When training stops, on what rows it watches the loss, and what it says in the end."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from skfm import FMClassifier, FMRegressor, WideDeepRegressor
from skfm._base import _SMALLEST_BATCH as SMALLEST_BATCH  # other tests have a larger one
from skfm._base import _split
from skfm.datasets import make_clicks

from .common import (
    REGRESSORS,
    every_classifier,
    every_estimator,
    few_passes,
    fields_of,
    small_clicks,
    vectors,
)

every_regressor = pytest.mark.parametrize("cls", REGRESSORS)


def outcome(model, *args, **kwargs):
    """The warnings about convergence that a fit ends with."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(*args, **kwargs)
    return [str(w.message) for w in caught if w.category is ConvergenceWarning]


@every_classifier
def test_a_rare_label_leaves_early_stopping_on(cls):
    clicks = small_clicks(2000)
    params = dict(random_state=0, max_iter=40, **fields_of(cls, clicks))
    before = cls(**params).fit(clicks.X, clicks.y)
    y = clicks.y.copy()
    y[17] = 2
    model = cls(**params).fit(clicks.X, y)
    assert all(len(scores) > 0 for scores in model.validation_scores_)
    assert model.n_iter_ < 40

    def error(raw):
        return np.sqrt(np.mean((expit(raw) - clicks.proba) ** 2))

    # Without early stopping it is larger by about twice as much, or more.
    limit = error(before.decision_function(clicks.X)) + 0.01
    negative, positive, _ = model.decision_function(clicks.X).T
    assert error(-negative) < limit
    assert error(positive) < limit


@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=25),
    fraction=st.sampled_from([0.02, 0.1, 0.5, 0.9]),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_every_class_is_held_out_by_its_share_as_far_as_that_can_be(counts, fraction, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    if len(y) < 100:
        y = np.concatenate([y, np.zeros(100 - len(y), int)])
    X = np.ones((len(y), 1))
    model = FMClassifier(validation_fraction=fraction, random_state=seed, k=0)
    data, target = model._check_data(X, y, None, model._target_of)
    used, held_out = _split(model, data, target, seed)
    assert sorted([*used.used, *held_out.used]) == list(range(len(y)))
    n = len(held_out.used)
    assert n == int(np.ceil(fraction * len(y)))
    total = np.bincount(y)
    of_class = np.bincount(y[held_out.used], minlength=len(total))
    if total.min() > 1 and len(total) <= min(n, len(y) - n):
        np.testing.assert_array_less(np.abs(of_class - n * total / len(y)), 1.001)
    largest = total.argmax()
    if total[largest] > 1 and n > 1:
        # The largest is never pooled with others but for lack of room.
        slack = 1.001 if min(n, len(y) - n) > 1 else total[largest]
        others = len(total) - np.count_nonzero(total > 1)
        assert abs(of_class[largest] - n * total[largest] / len(y)) <= slack + others


@few_passes
def test_early_stopping_with_a_class_of_one_row():
    y = np.array([1] + [0] * 29)
    model = FMClassifier(early_stopping=True, random_state=0).fit(np.eye(30), y)
    assert len(model.validation_scores_)
    many = FMClassifier(max_iter=1, random_state=0).fit(np.eye(100), np.arange(100) % 20)
    assert [len(scores) for scores in many.validation_scores_] == [1] * 20


def test_a_pass_limit_is_reported_only_while_the_loss_falls():
    clicks = make_clicks(4000, interaction=0.0, random_state=0)
    model = FMClassifier(random_state=0, learning_rate=0.8, max_iter=3)
    said = outcome(model, clicks.X, clicks.y)
    assert model.validation_scores_[-1] < max(model.validation_scores_)  # the loss rises
    assert not any("max_iter" in message for message in said)
    model = FMClassifier(random_state=0, learning_rate=0.01, max_iter=3)
    (said,) = outcome(model, clicks.X, clicks.y)
    assert "still falling" in said
    # Without rows to watch, the first pass is measured by the average.
    noise = make_clicks(300, noise=1.0, random_state=0)
    model = FMClassifier(random_state=0, max_iter=1, early_stopping=False, learning_rate=1.0)
    assert not any("falling" in m for m in outcome(model, noise.X, noise.y))
    model = FMRegressor(random_state=0, max_iter=2, early_stopping=False)
    (said,) = outcome(model, np.eye(8)[np.arange(80) % 8], np.arange(80) % 8.0)
    assert "still falling" in said


@every_regressor
@pytest.mark.parametrize("early_stopping", [True, False])
def test_constant_targets_are_not_called_worse_than_their_average(cls, early_stopping):
    clicks = small_clicks(300)
    model = cls(random_state=0, early_stopping=early_stopping, **fields_of(cls, clicks))
    for target in (0.0, 1.0, 7e-9):
        said = outcome(model, clicks.X, np.full(300, target))
        np.testing.assert_array_equal(model.predict(clicks.X), target)
        assert not any("worse" in message for message in said)


def test_one_flat_output_of_several_is_not_a_constant_model():
    clicks = small_clicks(2000)
    y = clicks.y.copy()
    y[17] = 2
    said = outcome(FMClassifier(random_state=0), clicks.X, y)
    assert not any("constant" in message or "nothing" in message for message in said)


@every_estimator
def test_attributes_of_a_model_without_columns(cls):
    model = cls(random_state=0, max_iter=1)
    if "fields" in model.get_params():
        model.set_params(fields=1)
    with pytest.warns(ConvergenceWarning, match="constant"):
        model.fit(np.zeros((40, 4)), np.arange(40) % 2)
    for attribute in (model.coef_, vectors(model)):
        assert not attribute.any()
    assert np.isfinite(model.intercept_).all()


def test_a_class_that_only_the_rows_held_out_have_is_named():
    clicks = small_clicks(300)
    y = np.where(np.arange(300) < 290, clicks.y, 2)
    with pytest.warns(UserWarning, match=r"the classes \[2\] occur only there"):
        FMClassifier(random_state=0, shuffle=False).fit(clicks.X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        FMClassifier(random_state=0, shuffle=False, early_stopping=False).fit(clicks.X, y)
        FMClassifier(random_state=0).fit(clicks.X, y)


def test_no_value_is_called_the_largest_where_all_are_the_same():
    clicks = small_clicks(100, noise=1.0)
    model = FMClassifier(random_state=0, max_iter=2, learning_rate=30.0, early_stopping=False)
    (said,) = outcome(model, clicks.X, clicks.y)
    assert "worse" in said
    assert "outliers" not in said


@pytest.mark.filterwarnings("ignore:The model follows the last rows")
def test_rows_held_out_of_one_class_are_named():
    clicks = small_clicks(300)
    order = np.argsort(clicks.y, kind="stable")
    with pytest.warns(UserWarning, match="all of them have the class 1"):
        FMClassifier(random_state=0, shuffle=False).fit(clicks.X[order], clicks.y[order])


@pytest.mark.parametrize(
    ("n_rows", "expected"), [(5, 2), (128, 2), (640, 10), (6400, 100), (10**6, 512)]
)
def test_the_batch_is_a_share_of_the_rows(n_rows, expected, monkeypatch):
    monkeypatch.setattr("skfm._base._SMALLEST_BATCH", SMALLEST_BATCH)
    model = FMClassifier()
    terms = model._make_terms(model._make_fields(np.eye(3)), None, (0, 0))
    assert model._batch_size(n_rows, terms) == expected
    assert model.set_params(batch_size=77)._batch_size(n_rows, terms) == 77


@pytest.mark.parametrize("interactions", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_of_rows_in_order_says_that_it_follows_the_last(seed, interactions):
    """And it is not worse on those held out than early stopping left it."""
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(1000, 3)), np.sort(rng.normal(size=1000))
    params = {"fields": 3, "interactions": interactions, "random_state": seed}
    model = WideDeepRegressor(shuffle=False, **params)
    (said,) = outcome(model, X, y)
    assert "follows the last rows" in said
    assert model.score(X, y) < 0
    loss = np.mean((y - model.predict(X))[900:] ** 2) / 2
    assert loss <= -max(model.validation_scores_) * (1 + 1e-6)
    for changed in ({"warm_start": True}, {"warm_start": False}):
        model.set_params(shuffle=True, **changed)
        assert "follows" not in str(outcome(model, X, y))


def test_a_model_that_learned_nothing_is_not_called_constant():
    """In rows of so many numbers its initial factors alone make large scores."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 600)), rng.normal(size=300)
    model = FMRegressor(learning_rate=1.0, init_scale=0.3, random_state=0)
    (said,) = outcome(model, X, y)
    assert model.best_iter_ == 0
    assert np.ptp(model.predict(X)) > 1
    assert said.startswith("The model has learned nothing")
    assert "outliers" not in said  # normal numbers have none
