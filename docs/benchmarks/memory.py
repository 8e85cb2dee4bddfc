"""Measure memory: of models over 2**24 hashed columns, and of a fit beside its data.

    python docs/benchmarks/memory.py

Each line is a process of its own. `resident` is what the process holds more than before
`fit`, and `peak` the most it held at any time during it. The bound on the peak is 4 bytes
per column, 1.3 times the parameters with their solver states and one copy of both, and
200 MB; data are not counted, as they were there before.
"""

import argparse
import gc
import multiprocessing
import os
import pickle
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

N_COLUMNS = 1 << 24
FIELDS = 8
MB = 1e6


def resident():
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Peak:
    """The most that the process holds while the block runs, sampled every 2 ms."""

    def __enter__(self):
        self.most, self.done = 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.done.wait(0.002):
            self.most = max(self.most, resident())

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def hashed_rows(n_rows, n_occurring, seed=0):
    """Rows with one entry in each of 8 equal blocks of 2**24 columns."""
    rng = np.random.default_rng(seed)
    width, each = N_COLUMNS // FIELDS, n_occurring // FIELDS
    occurring = [block * width + rng.choice(width, each, False) for block in range(FIELDS)]
    indices = np.stack([columns[rng.integers(each, size=n_rows)] for columns in occurring], 1)
    indptr = np.arange(0, n_rows * FIELDS + 1, FIELDS, dtype=np.int32)
    data = np.ones(n_rows * FIELDS)
    X = csr_array((data, indices.astype(np.int32).ravel(), indptr), shape=(n_rows, N_COLUMNS))
    return X, rng.integers(2, size=n_rows)


def measure(queue, name, params, n_rows, n_occurring):
    import skfm

    warnings.simplefilter("ignore")  # there is nothing to learn from these labels
    X, y = hashed_rows(n_rows, n_occurring)
    estimator = getattr(skfm, name)
    small = np.eye(8).repeat(20, axis=0)
    estimator(2).fit(small, np.arange(160) % 2)  # what is loaded at the first fit is loaded
    gc.collect()
    before = resident()
    with Peak() as peak:
        model = estimator(**params, max_iter=2, tol=None, random_state=0).fit(X, y)
    gc.collect()
    state = sum(
        array.nbytes for table in model._fitted.models[0].tables.values() for array in table.arrays
    )
    queue.put(
        {
            "columns": len(model._columns),
            "data": X.data.nbytes + X.indices.nbytes + X.indptr.nbytes,
            "state": state,
            "resident": resident() - before,
            "peak": peak.most - before,
            "pickle": len(pickle.dumps(model)),
            "bound": 4 * N_COLUMNS + 1.3 * 2 * state + 200e6,
        }
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    if not Path("/proc/self/statm").exists():
        sys.exit("This measures with /proc, which this system does not have.")
    context = multiprocessing.get_context("spawn")
    print(f"{args.rows:,} rows, {N_COLUMNS:,} columns, {FIELDS} entries a row; MB")
    head = ["occurring", "data", "state", "pickle", "resident", "peak", "bound"]
    print(f"{'':<38}" + "".join(f"{title:>11}" for title in head))
    for n_occurring in (100_000, 1_000_000):
        for name, params in {
            "FMClassifier": {"k": 8},
            "FFMClassifier": {"k": 4, "fields": FIELDS},
            "WideDeepClassifier": {"k": 8, "fields": FIELDS},
        }.items():
            for solver in ("adagrad", "ftrl"):
                queue = context.Queue()
                arguments = queue, name, {**params, "solver": solver}, args.rows, n_occurring
                process = context.Process(target=measure, args=arguments)
                process.start()
                found = queue.get()
                process.join()
                sizes = [found[title] / MB for title in head[1:]]
                title = f"{name}(k={params['k']}, {solver!r})"
                print(
                    f"{title:<38}{found['columns']:>11,}"
                    + "".join(f"{size:>11.1f}" for size in sizes),
                    flush=True,
                )


if __name__ == "__main__":
    main()
