"""
Tuning: what a random search finds
==================================

What does a search find that the defaults do not? We draw 12 settings of a factorization machine
at random, from the ranges that :doc:`/defaults` proposes, and look at the cross-validated log
loss of each. On rows kept apart, the best of them has a log loss of 0.508, the defaults 0.515:
the search lowers the loss by 1.3%.
"""

# %%
# A search like any other
# -----------------------

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import loguniform
from sklearn.metrics import log_loss
from sklearn.model_selection import RandomizedSearchCV, cross_val_score

from skfm import FMClassifier
from skfm.datasets import make_clicks

clicks = make_clicks(12_000, n_fields=6, n_categories=20, interaction=2, random_state=0)
X, y = clicks.X[:8000], clicks.y[:8000]
X_test, y_test = clicks.X[8000:], clicks.y[8000:]

model = FMClassifier(random_state=0)
search = RandomizedSearchCV(
    model,
    {
        "l2_factors": loguniform(1e-3, 5e-2),
        "k": [4, 8, 16],
        "learning_rate": loguniform(0.05, 0.2),
    },
    n_iter=12,
    scoring="neg_log_loss",
    cv=3,
    random_state=0,
).fit(X, y)

# %%
# What it gains
# -------------

default_cv = -cross_val_score(model, X, y, scoring="neg_log_loss", cv=3).mean()
default = log_loss(y_test, model.fit(X, y).predict_proba(X_test))
tuned = log_loss(y_test, search.predict_proba(X_test))
for name, value in search.best_params_.items():
    print(f"best {name}: {value:.3g}")
print(f"log loss on test rows: defaults {default:.4f}, tuned {tuned:.4f}")
print(f"the search lowers the loss by {1 - tuned / default:.1%}")

# %%
# What to see
# -----------
# Each point is a setting: the lower, the better. With 16 factors all settings are ahead of the
# defaults, with four factors none is.

results = search.cv_results_
l2 = np.array(results["param_l2_factors"], float)
rate = np.array(results["param_learning_rate"], float)
k = np.array(results["param_k"], int)
loss = -results["mean_test_score"]
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for ax, x, name, ticks in (
    (axes[0], l2, "l2_factors", [0.001, 0.003, 0.01, 0.03]),
    (axes[1], rate, "learning_rate", [0.05, 0.1, 0.2]),
):
    for value, marker in zip((4, 8, 16), "os^", strict=True):
        ax.plot(x[k == value], loss[k == value], marker, label=f"k={value}")
    ax.axhline(default_cv, color="0.6", linewidth=1, label="defaults")
    ax.set(xscale="log", xlabel=name)
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
axes[0].set_ylabel("log loss, cross-validated")
axes[0].legend(loc="center left")
plt.show()
