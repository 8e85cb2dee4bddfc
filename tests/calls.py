"""Calls of the package that may be interrupted, for tests that do so.

Each knows how to begin, and how to tell what became of the object that it was made on.
"""

import pickle
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from skfm import FFMClassifier, FFMRegressor, FMClassifier, WideDeepClassifier
from skfm.datasets import dump_ffm_file, iter_ffm_file, load_ffm_file
from skfm.export import padded, to_onnx
from skfm.inspection import contributions, field_interactions, similar_columns, top_interactions
from skfm.preprocessing import FieldEncoder

from .common import CLASSIFIERS, ESTIMATORS, REGRESSORS, named, scores

SEED = 0


class Case(NamedTuple):
    """A call to interrupt, and how to tell what became of the object that it was made on."""

    name: str
    start: Callable  # start() is the object, each time the same
    call: Callable  # call(object) is interrupted
    look: Callable  # look(object) is a list of arrays, equal for equal objects
    steps: tuple = ()  # step(object) for each of these, to see whether the object goes on
    may_stop: bool = False  # whether Ctrl-C may end the call early, with a warning


def make_rows(width, entries):
    """Rows of 4 fields of `width` columns each, and targets of 3 values that depend on them.

    Of the three matrices each has columns that those before it lack.
    """
    rng = np.random.default_rng(SEED)
    n = 160  # enough for early stopping
    columns = rng.integers(width, size=(n, 4, entries)) + width * np.arange(4)[:, None]
    rows = np.repeat(np.arange(n), 4 * entries)
    X = csr_array((np.ones(rows.size, np.float32), (rows, columns.ravel())), shape=(n, 4 * width))
    X.data[:] = 1
    score = X @ rng.normal(size=X.shape[1])
    y = np.searchsorted(np.quantile(score, [1 / 3, 2 / 3]), score)
    of_row = np.repeat(np.arange(n), np.diff(X.indptr))
    parts = [X.indices % 3 <= last for last in range(3)]
    return [csr_array((X.data[p], (of_row[p], X.indices[p])), shape=X.shape) for p in parts], y


def make_model(cls, k, engine, n_jobs):
    model = cls(k, engine=engine, n_jobs=n_jobs, max_iter=2, tol=None, random_state=0)
    params = {"batch_size": 32, "learning_rate": 0.1}
    if cls in (FMClassifier, FFMRegressor):
        params["solver"] = "ftrl"
    if "fields" in model.get_params():
        params["fields"] = 4
    if "crosses" in model.get_params():
        params |= {"crosses": [(0, 1)], "n_cross_buckets": 64, "dropout": 0.2}
        params["hidden_layer_sizes"] = (4,)
    return model.set_params(**named(cls, **params))


def model_cases(cls, engine, rows, several=False):
    """All calls of an estimator; `several` outputs are fitted on two threads."""
    (old, new, newer), y = rows
    y = y if several or cls in REGRESSORS else y > 1
    first = {"classes": np.unique(y)} if cls in CLASSIFIERS else {}
    on_threads = several or cls is FFMRegressor
    settings = pickle.dumps(make_model(cls, 8, engine, 2 if on_threads else None))

    def fresh():
        return pickle.loads(settings)

    # Under another learning rate FTRL's states are others, too.
    changed = {**named(cls, learning_rate=0.2), "warm_start": True}
    learned = pickle.dumps(fresh().fit(old, y).set_params(**changed))

    def fitted():
        return pickle.loads(learned)

    def with_room():
        """With spare rows in its tables, which then need no copy for new columns."""
        return fitted().partial_fit(new[:32], y[:32])

    def fit(model):
        model.fit(new, y)

    def partial_fit(model):
        model.partial_fit(new, y, **first)

    def partial_fit_again(model):
        model.partial_fit(newer, y, **first)

    def predict(model):
        for name in ("predict", "predict_proba", "decision_function"):
            if hasattr(model, name):
                getattr(model, name)(newer)

    def look(model):
        return [scores(model, newer), model.coef_, np.hstack([0, *model.loss_curve_])]

    def case(name, start, call, may_stop=False):
        model = f"{cls.__name__}, engine={engine}" + ", 3 classes" * several
        steps = (partial_fit if call is predict else call, partial_fit_again)
        return Case(f"{model}: {name}", start, call, look, steps, may_stop)

    return [
        case("first fit", fresh, fit, may_stop=True),
        case("warm fit", fitted, fit, may_stop=True),
        case("fit anew", lambda: fitted().set_params(warm_start=False), fit, may_stop=True),
        case("first partial_fit", fresh, partial_fit),
        case("partial_fit", fitted, partial_fit),
        case("partial_fit with room", with_room, partial_fit),
        case("predict", with_room, predict),
    ]


