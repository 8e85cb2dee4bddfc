"""
Online learning from a stream
=============================

``partial_fit`` learns from more rows, once, in their order. Here a model learns from a stream of 60
slices. It predicts each slice before it learns from it, so we see its loss on new rows.

The example checks three promises:

- The slices of a stream give the same bits as one call on all rows, with either solver.
- One unshuffled pass of ``fit`` gives nearly the same model. It differs in where the intercept
  starts, and probabilities differ by at most 0.004.
- FTRL keeps two numbers beside each weight, AdaGrad one: with the index of the columns, a saved
  model has 3.4 and 2.4 numbers for each weight.

Over the last ten slices the loss is 0.539 with AdaGrad and 0.545 with FTRL.
"""

# %%
# A stream, and two models
# ------------------------

import io

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.datasets import make_clicks

SLICE = 512  # two batches of partial_fit
clicks = make_clicks(60 * SLICE, n_fields=6, n_categories=100, random_state=0)
slices = [slice(start, start + SLICE) for start in range(0, len(clicks.y), SLICE)]

models, losses = {}, {}
for solver in ("adagrad", "ftrl"):
    model = models[solver] = FMClassifier(solver=solver, random_state=0)
    losses[solver] = []
    for part in slices:
        if hasattr(model, "classes_"):
            proba = model.predict_proba(clicks.X[part])
            losses[solver].append(log_loss(clicks.y[part], proba))
        model.partial_fit(clicks.X[part], clicks.y[part], classes=[0, 1])
    print(f"{solver:<8} mean loss of the last ten slices {np.mean(losses[solver][-10:]):.3f}")

# %%
# The same bits
# -------------

for solver, model in models.items():
    at_once = FMClassifier(solver=solver, random_state=0)
    at_once.partial_fit(clicks.X, clicks.y, classes=[0, 1])
    same = np.array_equal(at_once.factors_, model.factors_)
    same &= np.array_equal(at_once.coef_, model.coef_)
    print(f"{solver:<8} slices and one call give the same bits: {same}")

# %%
# A single pass of ``fit`` over the rows in their order is the same algorithm. It knows all
# labels, so its intercept starts at the log-odds of all rows instead of those of the first batch.

for solver, model in models.items():
    one_pass = FMClassifier(
        solver=solver,
        max_iter=1,
        shuffle=False,
        early_stopping=False,
        tol=None,
        batch_size=256,
        random_state=0,
    ).fit(clicks.X, clicks.y)
    gap = np.abs(one_pass.predict_proba(clicks.X) - model.predict_proba(clicks.X)).max()
    print(f"{solver:<8} largest difference of a probability to one pass of fit: {gap:.3f}")

# %%
# Numbers per weight
# ------------------


def stored(model):
    """Bytes of a saved model."""
    file = io.BytesIO()
    joblib.dump(model, file)
    return file.tell()


columns = np.count_nonzero(np.asarray(clicks.X.sum(axis=0)))
weights = columns * 9  # a linear weight and eight factors
for solver, model in models.items():
    print(f"{solver:<8} {stored(model) / 4 / weights:.1f} numbers stored for each weight")

# %%
# What to see
# -----------
# The loss falls as the model learns. Points are single slices; lines are means of ten.

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
for (solver, found), color in zip(losses.items(), ("C0", "C1"), strict=True):
    ax.plot(found, ".", color=color, alpha=0.3)
    ax.plot(
        np.arange(9, len(found)), np.convolve(found, np.ones(10) / 10, "valid"), color, label=solver
    )
ax.axhline(clicks.bayes_log_loss, color="0.6", label="best possible")
ax.set(xlabel="slice of the stream", ylabel="log loss before learning from it")
ax.legend()
plt.show()
