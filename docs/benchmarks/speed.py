"""Time skfm beside its peers: seconds per training pass, prediction, and what was learned.

    python docs/benchmarks/speed.py

makes an environment of its own beside this file, installs skfm from the checkout and the
peers from the package index, and measures there. The contestants take turns, on one thread
where no other number is named; quoted are medians over the rounds, and the median of the
ratios round by round. A ratio above 1 says that skfm with numba is faster. The losses are
log losses on held-out rows after one pass and after three, each package at its own defaults
but for the batch size named. The weights that pylibffm returns are all the same number
(0.4.1), so that its losses are those that it prints, and its prediction is timed but worth
nothing.
"""

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

HERE = Path(__file__).parent
PEERS = ["modern-fm==1.1.2", "pylibffm==0.4.1", "torch==2.13.0"]
TABLES = ["pandas", "polars", "pyarrow"]
ENGINE = "numba==0.68.1"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
PASSES = 3


def in_own_environment():
    """Run the script again in an environment with skfm and its peers."""
    folder = HERE / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*install, *PEERS, ENGINE, *TABLES], check=True)
    subprocess.run([*install, "--force-reinstall", "--no-deps", HERE.parents[1]], check=True)
    environment = {**os.environ, **ONE_THREAD, "SKFM_BENCHMARK": "1"}
    return subprocess.run([python, *sys.argv], env=environment).returncode


