"""
Wide & Deep: two solvers or one
===============================

The wide part of a Wide & Deep model may have weights for the crosses of all pairs of fields, most
of which should be zero. The deep part gains nothing from zeros. So skfm trains the wide part with
FTRL, which has an L1 penalty in closed form, and the deep part with AdaGrad. Is that better than
one solver for both?

We tune the two parts independently, the L1 penalty of the wide one and the learning rate of the
deep one, for each choice of solvers. The answer is about size, not about the loss:

- Without L1 the three choices end close together, at 0.505 to 0.508.
- With FTRL on the wide part, about 45% of its weights suffice for 0.508, and about 10% for 0.517
  (FTRL alone: 12% for 0.513). AdaGrad on the wide part pays 0.533 for a quarter of the weights.
- On the deep part FTRL does as well as AdaGrad, and needs two numbers of state for each parameter
  instead of one. That is the reason for AdaGrad there.
- The best rate of the deep part is not the same for each penalty of the wide one, so tune both.
"""

# %%
# Clicks with crosses
# -------------------

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import log_loss

from skfm import WideDeepClassifier
from skfm.datasets import make_clicks

clicks = make_clicks(12_000, n_fields=5, n_categories=30, field_awareness=0.5, random_state=0)
train, valid, test = slice(0, 6000), slice(6000, 8000), slice(8000, None)

solvers = {
    "FTRL + AdaGrad": ("ftrl", "adagrad"),
    "AdaGrad alone": ("adagrad", "adagrad"),
    "FTRL alone": ("ftrl", "ftrl"),
}
wide_l1 = {"ftrl": [0, 1, 4, 16], "adagrad": [0, 0.02, 0.1, 0.5]}
deep_rates = [0.02, 0.1]

# %%
# Tuning the parts
# ----------------
# The rows of ``valid`` stop the training and choose the rate of the deep part; the rows of
# ``test`` give the loss that is reported.

paths, touched = {}, None
print(f"{'wide + deep solver':<18}{'wide_l1':>8}{'deep rate':>11}{'wide left':>11}{'log loss':>10}")
for name, (wide, deep) in solvers.items():
    path = []
    for l1 in wide_l1[wide]:
        models = [
            WideDeepClassifier(
                solver=(wide, deep),
                wide_l1=l1,
                deep_learning_rate=rate,
                crosses="all",
                fields=5,
                batch_size=128,
                random_state=0,
            ).fit(clicks.X[train], clicks.y[train], X_val=clicks.X[valid], y_val=clicks.y[valid])
            for rate in deep_rates
        ]
        best = max(models, key=lambda model: max(model.validation_scores_))
        n_weights = np.count_nonzero(best.coef_) + np.count_nonzero(best.cross_coef_)
        touched = touched or n_weights  # without L1, all that occur
        loss = log_loss(clicks.y[test], best.predict_proba(clicks.X[test]))
        path.append((n_weights / touched, loss))
        print(
            f"{name:<18}{l1:>8}{best.deep_learning_rate:>11}"
            f"{n_weights / touched:>11.1%}{loss:>10.4f}"
        )
    paths[name] = np.array(path)

# %%
# What to see
# -----------
# The further left, the fewer wide weights are left, and the lower, the better. Both choices with
# FTRL on the wide part stay low.

fig, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
for (name, path), marker in zip(paths.items(), "os^", strict=True):
    ax.plot(path[:, 0], path[:, 1], marker=marker, label=name)
ax.set(xscale="log", xlabel="share of touched wide weights that is not zero", ylabel="log loss")
ax.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
ax.legend(title="wide + deep solver")
plt.show()
