"""Time FieldEncoder beside scikit-learn's OneHotEncoder, on a table of strings.

    python docs/benchmarks/encoding.py

in the same environment as `speed.py`. The table has the 26 categorical variables of the Criteo
data with their numbers of categories, drawn by a power law. The contestants take turns; quoted
are medians over the rounds, and the median of the ratios to FieldEncoder round by round.
"""

import argparse
import os
import statistics
import sys

from speed import in_own_environment, seconds

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if not os.environ.get("SKFM_BENCHMARK"):
        return in_own_environment()

    import pandas as pd
    import polars as pl
    from sklearn.preprocessing import OneHotEncoder

    import skfm
    from skfm.preprocessing import FieldEncoder

    columns, y = table(args.rows)
    frame = pd.DataFrame(columns)
    tables = {
        "pandas, str": frame,
        "pandas, object": frame.astype(object),
        "NumPy, object": frame.to_numpy(object),
        "polars, String": pl.DataFrame(columns),
    }
    contestants = {
        "FieldEncoder": FieldEncoder(),
        "FieldEncoder(n_buckets=65536)": FieldEncoder(n_buckets=1 << 16),
        "OneHotEncoder": OneHotEncoder(handle_unknown="ignore"),
    }
    print(f"{args.rows:,} × {len(columns)} strings, {frame.nunique().sum():,} categories; seconds")
    print(f"{'':<17}{'':<31}{'fit_transform':>14}{'ratio':>7}{'transform':>11}{'ratio':>7}")
    for kind, X in tables.items():
        times = {name: ([], []) for name in contestants}
        for _ in range(args.rounds):
            for name, encoder in contestants.items():
                times[name][0].append(seconds(lambda e=encoder, X=X: e.fit_transform(X))[0])
                times[name][1].append(seconds(lambda e=encoder, X=X: e.transform(X))[0])
        for name, both in times.items():
            line = f"{kind:<17}{name:<31}"
            for spent, base, width in zip(both, times["FieldEncoder"], (14, 11), strict=True):
                ratio = statistics.median(a / b for a, b in zip(spent, base, strict=True))
                line += f"{statistics.median(spent):>{width}.3f}{ratio:>7.2f}"
            print(line, flush=True)

    for name in ("FMClassifier", "FFMClassifier"):
        encoding, X = seconds(lambda: FieldEncoder(min_frequency=5).fit_transform(frame))
        model = getattr(skfm, name)(random_state=0)
        model.fit(X[:200], y[:200])  # compiles
        fitting, _ = seconds(lambda m=model, X=X: m.fit(X, y))
        print(
            f"{name} behind FieldEncoder(min_frequency=5): encoding {encoding:.2f} s, "
            f"{model.n_iter_} passes {fitting:.2f} s, share {encoding / (encoding + fitting):.0%}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
