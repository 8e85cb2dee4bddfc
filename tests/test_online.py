"""Training that goes on: partial_fit, warm_start, callbacks, several outputs."""

import copy
import signal
import threading
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils.fixes import parse_version

from skfm import FFMClassifier, FMClassifier, FMRegressor, WideDeepClassifier
from skfm._model import Model
from skfm._tables import Table

from .common import (
    CLASSIFIERS,
    REGRESSORS,
    every_classifier,
    every_estimator,
    every_solver,
    few_passes,
    fields_of,
    named,
    scores,
    small_clicks,
    targets,
    vectors,
)

pytestmark = few_passes

needs_callbacks = pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.9"), reason="no callbacks yet"
)


def params_for(cls, clicks, **params):
    crosses = (
        {"crosses": [(0, 1), (1, 2, 3)], "dropout": 0.2} if hasattr(cls, "embeddings_") else {}
    )
    shared = {"random_state": 0, "batch_size": 32, "solver": "adagrad", **params}
    return {**named(cls, **shared), **crosses, **fields_of(cls, clicks)}


def first_call(cls):
    return {"classes": ["no", "yes"]} if cls in CLASSIFIERS else {}


def same(one, other, X):
    """Whether two models are the same: their predictions, parameters and histories."""
    np.testing.assert_array_equal(scores(one, X), scores(other, X))
    np.testing.assert_equal(parameters(one), parameters(other))


def parameters(estimator):
    """All parameters and states of each output, columns in the order of the matrix."""
    order = np.argsort(estimator._fitted.columns.seen)
    return [
        {
            name: [a[order] if model.tables[name].of == "columns" else a for a in arrays]
            for name, arrays in model.copy().items()
        }
        for model in estimator._fitted.models
    ]


@every_estimator
@every_solver
def test_slices_equal_one_call(cls, solver, engine_name):
    clicks = small_clicks(300)
    y = targets(cls(), clicks)
    params = params_for(cls, clicks, solver=solver, engine=engine_name, l1_linear=1e-3)
    whole = cls(**params).partial_fit(clicks.X, y, **first_call(cls))
    sliced = cls(**params)
    for start, end in ((0, 32), (32, 160), (160, 256), (256, 300)):
        sliced.partial_fit(clicks.X[start:end], y[start:end], **first_call(cls))
    same(whole, sliced, clicks.X)
    assert whole.n_iter_ == 1
    assert sliced.n_iter_ == 4


@every_estimator
@every_solver
def test_one_call_equals_one_unshuffled_pass(cls, solver):
    clicks = small_clicks(512)  # enough rows for the penalty on factors that a stream has
    y = targets(cls(), clicks)
    params = params_for(cls, clicks, solver=solver, batch_size=512)
    online = cls(**params).partial_fit(clicks.X, y, **first_call(cls))
    fit = cls(max_iter=1, shuffle=False, early_stopping=False, **params).fit(clicks.X, y)
    same(online, fit, clicks.X)
    assert online.loss_curve_ == fit.loss_curve_


@every_estimator
@every_solver
def test_partial_fit_continues_after_loading(cls, solver, engine_name, tmp_path):
    clicks = small_clicks(300)
    y = targets(cls(), clicks)
    model = cls(**params_for(cls, clicks, solver=solver, engine=engine_name))
    model.partial_fit(clicks.X[:128], y[:128], **first_call(cls))
    joblib.dump(model, tmp_path / "model")
    model.partial_fit(clicks.X[128:], y[128:])
    for mmap_mode in (None, "r"):
        loaded = joblib.load(tmp_path / "model", mmap_mode=mmap_mode)
        same(model, loaded.partial_fit(clicks.X[128:], y[128:]), clicks.X)


