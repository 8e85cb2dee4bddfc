"""Save a model of each kind, and what it predicts, for later versions to load.

``python tests/golden/make.py`` writes a folder named after the version. It is run once for each
release, and the folder stays as it is, with the table that its encoders were fitted on.
"""

import json
import warnings
from pathlib import Path

import joblib
import numpy as np
import skops.io

import skfm
from skfm.preprocessing import FieldEncoder

FOLDER = Path(__file__).parent


def make_table():
    """Words and numbers with missing values, of some kinds that encoders tell apart."""
    rng = np.random.default_rng(0)
    cells = np.empty((120, 3), object)
    cells[:, 0] = rng.choice(["red", "green", "blå", None], 120)
    cells[:, 1] = np.where(rng.random(120) < 0.2, np.nan, rng.normal(2000, 5, 120).round(2))
    cells[:, 2] = rng.geometric(0.2, 120)
    return cells


def unseen(cells):
    """The last rows, with values that are new."""
    cells = cells[100:].copy()
    cells[::3, 0], cells[1::4, 1] = "new", 2100.5
    return cells


def save_table(cells, path):
    path.write_text(json.dumps([[*map(plain, row)] for row in cells], ensure_ascii=False))


def plain(cell):
    """A cell as a type that JSON has; its NaN is Python's."""
    return cell.item() if isinstance(cell, np.generic) else cell


def load_table(path):
    return np.array(json.loads(path.read_text()), object)


def encoders():
    for numeric in ("piecewise_linear", "quantile", "squared_log", "value"):
        yield f"FieldEncoder_{numeric}", FieldEncoder(numeric=numeric, n_bins=4)
    yield "FieldEncoder_hashed", FieldEncoder(n_buckets=8)


def estimators():
    for name in skfm.__all__:
        cls = getattr(skfm, name)
        if hasattr(cls, "predict"):
            params = {"k": 2, "max_iter": 3, "tol": None, "random_state": 0, "engine": "numpy"}
            if name.startswith("WideDeep"):
                params |= {"hidden_layer_sizes": (3,), "crosses": [(0, 1)], "n_cross_buckets": 16}
                params |= {"interactions": True}
            yield name, cls(**params)


def main():
    warnings.simplefilter("ignore")
    folder = FOLDER / skfm.__version__
    folder.mkdir()
    save_table(make_table(), folder / "table.json")
    cells, expected = load_table(folder / "table.json"), {}
    for name, encoder in encoders():
        encoder.fit(cells[:100])
        expected[name] = encoder.transform(unseen(cells)).toarray()
        joblib.dump(encoder, folder / f"{name}.joblib", compress=9)
        skops.io.dump(encoder, folder / f"{name}.skops", compression=8)
    X = FieldEncoder(numeric="value").fit(cells[:100])
    Z, X = X.transform(unseen(cells)), X.transform(cells[:100])
    counts = cells[:100, 2].astype(int)
    numbers, of_two, of_three = (
        1e6 + 1e4 * counts,
        counts > 3,
        np.array(["a", "b", "c"])[counts % 3],
    )
    for name, model in estimators():
        is_classifier = hasattr(model, "predict_proba")
        labels = of_three if name == "FMClassifier" else of_two  # several outputs are large
        model.fit(X, labels if is_classifier else numbers)
        expected[name] = model.predict_proba(Z) if is_classifier else model.predict(Z)
        joblib.dump(model, folder / f"{name}.joblib", compress=9)
        skops.io.dump(model, folder / f"{name}.skops", compression=8)
    np.savez_compressed(folder / "expected.npz", rows=Z.toarray(), **expected)


if __name__ == "__main__":
    main()