def seconds(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


class Ours:
    def __init__(self, cls, k, engine="numba", **params):
        params |= {"tol": None, "early_stopping": False, "random_state": 0, "engine": engine}
        self.make = lambda passes: cls(k, max_iter=passes, **params)

    def fit(self, X, y, fields, passes):
        return self.make(passes).fit(X, y)

    def predict(self, model, X, fields):
        return model.predict_proba(X)[:, 1]

    def loss(self, model, X, y, fields):
        from sklearn.metrics import log_loss

        return log_loss(y, self.predict(model, X, fields))


class Modern(Ours):
    def __init__(self, cls, k, **params):
        self.field_aware = "FFM" in cls.__name__
        self.make = lambda passes: cls(
            n_factors=k, max_iter=passes, n_jobs=1, random_state=0, **params
        )

    def fit(self, X, y, fields, passes):
        extra = {"field_ids": fields} if self.field_aware else {}
        return self.make(passes).fit(X, y, **extra)


class PyLibFFM:
    def __init__(self, k, n_threads=1, **options):
        self.options = {"k": k, "nr_threads": n_threads, **options}

    def fit(self, X, y, fields, passes, **validation):
        import pylibffm

        # It looks at the rows only where it may stop by them.
        options = {**self.options, "nr_iters": passes, "auto_stop": bool(validation)}
        with tempfile.TemporaryDirectory() as folder, printed() as lines:
            model = pylibffm.train(X, y, fields, folder, options, **validation)
        model.training = X, y, passes
        model.printed = lines
        return model

    def predict(self, model, X, fields):
        return model.predict(X, fields)

    def loss(self, model, X, y, fields):
        *training, passes = model.training
        losses = self.validation_losses(*training, fields, passes, X, y)
        return losses[-1] if len(losses) == passes else float("nan")

    def validation_losses(self, X, y, fields, passes, X_val, y_val):
        """Log loss on other rows after each pass, until it rises."""
        model = self.fit(X, y, fields, passes, valid_x=X_val, valid_y=y_val)
        table = [line.split() for line in model.printed if line.strip()[:1].isdigit()]
        return [float(row[2]) for row in table]


class Torch:
    """The network of `Ours` in PyTorch: sparse Adagrad for both parts, which has no L2 there.

    Rows are the columns of their entries, one per field, as a matrix; making that matrix is
    not timed. The seed, the layers' start and the order of rows are PyTorch's.
    """

    def __init__(self, k, hidden, batch_size):
        self.k, self.hidden, self.batch_size = k, hidden, batch_size

    def entries(self, X):
        import torch

        return torch.from_numpy(X.indices.reshape(X.shape[0], -1).astype("int64"))

    def fit(self, X, y, fields, passes):
        import torch
        from torch import nn

        torch.set_num_threads(1)
        torch.manual_seed(0)
        entries, target = self.entries(X), torch.from_numpy(y.astype("float32"))
        wide = nn.EmbeddingBag(X.shape[1], 1, mode="sum", sparse=True)
        nn.init.zeros_(wide.weight)
        embeddings = nn.Embedding(X.shape[1], self.k, sparse=True)
        nn.init.normal_(embeddings.weight, std=0.1)
        sizes = [entries.shape[1] * self.k, *self.hidden]
        layers = [nn.Flatten()]
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        deep = nn.Sequential(embeddings, *layers, nn.Linear(sizes[-1], 1))
        optimizers = [
            torch.optim.Adagrad(part.parameters(), lr=rate, initial_accumulator_value=1)
            for part, rate in ((wide, 0.1), (deep, 0.05))
        ]
        loss = nn.BCEWithLogitsLoss(reduction="sum")
        for _ in range(passes):
            for rows in torch.randperm(len(entries)).split(self.batch_size):
                for optimizer in optimizers:
                    optimizer.zero_grad()
                batch = entries[rows]
                loss((wide(batch) + deep(batch))[:, 0], target[rows]).backward()
                for optimizer in optimizers:
                    optimizer.step()
        return wide, deep

    def predict(self, model, X, fields):
        import torch

        wide, deep = model
        with torch.no_grad():
            parts = [torch.sigmoid(wide(b) + deep(b)) for b in self.entries(X).split(1024)]
        return torch.cat(parts)[:, 0].numpy()

    loss = Ours.loss


@contextlib.contextmanager
def printed():
    """Catch what compiled code prints, as a list of lines."""
    lines, stdout = [], os.dup(1)
    with tempfile.TemporaryFile("w+") as file:
        os.dup2(file.fileno(), 1)
        try:
            yield lines
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
            file.seek(0)
            lines.extend(file)


def compare(title, contestants, data, rounds, one_row):
    """Print a row per contestant; the first is the one that ratios refer to."""
    X, y, X_test, y_test, fields = data
    passes = {name: [] for name in contestants}
    bulk = {name: [] for name in contestants}
    row = {name: [] for name in contestants}
    losses = {}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            first, early = seconds(lambda c=contestant: c.fit(X, y, fields, 1))
            total, model = seconds(lambda c=contestant: c.fit(X, y, fields, PASSES))
            passes[name].append((total - first) / (PASSES - 1))
            spent, _ = seconds(lambda c=contestant, m=model: c.predict(m, X_test, fields))
            bulk[name].append(spent)
            if name not in losses:
                losses[name] = [contestant.loss(m, X_test, y_test, fields) for m in (early, model)]
            if one_row:
                times = [
                    seconds(lambda c=contestant, m=model: c.predict(m, X_test[:1], fields))[0]
                    for _ in range(200)
                ]
                row[name].append(statistics.median(times))
    print(f"\n{title}: {X.shape[0]:,} × {len(set(fields))} one-hot, {X.shape[1]:,} columns")
    head = f"{'':<22}{'s/pass':>8}{'ratio':>7}{'loss, 1':>9}{f'loss, {PASSES}':>9}"
    print(head + f"{'predict s':>11}{'ratio':>7}{'one row µs':>12}")
    base = next(iter(contestants))
    for name in contestants:

        def ratio(times, name=name):
            pairs = zip(times[name], times[base], strict=True)
            return statistics.median(theirs / ours for theirs, ours in pairs)

        single = f"{1e6 * statistics.median(row[name]):>12.0f}" if row[name] else ""
        print(
            f"{name:<22}{statistics.median(passes[name]):>8.3f}{ratio(passes):>7.2f}"
            f"{losses[name][0]:>9.4f}{losses[name][1]:>9.4f}"
            f"{statistics.median(bulk[name]):>11.3f}{ratio(bulk):>7.2f}{single}",
            flush=True,
        )


def compiling():
    """Print how long the first fit takes where nothing is compiled, and where all is cached."""
    code = """
import sys, time
import numpy, skfm
from skfm.datasets import make_clicks
clicks = make_clicks(100, random_state=0)
numpy.seterr(all="ignore")
start = time.perf_counter()
getattr(skfm, sys.argv[1])(engine="numba", max_iter=1).fit(clicks.X, clicks.y).predict(clicks.X)
print(time.perf_counter() - start)
"""
    for name in ("FMClassifier", "FFMClassifier", "WideDeepClassifier"):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            command = [sys.executable, "-W", "ignore", "-c", code, name]
            first, later = (
                float(subprocess.run(command, env=environment, capture_output=True).stdout)
                for _ in range(2)
            )
        print(f"{name}: {first:.1f} s for a first small fit, {later:.1f} s once compiled")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["compiling", "fm", "ffm", "widedeep"])
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
    print(f"medians of {args.rounds} rounds in turn")
    if args.only in (None, "compiling"):
        compiling()
    if args.only in (None, "fm"):
        ours, theirs = skfm.FMClassifier, modern_fm.FMClassifier
        contestants = {
            "skfm": Ours(ours, 8),
            "skfm, 2 threads": Ours(ours, 8, n_jobs=2),
            "skfm, batch 256": Ours(ours, 8, batch_size=256),
            "skfm, NumPy": Ours(ours, 8, engine="numpy"),
            "modern-fm (batch 1)": Modern(theirs, 8),
            "modern-fm, batch 256": Modern(theirs, 8, batch_size=256),
        }
        compare("FM, k=8", contestants, data, args.rounds, one_row=True)
    if args.only in (None, "ffm"):
        ours, theirs = skfm.FFMClassifier, modern_fm.FFMClassifier
        contestants = {
            "skfm": Ours(ours, 4),
            "skfm, 2 threads": Ours(ours, 4, n_jobs=2),
            "skfm, NumPy": Ours(ours, 4, engine="numpy"),
            "modern-fm (batch 1)": Modern(theirs, 4),
            "modern-fm, batch 256": Modern(theirs, 4, batch_size=256),
            "pylibffm (batch 1)": PyLibFFM(4),
            "pylibffm, 2 threads": PyLibFFM(4, n_threads=2),
        }
        compare("FFM, k=4", contestants, data, args.rounds, one_row=False)
    if args.only in (None, "widedeep"):
        layers = {"hidden_layer_sizes": (128, 64), "fields": 39, "batch_size": 256}
        contestants = {
            "skfm": Ours(skfm.WideDeepClassifier, 8, **layers),
            "skfm, NumPy": Ours(skfm.WideDeepClassifier, 8, engine="numpy", **layers),
            "skfm, AdaGrad only": Ours(skfm.WideDeepClassifier, 8, solver="adagrad", **layers),
            "PyTorch": Torch(8, (128, 64), 256),
        }
        compare("Wide & Deep, batch 256", contestants, data, args.rounds, one_row=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
