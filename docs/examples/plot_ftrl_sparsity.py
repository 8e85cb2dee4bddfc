"""
L1: how many weights can go?
============================

Most categories are rare and their weights say little. An L1 penalty sets such weights to exactly
zero, which makes a model small. The two solvers apply it differently: FTRL-Proximal applies it
in a closed form, once over the whole stream; AdaGrad shrinks the weights in every step.

We raise the penalty on the linear weights with each solver and look at the log loss on held-out
rows against the share of the touched weights that is left. FTRL keeps 11% of the weights at a log
loss of 0.569 and 1.5% at 0.571; with all of them it is 0.567. AdaGrad does far worse: with half of
the weights left it is at 0.581, which is as bad as having none. It shrinks a weight only when its
column occurs, so frequent columns pay long before rare ones are at zero.
"""

# %%
# Many rare categories
# --------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.datasets import make_clicks

clicks = make_clicks(30_000, n_fields=8, n_categories=2000, exponent=1.2, random_state=0)
X, y = clicks.X[:20_000], clicks.y[:20_000]
X_test, y_test = clicks.X[20_000:], clicks.y[20_000:]
touched = np.asarray(X.sum(axis=0)).ravel() > 0
print(f"{touched.sum():,} of {X.shape[1]:,} columns occur in training")

# %%
# A path for each solver
# ----------------------
# The strengths mean different things, so each solver has its own range.

strengths = {
    "ftrl": [0, 0.5, 1, 2, 4, 8, 16],
    "adagrad": [0, 0.02, 0.1, 0.2, 0.3, 0.5],
}
paths = {}
for solver, values in strengths.items():
    path = []
    for l1 in values:
        model = FMClassifier(4, solver=solver, l1_linear=l1, random_state=0).fit(X, y)
        left = np.mean(model.coef_[0, touched] != 0)
        path.append((left, log_loss(y_test, model.predict_proba(X_test))))
        print(f"{solver:<8} l1_linear={l1:<6} {left:>6.1%} left, log loss {path[-1][1]:.4f}")
    paths[solver] = np.array(path)

# %%
# What to see
# -----------
# Each point is a fit: the further left, the fewer weights are left, and the lower, the better.

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for (solver, path), marker in zip(paths.items(), "os", strict=True):
    ax.plot(path[:, 0], path[:, 1], marker=marker, label=solver)
ax.set(xscale="log", xlabel="share of touched weights that is not zero", ylabel="log loss")
ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
ax.legend(title="solver")
plt.show()
