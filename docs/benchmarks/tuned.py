"""Tune skfm and its peers over a small grid each: log loss in cross-validation, and seconds.

    python docs/benchmarks/tuned.py

runs in the environment of `run.py`, on the sets and folds of `sets.py`: RMSE where the
target is a number, one-vs-rest where there are several classes. Every package has nine settings to
choose from, strengths of the L2 penalty on factors and learning rates (or starts), from what its
authors propose to what is usual here; three of six folds choose, and what is printed comes from
all of them. FM and FwFM have 8 factors, FFM 4; modern-fm gets standardized targets. All stop early
on a tenth of the training rows, skfm and modern-fm with a patience of 3, LIBFFM with none. In the
end skfm learns from the rows held out, as `fit` does, and the others are trained again on all rows,
with as many passes as were best.

After the loss of skfm stands its mean difference from each peer (negative: skfm is better) and
the standard error, from the differences fold by fold, with a star where skfm is worse by more
than two of them. Seconds are of processor time, for all that a fit takes. LIBFFM has no seed: its
figures differ from run to run.

    python docs/benchmarks/tuned.py --draws

takes 200 random settings from the distributions of docs/examples/tuning.py instead, on at most
3,000 rows of a few sets, and prints for each model by how many percent the best of 20 is worse
than the best of all 200, on average of the ten times 20 and in the worst of them, then how much
the best of all is better than the defaults: losses are means over two folds.
"""

import argparse
import itertools
import os
import sys
import time
import warnings
from dataclasses import replace

from contestants import PyLibFFM
from defaults import difference, fit_and_score
from environment import HERE, in_own_environment
from sets import datasets, splits

PATIENCE = 3


def product(**values):
    """All combinations, as dictionaries."""
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]


class Contestant:
    """A model with its settings; `predict` fits one to rows with a binary or numeric target."""

    def __init__(self, name, k, grid):
        self.name, self.k, self.grid = name, k, grid

    def run(self, data, train, test, params, final):
        """Loss on the test rows, and seconds; one model for each of several classes."""
        import numpy as np
        from sklearn.metrics import log_loss, root_mean_squared_error

        start, classes = time.process_time(), np.unique(data.y)
        targets = [data.y]
        if not data.regression:
            targets = [(data.y == c).astype(int) for c in classes[1 if len(classes) == 2 else 0 :]]
        done = [self.predict(replace(data, y=y), train, test, params, final=final) for y in targets]
        spent, y = time.process_time() - start, data.y[test]
        if not np.isfinite(done).all():
            return np.nan, spent
        if data.regression:
            return root_mean_squared_error(y, done[0]), spent
        proba = np.stack([1 - done[0], done[0]] if len(classes) == 2 else done, axis=1)
        return log_loss(y, proba / proba.sum(axis=1, keepdims=True), labels=classes), spent


class Ours(Contestant):
    """An estimator of skfm."""

    def predict(self, data, train, test, params, final):
        import skfm

        model = getattr(skfm, self.name + ("Regressor" if data.regression else "Classifier"))
        model = model(self.k, random_state=0, n_iter_no_change=PATIENCE, **params)
        if data.fields is not None and "fields" in model.get_params():
            model.set_params(fields=data.fields)
        X, y = data.X[train], data.y[train]
        model.fit(X, y)  # which learns from the rows held out, too, in the end
        if data.regression:
            return model.predict(data.X[test])
        return model.predict_proba(data.X[test])[:, 1]


class Modern(Contestant):
    """An estimator of modern-fm."""

    def predict(self, data, train, test, params, final):
        import modern_fm
        import numpy as np
        from scipy.sparse import csr_matrix

        kind = "Regressor" if data.regression else "Classifier"
        if not hasattr(modern_fm, self.name + kind):
            return np.full(len(test), np.nan)
        model = getattr(modern_fm, self.name + kind)(
            n_factors=self.k, early_stopping=True, patience=PATIENCE, n_jobs=1, random_state=0,
            **params,
        )  # fmt: skip
        X, y = csr_matrix(data.X), data.y
        extra = {} if self.name == "FM" else {"field_ids": fields_of(data, train)}
        mean, scale = (y[train].mean(), y[train].std()) if data.regression else (0, 1)
        target = (y[train] - mean) / scale if data.regression else y[train]
        model.fit(X[train], target, **extra)
        if final:
            stopped = model.n_iter_ < model.max_iter
            passes = max(1, model.n_iter_ - PATIENCE * stopped)
            model.set_params(early_stopping=False, max_iter=passes)
            model.fit(X[train], target, **extra)
        if data.regression:
            return mean + scale * model.predict(X[test])
        return model.predict_proba(X[test])[:, 1]


