"""Study the defaults: log loss in cross-validation beside logistic regression, and calibration.

    python docs/benchmarks/defaults.py

runs in the environment of `run.py`, on the sets of `sets.py`. A quarter of each is put
aside and not looked at; what is printed comes from repeated cross-validation on the rest. In each
column stands the mean excess over the loss of logistic regression (of ridge regression, in RMSE)
and its standard error, from the differences fold by fold, with a star where it is more than two of
them. Calibration is |Σp − Σy| relative to 2% of Σy plus two standard deviations, so that 1 is the
limit, as a mean over the folds. Then come the passes to the best loss and the seconds of processor
time for a fit. Other studies have options of their own:

    python docs/benchmarks/defaults.py --numbers
    python docs/benchmarks/defaults.py --ranking
    python docs/benchmarks/defaults.py --large
    python docs/benchmarks/defaults.py --vary
    python docs/benchmarks/defaults.py --test

`--numbers` fits tables with numbers fold by fold, each model behind an encoder. `--ranking` takes
MovieLens as implicit feedback, with four sampled negatives for each positive, and ranks one event
of each user, held out, among 99 sampled movies. `--large` trains on a large generated set, once.
`--vary` prints by how many percent the loss changes with other values than the defaults, a star
where that is more than two standard errors (the mean and the range are of the sets of more than
2,000 rows); it learns from at most 5,000 rows of each set. `--test`, at the very end, prints the
loss on the rows put aside: mean and standard deviation over three seeds.
"""

import argparse
import os
import sys
import warnings

from environment import in_own_environment
from sets import (
    N_NEGATIVES,
    N_RIVALS,
    Data,
    datasets,
    implicit_movielens,
    large,
    movielens,
    number_tables,
    splits,
    tables,
)

BASELINE = "linear"
LINEAR = (BASELINE, "linear, tuned")  # which have no seed


def fit_and_score(model, data, train, test):
    """What a fit is worth: loss on the test rows, calibration there, seconds, passes to the best.

    Calibration is how far Σp is off relative to its limit.
    """
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
    passes = np.mean(getattr(model, "best_iter_", np.nan))
    if data.regression:
        return root_mean_squared_error(y, model.predict(rows[test])), np.nan, seconds, passes
    proba = model.predict_proba(rows[test])
    p, positive = proba[:, 1], y == model.classes_[1]
    limit = 0.02 * positive.sum() + 2 * np.sqrt((p * (1 - p)).sum())
    off = abs(p.sum() - positive.sum()) / limit
    return log_loss(y, proba, labels=model.classes_), off, seconds, passes


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
    both = getattr(skfm, "WideDeep" + end)
    models["WideDeep pair"] = both(random_state=seed)
    models["DeepFM pair"] = both(interactions=True, random_state=seed)
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
        "FM ftrl": strength | {"ftrl_beta": (0.01, 0.1)},
        "FFM adagrad": machine | loop,
        "FFM ftrl": strength | {"ftrl_beta": (0.01, 0.1)},
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


def mean_and_error(values):
    """Mean and its standard error."""
    import numpy as np

    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def difference(losses, others):
    """Mean difference and its standard error."""
    return mean_and_error(losses - others)


def study_defaults(sets, model):
    """The defaults in cross-validation, of the models whose name begins with `model`."""
    import numpy as np

    names = [name for name in contestants(False) if name != BASELINE and name.startswith(model)]
    print(f"{'':<24}{BASELINE:>8}" + "".join(f"{name:>18}" for name in names))
    more = {}
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
        more[title] = np.array([rows.mean(axis=0) for rows in results.values()])
    for column, what in enumerate(("calibration", "seconds", "passes"), start=1):
        print(f"\n{what:<24}{'':>8}" + "".join(f"{name:>18}" for name in names))
        for title, values in more.items():
            cells = ["–" if np.isnan(v) else f"{v:.3g}" for v in values[:, column]]
            print(f"{title:<24}{cells[0]:>8}" + "".join(f"{cell:>18}" for cell in cells[1:]))


def six_models(seed=0):
    """Logistic regression and our classifiers with their defaults, by name."""
    from sklearn.linear_model import LogisticRegression

    return {BASELINE: LogisticRegression(max_iter=500), **ours("Classifier", seed)}


def ours(end, seed=0):
    """Our models with their defaults, by name; `end` is what the names of classes end in."""
    from sklearn.base import clone

    import skfm

    models = {
        name: getattr(skfm, name + end)(random_state=seed)
        for name in ("FM", "FwFM", "FFM", "WideDeep")
    }
    models["DeepFM"] = clone(models["WideDeep"]).set_params(interactions=True)
    return models


