"""Serve with onnxruntime: do the predictions agree, and how long do they take?

``python docs/benchmarks/serving.py`` fits a pipeline of a FieldEncoder and each model to a
generated table and prints, of rows of which a tenth of the cells are missing and a tenth new: how
far onnxruntime's probabilities are from those of `predict_proba`; milliseconds for one row and for
10,000 rows, of the graph and of the pipeline, each on one thread; and the size of the file.

``--csv FILE --target COLUMN`` takes any table instead.
"""

import argparse
import time
import warnings

import numpy as np
import onnxruntime
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

import skfm
from skfm.export import to_onnx
from skfm.preprocessing import FieldEncoder

MODELS = {
    "FMClassifier": {"k": 8},
    "FFMClassifier": {"k": 4},
    "FwFMClassifier": {"k": 8},
    "WideDeepClassifier": {"k": 8, "crosses": [(0, 1), (1, 2)]},
}


def generated(n_rows=30_000, seed=0):
    """A table of ten categories and four numbers, and labels that depend on pairs of them."""
    rng, frame = np.random.default_rng(seed), pd.DataFrame()
    score = np.zeros(n_rows)
    for i in range(10):
        codes = rng.zipf(1.5, n_rows) % 500
        frame[f"word{i}"] = [f"w{code}" for code in codes]
        score += np.sin(codes * (i + 1)) * np.roll(score, 1) / 10 + np.cos(codes)
    for i in range(4):
        frame[f"number{i}"] = rng.normal(10 * i, 3, n_rows).round(2)
        score += np.sin(frame[f"number{i}"])
    return frame, pd.Series(score > np.median(score))


def damaged(frame, seed=0):
    """The table with a tenth of the cells missing, and a tenth new."""
    rng, frame = np.random.default_rng(seed), frame.copy()
    for name in frame:
        is_number = pd.api.types.is_numeric_dtype(frame[name])
        cells = frame[name].astype(float if is_number else object)
        new = rng.normal(0, 1000, len(cells)) if is_number else "never seen"
        cells = cells.where(rng.random(len(cells)) > 0.1, new)
        frame[name] = cells.where(rng.random(len(cells)) > 0.1, np.nan)
    return frame


def inputs_of(frame, session):
    """What the graph takes: an array of shape (n_rows, 1) for each variable."""
    inputs = {}
    for given in session.get_inputs():
        cells = frame[given.name]
        if given.type == "tensor(string)":
            inputs[given.name] = cells.fillna("").to_numpy(object)[:, None]
        else:
            inputs[given.name] = cells.to_numpy(np.float64)[:, None]
    return inputs


def milliseconds(call, least=0.3):
    """The median of repeated calls, which take so many seconds together."""
    call()
    times, end = [], time.perf_counter() + least
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * np.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", help="a table to learn from, instead of a generated one")
    parser.add_argument("--target", help="its column of labels")
    parser.add_argument("--rows", type=int, default=10_000, help="rows to predict together")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # few passes suffice here
    frame, y = generated()
    if args.csv:
        frame = pd.read_csv(args.csv, na_values="?")
        y = frame.pop(args.target)
    train, test, y, _ = train_test_split(frame, y, random_state=0, stratify=y)
    test = damaged(test.sample(args.rows, replace=True, random_state=0))
    print(f"{len(train):,} rows of {frame.shape[1]} variables; ms for 1 / {args.rows:,} rows")
    for name in MODELS:
        print(f"  {name:18} {measured(name, train, y, test)}", flush=True)


def measured(name, train, y, test):
    """What is found of one model, as a line."""
    estimator = getattr(skfm, name)(max_iter=5, random_state=0, **MODELS[name])
    model = make_pipeline(FieldEncoder(), estimator).fit(train, y)
    data = to_onnx(model).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options)
    inputs, one = inputs_of(test, session), test[:1]
    one_input = {key: array[:1] for key, array in inputs.items()}
    found = session.run(["probabilities"], inputs)[0]
    apart = np.abs(found - model.predict_proba(test)).max()
    calls = [
        lambda: session.run(None, one_input),
        lambda: session.run(None, inputs),
        lambda: model.predict_proba(one),
        lambda: model.predict_proba(test),
    ]
    times = [*map(milliseconds, calls)]
    return (
        f"apart {apart:.0e}; onnxruntime {times[0]:.2f} / {times[1]:.0f}, "
        f"skfm {times[2]:.2f} / {times[3]:.0f}; {len(data) / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