class LibFFM(Contestant):
    """LIBFFM by pylibffm, whose losses are those that it prints.

    The last of them would be that of the model, but as it ends training when they rise, it gets
    the best of those of the rows for the test.
    """

    def run(self, data, train, test, params, final):
        import numpy as np
        from scipy.sparse import csr_matrix
        from sklearn.model_selection import train_test_split

        if data.regression or len(np.unique(data.y)) > 2:
            return np.nan, np.nan
        X, y, fields = csr_matrix(data.X), data.y, fields_of(data, train)
        part, valid = train_test_split(train, test_size=0.1, stratify=y[train], random_state=0)
        ffm = PyLibFFM(self.k, **params)
        start = time.process_time()
        first = ffm.validation_losses(X[part], y[part], fields, 100, X[valid], y[valid])
        if not final:
            return min(first), time.process_time() - start
        passes = int(np.argmin(first)) + 1
        again = ffm.validation_losses(X[train], y[train], fields, passes, X[test], y[test])
        return min(again), time.process_time() - start


def fields_of(data, train):
    import numpy as np

    import skfm

    fields = skfm.infer_fields(data.X[train]) if data.fields is None else data.fields
    if np.ndim(fields) == 0:
        fields = np.repeat(np.arange(fields), data.X.shape[1] // fields)
    return np.asarray(fields, np.int32)


def run(contestant, data, train, test, params, final=False):
    """Loss on the test rows, and seconds of processor time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return contestant.run(data, train, test, params, final)


def compare(title, data, groups):
    """Print a line for a set: for each of our models its loss, and the peers' beside it.

    A loss is NaN where a model does not apply, or where its predictions are not finite.
    """
    import numpy as np
    from joblib import Parallel, delayed

    folds = splits(data)[0][:6]
    half = len(folds) // 2
    contestants = [c for group in groups for c in group.values()]
    jobs = [(c, fold, p) for c in contestants for p in c.grid for fold in folds[:half]]
    parallel = Parallel(n_jobs=2)
    first = parallel(delayed(run)(c, data, *fold, p) for c, fold, p in jobs)
    first = np.reshape(first, (len(contestants), -1, half, 2))
    means = np.nan_to_num(first[..., 0].mean(axis=2), nan=np.inf)
    chosen = [c.grid[best] for c, best in zip(contestants, means.argmin(axis=1), strict=True)]
    jobs = [(c, fold, p) for c, p in zip(contestants, chosen, strict=True) for fold in folds]
    done = parallel(delayed(run)(c, data, *fold, p, final=True) for c, fold, p in jobs)
    done = np.reshape(done, (len(contestants), len(folds), 2))
    line, at = f"{title:<24}", 0
    for group in groups:
        ours, *others = done[at : at + len(group)]
        at += len(group)
        line += f"{ours[:, 0].mean():>10.4f}{np.median(ours[:, 1]):>6.1f}s"
        for theirs in others:
            gap, error = difference(ours[:, 0], theirs[:, 0])
            star = "*" if gap > 2 * error else " "
            text = f"{gap:+.4f} ±{error:.4f}{star}{np.median(theirs[:, 1]):>6.1f}s"
            line += f"{'–' if np.isnan(error) else text:>26}"
    print(line, flush=True)
    return chosen


DRAWN_SETS = ("adult", "movielens", "strong interactions", "no interactions", "california")


def study_draws(only, n_draws=200, n_few=20, n_rows=3000):
    """How much of what many random settings find a few of them find."""
    import numpy as np
    from joblib import Parallel, delayed
    from sklearn.base import clone
    from sklearn.model_selection import ParameterSampler

    import skfm

    sys.path.append(str(HERE.parent / "examples"))
    from tuning import MODELS, PARAM_DISTRIBUTIONS

    print(f"{'percent':<24}" + "".join(f"{name:>22}" for name in MODELS))
    for title in DRAWN_SETS:
        if only and only not in title:
            continue
        data = datasets()[title]()
        _, train, _ = splits(data)
        rows = np.sort(np.random.default_rng(0).permutation(train)[:n_rows])
        data = replace(data, X=data.X[rows], y=data.y[rows])
        folds = splits(data)[0][:2]
        line = f"{title:<24}"
        for name, model in MODELS.items():
            if data.regression:
                regressor = type(model).__name__.replace("Classifier", "Regressor")
                shared = {p: v for p, v in model.get_params().items() if p != "class_weight"}
                model = getattr(skfm, regressor)(**shared)
            settings = ParameterSampler(PARAM_DISTRIBUTIONS[name], n_draws, random_state=0)
            jobs = [
                delayed(fit_and_score)(clone(model).set_params(random_state=0, **s), data, *fold)
                for s in [{}, *settings]
                for fold in folds
            ]
            losses = np.reshape(Parallel(n_jobs=2)(jobs), (n_draws + 1, len(folds), -1))[..., 0]
            default, losses = losses[0].mean(), losses[1:].mean(axis=1)
            best = losses.min()
            few = 100 * (losses.reshape(-1, n_few).min(axis=1) / best - 1)
            line += f"{few.mean():>+8.2f}{few.max():>+7.2f}{100 * (best / default - 1):>+7.1f}"
        print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="part of the name of a data set")
    parser.add_argument("--model", choices=("FM", "FwFM", "FFM"), help="this model only")
    parser.add_argument("--draws", action="store_true", help="random settings, few and many")
    args = parser.parse_args()
    if not os.environ.get("SKFM_BENCHMARK"):
        return in_own_environment()
    if args.draws:
        study_draws(args.only)
        return 0

    strengths = (1e-3, 5e-3, 2e-2)
    # Factors of FFM learn at once, where all columns are frequent, or start late.
    starts = (
        {"ftrl_beta": 0.01, "learning_rate": 0.03},
        {"init_scale": 0.01, "learning_rate": 0.03},
        {"init_scale": 0.01},
    )
    ours = product(l2_factors=strengths, learning_rate=(0.03, 0.1, 0.2))
    ours_ffm = [
        {**row, **start}
        for row in product(solver=["ftrl"], l2_factors=strengths)
        for start in starts
    ]
    # Where factors should say little, the weights of pairs should, too.
    penalties = ((1e-3, 0.0), (5e-3, 0.0), (2e-2, 1e-3))
    ours_fwfm = [
        {"l2_factors": factors, "l2_field_weights": weights, "learning_rate": rate}
        for factors, weights in penalties
        for rate in (0.03, 0.1, 0.2)
    ]
    modern = product(l2_factors=(1e-5, 1e-3, 1e-2), learning_rate=(0.02, 0.05, 0.1))
    libffm = product(**{"lambda": (2e-5, 1e-3, 1e-2), "eta": (0.05, 0.1, 0.2)})
    groups = [
        {
            "FM": Ours("FM", 8, ours),
            "modern-fm FM": Modern("FM", 8, modern),
        },
        {
            "FwFM": Ours("FwFM", 8, ours_fwfm),
            "modern-fm FwFM": Modern("FwFM", 8, modern),
        },
        {
            "FFM": Ours("FFM", 4, ours_ffm),
            "modern-fm FFM": Modern("FFM", 4, modern),
            "LIBFFM": LibFFM("FFM", 4, libffm),
        },
    ]
    if args.model:
        groups = [group for group in groups if args.model in group]
    line = f"{'':<24}"
    for group in groups:
        ours, *others = group
        line += f"{ours:>17}" + "".join(f"{name:>26}" for name in others)
    print(line)
    settings = {}
    for title, make in datasets().items():
        if not args.only or args.only in title:
            settings[title] = compare(title, make(), groups)
    print("\nchosen settings")
    for title, chosen in settings.items():
        print(f"{title:<24}" + "  ".join(str(tuple(params.values())) for params in chosen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