def study_ranking(model, put_aside=False, n_repeats=3):
    """Events of MovieLens among sampled movies: log loss and ranks of one event per user.

    Each repetition holds out other events and samples other movies.
    """
    import time

    import numpy as np
    from sklearn.metrics import log_loss

    measures = ("log loss", "HR@10", "NDCG@10", "seconds", "passes")
    done = {}
    for repeat in range(n_repeats):
        data, train, test = implicit_movielens(tables(), repeat, put_aside)
        for name, contestant in six_models(repeat).items():
            if name != BASELINE and not name.startswith(model):
                continue
            start = time.process_time()
            contestant.fit(data.X[train], data.y[train])
            seconds = time.process_time() - start
            p = contestant.predict_proba(data.X[test])[:, 1].reshape(-1, N_RIVALS + 1)
            rivals = p[:, 1:]
            # The event's place among its rivals, in the middle of those that have its score.
            place = ((rivals > p[:, :1]).sum(axis=1) + (rivals >= p[:, :1]).sum(axis=1)) / 2
            some = p[:, : N_NEGATIVES + 1]  # as many for each event as in training
            y = np.arange(some.size) % some.shape[1] == 0
            done.setdefault(name, []).append([
                log_loss(y, some.ravel()),
                (place < 10).mean(),
                np.where(place < 10, 1 / np.log2(place + 2), 0).mean(),
                seconds,
                np.mean(getattr(contestant, "best_iter_", np.nan)),
            ])  # fmt: skip
    print(f"{'implicit movielens':<24}" + "".join(f"{name:>18}" for name in measures))
    for name, rows in done.items():
        cells = [f"{m:.4f} ±{e:.4f}" for m, e in map(mean_and_error, np.transpose(rows)[:3])]
        cells += [f"{mean:.1f}" for mean in np.mean(rows, axis=0)[3:]]
        print(f"{name:<24}" + "".join(f"{cell:>18}" for cell in cells))


def study_large(model):
    """Two million rows, once: what is learned, in how many passes and seconds."""
    from sklearn.model_selection import train_test_split

    data = large()
    _, train, _ = splits(data)
    train, valid = train_test_split(train, test_size=0.1, random_state=0)
    print(f"{'2,000,000 rows':<24}{'log loss':>10}{'calibration':>13}{'seconds':>10}{'passes':>9}")
    for name, contestant in six_models().items():
        if name == BASELINE or name.startswith(model):
            loss, off, seconds, passes = fit_and_score(contestant, data, train, valid)
            print(f"{name:<24}{loss:>10.4f}{off:>13.2f}{seconds:>10.1f}{passes:>9.0f}", flush=True)


def study_variations(sets, only, n_rows=5000):
    """Other values than the defaults: change of the loss in percent and of the seconds.

    As there are many, three folds of a part of the rows decide.
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
        rng = np.random.default_rng(0)
        pairs = [(rng.permutation(a)[:n_rows], b) for a, b in splits(data)[0][:3]]
        results = all_results(data, models, pairs)
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


def open_test_parts(sets, n_seeds=3):
    """The defaults on the rows put aside, over seeds: mean loss and its spread."""
    import numpy as np

    names = [*contestants(False)][1:]
    print(f"{'':<24}{BASELINE:>8}" + "".join(f"{name:>18}" for name in names))
    off = {}
    for title, data in sets:
        _, train, test = splits(data)
        seeds = [contestants(data.regression, seed) for seed in range(n_seeds)]
        models = {
            (name, s): model
            for s, models in enumerate(seeds)
            for name, model in models.items()
            if s == 0 or name not in LINEAR
        }
        fitted = all_results(data, models, [(train, test)])
        results = {n: np.vstack([fitted[key] for key in models if key[0] == n]) for n in seeds[0]}
        line = f"{title:<24}{results[BASELINE][0, 0]:>8.4f}"
        for name in names:
            losses = results[name][:, 0]
            text = f"{losses.mean():.4f}"
            if name not in LINEAR:
                text += f" ±{losses.std(ddof=1):.4f}"
            line += f"{text:>18}"
        print(line, flush=True)
        off[title] = [rows[:, 1].max() for rows in results.values()]
    print(f"\n{'calibration, worst seed':<24}{'':>8}" + "".join(f"{name:>18}" for name in names))
    for title, values in off.items():
        if not np.isnan(values).any():
            print(f"{title:<24}{values[0]:>8.2f}" + "".join(f"{v:>18.2f}" for v in values[1:]))


def study_numbers(only):
    """Models behind encoders, fitted fold by fold: the mean loss of each."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

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
        for name, model in ours("Regressor" if regression else "Classifier").items():
            for numeric in ("quantile", "piecewise_linear"):
                yield f"{name} {numeric[:5]}", make_pipeline(FieldEncoder(numeric=numeric), model)

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
    what.add_argument("--ranking", action="store_true", help="implicit feedback")
    what.add_argument("--large", action="store_true", help="two million rows")
    what.add_argument("--test", action="store_true", help="the rows put aside, once, in the end")
    args = parser.parse_args()
    if not os.environ.get("SKFM_BENCHMARK"):
        return in_own_environment()

    sets = ((title, make()) for title, make in datasets().items() if args.only in title)
    if args.numbers:
        study_numbers(args.only)
    elif args.ranking:
        study_ranking(args.model)
    elif args.large:
        study_large(args.model)
    elif args.vary is not None:
        study_variations(sets, args.vary)
    elif args.test:
        open_test_parts(sets)
        if not args.only:
            rate_movies()
            study_ranking(args.model, put_aside=True)
    else:
        study_defaults(sets, args.model)
    return 0


if __name__ == "__main__":
    sys.exit(main())
