"""Graphs of ONNX predict what the models predict, and what cannot be exported is refused."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skfm import FFMClassifier, FMClassifier, FMRegressor, WideDeepClassifier, _graph, export
from skfm.export import _register, padded, to_onnx
from skfm.preprocessing import FieldEncoder

from .common import CLASSIFIERS, ESTIMATORS, REGRESSORS, every_estimator, few_passes, small_clicks

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

pytestmark = few_passes

# Several entries in field 0, numbers in fields 1 and 2, of which one is far from 0; columns 11
# and 12 never occur.
FIELDS = np.array([0, 0, 0, 0, 1, 2, 3, 3, 4, 4, 4, 4, 5])
YEAR, NEVER = 5, [11, 12]
SEVERAL = ["a", "b", "c"]
WIDE_DEEP = [
    {"k": 0},
    {"interactions": True, "activation": "tanh", "hidden_layer_sizes": (3, 2)},
    {"crosses": [(0, 3), (3, 4), (0, 1, 4)], "n_cross_buckets": 50, "activation": "logistic"},
    {"crosses": "all", "hidden_layer_sizes": (), "interactions": True},
]


def rows(n, seed=0, seen=True):
    """Rows of FIELDS; half of the entries are missing. Only if not `seen` do all columns occur."""
    rng = np.random.default_rng(seed)
    X = np.zeros((n, len(FIELDS)))
    X[:, :4] = rng.integers(2, size=(n, 4)) * rng.normal(size=(n, 4)).round(2)
    X[:, 4] = rng.integers(2, size=n) * 1000 * rng.normal(size=n).round(2)
    X[:, YEAR] = rng.integers(1990, 2030, size=n)
    X[np.arange(n), 6 + rng.integers(2, size=n)] = rng.integers(2, size=n)
    X[np.arange(n), 8 + rng.integers(3, size=n)] = 1
    if not seen:
        X[:, NEVER] = rng.normal(size=(n, len(NEVER)))
        X[rng.random(X.shape) < 0.3] = 0
    # What float32 holds exactly, as it is the type of the values.
    return X.astype(np.float32).astype(float)


def targets_of(cls, X, n_classes=2):
    score = X @ np.random.default_rng(1).normal(size=X.shape[1]) / (1 + np.abs(X).max(axis=0)).sum()
    if cls in REGRESSORS:
        return 1e6 + 1e5 * score / score.std()
    return np.array(SEVERAL)[
        np.searchsorted(np.quantile(score, [0.5, 0.8][: n_classes - 1]), score)
    ]


@cache
def exported(cls, n_classes=2, variant=None):
    """A fitted model, and the session of its graph."""
    params = {"fields": FIELDS} if "fields" in cls().get_params() else {}
    params |= {} if variant is None else WIDE_DEEP[variant]
    X = rows(200)
    # The reference engine; numba squares factors in float32.
    params = {"k": 3, **params, "max_iter": 2, "random_state": 0, "engine": "numpy"}
    model = cls(**params)
    model.fit(X, targets_of(cls, X, n_classes))
    assert YEAR in model._fitted.columns.shifted
    assert not np.isin(NEVER, model._fitted.columns.seen).any()
    return model, session_of(to_onnx(model))


def session_of(model):
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options)


def assert_agree(session, inputs, model, X):
    """The outputs of a graph are what the model predicts."""
    found = dict(
        zip([out.name for out in session.get_outputs()], session.run(None, inputs), strict=True)
    )
    if not hasattr(model, "predict_proba"):
        expected = model.predict(X)
        assert found["variable"].shape == (len(expected), 1)
        np.testing.assert_allclose(found["variable"][:, 0], expected, rtol=1e-9)
        return
    expected = model.predict_proba(X)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    clear = np.ptp(np.sort(expected)[:, -2:], axis=1) > 1e-9
    np.testing.assert_array_equal(found["label"][clear], model.predict(X)[clear])


CASES = [(cls, 2, None) for cls in ESTIMATORS] + [(cls, 3, None) for cls in CLASSIFIERS]
CASES += [(WideDeepClassifier, 2, variant) for variant in range(len(WIDE_DEEP))]


@pytest.mark.parametrize(("cls", "n_classes", "variant"), CASES)
@settings(max_examples=8, deadline=None)
@given(n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_graphs_predict_what_models_predict(cls, n_classes, variant, n, seed):
    model, session = exported(cls, n_classes, variant)
    X = rows(n, seed, seen=False)
    assert_agree(session, padded(X), model, X)


def test_rows_with_one_entry_in_each_field_are_crossed():
    clicks = small_clicks()
    model = WideDeepClassifier(3, fields=4, crosses=[(0, 1), (1, 2, 3)], max_iter=2)
    model.fit(clicks.X[:150], clicks.y[:150])
    assert np.count_nonzero(model.cross_coef_)
    session = session_of(to_onnx(model))
    assert_agree(session, padded(clicks.X), model, clicks.X)
    X = clicks.X.toarray()
    X[:, :12] = 0  # a field without entries
    assert_agree(session, padded(X), model, X)


@every_estimator
def test_padding_and_columns_never_seen_contribute_nothing(cls):
    _, session = exported(cls)
    inputs = padded(rows(20))
    expected = session.run(None, inputs)
    more = np.tile([[-1, -7, *NEVER]], (20, 1))
    values = np.full(more.shape, 1e30, np.float32)
    changed = {
        "indices": np.hstack([more, inputs["indices"]]),
        "values": np.hstack([values, inputs["values"]]),
    }
    for found, expect in zip(session.run(None, changed), expected, strict=True):
        np.testing.assert_array_equal(found, expect)


@every_estimator
def test_the_parts_in_which_rows_are_computed_change_nothing(cls, monkeypatch):
    model, _ = exported(cls)
    monkeypatch.setattr(_graph, "_NUMBERS", 200)
    session, X = session_of(to_onnx(model)), rows(37, seed=1)
    assert_agree(session, padded(X), model, X)
    none = {name: array[:0] for name, array in padded(X).items()}
    assert {len(found) for found in session.run(None, none)} == {0}


@pytest.mark.parametrize("labels", [[3, -5], [True, False], [1.0, 2.0], ["no", "ja"], [7, 8, 9]])
def test_labels_are_those_of_the_model(labels):
    X = rows(60)
    y = np.array(labels)[np.arange(60) % len(labels)]
    model = FMClassifier(3, max_iter=1).fit(X, y)
    assert_agree(session_of(to_onnx(model)), padded(X), model, X)


def test_labels_that_onnx_does_not_have_are_refused():
    days = np.array(["2026-01-01", "2026-01-02"], "datetime64[D]")
    model = FMClassifier(3, max_iter=1).fit(rows(60), days[np.arange(60) % 2])
    with pytest.raises(ValueError, match="ONNX has no labels such as"):
        to_onnx(model)


# -- pipelines ------------------------------------------------------------------------


WORDS = ["red", "green", "blue", "3", " ", "naïve"]
NUMERIC = ["piecewise_linear", "quantile", "squared_log", "value"]


def table(words, numbers, counts):
    cells = np.empty((len(words), 3), object)
    cells[:, 0], cells[:, 1], cells[:, 2] = words, numbers, counts
    return cells


@cache
def exported_pipeline(numeric, cls):
    rng = np.random.default_rng(0)
    numbers = np.where(rng.random(300) < 0.2, 7.0, rng.normal(size=300))
    counts = rng.geometric(0.1, size=300).astype(float)
    numbers[:20] = np.nan
    X = table(rng.choice([*WORDS, None], 300), numbers, counts)
    encoder = FieldEncoder(numeric=numeric, n_bins=6)
    extra = {"crosses": [("x0", "x1")]} if cls is WideDeepClassifier else {}
    extra["hidden_layer_sizes"] = (4,)
    known = {name: value for name, value in extra.items() if name in cls().get_params()}
    model = make_pipeline(encoder, cls(2, max_iter=2, random_state=0, engine="numpy", **known))
    model.fit(X, np.nan_to_num(numbers) + counts / 10 > 0.9)
    return model, session_of(to_onnx(model, missing_text="?"))


def inputs_of(X):
    words = np.array([["?" if word is None else word] for word in X[:, 0]], object)
    return {"x0": words, "x1": X[:, 1:2].astype(float), "x2": X[:, 2:].astype(float)}


numbers = st.one_of(
    st.sampled_from([7.0, np.nan, 0.0, -0.0, 1e300, -1e300, 5e-324]), st.floats(-30, 30)
)
words = st.sampled_from([*WORDS, None, "never seen", "Red", "\0"])


@pytest.mark.parametrize(
    ("numeric", "cls"),
    [(NUMERIC[0], cls) for cls in ESTIMATORS] + [(kind, FMClassifier) for kind in NUMERIC[1:]],
)
@settings(max_examples=10, deadline=None)
@given(cells=st.lists(st.tuples(words, numbers, numbers), min_size=1, max_size=30))
def test_graphs_of_pipelines_take_the_variables_themselves(numeric, cls, cells):
    model, session = exported_pipeline(numeric, cls)
    X = table(*zip(*cells, strict=True))
    if numeric == "value":  # the larger ones cancel out in float64, too
        X[:, 1:] = np.clip(X[:, 1:].astype(float), -1e4, 1e4)
    assert_agree(session, inputs_of(X), model, X)


def test_numbers_at_and_beside_edges_are_in_the_same_bins():
    for numeric in NUMERIC[:3]:
        model, session = exported_pipeline(numeric, FMClassifier)
        of = model[0]._encodings[1]
        at = of.edges if hasattr(of, "edges") else np.append(of.knots, of.frequent)
        values = np.concatenate([at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf)])
        values = np.append(values, [np.inf, -np.inf])
        X = table(["red"] * len(values), values, np.ones(len(values)))
        assert_agree(session, inputs_of(X), model, X)


def test_inputs_are_called_what_the_table_calls_them():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"site": ["a", "b", None] * 20, "count 1": np.arange(60.0)})
    model = make_pipeline(FieldEncoder(), FFMClassifier(3, max_iter=1))
    session = session_of(to_onnx(model.fit(frame, [0, 1, 1] * 20)))
    described = [(given.name, given.type, given.shape) for given in session.get_inputs()]
    assert described == [
        ("site", "tensor(string)", ["n_rows", 1]),
        ("count 1", "tensor(double)", ["n_rows", 1]),
    ]
    inputs = {name: frame[[name]].fillna("").to_numpy() for name in frame}
    assert_agree(session, inputs, model, frame)


def test_a_search_is_exported_as_the_best_that_it_found():
    X = table(["red", "blue", None, "3"] * 20, np.arange(80.0), np.ones(80))
    pipeline = make_pipeline(FieldEncoder(), "passthrough", FMClassifier(max_iter=1))
    search = GridSearchCV(pipeline, {"fmclassifier__k": [1, 2]}, cv=2).fit(X, [0, 1, 1, 0] * 20)
    assert_agree(session_of(to_onnx(search, missing_text="?")), inputs_of(X), search, X)


def test_a_fit_meanwhile_changes_nothing_in_a_graph(monkeypatch):
    X = rows(60)
    model = FMRegressor(3, max_iter=1, random_state=0).fit(X, np.arange(60.0))
    expected, real = model.predict(X), export.raw_scores

    def fit_first(*args):
        model.fit(X, 1e6 - np.arange(60.0))
        return real(*args)

    monkeypatch.setattr(export, "raw_scores", fit_first)
    found = session_of(to_onnx(model)).run(None, padded(X))[0]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)


# -- what is refused ------------------------------------------------------------------


def fitted_pipeline(*steps, X=(("a",), ("b",), ("a",), ("c",))):
    return make_pipeline(*steps, FMClassifier(3, max_iter=1)).fit(X, [0, 1, 0, 1])


def test_what_cannot_be_exported_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"ONNX cannot hash, .* variable 'x0' .*n_buckets=None"):
        to_onnx(fitted_pipeline(FieldEncoder(n_buckets=8)))
    with pytest.raises(TypeError, match=r"step 'onehotencoder' is a OneHotEncoder\. skl2onnx"):
        to_onnx(fitted_pipeline(OneHotEncoder()))
    with pytest.raises(TypeError, match=r"step 'standardscaler' is a StandardScaler\."):
        to_onnx(fitted_pipeline(FieldEncoder(), StandardScaler(with_mean=False)))
    with pytest.raises(TypeError, match="StandardScaler is no model of skfm"):
        to_onnx(StandardScaler().fit([[1.0]]))
    with pytest.raises(NotFittedError):
        to_onnx(FMClassifier())
    with pytest.raises(ValueError, match=r"'x0' has the category 'a'.*missing_text"):
        to_onnx(fitted_pipeline(FieldEncoder()), missing_text="a")
    for text in (None, 3):
        with pytest.raises(TypeError, match="missing_text must be a string"):
            to_onnx(fitted_pipeline(FieldEncoder()), missing_text=text)
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"label": ["a", "b", "a", "c"]})
    with pytest.raises(ValueError, match="No input of the graph can be called 'label'"):
        to_onnx(fitted_pipeline(FieldEncoder(), X=frame))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_too_many_combinations_of_fields_are_refused():
    X = np.eye(300)[np.arange(600) % 300] + np.eye(300)[np.arange(600) // 2]
    model = WideDeepClassifier(0, crosses=[(0, 1, 2, 3)], fields=300, max_iter=1)
    model.fit(X, np.arange(600) % 2)
    with pytest.raises(ValueError, match="Crosses of 4 of 300 fields are too many"):
        to_onnx(model)


def test_without_onnx_the_command_is_named(monkeypatch):
    model, _ = exported(FMClassifier)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'skfm\[onnx\]'"):
        to_onnx(model)


# -- other places ---------------------------------------------------------------------

WITHOUT_SKFM = """
import sys
sys.modules.update(dict.fromkeys(["skfm", "sklearn", "scipy"]))  # none can be imported
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
inputs = dict(np.load("inputs.npz", allow_pickle=True))
np.save("probabilities.npy", session.run(["probabilities"], inputs)[0])
"""


@pytest.mark.slow
def test_a_file_is_opened_without_skfm(tmp_path):
    model, _ = exported_pipeline("piecewise_linear", FFMClassifier)
    X = table(["red", None, "new"], [1.0, np.nan, 7.0], [3.0, 1e9, 0.0])
    onnx.save(to_onnx(model, missing_text="?"), tmp_path / "model.onnx")
    np.savez(tmp_path / "inputs.npz", **inputs_of(X))
    subprocess.run([sys.executable, "-c", WITHOUT_SKFM], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), FieldEncoder()])
def test_skl2onnx_converts_pipelines_with_other_steps(encoder):
    skl2onnx = pytest.importorskip("skl2onnx")
    rng = np.random.default_rng(0)
    X = rng.choice(["a", "b", "c"], size=(80, 3)).astype(object)
    types = [("cells", skl2onnx.common.data_types.StringTensorType([None, 3]))]
    Z = X.copy()
    Z[:5, 1] = "new"
    for model in FFMClassifier(3, max_iter=1), FMRegressor(3, max_iter=1):
        pipeline = make_pipeline(encoder, model).fit(X, X[:, 0] == "a")
        options = {"zipmap": False} if hasattr(model, "predict_proba") else None
        found = skl2onnx.to_onnx(pipeline, initial_types=types, options=options)
        assert_agree(session_of(found), {"cells": Z}, pipeline, Z)
    dense = rows(50).astype(np.float32)
    model = make_pipeline(StandardScaler(with_mean=False), FMClassifier(3, max_iter=1))
    model.fit(dense, np.arange(50) % 2)
    found = skl2onnx.to_onnx(model, dense[:1], options={"zipmap": False})
    assert_agree(session_of(found), {"X": dense}, model, dense)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_skl2onnx_is_told_which_text_is_a_missing_value():
    skl2onnx = pytest.importorskip("skl2onnx")
    X = np.array([["", "a"], ["b", None], ["b", "a"], ["", None]] * 10, object)
    model = make_pipeline(FieldEncoder(), FMRegressor(3, max_iter=1)).fit(X, X[:, 0] == "b")
    types = [("cells", skl2onnx.common.data_types.StringTensorType([None, 2]))]
    with pytest.raises(ValueError, match=r"Variable 'x0' has the category ''.*options=\{Field"):
        skl2onnx.to_onnx(model, initial_types=types)
    options = {FieldEncoder: {"missing_text": "?"}}
    session = session_of(skl2onnx.to_onnx(model, initial_types=types, options=options))
    cells = np.where(np.equal(X, None), "?", X)
    assert_agree(session, {"cells": cells}, model, X)


def test_skl2onnx_that_does_not_work_does_not_keep_to_onnx_from_it(monkeypatch):
    pytest.importorskip("skl2onnx")
    monkeypatch.setitem(sys.modules, "skfm._skl2onnx", None)
    with pytest.warns(UserWarning, match=r"skl2onnx cannot convert .* \(ModuleNotFoundError: "):
        _register()


def test_padded_refuses_what_estimators_refuse():
    with pytest.raises(ValueError, match="NaN"):
        padded([[np.nan, 1.0]])
    none = padded(np.zeros((2, 3)))
    assert none["indices"].tolist() == [[-1], [-1]]
    assert none["values"].dtype == np.float32
