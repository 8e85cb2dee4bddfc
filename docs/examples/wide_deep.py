"""
Wide & Deep: two solvers, crosses, and what they buy
====================================================

Four questions, each answered by a table:

1. Is the joint model better than its wide part, logistic regression and a factorization
   machine, at default settings and over five seeds?
2. FTRL for the wide part and AdaGrad for the deep part, against either alone, each part
   with settings of its own: log loss, and how many wide weights remain.
3. With the crosses of all pairs of fields, how many can L1 remove for free?
4. An interaction of three variables that no pair of them shows: who learns it?

Questions 1 to 3 are about generated clicks or, with ``--csv FILE --target COLUMN``, about any
CSV file; every column is one-hot encoded. ``--plot FILE`` draws the answer to question 2
(with matplotlib).
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from quickstart import from_csv, generated
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from skfm import FFMClassifier, FMClassifier, WideDeepClassifier
from skfm.preprocessing import FieldEncoder

SOLVERS = {
    "FTRL + AdaGrad": ("ftrl", "adagrad"),
    "AdaGrad alone": "adagrad",
    "FTRL alone": "ftrl",
}
# The numbers of the two solvers are not comparable: FTRL's L1 counts once over the whole
# stream, AdaGrad's in every step.
WIDE_L1 = {"ftrl": [0, 1, 4, 16, 64], "adagrad": [0, 0.004, 0.016, 0.064, 0.256]}
DEEP_LEARNING_RATE = [0.02, 0.05, 0.1]


def defaults(rows, y, seeds):
    """Log loss and accuracy on a quarter of the rows, another one for every seed."""
    models = {
        "LogisticRegression": LogisticRegression(max_iter=1000),
        "FMClassifier": FMClassifier(),
        "wide part only (k=0)": WideDeepClassifier(0),
        "WideDeepClassifier": WideDeepClassifier(),
    }
    losses = {name: [] for name in models}
    accuracies = {name: [] for name in models}
    for seed in seeds:
        train, test = train_test_split(
            np.arange(len(y)), stratify=y, test_size=0.25, random_state=seed
        )
        encode = FieldEncoder(min_frequency=5).fit(rows[train])
        X, X_test = encode.transform(rows[train]), encode.transform(rows[test])
        for name, model in models.items():
            fitted = clone(model).set_params(random_state=seed).fit(X, y[train])
            losses[name].append(log_loss(y[test], fitted.predict_proba(X_test)))
            accuracies[name].append(accuracy_score(y[test], fitted.predict(X_test)))
    print(f"1. Defaults, mean and standard deviation over {len(seeds)} seeds\n")
    print(f"{'model':<24}{'log loss':>10}{'±':>8}{'accuracy':>10}{'±':>8}")
    for name in models:
        print(
            f"{name:<24}{np.mean(losses[name]):>10.4f}{np.std(losses[name]):>8.4f}"
            f"{np.mean(accuracies[name]):>10.4f}{np.std(accuracies[name]):>8.4f}"
        )


def three_parts(rows, y, seed):
    """Encoded rows to train, to choose by and to test on."""
    train, test = train_test_split(np.arange(len(y)), stratify=y, test_size=0.25, random_state=seed)
    train, valid = train_test_split(train, stratify=y[train], test_size=0.2, random_state=seed)
    encode = FieldEncoder(min_frequency=5).fit(rows[train])
    return [(encode.transform(rows[part]), y[part]) for part in (train, valid, test)]


def solvers(rows, y, seeds):
    """Raise L1 of the wide part; for each, choose the deep part's rate on validation rows."""
    print(f"\n2. Solvers, on test rows, over {len(seeds)} seeds\n")
    print(
        f"{'wide + deep solver':<20}{'wide_l1':>9}{'log loss':>10}{'±':>8}{'wide weights left':>19}"
    )
    data = [three_parts(rows, y, seed) for seed in seeds]
    curves = {}
    for name, solver in SOLVERS.items():
        curves[name] = []
        for l1 in WIDE_L1[solver if isinstance(solver, str) else solver[0]]:
            found = []
            for seed, ((X, target), (X_valid, y_valid), (X_test, y_test)) in zip(
                seeds, data, strict=True
            ):
                models = [
                    WideDeepClassifier(
                        solver=solver, wide_l1=l1, deep_learning_rate=rate, random_state=seed
                    ).fit(X, target, X_val=X_valid, y_val=y_valid)
                    for rate in DEEP_LEARNING_RATE
                ]
                best = max(models, key=lambda model: max(model.validation_scores_))
                loss = log_loss(y_test, best.predict_proba(X_test))
                found.append((np.mean(best.coef_ != 0), loss))
            (left, loss), (_, spread) = np.mean(found, axis=0), np.std(found, axis=0)
            curves[name].append((left, loss, spread))
            print(f"{name:<20}{l1:>9}{loss:>10.4f}{spread:>8.4f}{left:>19.1%}")
    return curves


