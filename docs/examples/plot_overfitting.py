"""
How many factors: too few, too many
===================================

With too few factors a machine cannot hold the interactions; with too many it memorizes the
training rows. We train for 30 passes without early stopping and look at the log loss on training
rows and on held-out rows against ``k``, with a weak penalty and with a stronger one.

One factor is too few: 0.489 on the training rows and 0.529 on others. With a weak penalty, 32 are
too many: 0.150 in training and 0.490 on others, where eight factors reach 0.419. A penalty of
0.02 prevents that: 32 factors then reach 0.398 and 16 reach 0.391.
"""

# %%
# Clicks with eight planted factors
# ---------------------------------

import matplotlib.pyplot as plt
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.datasets import make_clicks

clicks = make_clicks(
    16_000, n_fields=6, n_categories=25, k=8, interaction=3, field_awareness=0, random_state=0
)
X, y = clicks.X[:8000], clicks.y[:8000]
X_test, y_test = clicks.X[8000:], clicks.y[8000:]
best_possible = log_loss(y_test, clicks.proba[8000:])

# %%
# Losses against k
# ----------------

factors = [1, 2, 4, 8, 16, 32]
losses = {}
for l2 in (0.0005, 0.02):
    losses[l2] = []
    print(f"l2_factors={l2}")
    for k in factors:
        model = FMClassifier(
            k,
            l2_factors=l2,
            max_iter=30,
            tol=None,
            early_stopping=False,
            batch_size=128,
            random_state=0,
        ).fit(X, y)
        found = [
            log_loss(labels, model.predict_proba(rows))
            for rows, labels in ((X, y), (X_test, y_test))
        ]
        losses[l2].append(found)
        print(f"  k={k:<3} training {found[0]:.3f}, held out {found[1]:.3f}")
print(f"best possible on the held-out rows {best_possible:.3f}")

# %%
# Early stopping does as well here, without a search: k=32 with the weak penalty also reaches
# 0.398.

stopped = FMClassifier(32, l2_factors=0.0005, batch_size=128, random_state=0).fit(X, y)
loss = log_loss(y_test, stopped.predict_proba(X_test))
print(f"k=32, weak penalty, stopped after pass {stopped.best_iter_}: held out {loss:.3f}")

# %%
# What to see
# -----------
# With more factors the training loss keeps falling. The loss on held-out rows rises again with the
# weak penalty, and hardly with the stronger one.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
for ax, (l2, found) in zip(axes, losses.items(), strict=True):
    training, held_out = zip(*found, strict=True)
    ax.plot(factors, training, "o-", label="training")
    ax.plot(factors, held_out, "s-", label="held out")
    ax.axhline(best_possible, color="0.6", label="best possible")
    ax.set(xscale="log", xlabel="k", title=f"l2_factors={l2}", xticks=factors, xticklabels=factors)
    ax.minorticks_off()
axes[0].set_ylabel("log loss after 30 passes")
axes[0].legend()
plt.show()
