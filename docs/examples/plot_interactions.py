"""
Interactions: what a linear model lacks
=======================================

A linear model adds up what each category does, so it misses what two of them do together. A
factorization machine (FM) learns all pairs; a field-aware one (FFM) learns pairs that behave
differently with every field.

We plant both kinds of interactions and compare the losses with the best possible ones, 0.391 and
0.371:

- If a category has the same factors for every field, FM gets closest to the best possible loss
  (0.408). It is well ahead of logistic regression (0.558), even with a column for each pair of
  categories (0.450). FFM has more factors than it needs and ends at 0.445.
- If it has different ones for each field, FFM (0.415) is ahead of FM (0.452). These data have
  enough rows for a weight per pair, so logistic regression with crosses (0.422) is nearly as good
  as FFM.
"""

# %%
# Two sets of clicks
# ------------------
# Five variables with 20 categories each. ``field_awareness`` is how much the planted factors of a
# category differ between the fields that it meets.

import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from skfm import FFMClassifier, FMClassifier
from skfm.datasets import make_clicks

n_train = 15_000
data = {
    "the same for every field": make_clicks(
        20_000, 5, 20, interaction=2, field_awareness=0, random_state=0
    ),
    "different for each field": make_clicks(
        20_000, 5, 20, interaction=2, field_awareness=1, random_state=0
    ),
}

# %%
# Four models
# -----------
# The crosses are all products of two columns; their penalty is tuned, which a fair comparison
# needs.

logistic = LogisticRegression(max_iter=1000)
crossed = make_pipeline(PolynomialFeatures(2, interaction_only=True), logistic)
models = {
    "logistic regression": logistic,
    "with crosses, tuned": GridSearchCV(
        crossed, {"logisticregression__C": [0.03, 0.1, 0.3]}, scoring="neg_log_loss", cv=3
    ),
    "FM": FMClassifier(random_state=0),
    "FFM": FFMClassifier(k=4, random_state=0),
}
losses = {}
for kind, clicks in data.items():
    X, X_test = clicks.X[:n_train], clicks.X[n_train:]
    y, y_test = clicks.y[:n_train], clicks.y[n_train:]
    print(f"Factors {kind}:")
    losses[kind] = {
        name: log_loss(y_test, model.fit(X, y).predict_proba(X_test))
        for name, model in models.items()
    }
    losses[kind]["best possible"] = log_loss(y_test, clicks.proba[n_train:])
    for name, loss in losses[kind].items():
        print(f"  {name:<20} {loss:.3f}")

# %%
# What to see
# -----------
# Log loss on held-out rows, further left is better: FM is ahead on the left, FFM on the right.

fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharex=True, sharey=True, layout="constrained")
colors = ["0.4", "0.4", "C0", "C1", "0.8"]
for ax, (kind, found) in zip(axes, losses.items(), strict=True):
    names, values = list(found), list(found.values())
    ax.scatter(values, names, s=60, c=colors)
    for name, loss in found.items():
        ax.annotate(f"{loss:.3f}", (loss, name), (8, -4), textcoords="offset points")
    ax.set(title=f"factors {kind}", xlabel="log loss", xlim=(0.35, 0.6))
    ax.grid(axis="y", alpha=0.3)
axes[0].invert_yaxis()
plt.show()
