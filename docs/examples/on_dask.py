"""Train on a Dask cluster from Parquet files, score them lazily, and keep a local model.

    python docs/examples/on_dask.py --folder clicks

Without ``--scheduler ADDRESS`` it starts a cluster of two processes on this machine. The files are
generated, unless the folder has some. A run that is killed goes on from its checkpoint.
"""

import argparse
from pathlib import Path

import dask.dataframe as dd
import joblib
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster

from skfm.dask import DaskFFMClassifier, encode
from skfm.datasets import make_clicks
from skfm.preprocessing import FieldEncoder


def write_files(folder, n_rows, n_files):
    """Clicks on six categorical variables."""
    made = make_clicks(n_rows, n_fields=6, n_categories=100, random_state=0)
    categories = made.X.indices.reshape(n_rows, 6)
    table = pd.DataFrame({f"variable{i}": categories[:, i] for i in range(6)})
    table["clicked"] = made.y
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(n_rows), n_files)):
        table.iloc[rows].to_parquet(folder / f"{number}.parquet")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("clicks"))
    parser.add_argument("--scheduler", help="address of a cluster that runs")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--max-iter", type=int, default=20)
    args = parser.parse_args()
    if not list(args.folder.glob("*.parquet")):
        write_files(args.folder, args.rows, args.files)

    cluster = args.scheduler or LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    )
    with Client(cluster) as client:
        frame = dd.read_parquet(f"{args.folder}/*.parquet")
        clicked, table = frame["clicked"], frame.drop(columns="clicked")
        X = encode(FieldEncoder(n_buckets=1 << 10), table)  # one block for each partition
        model = DaskFFMClassifier(
            k=4,
            fields=6,
            max_iter=args.max_iter,
            client=client,
            n_shards=4,
            checkpoint=args.folder / "checkpoint",
            random_state=0,
            verbose=True,
        )
        model.fit(X, clicked)
        proba = model.predict_proba(X)  # nothing is computed yet
        print(f"mean prediction {proba[:, 1].mean().compute():.4f}")
        joblib.dump(model.to_local(), args.folder / "model.joblib")  # needs no Dask
    if not args.scheduler:
        cluster.close()


if __name__ == "__main__":
    main()