def all_model_cases(engine, rows):
    cases = [model_cases(cls, engine, rows) for cls in ESTIMATORS]
    cases += [model_cases(cls, engine, rows, several=True) for cls in CLASSIFIERS[1:]]
    # The first call of each model, then the second: a few points see many calls.
    return [case for same_call in zip(*cases, strict=True) for case in same_call]


def encoder_cases():
    rng = np.random.default_rng(SEED)
    table = np.empty((300, 3), object)
    table[:, 0] = rng.choice(["a", "b", "c,d", None], 300)
    table[:, 1] = np.where(rng.random(300) < 0.1, np.nan, rng.normal(size=300))
    table[:, 2] = rng.integers(5, size=300)

    def fit(encoder):
        encoder.fit(table[100:])

    def fit_transform(encoder):
        encoder.fit_transform(table[100:])

    def transform(encoder):
        encoder.transform(table)

    def look(encoder):
        X = encoder.transform(table)
        return [X.indptr, X.indices, X.data, encoder.get_feature_names_out().astype(str)]

    for params in ({}, {"numeric": "value"}, {"n_buckets": 8, "separators": {"x0": ","}}):
        fitted = pickle.dumps(FieldEncoder(**params).fit(table[:100]))
        start = lambda fitted=fitted: pickle.loads(fitted)  # noqa: E731
        fresh = lambda params=params: FieldEncoder(**params)  # noqa: E731
        yield Case(f"FieldEncoder({params}): first fit", fresh, fit, look, (fit,))
        yield Case(f"FieldEncoder({params}): fit", start, fit, look, (fit,))
        yield Case(f"FieldEncoder({params}): fit_transform", start, fit_transform, look, (fit,))
        yield Case(f"FieldEncoder({params}): transform", start, transform, look, (fit,))
        if "n_buckets" not in params:
            back = lambda encoder: encoder.inverse_transform(encoder.transform(table))  # noqa: E731
            yield Case(f"FieldEncoder({params}): inverse_transform", start, back, look, (fit,))


def file_cases(folder):
    (X, *_), y = make_rows(width=12, entries=1)
    written, partial = Path(folder, "written.ffm"), Path(folder, "partial.ffm")

    def dump(path):
        dump_ffm_file(X, y, path, fields=4)

    def look(path):
        X, y, fields = load_ffm_file(path)
        return [X.indptr, X.indices, X.data, y, fields]

    def look_in_chunks(path):
        chunks = list(iter_ffm_file(path, chunk_rows=128))
        return [array for X, y, fields in chunks for array in (X.indices, X.data, y, fields)]

    def look_at_a_second_try(path):
        dump(path)
        return [np.frombuffer(path.read_bytes(), np.uint8)]

    dump(written)
    yield Case("load_ffm_file", lambda: written, look, look)
    yield Case("iter_ffm_file", lambda: written, look_in_chunks, look_in_chunks)
    yield Case("dump_ffm_file", lambda: partial, dump, look_at_a_second_try)


def reading_cases():
    """Nothing that is exported, laid out or looked at changes."""
    (X, *_), y = make_rows(width=12, entries=1)
    model = make_model(WideDeepClassifier, 2, "numpy", None).fit(X, y > 1)
    machine = make_model(FFMClassifier, 2, "numpy", None).fit(X, y > 1)

    def look(model):
        return [scores(model, X), padded(X)["indices"]]

    yield Case("padded", lambda: model, lambda _: padded(X), look)
    for reads in (contributions, field_interactions):
        yield Case(reads.__name__, lambda: machine, lambda m, reads=reads: reads(m, X), look)
    yield Case("top_interactions", lambda: machine, lambda m: top_interactions(m, X, 5), look)
    yield Case("similar_columns", lambda: machine, lambda m: similar_columns(m, 0), look)
    if find_spec("onnx"):
        yield Case("to_onnx", lambda: model, to_onnx, look)


def all_cases(engine, folder):
    cases = all_model_cases(engine, make_rows(width=12, entries=1))
    if engine == "numpy":
        cases += [*encoder_cases(), *file_cases(folder), *reading_cases()]
    return cases
