"""Time FieldEncoder beside scikit-learn's OneHotEncoder, on a table of strings.

The table has the 26 categorical variables of the Criteo data with their numbers of categories,
drawn by a power law.
"""

from contestants import fastest_engine
from environment import can_import
from reports import in_turn, seconds

# The Criteo display advertising challenge, 45 million rows.
CARDINALITIES = [
    *(1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194),
    *(27, 14992, 5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572),
]


def table(n_rows):
    """Columns of strings, and labels that depend on some of them."""
    import numpy as np

    rng = np.random.default_rng(0)
    columns, score = {}, np.full(n_rows, -1.0)
    for i, n in enumerate(CARDINALITIES):
        rank = np.exp(rng.random(n_rows) * np.log(n + 1)).astype(np.int64)
        columns[f"C{i + 1}"] = [f"{(int(r) * 2654435761 + i) % 2**32:08x}" for r in rank]
        score += 0.3 * rng.normal(size=64)[rank % 64]
    return columns, rng.random(n_rows) < 1 / (1 + np.exp(-score))


def compare(n_rows, rounds):
    """Yield (kind of table, encoder, its times of `fit_transform`, of `transform`).

    FieldEncoder is the first for each kind. Those that need a missing library are left out.
    """
    from sklearn.preprocessing import OneHotEncoder

    from skfm.preprocessing import FieldEncoder

    columns, _ = table(n_rows)
    contestants = {
        "FieldEncoder": FieldEncoder(),
        "FieldEncoder(n_buckets=65536)": FieldEncoder(n_buckets=1 << 16),
        "OneHotEncoder": OneHotEncoder(handle_unknown="ignore"),
    }
    for kind, X in tables(columns):

        def times(encoder, X=X):
            fitting, _ = seconds(lambda: encoder.fit_transform(X))
            return fitting, seconds(lambda: encoder.transform(X))[0]

        for name, found in in_turn(contestants, times, rounds).items():
            yield kind, name, *zip(*found, strict=True)


def tables(columns):
    """The columns as tables of each kind that can be made here."""
    import numpy as np

    if can_import("pandas"):
        import pandas as pd

        frame = pd.DataFrame(columns)
        yield "pandas, str", frame
        yield "pandas, object", frame.astype(object)
    yield "NumPy, object", np.array([*columns.values()], object).T.copy()
    if can_import("polars"):
        import polars as pl

        yield "polars, String", pl.DataFrame(columns)


def behind_encoder(n_rows):
    """Yield (model, seconds of encoding, passes, their seconds): what share encoding has."""
    import skfm
    from skfm.preprocessing import FieldEncoder

    columns, y = table(n_rows)
    _, X = next(tables(columns))
    for name in ("FMClassifier", "FFMClassifier"):
        encoding, encoded = seconds(lambda: FieldEncoder(min_frequency=5).fit_transform(X))
        model = getattr(skfm, name)(engine=fastest_engine(), random_state=0)
        model.fit(encoded[:200], y[:200])  # compiles
        fitting, _ = seconds(lambda m=model, X=encoded: m.fit(X, y))
        yield name, encoding, model.n_iter_, fitting