@every_estimator
@every_solver
def test_warm_start_continues_where_fit_ended(cls, solver):
    clicks = small_clicks(300)
    y = targets(cls(), clicks)
    params = params_for(cls, clicks, solver=solver, early_stopping=False, tol=None)
    whole = cls(max_iter=5, **params).fit(clicks.X, y)
    warm = cls(max_iter=2, warm_start=True, **params).fit(clicks.X, y)
    warm.set_params(max_iter=3).fit(clicks.X, y)
    same(whole, warm, clicks.X)
    assert warm.loss_curve_ == whole.loss_curve_
    cold = cls(max_iter=2, **params).fit(clicks.X, y).set_params(max_iter=3).fit(clicks.X, y)
    assert cold.n_iter_ == 3


@every_estimator
def test_new_columns_join(cls, engine_name):
    clicks = small_clicks(300)
    y = targets(cls(), clicks)
    X = clicks.X.toarray()
    X[:128, ::3] = 0
    params = params_for(cls, clicks, engine=engine_name)
    model = cls(**params).partial_fit(X[:128], y[:128], **first_call(cls))
    before = vectors(model)
    assert not before[:, ::3].any()
    model.partial_fit(X[128:], y[128:])
    assert vectors(model)[:, ::3].any()
    unseen = cls(**params).partial_fit(X, y, **first_call(cls))
    np.testing.assert_array_equal(vectors(unseen), vectors(model))


@every_estimator
def test_settings_can_change_between_calls_but_not_shapes(cls):
    clicks = small_clicks(100)
    y = targets(cls(), clicks)
    model = cls(**params_for(cls, clicks)).partial_fit(clicks.X, y, **first_call(cls))
    before = scores(model, clicks.X)
    for change in ({"k": 3}, {"k": 0}, {"solver": "ftrl"}):
        model.set_params(**change)
        with pytest.raises(ValueError, match="cannot change"):
            model.partial_fit(clicks.X, y)
        model.set_params(k=8, solver="adagrad")
        np.testing.assert_array_equal(scores(model, clicks.X), before)
    with pytest.raises(ValueError, match=r"(l1_linear|wide_l1)' parameter"):
        model.set_params(**named(cls, l1_linear=np.inf)).partial_fit(clicks.X, y)
    model.set_params(**named(cls, l1_linear=0.0, learning_rate=1e-10)).partial_fit(clicks.X, y)
    np.testing.assert_allclose(scores(model, clicks.X), before, rtol=1e-5)


@every_classifier
def test_classes_of_a_stream(cls):
    clicks = small_clicks(100)
    y = targets(cls(), clicks)
    with pytest.raises(ValueError, match="classes must be passed"):
        cls().partial_fit(clicks.X, y)
    with pytest.raises(ValueError, match="balanced"):
        cls(class_weight="balanced").partial_fit(clicks.X, y, classes=["no", "yes"])
    model = cls(**params_for(cls, clicks))
    one_class = np.full(100, "no")
    model.partial_fit(clicks.X, one_class, classes=["no", "yes"])  # the other may follow
    before = scores(model, clicks.X)
    with pytest.raises(ValueError, match="unseen labels"):
        model.partial_fit(clicks.X, np.full(100, "maybe"))
    with pytest.raises(ValueError, match="differ from those of earlier calls"):
        model.partial_fit(clicks.X, y, classes=["no", "yes", "maybe"])
    with pytest.raises(ValueError, match=r"47 features.*expecting 48"):
        model.partial_fit(clicks.X[:, :47], y)
    np.testing.assert_array_equal(scores(model, clicks.X), before)
    assert model.set_params(class_weight={"no": 1, "yes": 2}).partial_fit(clicks.X, y)


@every_estimator
def test_a_diverging_slice_leaves_a_finite_model(cls):
    clicks = small_clicks(64)
    y = targets(cls(), clicks)
    model = cls(**params_for(cls, clicks)).partial_fit(clicks.X, y, **first_call(cls))
    before = scores(model, clicks.X)
    with (
        pytest.warns(UserWarning, match="occurred fixed its unit"),
        pytest.warns(ConvergenceWarning, match="diverged"),
    ):
        model.partial_fit(clicks.X * 1e30, y)
    np.testing.assert_array_equal(scores(model, clicks.X), before)


