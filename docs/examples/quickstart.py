"""
Quickstart
==========

Train factorization machines behind a field encoder, compare them with logistic
regression, tune one with GridSearchCV, save it, load it again and predict.

Without arguments it generates clicks whose best possible log loss is known; with
``--csv FILE --target COLUMN`` it reads any CSV file (plain or gzipped), takes every
column as categorical and predicts whether the target, a column with a few distinct
values, has its rarest one.
"""

import argparse
import csv
import gzip
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline

from skfm import FFMClassifier, FMClassifier, WideDeepClassifier
from skfm.datasets import make_clicks
from skfm.preprocessing import FieldEncoder


def generated(n_rows):
    """Rows of six categorical variables, labels, and the true probabilities."""
    clicks = make_clicks(n_rows, n_fields=6, n_categories=20, field_awareness=0.8, random_state=0)
    rows = np.char.add("c", clicks.categories.astype(str)).astype(object)
    return rows, np.where(clicks.y, "click", "none"), clicks.proba


def from_csv(path, target):
    """Rows and labels from a CSV file with a header."""
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rt", newline="") as file:
        header, *table = csv.reader(file)
    if target not in header:
        raise SystemExit(f"--target {target!r} is not a column of {path}: {', '.join(header)}")
    rows = np.array(table, dtype=object)
    column = header.index(target)
    return np.delete(rows, column, axis=1), rows[:, column].astype(str), None


def encoded(model):
    """A pipeline from strings to predictions; rare and new categories share a column."""
    return make_pipeline(FieldEncoder(min_frequency=5), model)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--target", metavar="COLUMN")
    parser.add_argument("--rows", type=int, default=20_000, help="rows to generate")
    args = parser.parse_args()
    if bool(args.csv) != bool(args.target):
        parser.error("--csv and --target go together")

    rows, labels, proba = from_csv(args.csv, args.target) if args.csv else generated(args.rows)
    values, counts = np.unique(labels, return_counts=True)
    if len(values) < 2 or counts.min() < 2:
        raise SystemExit(f"--target {args.target!r} must hold classes, each in at least two rows.")
    positive = str(values[counts.argmin()])
    y = labels == positive
    train, test = train_test_split(np.arange(len(y)), stratify=y, test_size=0.25, random_state=0)
    print(f"{len(y)} rows, {rows.shape[1]} variables, {y.mean():.1%} {positive!r}\n")

    print(f"{'model':<22}{'log loss':>10}{'AUC':>9}{'seconds':>10}")
    models = {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "FMClassifier": FMClassifier(random_state=0),
        "FFMClassifier": FFMClassifier(k=4, random_state=0),
        "WideDeepClassifier": WideDeepClassifier(random_state=0),
    }

    def report(name, predicted, seconds):
        loss, auc = log_loss(y[test], predicted), roc_auc_score(y[test], predicted)
        print(f"{name:<22}{loss:>10.4f}{auc:>9.4f}{seconds:>10.1f}", flush=True)

    for name, model in models.items():
        start = time.perf_counter()
        pipeline = encoded(model).fit(rows[train], y[train])
        seconds = time.perf_counter() - start
        report(name, pipeline.predict_proba(rows[test])[:, 1], seconds)

    # The two parameters to tune first. Fields are inferred anew in every fold.
    grid = {
        "ffmclassifier__k": [2, 4],
        "ffmclassifier__l2_factors": [0.002, 0.02],
    }
    search = GridSearchCV(
        encoded(FFMClassifier(random_state=0)), grid, scoring="neg_log_loss", cv=3, n_jobs=2
    )
    start = time.perf_counter()
    search.fit(rows[train], y[train])
    seconds = time.perf_counter() - start
    report("FFM, GridSearchCV", search.predict_proba(rows[test])[:, 1], seconds)
    if proba is not None:
        truth = proba if positive == "click" else 1 - proba
        report("Bayes-optimal", truth[test], 0)
    best = {name.split("__")[1]: value for name, value in search.best_params_.items()}
    print(f"\nGridSearchCV chose {best}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.joblib"
        joblib.dump(search.best_estimator_, path)
        size = path.stat().st_size / 1024
        loaded = joblib.load(path)
    again = loaded.predict_proba(rows[test[:5]])[:, 1]
    np.testing.assert_array_equal(again, search.predict_proba(rows[test[:5]])[:, 1])
    print(f"Saved and loaded ({size:.0f} KiB); first predictions: {again.round(3)}")


if __name__ == "__main__":
    main()
