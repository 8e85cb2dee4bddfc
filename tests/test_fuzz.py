"""Whatever comes in: a documented exception or finite predictions, never anything else.

``SKFM_FUZZ_EXAMPLES=10000 pytest tests/test_fuzz.py`` looks longer.
"""

import copy
import os
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.pipeline import make_pipeline

from skfm import FMClassifier
from skfm._variables import read
from skfm.datasets import load_ffm_file
from skfm.export import to_onnx
from skfm.preprocessing import FieldEncoder

from .common import CLASSIFIERS, ESTIMATORS, named, scores, vectors

# Such models may well be warned of, but by skfm itself, not by NumPy.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

N_EXAMPLES = int(os.environ.get("SKFM_FUZZ_EXAMPLES", 60))
long_or_short = settings(
    max_examples=N_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck)
)

VALUES = [0.0, 1.0, -1.0, 0.5, 3.0, 1e6, -1e12, 1e30, 1e-30, 5e-324, 3.4e38, 1e39, np.nan, np.inf]
ORDINARY = VALUES[:6]

PARAMETERS = {
    "k": [0, 3, 8, -1, 2.5, "a", None, 10**30],
    "solver": ["adagrad", "ftrl", "sgd", None, 3],
    "learning_rate": [0.1, 1e6, 1e-10, 0, -1, np.nan, "fast"],
    "l1_linear": [0.0, 1e9, -1, np.inf],
    "l2_factors": [0.02, 0.0, 1e9, np.nan, "auto", "much"],
    "l1_factors": [0.0, 1.0],
    "init_scale": [0.03, 0.0, 1e9],
    "batch_size": ["auto", 1, 7, 10**9, 0, 1.5],
    "max_iter": [1, 3, 0, "many"],
    "tol": [1e-4, None, 0, -1],
    "shuffle": [True, False, "no"],
    "early_stopping": ["auto", True, False, None],
    "validation_fraction": [0.1, 0.5, 0.99, 0, 1],
    "n_jobs": [None, 1, 2, 0, -1],
    "engine": ["auto", "numpy", "gpu", None, []],
    "random_state": [0, None, np.random.RandomState(0), "seed"],
    "warm_start": [False, True, 1],
}
FIELDS = [None, 1, 2, 0, "auto", [0], [0, 1, 0], np.arange(4), [-1, 0], [0.5, 1.0], 10**9]
WIDE_DEEP = {
    "crosses": [
        None,
        "all",
        [(0, 1)],
        [(0, 0)],
        [(0, 1, 2)],
        [(0, 9)],
        "some",
        [],
        3,
        [("a", "b")],
    ],
    "n_cross_buckets": [1, 2, 10**3, 0, 2.5, 10**30],
    "hidden_layer_sizes": [(), (3,), (2, 2), 4, (0,), (-1, 2), "a", (10**9, 10**9), [1.5], None],
    "activation": ["tanh", "logistic", "identity", "gelu", None],
    "dropout": [0.5, 0.99, 1.0, -1, np.nan],
    "layers_l2": [0.0, 1e9, -1],
    "solver": [("ftrl", "adagrad"), ("adagrad", "ftrl"), ("ftrl",), ("a", "b"), ["ftrl", "ftrl"]],
}
CLASS_WEIGHTS = [None, "balanced", {0: 1, 1: 5}, {0: -1}, {7: 1}, "heavy", 3]


@st.composite
def matrices(draw, n_columns=None):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows = draw(st.sampled_from([0, 1, 2, 5, 30]))
    n_columns = draw(st.sampled_from([0, 1, 2, 4, 9])) if n_columns is None else n_columns
    values = draw(st.sampled_from([[1.0], [0.0, 1.0], ORDINARY, VALUES]))
    X = rng.choice(values, size=(n_rows, n_columns))
    X[rng.random(X.shape) > draw(st.sampled_from([0.1, 0.5, 1.0]))] = 0
    form = draw(st.sampled_from(["dense", "csr", "malformed", "list", "typed", "object", "1d"]))
    if form == "list":
        return X.tolist()
    if form == "1d":
        return X.ravel()
    if form == "object":
        X = X.astype(object)
        if X.size and draw(st.booleans()):
            X.flat[0] = draw(st.sampled_from(["a", None, {}, (1, 2)]))
        return X
    if form == "typed":
        kinds = [np.int8, np.uint64, bool, np.float16, np.float32, np.longdouble, complex]
        with np.errstate(all="ignore"):
            return X.astype(draw(st.sampled_from(kinds)))
    if form == "dense":
        return X
    X = csr_array(X)
    if draw(st.booleans()):
        X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    if form == "malformed" and X.nnz:
        array = draw(st.sampled_from([X.indices, X.indptr]))
        array[rng.integers(len(array))] = draw(st.sampled_from([-1, 10**6, 0, 1]))
    return X


