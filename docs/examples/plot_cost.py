r"""
Cost: linear in k and in the entries of a row
=============================================

The sum over all pairs of columns costs no more than a sum over columns, because

.. math::

   \sum_{i<j} \langle v_i, v_j \rangle x_i x_j = \tfrac12 \bigl( \lVert \sum_i v_i x_i
   \rVert^2 - \sum_i \lVert v_i \rVert^2 x_i^2 \bigr).

So the time of a factorization machine should grow at most in proportion to ``k`` and to the
number of entries per row, and not with its square. We measure both, in training and in
prediction: twelve times ``k`` takes less than twelve times the seconds, and eight times the entries
less than eight times. Seconds depend on the machine; the shape of the curves should not.

We measure the NumPy engine, with ``k`` up to 96. With far larger ``k`` its arrays outgrow the
cache, and each factor costs more.
"""

# %%
# Measuring
# ---------

from time import process_time

import matplotlib.pyplot as plt
import numpy as np

from skfm import FMClassifier
from skfm.datasets import make_clicks


def seconds(call, repeats=5):
    """The least of several times of the processor, which other programs disturb least."""
    times = []
    for _ in range(repeats):
        start = process_time()
        call()
        times.append(process_time() - start)
    return min(times)


def cost(k, n_entries, n_rows=8192):
    """Seconds of a pass of training, and of a prediction, for rows with so many entries."""
    clicks = make_clicks(n_rows, n_entries, 100, random_state=0)
    model = FMClassifier(
        k,
        max_iter=1,
        tol=None,
        early_stopping=False,
        batch_size=1024,
        learning_rate=0.01,
        engine="numpy",
        random_state=0,
    )
    return (
        seconds(lambda: model.fit(clicks.X, clicks.y)),
        seconds(lambda: model.predict_proba(clicks.X)),
    )


sizes = {"k": [8, 16, 32, 64, 96], "entries per row": [10, 20, 40, 60, 80]}
costs = {
    "k": np.array([cost(k, 10) for k in sizes["k"]]),
    "entries per row": np.array([cost(16, n) for n in sizes["entries per row"]]),
}

# %%
# What to see
# -----------
# The points follow straight lines, unless other programs disturb the measurement. The lines do not
# begin at zero, because each batch costs something whatever its size. So the times grow less than
# in proportion. With a sum over pairs, eight times the entries would take 64 times as long.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for ax, (what, measured) in zip(axes, costs.items(), strict=True):
    x = np.array(sizes[what])
    for name, times, color in zip(
        ("training", "prediction"), measured.T, ("C0", "C1"), strict=True
    ):
        line = np.polyfit(x, times, 1)
        explained = np.corrcoef(np.polyval(line, x), times)[0, 1] ** 2
        growth = times[-1] / times[0]
        print(
            f"{name}, {x[-1] / x[0]:.0f} times {what}: {growth:.1f} times the seconds; "
            f"R² of a line {explained:.3f}"
        )
        ax.plot(x, 1000 * times, "o", color=color, label=name)
        ax.plot(x, 1000 * np.polyval(line, x), color=color, linewidth=1)
    ax.set(xlabel=what, ylabel="milliseconds for 8,192 rows", ylim=(0, None))
    ax.legend()
plt.show()
