"""Tune skfm and its peers over a small grid each: log loss in cross-validation, and seconds.

    python docs/benchmarks/tuned.py

runs in the environment of `speed.py`, on the sets and folds of `defaults.py`: RMSE where the
target is a number, one-vs-rest where there are several classes. Every package has six settings to
choose from, strengths of the L2 penalty on factors and learning rates (or starts), from what its
authors propose to what is usual here; three of six folds choose, and what is printed comes from
all of them. FM and FwFM have 8 factors, FFM 4; modern-fm gets standardized targets. All stop early
on a tenth of the training rows, skfm and modern-fm with a patience of 3, LIBFFM with none. In
the end skfm's models learn once from these rows; the others are trained again on all rows, with
as many passes as were best.

After the loss of skfm stands its mean difference from each peer (negative: skfm is better) and
the standard error, from the differences fold by fold, with a star where skfm is worse by more
than two of them. Seconds are of processor time, for all that a fit takes. LIBFFM has no seed: its
figures differ from run to run.
"""

import argparse
import itertools
import os
import sys
import time
import warnings

from defaults import datasets, splits
from speed import PyLibFFM, in_own_environment

PATIENCE = 3


def loss_of(data, test, prediction, classes=None):
    """RMSE, or the log loss of probabilities with a column for each class."""
    import numpy as np
    from sklearn.metrics import log_loss, root_mean_squared_error

    if not np.isfinite(prediction).all():
        return np.inf
    if data.regression:
        return root_mean_squared_error(data.y[test], prediction)
    return log_loss(data.y[test], prediction, labels=classes)


def product(**values):
    """All combinations, as dictionaries."""
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]


class Ours:
    """An estimator of skfm."""

    def __init__(self, name, k, grid):
        self.name, self.k, self.grid = name, k, grid

    def run(self, data, train, test, params, final):
        import skfm

        model = getattr(skfm, self.name + ("Regressor" if data.regression else "Classifier"))
        model = model(self.k, random_state=0, n_iter_no_change=PATIENCE, **params)
        if data.fields is not None and "fields" in model.get_params():
            model.set_params(fields=data.fields)
        start = time.process_time()
        model.fit(data.X[train], data.y[train])
        spent = time.process_time() - start
        if data.regression:
            return loss_of(data, test, model.predict(data.X[test])), spent
        return loss_of(data, test, model.predict_proba(data.X[test]), model.classes_), spent


class Modern:
    """An estimator of modern-fm. The final one learns from the rows held out as well."""

    grid = product(l2_factors=(1e-5, 1e-3, 1e-2), learning_rate=(0.02, 0.05))

    def __init__(self, name, k):
        self.name, self.k = name, k

    def run(self, data, train, test, params, final):
        import modern_fm
        import numpy as np
        from scipy.sparse import csr_matrix

        cls = getattr(
            modern_fm, self.name + ("Regressor" if data.regression else "Classifier"), None
        )
        if cls is None:
            return np.nan, np.nan
        extra = {} if self.name == "FM" else {"field_ids": fields_of(data, train)}
        X = csr_matrix(data.X)

        def fit(y):
            model = cls(
                n_factors=self.k, early_stopping=True, patience=PATIENCE, n_jobs=1,
                random_state=0, **params,
            )  # fmt: skip
            model.fit(X[train], y[train], **extra)
            if final:
                stopped = model.n_iter_ < model.max_iter
                passes = max(1, model.n_iter_ - PATIENCE * stopped)
                model.set_params(early_stopping=False, max_iter=passes)
                model.fit(X[train], y[train], **extra)
            return model

        start, classes = time.process_time(), np.unique(data.y)
        if data.regression:
            mean, scale = data.y[train].mean(), data.y[train].std()
            model = fit((data.y - mean) / scale)
            spent = time.process_time() - start
            return loss_of(data, test, mean + scale * model.predict(X[test])), spent
        models = [fit((data.y == c).astype(int)) for c in classes[1 if len(classes) == 2 else 0 :]]
        spent = time.process_time() - start
        proba = np.stack([model.predict_proba(X[test])[:, 1] for model in models], axis=1)
        if len(classes) == 2:
            proba = np.hstack([1 - proba, proba])
        proba /= proba.sum(axis=1, keepdims=True)
        return loss_of(data, test, proba, classes), spent


class LibFFM:
    """LIBFFM by pylibffm, whose losses are those that it prints.

    The last of them would be that of the model, but as it ends training when they rise, it gets
    the best of those of the rows for the test.
    """

    grid = product(**{"lambda": (2e-5, 1e-3, 1e-2), "eta": (0.05, 0.2)})

    def __init__(self, k):
        self.k = k

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
    """Print a line for a set: for each of our models its loss, and the peers' beside it."""
    import numpy as np
    from joblib import Parallel, delayed

    folds = splits(data)[0][:6]
    half = len(folds) // 2
    contestants = [c for group in groups for c in group.values()]
    jobs = [(c, fold, p) for c in contestants for p in c.grid for fold in folds[:half]]
    parallel = Parallel(n_jobs=2)
    first = parallel(delayed(run)(c, data, *fold, p) for c, fold, p in jobs)
    first = np.reshape(first, (len(contestants), -1, half, 2))
    chosen = [
        c.grid[int(np.argmin(means))]
        for c, means in zip(contestants, first[..., 0].mean(axis=2), strict=True)
    ]
    jobs = [(c, fold, p) for c, p in zip(contestants, chosen, strict=True) for fold in folds]
    done = parallel(delayed(run)(c, data, *fold, p, final=True) for c, fold, p in jobs)
    done = np.reshape(done, (len(contestants), len(folds), 2))
    line, at = f"{title:<24}", 0
    for group in groups:
        ours, *others = done[at : at + len(group)]
        at += len(group)
        line += f"{ours[:, 0].mean():>10.4f}{np.median(ours[:, 1]):>6.1f}s"
        for theirs in others:
            gap = ours[:, 0] - theirs[:, 0]
            error = gap.std(ddof=1) / np.sqrt(len(gap))
            star = "*" if gap.mean() > 2 * error else " "
            text = f"{gap.mean():+.4f} ±{error:.4f}{star}{np.median(theirs[:, 1]):>6.1f}s"
            line += f"{'–' if np.isnan(error) else text:>26}"
    print(line, flush=True)
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="part of the name of a data set")
    args = parser.parse_args()
    if not os.environ.get("SKFM_BENCHMARK"):
        return in_own_environment()

    fm = product(l2_factors=(1e-3, 2e-2), learning_rate=(0.05, 0.1, 0.2))
    # Factors that learn at once, where all columns are frequent, or that start late.
    starts = {"ftrl_beta": 0.01, "learning_rate": 0.05}, {"init_scale": 0.01}
    ffm = [
        {"solver": "ftrl", "l2_factors": l2, **start}
        for l2 in (1e-3, 5e-3, 2e-2)
        for start in starts
    ]
    groups = [
        {"FM": Ours("FM", 8, fm), **{f"modern-fm {n}": Modern(n, 8) for n in ("FM", "FwFM")}},
        {
            "FFM": Ours("FFM", 4, ffm),
            "modern-fm FFM": Modern("FFM", 4),
            "LIBFFM": LibFFM(4),
        },
    ]
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