def row_count(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)


@st.composite
def target_values(draw, n):
    kinds = [
        [0, 1],
        [0, 1, 2],
        ["a", "b"],
        [True, False],
        [1.5, -2.0],
        [1e200, -1e200],
        [np.nan, 1.0],
    ]
    values = draw(st.sampled_from([*kinds, [5], [None, "a"]]))
    y = np.array(values, dtype=object if None in values else None)
    y = y[np.arange(n) % len(y)]
    return y if draw(st.integers(0, 9)) else y[: n // 2]


@st.composite
def row_weights(draw, n):
    value = draw(st.sampled_from([None, None, 1.0, 0.0, -1.0, np.nan, 1e30, 1e308, 1e-300]))
    return value if value is None else np.full(n, value)


@cache
def fitted_online(cls, engine):
    """A model that partial_fit began."""
    X = np.random.default_rng(0).integers(2, size=(20, 4)) * 1.0
    first = {"classes": [0, 1]} if cls in CLASSIFIERS else {}
    fields = {"fields": 2} if "fields" in cls().get_params() else {}
    model = cls(3, random_state=0, engine=engine, **fields)
    return model.partial_fit(X, np.arange(20) % 2, **first)


def attempt(call):
    """Run a call; only exceptions that the documentation names may come out."""
    try:
        return call()
    except (ValueError, TypeError):
        return None


@cache
def fitted(cls):
    """A model, some rows, and their scores."""
    X = np.random.default_rng(0).integers(2, size=(20, 4)) * 1.0
    model = cls(3, max_iter=1, random_state=0).fit(X, np.arange(20) % 2)
    return model, X, scores(model, X)


@pytest.mark.parametrize("cls", ESTIMATORS)
@long_or_short
@given(data=st.data())
def test_any_input_is_learned_from_or_refused(cls, data):
    model, good, before = copy.deepcopy(fitted(cls))
    names = data.draw(st.lists(st.sampled_from(sorted(PARAMETERS)), max_size=2, unique=True))
    change = {name: data.draw(st.sampled_from(PARAMETERS[name]), label=name) for name in names}
    if "fields" in cls().get_params() and data.draw(st.booleans()):
        change["fields"] = data.draw(st.sampled_from(FIELDS), label="fields")
    if "crosses" in cls().get_params():
        for name, values in WIDE_DEEP.items():
            if not data.draw(st.integers(0, 3)):
                change[name] = data.draw(st.sampled_from(values), label=name)
    if cls in CLASSIFIERS and not data.draw(st.integers(0, 4)):
        change["class_weight"] = data.draw(st.sampled_from(CLASS_WEIGHTS), label="class_weight")
    model.set_params(**named(cls, **change))

    X = data.draw(matrices(), label="X")
    y = data.draw(target_values(row_count(X)), label="y")
    weight = data.draw(row_weights(row_count(X)), label="weight")
    how = data.draw(st.sampled_from(["fit", "validated", "partial_fit"]))
    if how == "partial_fit":
        extra = {"classes": [0, 1]} if cls in CLASSIFIERS else {}
        done = attempt(lambda: model.partial_fit(X, y, sample_weight=weight, **extra))
    elif how == "validated":
        done = attempt(lambda: model.fit(X, y, weight, X_val=X, y_val=y))
    else:
        done = attempt(lambda: model.fit(X, y, weight))
    if done is None:
        model.set_params(n_jobs=None, engine="auto")  # which predictions use, too
        np.testing.assert_array_equal(scores(model, good), before)
        return
    Z = data.draw(matrices(n_columns=model.n_features_in_), label="Z")
    for method in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
        if hasattr(model, method):
            result = attempt(lambda method=method: getattr(model, method)(Z))
            if result is not None and result.dtype.kind == "f":
                assert not np.isnan(result).any(), method
    for attribute in (model.coef_, model.intercept_, vectors(model)):
        assert np.isfinite(attribute).all()


@pytest.mark.parametrize("cls", ESTIMATORS)
@settings(long_or_short, max_examples=N_EXAMPLES // 4)
@given(data=st.data())
def test_any_slice_of_a_stream_is_learned_from_or_refused(cls, engine_name, data):
    model = copy.deepcopy(fitted_online(cls, engine_name))
    good = np.eye(4)
    for _ in range(data.draw(st.integers(1, 3))):
        X, before = data.draw(matrices(n_columns=4), label="X"), scores(model, good)
        y = data.draw(target_values(row_count(X)), label="y")
        weight = data.draw(row_weights(row_count(X)), label="weight")
        try:
            model.partial_fit(X, y, sample_weight=weight)
        except (ValueError, TypeError):
            np.testing.assert_array_equal(scores(model, good), before)
        assert np.isfinite(scores(model, good)).all()


CELLS = ["a", "", "3", " 3", "inf", "nan", b"a", b"\xff", 3, -0.0, 1e308, 10**30, np.inf, np.nan]
CELLS += [None, True, (1, "a"), [], {"a"}, {}, object, np.datetime64("NaT"), "\ud800", "x" * 999]
ENCODERS = {
    "numeric": ["auto", "piecewise_linear", "quantile", "squared_log", "value", "other"],
    "n_bins": ["auto", 2, 5, 1],
    "min_frequency": [None, 1, 2, 0.5, 0],
    "max_categories": [None, 1, 0],
    "n_buckets": [None, None, 2, 7, 10**30],
    "categorical_features": [None, "all", [0], [True, False], [9], ["x0"]],
    "separators": [None, {0: "|"}, {"x1": "a"}, {0: ""}],
    "pooling": ["sum", "mean", "max"],
}


@st.composite
def tables(draw):
    kinds = [CELLS, [1.5, -2.0, np.nan, 7, 7, 1e300], ["a", "b", None], [3, "3", True]]
    n_rows, columns = draw(st.sampled_from([0, 1, 3, 30])), []
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(kinds))
        columns.append([kind[i] for i in rng.integers(len(kind), size=n_rows)])
    X = np.empty((n_rows, len(columns)), object)
    for number, column in enumerate(columns):
        for row, cell in enumerate(column):
            X[row, number] = cell
    return X


@long_or_short
@given(data=st.data())
def test_any_table_is_encoded_or_refused(data):
    names = data.draw(st.lists(st.sampled_from(sorted(ENCODERS)), max_size=3, unique=True))
    params = {name: data.draw(st.sampled_from(ENCODERS[name]), label=name) for name in names}
    encoder, X = FieldEncoder(**params), data.draw(tables(), label="X")
    encoded = attempt(lambda: encoder.fit_transform(X))
    if encoded is None:
        return
    again = encoder.transform(X)
    for array, expected in zip(
        (again.data, again.indices, again.indptr),
        (encoded.data, encoded.indices, encoded.indptr),
        strict=True,
    ):
        np.testing.assert_array_equal(array, expected)
    for encoded in (again, attempt(lambda: encoder.transform(data.draw(tables(), label="Z")))):
        if encoded is not None:
            assert np.isfinite(encoded.data).all()
            assert encoded.shape[1] == len(encoder.fields_)


LINES = [
    b"1 0:1:1 1:4:0.5", b"-1 0:2:1", b"0", b"", b" ", b"1 0:1", b"1 0:1:1:1", b"x 0:1:1", b"nan",
    b"1 0:-1:1", b"1 0:1:nan", b"1 0:1:1e999", b"1 99999999999:1:1", b"1 0:99999999999:1", b"\xff",
    b"1\t0:1:1\r", b"1 0:1:1 0:1:1", b"#", b"1 :::", b"\0", b"1e400 0:1:1",
]  # fmt: skip


@long_or_short
@given(lines=st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=20)), max_size=8))
def test_any_file_is_read_or_refused(tmp_path_factory, lines):
    path = tmp_path_factory.getbasetemp() / "any.ffm"
    path.write_bytes(b"\n".join(lines))
    whole = attempt(lambda: load_ffm_file(path))
    if whole is not None:
        X, y, fields = whole
        assert np.isfinite(X.data).all()
        assert np.isfinite(y).all()
        assert X.shape == (len(y), len(fields))


