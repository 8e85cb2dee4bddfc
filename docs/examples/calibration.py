"""
Calibration: rare clicks, class weights and sampled negatives
=============================================================

The predicted probabilities of rare clicks sum up to the clicks, up to 2% and chance, with default
settings. A model that was trained with less weight for the negatives, or on a sample of them,
predicts too much; adding the logarithm of the rate, the negatives' weight or the share of them
that was kept, to its log-odds corrects it (He et al. 2014). ``--plot FILE`` draws
reliability diagrams (with matplotlib).
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.special import expit
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.datasets import make_clicks

RATE = 0.1


def models(clicks, train):
    """Fitted models and what has to be added to their log-odds, by name."""
    sampled = (clicks.y == 1) | (np.random.default_rng(0).random(len(clicks.y)) < RATE)
    few = train[sampled[train]]
    return {
        "all rows": (FMClassifier(random_state=0).fit(clicks.X[train], clicks.y[train]), 0),
        "class_weight": (
            FMClassifier(class_weight={0: RATE, 1: 1}, random_state=0).fit(
                clicks.X[train], clicks.y[train]
            ),
            np.log(RATE),
        ),
        "sampled negatives": (
            FMClassifier(random_state=0).fit(clicks.X[few], clicks.y[few]),
            np.log(RATE),
        ),
    }


def plot(y, probabilities, path):
    """Mean prediction against the share of clicks, in twenty groups of equal size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from sklearn.calibration import calibration_curve

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(9, 4), sharex=True, sharey=True, layout="constrained"
    )
    for (name, (raw, corrected)), marker in zip(probabilities.items(), "os^", strict=True):
        for axes, proba in ((left, raw), (right, corrected)):
            share, mean = calibration_curve(y, proba, n_bins=20, strategy="quantile")
            axes.plot(mean, share, marker=marker, markersize=4, linewidth=1, label=name)
    for axes, title in ((left, "as predicted"), (right, "corrected by the rate")):
        axes.plot([1e-4, 1], [1e-4, 1], color="0.7", zorder=0)
        axes.set(xscale="log", yscale="log", title=title, xlabel="mean predicted probability")
        axes.set(xlim=(2e-3, 0.9), ylim=(2e-3, 0.9))
    left.set_ylabel("share of clicks")
    left.legend(title="trained on")
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="rows to generate")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    args = parser.parse_args()
    clicks = make_clicks(args.rows, n_fields=8, base_rate=0.03, random_state=0)
    train, test = np.split(np.random.default_rng(1).permutation(args.rows), [args.rows * 2 // 3])
    y, probabilities = clicks.y[test], {}
    print(
        f"{y.sum()} clicks in {len(y)} test rows; standard deviation {y.std() * len(y) ** 0.5:.0f}"
    )
    print(f"{'':<20}{'sum of predictions':>20}{'log loss':>10}{'corrected:':>12}{'log loss':>10}")
    for name, (model, shift) in models(clicks, train).items():
        score = model.decision_function(clicks.X[test])
        probabilities[name] = pair = expit(score), expit(score + shift)
        line = "".join(
            f"{p.sum():>{w}.0f}{log_loss(y, p):>10.4f}" for p, w in zip(pair, (20, 12), strict=True)
        )
        print(f"{name:<20}{line}")
    if args.plot:
        plot(y, probabilities, args.plot)


if __name__ == "__main__":
    main()
