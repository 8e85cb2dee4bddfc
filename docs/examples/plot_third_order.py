"""
Three at a time: where factorization machines stop
==================================================

Factorization machines add up pairs. Here three variables decide together, by the parity of their
sum, and no pair of them shows anything. FM, FFM and the crosses of all pairs end at 0.693, which
is log 2, the loss of a constant. Wide & Deep learns it (0.515), and so does a linear model with
the cross of the three fields (0.523), where 0.512 is the best possible.
"""

# %%
# A parity of three variables
# ---------------------------

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from skfm import FFMClassifier, FMClassifier, WideDeepClassifier
from skfm.preprocessing import FieldEncoder

rng = np.random.default_rng(0)
table = rng.integers(6, size=(16_000, 4)).astype(str).astype(object)
parity = table[:, :3].astype(int).sum(axis=1) % 2
proba = np.where(parity, 0.8, 0.2)
y = (rng.random(len(proba)) < proba).astype(int)
X = FieldEncoder().fit_transform(table)
train, test = slice(0, 12_000), slice(12_000, None)

# %%
# Five models
# -----------
# Those that cannot learn it warn that they are constant. We expect that here.

models = {
    "FM, k=16": FMClassifier(16, random_state=0),
    "FFM": FFMClassifier(random_state=0),
    "crosses of all pairs": WideDeepClassifier(0, crosses="all", random_state=0),
    "one cross of the three": WideDeepClassifier(0, crosses=[(0, 1, 2)], random_state=0),
    "Wide & Deep": WideDeepClassifier(n_iter_no_change=20, random_state=0),
}
losses = {}
for name, model in models.items():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X[train], y[train])
    losses[name] = log_loss(y[test], model.predict_proba(X[test]))
losses["best possible"] = log_loss(y[test], proba[test])
for name, loss in losses.items():
    print(f"{name:<24} {loss:.3f}")

# %%
# What to see
# -----------
# A constant prediction has a loss of log 2, the line.

fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
colors = ["C0"] * 3 + ["C1"] * 2 + ["0.8"]
ax.axvline(np.log(2), color="0.7", linewidth=1)
ax.scatter(list(losses.values()), list(losses), s=60, c=colors)
for name, loss in losses.items():
    ax.annotate(f"{loss:.3f}", (loss, name), (8, -4), textcoords="offset points")
ax.invert_yaxis()
ax.grid(axis="y", alpha=0.3)
ax.set(xlabel="log loss", xlim=(0.5, 0.72))
plt.show()
