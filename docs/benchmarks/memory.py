"""Measure memory: of models over 2**24 hashed columns, and of a fit beside its data.

Each figure is of a process of its own. `resident` is what the process holds more than before
`fit`, and `peak` the most it held at any time during it. The bound on the peak is 4 bytes
per column, 1.3 times the parameters with their solver states and one copy of both, and
200 MB; data are not counted, as they were there before.
"""

import contextlib
import gc
import multiprocessing
import os
import pickle
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from contestants import fastest_engine
from scipy.sparse import csr_array, csr_matrix

N_COLUMNS = 1 << 24
FIELDS = 8
MB = 1e6


def resident():
    """Bytes of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def growth(function):
    """What a call returns, how many bytes more this process holds with it, and the most it held.

    The system's own record of the peak is begun anew where it can be; where not, it is that
    of the whole life of the process.
    """
    now = resident if Path("/proc/self/statm").exists() else most_held
    gc.collect()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = now()
    result = function()
    peak = most_held() - before
    gc.collect()
    return result, now() - before, peak


def most_held():
    """The most bytes of memory that this process has held."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return 1024 * int(line.split()[1])
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def kept(data):
    """Training rows in files of a temporary folder, for another process to `load`."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("indptr", "indices", "data"):
            np.save(f"{folder}/{name}.npy", getattr(data.X, name))
        np.save(f"{folder}/y.npy", data.y)
        np.save(f"{folder}/fields.npy", data.fields)
        yield folder


def load(folder):
    """The rows that were `kept`, their labels, and the fields of the columns."""
    names = "data", "indices", "indptr", "y", "fields"
    *arrays, y, fields = (np.load(f"{folder}/{name}.npy") for name in names)
    return csr_matrix(tuple(arrays), shape=(len(y), len(fields))), y, fields


def hashed_rows(n_rows, n_occurring, n_columns=N_COLUMNS, seed=0):
    """Rows with one entry in each of 8 equal blocks of columns."""
    rng = np.random.default_rng(seed)
    width, each = n_columns // FIELDS, n_occurring // FIELDS
    occurring = [block * width + rng.choice(width, each, False) for block in range(FIELDS)]
    indices = np.stack([columns[rng.integers(each, size=n_rows)] for columns in occurring], 1)
    indptr = np.arange(0, n_rows * FIELDS + 1, FIELDS, dtype=np.int32)
    data = np.ones(n_rows * FIELDS)
    X = csr_array((data, indices.astype(np.int32).ravel(), indptr), shape=(n_rows, n_columns))
    return X, rng.integers(2, size=n_rows)


def in_own_process(function, *args):
    """Call a function in a new process; what it raises is raised here."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def measure(name, params, n_rows, n_occurring):
    import skfm

    warnings.simplefilter("ignore")  # there is nothing to learn from these labels
    X, y = hashed_rows(n_rows, n_occurring)
    estimator = partial(getattr(skfm, name), engine=fastest_engine())
    small = np.eye(8).repeat(20, axis=0)
    estimator(2).fit(small, np.arange(160) % 2)  # what is loaded at the first fit is loaded
    model = estimator(**params, max_iter=2, tol=None, random_state=0)
    _, held, peak = growth(lambda: model.fit(X, y))
    fitted = model._fitted
    tables = fitted.models[0].tables.values()
    state = sum(array.nbytes for table in tables for array in table.arrays)
    return {
        "columns": len(fitted.columns),
        "data": X.data.nbytes + X.indices.nbytes + X.indptr.nbytes,
        "state": state,
        "resident": held,
        "peak": peak,
        "pickle": len(pickle.dumps(model)),
        "bound": 4 * N_COLUMNS + 1.3 * 2 * state + 200e6,
    }


def models(n_occurring, n_rows):
    """Yield (model, what `measure` finds) for each model and solver, each in its own process."""
    for name, params in {
        "FMClassifier": {"k": 8},
        "FFMClassifier": {"k": 4, "fields": FIELDS},
        "WideDeepClassifier": {"k": 8, "fields": FIELDS},
    }.items():
        for solver in ("adagrad", "ftrl"):
            settings = {**params, "solver": solver}
            found = in_own_process(measure, name, settings, n_rows, n_occurring)
            yield f"{name}(k={params['k']}, {solver!r})", found