def crosses(parts):
    """Raise L1 with the crosses of all pairs of fields."""
    (X, y), (X_valid, y_valid), (X_test, y_test) = parts
    print("\n3. Crosses of all pairs of fields\n")
    print(f"{'wide_l1':>8}{'crosses left':>14}{'of those touched':>18}{'log loss':>10}")
    touched = None
    for l1 in WIDE_L1["ftrl"]:
        model = WideDeepClassifier(crosses="all", wide_l1=l1, random_state=0)
        model.fit(X, y, X_val=X_valid, y_val=y_valid)
        left = np.count_nonzero(model.cross_coef_)
        touched = touched or left  # without L1 every weight that training touched
        loss = log_loss(y_test, model.predict_proba(X_test))
        print(f"{l1:>8}{left:>14,}{left / touched:>18.1%}{loss:>10.4f}")


def three_way(n_rows=20_000, n_categories=6):
    """Plant an interaction of three variables that is invisible in every pair of them."""
    rng = np.random.default_rng(0)
    categories = rng.integers(n_categories, size=(n_rows, 4))
    parity = categories[:, :3].sum(axis=1) % 2
    p = np.where(parity, 0.8, 0.2)
    y = (rng.random(n_rows) < p).astype(int)
    train, test = train_test_split(np.arange(n_rows), test_size=0.25, random_state=0)
    encode = OneHotEncoder().fit(categories[train])
    X, X_test = encode.transform(categories[train]), encode.transform(categories[test])
    print("\n4. The parity of three variables decides, with probability 0.8\n")
    print(f"{'best possible':<34}{log_loss(y[test], p[test]):>10.4f}")
    models = {
        "LogisticRegression": LogisticRegression(),
        "FMClassifier(16)": FMClassifier(16, random_state=0),
        "FFMClassifier": FFMClassifier(random_state=0),
        "wide part, all pairs": WideDeepClassifier(0, crosses="all", random_state=0),
        "wide part, crosses=[(0, 1, 2)]": WideDeepClassifier(
            0, crosses=[(0, 1, 2)], random_state=0
        ),
        "WideDeepClassifier": WideDeepClassifier(n_iter_no_change=20, random_state=0),
    }
    for name, model in models.items():
        with warnings.catch_warnings():
            # Those that cannot learn it say that they are constant.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y[train])
        print(f"{name:<34}{log_loss(y[test], model.predict_proba(X_test)):>10.4f}")


def plot(curves, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for (name, points), marker in zip(curves.items(), "os^", strict=True):
        left, loss, spread = zip(*points, strict=True)
        axes.errorbar(left, loss, spread, marker=marker, capsize=3, label=name)
    axes.set(
        xlabel="share of linear weights that are not zero",
        ylabel="log loss on test rows",
        title="Wide & Deep: sparsity of the wide part under L1",
    )
    axes.xaxis.set_major_formatter("{x:.0%}")
    # Above the axes, where it covers no error bar.
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=3)
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].splitlines()[0])
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--target", metavar="COLUMN")
    parser.add_argument("--rows", type=int, default=10_000, help="rows to generate")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    args = parser.parse_args()
    if bool(args.csv) != bool(args.target):
        parser.error("--csv and --target go together")
    rows, labels, _ = from_csv(args.csv, args.target) if args.csv else generated(args.rows)
    values, counts = np.unique(labels, return_counts=True)
    y = (labels == values[counts.argmin()]).astype(int)
    defaults(rows, y, range(5))
    curves = solvers(rows, y, range(3))
    crosses(three_parts(rows, y, seed=0))
    three_way()
    if args.plot:
        plot(curves, args.plot)


if __name__ == "__main__":
    main()