@every_estimator
def test_running_out_of_memory_while_columns_join_changes_nothing(cls, monkeypatch):
    clicks = small_clicks(100)
    y = targets(cls(), clicks)
    narrow = csr_array(clicks.X.toarray() * (np.arange(48) % 3 > 0))
    model = cls(**params_for(cls, clicks)).partial_fit(narrow, y, **first_call(cls))
    before = scores(model, clicks.X)
    append = Table.append

    def failing(table, *args):
        append(table, *args)
        raise MemoryError

    monkeypatch.setattr(Table, "append", failing)
    with pytest.raises(MemoryError):
        model.partial_fit(clicks.X, y)
    monkeypatch.undo()
    np.testing.assert_array_equal(scores(model, clicks.X), before)
    model.partial_fit(clicks.X, y)  # and it can go on
    assert vectors(model)[:, ::3].any()


def test_columns_that_failed_to_join_do_not_share_rows_with_those_that_do(monkeypatch):
    X = np.eye(6)

    def after(fails):
        model = FMClassifier(random_state=0).partial_fit(X[:2], [0, 1], classes=[0, 1])
        if fails:
            monkeypatch.setattr("skfm._base.train_online", failing)
            with pytest.raises(MemoryError):
                model.partial_fit(X[2:4], [0, 1])
            monkeypatch.undo()
        for _ in range(5):
            model.partial_fit(X[4:], [1, 0])
        return model.decision_function(X)

    def failing(*args):
        raise MemoryError

    np.testing.assert_array_equal(after(fails=True), after(fails=False))


def test_a_regressor_of_constant_targets_goes_on_learning():
    clicks = small_clicks(300)
    model = FMRegressor(warm_start=True, random_state=0).fit(clicks.X, np.full(300, 5.0))
    np.testing.assert_array_equal(model.predict(clicks.X), 5.0)
    y = 5 + np.log(clicks.proba / (1 - clicks.proba))
    model.set_params(max_iter=200, early_stopping=False).fit(clicks.X, y)
    assert model.score(clicks.X, y) > 0.5


def test_ftrl_keeps_its_weights_when_its_settings_change():
    clicks = small_clicks(100)
    model = FMClassifier(solver="ftrl", l1_linear=0.1, random_state=0)
    model.partial_fit(clicks.X, clicks.y, classes=[0, 1])
    before = model.coef_
    model.set_params(learning_rate=1e-6, l1_linear=0.3).partial_fit(clicks.X, clicks.y)
    np.testing.assert_allclose(model.coef_, before, atol=1e-4)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_ends_all_outputs_and_threads(n_jobs):
    clicks, y = three_classes()
    model = FMClassifier(max_iter=1, tol=None, n_jobs=n_jobs, random_state=0)
    # LLVM calls back into Python while it compiles, and Ctrl-C is lost there: compile before.
    model.fit(clicks.X, y).set_params(max_iter=10**6)
    # Where tests run in the background of a shell, Python does not hear of Ctrl-C.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.get_ident()
    timer = threading.Timer(1.0, lambda: signal.pthread_kill(main, signal.SIGINT))
    before = threading.active_count()
    timer.start()
    with pytest.warns(ConvergenceWarning, match="stopped after"):
        model.fit(clicks.X, y)
    timer.join()
    signal.signal(signal.SIGINT, handler)
    assert threading.active_count() == before
    assert {m.history.outcome for m in model._fitted.models} == {"interrupted"}
    assert np.isfinite(model.predict_proba(clicks.X)).all()


def three_classes():
    clicks = small_clicks(300)
    y = np.array(["low", "mid", "top"])[np.digitize(clicks.proba, [0.1, 0.4])]
    return clicks, y


