"""Time skfm beside its peers: seconds per training pass, prediction, and what was learned.

    python docs/benchmarks/speed.py

makes an environment of its own beside this file, installs skfm from the checkout and the
peers from the package index, and measures there. The contestants take turns, on one thread;
quoted are medians over the rounds, and the median of the ratios round by round. A ratio
above 1 says that skfm is faster. `loss` is the log loss on held-out rows after the same
number of passes, each package at its own defaults but for the batch size named.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

HERE = Path(__file__).parent
PEERS = ["modern-fm==1.1.2", "pylibffm==0.4.1"]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
PASSES = 3


def in_own_environment():
    """Run this file again in an environment with skfm and its peers."""
    folder = HERE / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, *PEERS], check=True)
    subprocess.run([*install, "--force-reinstall", "--no-deps", HERE.parents[1]], check=True)
    environment = {**os.environ, **ONE_THREAD, "SKFM_BENCHMARK": "1"}
    return subprocess.run([python, __file__, *sys.argv[1:]], env=environment).returncode


def seconds(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


class Ours:
    def __init__(self, cls, k, **params):
        self.make = lambda passes: cls(
            k, max_iter=passes, tol=None, early_stopping=False, random_state=0, **params
        )

    def fit(self, X, y, fields, passes):
        return self.make(passes).fit(X, y)

    def predict(self, model, X, fields):
        return model.predict_proba(X)[:, 1]


class Modern:
    def __init__(self, cls, k, **params):
        self.field_aware = "FFM" in cls.__name__
        self.make = lambda passes: cls(
            n_factors=k, max_iter=passes, n_jobs=1, random_state=0, **params
        )

    def fit(self, X, y, fields, passes):
        extra = {"field_ids": fields} if self.field_aware else {}
        return self.make(passes).fit(X, y, **extra)

    def predict(self, model, X, fields):
        return model.predict_proba(X)[:, 1]


class PyLibFFM:
    def __init__(self, k):
        self.k = k

    def fit(self, X, y, fields, passes):
        import pylibffm

        options = {"k": self.k, "nr_iters": passes, "nr_threads": 1, "quiet": True}
        with tempfile.TemporaryDirectory() as folder:
            return pylibffm.train(X, y, fields, folder, options)

    def predict(self, model, X, fields):
        return model.predict(X, fields)


def compare(title, contestants, data, rounds, one_row):
    """Print a row per contestant; the first is the one that ratios refer to."""
    from sklearn.metrics import log_loss

    X, y, X_test, y_test, fields = data
    passes = {name: [] for name in contestants}
    bulk = {name: [] for name in contestants}
    row = {name: [] for name in contestants}
    losses = {}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            first, _ = seconds(lambda c=contestant: c.fit(X, y, fields, 1))
            total, model = seconds(lambda c=contestant: c.fit(X, y, fields, PASSES))
            passes[name].append((total - first) / (PASSES - 1))
            spent, p = seconds(lambda c=contestant, m=model: c.predict(m, X_test, fields))
            bulk[name].append(spent)
            losses[name] = log_loss(y_test, p)
            if one_row:
                times = [
                    seconds(lambda c=contestant, m=model: c.predict(m, X_test[:1], fields))[0]
                    for _ in range(200)
                ]
                row[name].append(statistics.median(times))
    print(f"\n{title}: {X.shape[0]:,} × {len(set(fields))} one-hot, {X.shape[1]:,} columns")
    head = f"{'':<26}{'s/pass':>8}{'ratio':>7}{'loss':>9}{'predict s':>11}{'ratio':>7}"
    print(head + f"{'one row µs':>12}")
    base = next(iter(contestants))
    for name in contestants:

        def ratio(times, name=name):
            pairs = zip(times[name], times[base], strict=True)
            return statistics.median(theirs / ours for theirs, ours in pairs)

        single = f"{1e6 * statistics.median(row[name]):>12.0f}" if row[name] else ""
        print(
            f"{name:<26}{statistics.median(passes[name]):>8.3f}{ratio(passes):>7.2f}"
            f"{losses[name]:>9.4f}{statistics.median(bulk[name]):>11.3f}{ratio(bulk):>7.2f}{single}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["fm", "ffm"])
    args = parser.parse_args()
    if not os.environ.get("SKFM_BENCHMARK"):
        return in_own_environment()

    import warnings

    import modern_fm
    import numpy as np
    from scipy.sparse import csr_matrix

    import skfm
    from skfm.datasets import make_clicks

    warnings.simplefilter("ignore")
    n_test = args.rows // 5
    # A steep power law, so that there is something to learn from this many rows.
    clicks = make_clicks(
        args.rows + n_test, n_fields=39, n_categories=1282, exponent=1.5, random_state=0
    )
    X, y = csr_matrix(clicks.X), clicks.y
    data = X[:-n_test], y[:-n_test], X[-n_test:], y[-n_test:], clicks.fields.astype(np.int32)
    print(f"modern-fm {modern_fm.__version__}, numpy {np.__version__}, one thread,")
    print(f"medians of {args.rounds} rounds in turn; loss after {PASSES} passes")
    if args.only != "ffm":
        ours, theirs = skfm.FMClassifier, modern_fm.FMClassifier
        contestants = {
            "skfm": Ours(ours, 8),
            "skfm, batch 512": Ours(ours, 8, batch_size=512),
            "skfm, batch 256": Ours(ours, 8, batch_size=256),
            "modern-fm (batch 1)": Modern(theirs, 8),
            "modern-fm, batch 256": Modern(theirs, 8, batch_size=256),
        }
        compare("FM, k=8", contestants, data, args.rounds, one_row=True)
    if args.only != "fm":
        ours, theirs = skfm.FFMClassifier, modern_fm.FFMClassifier
        contestants = {
            "skfm": Ours(ours, 4),
            "skfm, batch 256": Ours(ours, 4, batch_size=256),
            "modern-fm (batch 1)": Modern(theirs, 4),
            "modern-fm, batch 256": Modern(theirs, 4, batch_size=256),
            "pylibffm (batch 1)": PyLibFFM(4),
        }
        compare("FFM, k=4", contestants, data, args.rounds, one_row=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
