"""
Reliability of probabilities
============================

If a model predicts 3%, do 3% click? With default settings the predictions for 882 rare clicks add
up to 890. A model trained with a tenth of the weight on the negatives, or on a tenth of them,
predicts about six times as many. Adding the logarithm of that rate to its log-odds corrects this
(He et al. 2014): the sums become 816 and 872. The first of them is 7% too low; the log losses are
0.1132 and 0.1150, where all rows give 0.1132.
"""

# %%
# Three ways to train on rare clicks
# ----------------------------------

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.datasets import make_clicks

RATE = 0.1  # of the negatives that are kept, or their weight
clicks = make_clicks(90_000, n_fields=8, n_categories=30, base_rate=0.03, random_state=0)
train, test = np.arange(60_000), np.arange(60_000, 90_000)
y_test = clicks.y[test]
rng = np.random.default_rng(0)
sampled = train[(clicks.y[train] == 1) | (rng.random(len(train)) < RATE)]

models = {
    "all rows": FMClassifier(random_state=0).fit(clicks.X[train], clicks.y[train]),
    "class_weight": FMClassifier(class_weight={0: RATE, 1: 1}, random_state=0).fit(
        clicks.X[train], clicks.y[train]
    ),
    "sampled negatives": FMClassifier(random_state=0).fit(clicks.X[sampled], clicks.y[sampled]),
}

# %%
# Before and after the correction
# -------------------------------

print(f"{y_test.sum()} clicks in {len(y_test):,} test rows")
found = {}
for name, model in models.items():
    score = model.decision_function(clicks.X[test])
    shift = 0 if name == "all rows" else np.log(RATE)
    found[name] = expit(score), expit(score + shift)
    sums = [proba.sum() for proba in found[name]]
    losses = [log_loss(y_test, proba) for proba in found[name]]
    print(
        f"{name:<18} sum of predictions {sums[0]:>6.0f}, log loss {losses[0]:.4f};"
        f" corrected {sums[1]:>6.0f}, {losses[1]:.4f}"
    )

# %%
# What to see
# -----------
# Each point is a tenth of the test rows: their mean prediction and their share of clicks.

fig, axes = plt.subplots(1, 2, figsize=(9, 4), sharex=True, sharey=True, layout="constrained")
for (name, pair), marker in zip(found.items(), "os^", strict=True):
    for ax, proba in zip(axes, pair, strict=True):
        share, mean = calibration_curve(y_test, proba, n_bins=10, strategy="quantile")
        ax.plot(mean, share, marker=marker, markersize=5, linewidth=1, label=name)
for ax, title in zip(axes, ("as predicted", "corrected by the rate"), strict=True):
    ax.plot([1e-3, 1], [1e-3, 1], color="0.7", zorder=0)
    ax.set(xscale="log", yscale="log", title=title, xlabel="mean predicted probability")
axes[0].set_ylabel("share of clicks")
axes[0].legend(title="trained with")
plt.show()