@settings(long_or_short, max_examples=N_EXAMPLES // 4)
@given(data=st.data())
def test_any_model_is_exported_or_refused(data):
    """What is exported predicts what the model does, whatever the table was."""
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    numeric = data.draw(st.sampled_from(ENCODERS["numeric"][:4]))
    X = data.draw(tables().filter(lambda X: len(X) > 1 and X.shape[1]), label="X")
    model = make_pipeline(FieldEncoder(numeric=numeric), FMClassifier(3, max_iter=1))
    if attempt(lambda: model.fit(X, np.arange(len(X)) % 2)) is None:
        return
    found = attempt(lambda: to_onnx(model, missing_text="a missing value"))
    if found is None:
        return
    session, inputs = ort.InferenceSession(found.SerializeToString()), {}
    for number, encoding in enumerate(model[0]._encodings):
        cells = read(X[:, number], "x", encoding.numeric)
        if not encoding.numeric:
            texts = [text.encode(errors="replace").decode() for text in cells.texts]
            if texts != cells.texts:
                return  # strings of ONNX have no half pairs of surrogates
            cells = np.array([*texts, "a missing value"], object)[cells.codes]
        inputs[f"x{number}"] = cells[:, None]
    found = session.run(["probabilities"], inputs)[0]
    np.testing.assert_allclose(found, model.predict_proba(X), atol=1e-5)