@every_classifier
@every_solver
def test_several_outputs_do_not_depend_on_the_number_of_threads(cls, solver):
    clicks, y = three_classes()
    one, two = (
        cls(**params_for(cls, clicks, solver=solver, max_iter=4, n_jobs=n)).fit(clicks.X, y)
        for n in (1, 2)
    )
    same(one, two, clicks.X)
    assert one.coef_.shape == (3, 48)
    assert one.intercept_.shape == (3,)
    assert vectors(one).shape[:2] == (3, 48)
    assert [len(curve) for curve in one.loss_curve_] == [len(v) for v in one.validation_scores_]
    assert one.n_iter_ == max(len(curve) for curve in one.loss_curve_)
    assert len(one.best_iter_) == 3
    proba = one.predict_proba(clicks.X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(one.predict(clicks.X), one.classes_[proba.argmax(axis=1)])
    np.testing.assert_allclose(np.exp(one.predict_log_proba(clicks.X)), proba)
    far = one.predict_proba(clicks.X * 1e12)
    assert np.isfinite(far).all()


@every_classifier
def test_each_output_is_the_binary_model_of_its_class(cls):
    clicks, y = three_classes()
    params = params_for(cls, clicks, early_stopping=False, max_iter=3, tol=None)
    several = cls(**params).fit(clicks.X, y)
    binary = cls(**params).fit(clicks.X, y == "low")
    np.testing.assert_array_equal(
        several.decision_function(clicks.X)[:, 0], scores(binary, clicks.X)
    )


@every_classifier
def test_partial_fit_with_several_classes(cls):
    clicks, y = three_classes()
    params = params_for(cls, clicks)
    whole = cls(**params).partial_fit(clicks.X, y, classes=["low", "mid", "top"])
    sliced = cls(**params)
    for rows in (slice(0, 96), slice(96, 300)):
        sliced.partial_fit(clicks.X[rows], y[rows], classes=["low", "mid", "top"])
    same(whole, sliced, clicks.X)


def test_three_classes_and_digits_are_learned():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    train, test = np.arange(len(y)) % 4 > 0, np.arange(len(y)) % 4 == 0
    linear = OneVsRestClassifier(LogisticRegression()).fit(X[train], y[train])
    model = FMClassifier(random_state=0).fit(X[train], y[train])
    assert model.score(X[test], y[test]) >= linear.score(X[test], y[test])
    X, y = load_iris(return_X_y=True)
    X, y = (X - X.mean(0)) / X.std(0), np.array(["se", "ve", "vi"])[y]
    train, test = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0
    linear = OneVsRestClassifier(LogisticRegression()).fit(X[train], y[train])
    model = FMClassifier(random_state=0).fit(X[train], y[train])
    assert model.score(X[test], y[test]) >= linear.score(X[test], y[test])


class Recorder:
    """A callback that notes what it hears and stops after some passes."""

    def __init__(self, stop_after=None, interrupt=False):
        self.stop_after, self.interrupt, self.heard = stop_after, interrupt, []

    def setup(self, estimator, context):
        self.heard.append("setup")

    def teardown(self, estimator, context):
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.heard.append(("end", context.task_name))
        if context.task_name == "pass":
            assert np.isfinite(scores(fitted_estimator, X)).all()
            done = self.heard.count(("end", "pass"))
            if self.interrupt and done == self.stop_after:
                raise KeyboardInterrupt
            return done == self.stop_after


@needs_callbacks
@every_estimator
def test_callbacks_hear_every_pass_and_may_stop(cls):
    clicks = small_clicks(100)
    recorder = Recorder(stop_after=2)
    model = cls(max_iter=10, random_state=0).set_callbacks(recorder)
    with pytest.warns(ConvergenceWarning, match="stopped after 2 passes"):
        model.fit(clicks.X, targets(cls(), clicks))
    assert model.n_iter_ == 2
    passes = [("begin", "pass"), ("end", "pass")] * 2
    assert recorder.heard == ["setup", ("begin", "fit"), *passes, ("end", "fit"), "teardown"]


@needs_callbacks
def test_callbacks_see_outputs_as_tasks():
    clicks, y = three_classes()
    recorder = Recorder()
    FMClassifier(max_iter=2, random_state=0).set_callbacks(recorder).fit(clicks.X, y)
    assert recorder.heard.count(("begin", "output")) == 3
    assert recorder.heard.count(("end", "output")) == 3
    assert recorder.heard.count(("end", "pass")) == 6


@needs_callbacks
@pytest.mark.parametrize("several", [False, True])
def test_an_interrupt_keeps_the_best_weights_so_far(several):
    clicks, y = three_classes()
    y = y if several else clicks.y
    model = FMClassifier(max_iter=10, random_state=0)
    model.set_callbacks(Recorder(stop_after=3, interrupt=True))
    with pytest.warns(ConvergenceWarning, match="stopped after 3 passes"):
        model.fit(clicks.X, y)
    assert model.n_iter_ == 3
    assert np.isfinite(model.predict_proba(clicks.X)).all()
    best = model.best_iter_[0] if several else model.best_iter_
    assert best >= 1


@needs_callbacks
def test_callbacks_get_the_rows_as_they_were_passed_and_stay_behind_in_a_copy():
    from sklearn.callback import ScoringMonitor

    clicks = small_clicks(200)
    X = pd.DataFrame(clicks.X.toarray(), columns=[f"c{i}" for i in range(clicks.X.shape[1])])
    model = FMClassifier(max_iter=2, random_state=0, tol=None).fit(X, clicks.y)
    before = model.predict_proba(X)
    copies = []

    class Copier(Recorder):
        def on_fit_task_end(self, estimator, context, *, X):
            copies.append(copy.deepcopy(estimator))

    # A warning of missing feature names would be an error.
    model.set_callbacks(Copier(), ScoringMonitor(scoring="neg_log_loss"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.set_params(random_state=1).fit(X, clicks.y)
    for copied in copies:
        assert not [name for name in vars(copied) if "ctx" in name or "teardown" in name]
        np.testing.assert_array_equal(copied.predict_proba(X), before)


@needs_callbacks
def test_scikit_learns_own_callbacks(capsys):
    from sklearn.callback import ProgressBar, ScoringMonitor

    clicks = small_clicks(200)
    monitor = ScoringMonitor(scoring="neg_log_loss")
    model = FFMClassifier(max_iter=3, random_state=0).set_callbacks(monitor)
    model.fit(clicks.X, clicks.y)
    assert len(monitor.get_logs().data) > 0
    pytest.importorskip("rich")
    model.set_callbacks(ProgressBar()).fit(clicks.X, clicks.y)
    assert "FFMClassifier" in capsys.readouterr().out


@every_estimator
@pytest.mark.parametrize("n_features", [100, 2**22])
def test_the_notebook_repr_builds_nothing_wide(cls, n_features):
    rows = np.arange(100)
    X = csr_array(
        (np.ones(200), np.column_stack([rows % 7, 50 + rows % 5]).ravel(), np.arange(0, 201, 2)),
        shape=(100, n_features),
    )
    y = (rows % 7 < 3) * 1
    fields = {"fields": 2} if "fields" in cls().get_params() else {}
    model = cls(max_iter=2, random_state=0, **fields).fit(X, y)
    html = model._repr_html_()
    if parse_version(sklearn.__version__) >= parse_version("1.9"):
        assert "Number of factors per column" in html or "Width of the embeddings" in html
        assert "intercept_" in html
        assert ("coef_" in html) == (n_features == 100)
    assert cls in REGRESSORS or "class_weight" in html


def test_the_notebook_repr_leaves_out_the_buckets_of_crosses():
    clicks = small_clicks(100)
    model = WideDeepClassifier(crosses="all", fields=4, max_iter=2, random_state=0)
    html = model.fit(clicks.X, clicks.y)._repr_html_()
    if parse_version(sklearn.__version__) >= parse_version("1.9"):
        assert "embeddings_" in html
        assert "cross_coef_" not in html


def test_an_interrupt_that_compiled_code_wraps_is_one(monkeypatch):
    clicks = small_clicks()
    model = FMClassifier(random_state=0)

    def wrapped(*args):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            inner = SystemError("returned a result with an exception set")
            inner.__cause__ = error
            raise SystemError("returned a result with an exception set") from inner

    monkeypatch.setattr(Model, "apply", wrapped)
    with pytest.warns(ConvergenceWarning, match="stopped after"):
        model.fit(clicks.X, clicks.y)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(clicks.X, clicks.y)

    def broken(*args):
        raise SystemError("something else")

    monkeypatch.setattr(Model, "apply", broken)
    with pytest.raises(SystemError, match="something else"):
        model.fit(clicks.X, clicks.y)


@every_estimator
def test_copies_go_on_by_themselves(cls):
    clicks = small_clicks(200)
    y = targets(cls(), clicks)
    half = clicks.X.toarray() * (np.arange(48) % 2)
    model = cls(**params_for(cls, clicks)).partial_fit(half, y, **first_call(cls))
    before = scores(model, clicks.X)
    other = copy.copy(model)
    other.partial_fit(clicks.X[::-1], y)
    np.testing.assert_array_equal(scores(model, clicks.X), before)
    model.partial_fit(clicks.X, y)
    alone = cls(**params_for(cls, clicks)).partial_fit(half, y, **first_call(cls))
    same(model, alone.partial_fit(clicks.X, y), clicks.X)


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("interrupt_at", [5, 6])  # of the second pass: one table, the other
def test_an_interrupt_while_the_best_weights_are_saved(monkeypatch, early_stopping, interrupt_at):
    """They are those of a pass, and the pass is the one that is told."""
    clicks = small_clicks(400)
    params = dict(random_state=0, solver="ftrl", early_stopping=early_stopping, max_iter=4)
    real_copy, calls = Table.copy, []

    def interrupted_copy(table, saved=None):
        calls.append(1)
        if saved is not None and len(calls) == interrupt_at:
            raise KeyboardInterrupt
        return real_copy(table, saved)

    monkeypatch.setattr(Table, "copy", interrupted_copy)
    model = FMClassifier(**params)
    with pytest.warns(ConvergenceWarning, match="stopped after"):
        model.fit(clicks.X, clicks.y)
    assert model.best_iter_ == model.n_iter_
    if not early_stopping:  # else rows held out would be learned from in the end
        expected = FMClassifier(**params | {"max_iter": model.n_iter_})
        same(model, expected.fit(clicks.X, clicks.y), clicks.X)


@needs_callbacks
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_callback_that_stops_keeps_the_best_weights(early_stopping):
    noise = small_clicks(300, noise=1.0)
    model = FMClassifier(
        random_state=0, learning_rate=20.0, early_stopping=early_stopping, tol=None
    ).set_callbacks(Recorder(stop_after=5))
    with pytest.warns(ConvergenceWarning, match="stopped after 5 passes"):
        model.fit(noise.X, noise.y)
    losses = model.loss_curve_ if not early_stopping else np.negative(model.validation_scores_)
    best = 1 + int(np.argmin(losses))
    assert model.best_iter_ == (best if losses[best - 1] < 0.6931 or not early_stopping else 0)


@needs_callbacks
def test_every_task_that_begins_ends():
    clicks = small_clicks(100)
    recorder = Recorder()
    model = FMClassifier(max_iter=3, random_state=0, early_stopping=False).set_callbacks(recorder)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        model.fit(clicks.X * 1e30, clicks.y, np.full(100, 1e20))
    assert recorder.heard.count(("begin", "pass")) == recorder.heard.count(("end", "pass"))


def test_verbose_shows_the_loss_on_validation_rows_whatever_came_before(capsys):
    clicks = small_clicks(300)
    model = FMClassifier(
        warm_start=True, early_stopping=False, max_iter=2, random_state=0, verbose=True
    )
    model.fit(clicks.X, clicks.y)
    assert "validation" not in capsys.readouterr().out
    model.set_params(early_stopping=True).fit(clicks.X, clicks.y)
    assert "validation loss" in capsys.readouterr().out
