"""Measure fits on a cluster: what large steps cost in loss, and where the time of a round goes.

    python docs/benchmarks/cluster.py

runs in the environment that it is started in, which needs skfm with the extras dask, numba and
plot. `loss` fits each model on shards with as many steps a pass as are named, for as many passes as
the local default fit made, and compares the log loss on held-out rows. It runs the shards in one
process, which gives the bits of a cluster (tests/test_dask.py). `rounds` starts a LocalCluster and
takes the time of a round apart; `beyond` computes from these constants what a billion rows would
take. Fits that are in the file of results already are not repeated.

    python docs/benchmarks/cluster.py --only loss --sets adult --adult adult.csv.gz
"""

import argparse
import json
import os
import pickle
import statistics
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from environment import HERE, machine
from reports import Report, short

STEPS = (15, 60, 150, 400, 1000)
MODELS = ("FM", "FFM", "WideDeep")
SOLVERS = ("adagrad", "ftrl")
N_SHARDS = 8
N_STEPS = 400  # a pass
NETWORK = 10e9 / 8  # bytes a second


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--sets", nargs="+", choices=["adult", "clicks"], default=["adult", "clicks"]
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=SOLVERS)
    parser.add_argument("--steps", nargs="+", type=int, default=STEPS, help="steps a pass")
    parser.add_argument("--adult", type=Path, help="CSV file of Adult; default: as sets.py gets it")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the generated clicks")
    parser.add_argument("--columns", type=int, default=200_000, help="of the generated clicks")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def estimator(model, **params):
    import skfm

    return getattr(skfm, f"{model}Classifier")(random_state=0, **params)


def sharded(model, X, y, n_shards=N_SHARDS, run=None):
    """Fit on shards in this process."""
    from skfm._rounds import InProcess
    from skfm._sharded import Collection, fit_sharded

    fit_sharded(
        model, (model, X, y, None), run or InProcess(), Collection([X], [y], None), None, n_shards
    )
    return model


def read(name, args):
    """Rows to learn from and rows to score, encoded."""
    from sklearn.model_selection import train_test_split

    if name == "clicks":
        from skfm.datasets import make_clicks

        made = make_clicks(args.rows, 10, args.columns // 10, random_state=1)
        X, y = made.X, made.y
    else:
        import pandas as pd
        from sets import tables

        from skfm.preprocessing import FieldEncoder

        table = pd.read_csv(args.adult) if args.adult else tables()("adult")
        table = table.replace("?", None)
        y = (table.pop("income") == ">50K").to_numpy(int)
        X = FieldEncoder().fit_transform(table)
    rows = train_test_split(np.arange(len(y)), test_size=0.25, stratify=y, random_state=0)
    return [(X[part], y[part]) for part in rows]


def measure_loss(args, kept):
    """Log loss of the local fit and of those on shards: {set: {model, solver: {steps: loss}}}."""
    from sklearn.metrics import log_loss

    for name in args.sets:
        data = None
        for model in args.models:
            for solver in args.solvers:
                found = kept.setdefault(name, {}).setdefault(f"{model}, {solver}", {})
                wanted = ["local", *(str(steps) for steps in args.steps)]
                if all(key in found for key in wanted):
                    continue
                (X, y), (X_test, y_test) = data = data or read(name, args)
                kept[name]["rows"], kept[name]["columns"] = X.shape
                for key in wanted:
                    if key in found:
                        continue
                    if key == "local":
                        fitted = estimator(model, solver=solver).fit(X, y)
                        found["passes"] = fitted.n_iter_
                    else:
                        size = max(N_SHARDS, round(0.9 * len(y) / int(key)))
                        passes = dict(max_iter=found["passes"], tol=None)
                        fitted = sharded(
                            estimator(model, solver=solver, batch_size=size, **passes), X, y
                        )
                    found[key] = log_loss(y_test, fitted.predict_proba(X_test))
                    print(name, model, solver, key, f"{found[key]:.5f}", flush=True)
                    yield


def report_loss(report, kept):
    for name, found in kept.items():
        models = [key for key in found if ", " in key]
        steps = sorted({int(k) for m in models for k in found[m] if k.isdigit()})
        report.table(
            f"{name}, {found['rows']:,} rows to learn from, {found['columns']:,} columns: loss of "
            "the local default fit, and by how many % that on 8 shards is higher, by steps a pass",
            ["model, solver", "passes", "local", *steps],
            [
                [
                    m.replace("WideDeep", "Wide & Deep"),
                    found[m]["passes"],
                    f"{found[m]['local']:.4f}",
                    *(
                        f"{100 * (found[m][str(n)] / found[m]['local'] - 1):+.2f}"
                        if str(n) in found[m]
                        else "–"
                        for n in steps
                    ),
                ]
                for m in models
            ],
        )
    report.figure("steps", kept)


class Measured:
    """Runs a fit in this process and notes what each round costs: see `_rounds`."""

    def __init__(self):
        self.rounds, self.cutting = [], 0.0

    def start(self, function, *lists, urgent=False):
        spent, arguments, results = 0.0, [], []
        for one in zip(*lists, strict=True):
            start = time.perf_counter()
            results.append(function(*one))
            spent += time.perf_counter() - start
            arguments.append(one[1:])
        if not urgent:
            self.cutting += spent if function.__name__ == "cut_batches" else 0.0
            return results
        start = time.perf_counter()
        sent = [pickle.dumps(one, protocol=5) for one in arguments]
        back = [pickle.dumps(one, protocol=5) for one in results]
        for text in sent + back:
            pickle.loads(text)
        pickled = time.perf_counter() - start
        touched = sum(len(g.counts["columns"]) for g in results)
        self.rounds.append(
            dict(
                gradients=spent,
                serialization=pickled,
                bytes=sum(map(len, sent + back)),
                touched=touched,
            )
        )
        return results

    def results(self, handles):
        return handles


def measure_rounds(args, kept):
    """What a round costs, with few and many columns: on a cluster, and its parts."""
    from distributed import Client, LocalCluster

    from skfm._rounds import ShardedSample
    from skfm.datasets import make_clicks

    seconds = defaultdict(list)

    def timed(name):
        function = getattr(ShardedSample, name)

        def call(*arguments):
            start = time.perf_counter()
            result = function(*arguments)
            seconds[name].append(time.perf_counter() - start)
            return result

        setattr(ShardedSample, name, call)
        return function

    cases = [("FM", 20_000, 2000), ("FM", 200_000, 2000), ("FM", 200_000, 16_000)]
    cases += [("FFM", 200_000, 16_000)]
    with (
        LocalCluster(
            n_workers=args.workers, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        from dask import delayed

        import skfm.dask

        def nothing(i):
            return i

        trips = []
        for _ in range(30):
            start = time.perf_counter()
            client.gather(client.map(nothing, range(N_SHARDS), pure=False))
            trips.append(time.perf_counter() - start)
        kept["scheduler"] = statistics.median(trips)
        for model, columns, batch in cases:
            key = f"{model}, {columns:,} columns, batches of {batch:,}"
            if key in kept:
                continue
            n_rows = max(20_000, 5 * batch)
            made = make_clicks(n_rows, 10, columns // 10, random_state=1)
            params = dict(batch_size=batch, max_iter=1, early_stopping=False, tol=None)
            params |= (
                dict(engine="numba", fields=made.fields) if model == "FFM" else dict(engine="numba")
            )
            original = timed("_step")
            seconds.clear()
            on_dask = getattr(skfm.dask, f"Dask{model}Classifier")(
                random_state=0, n_shards=N_SHARDS, **params
            )
            step = n_rows // N_SHARDS
            cuts = range(0, n_rows, step)
            on_dask.fit(
                [delayed(made.X[at : at + step]) for at in cuts],
                [delayed(made.y[at : at + step]) for at in cuts],
            )
            total = statistics.median(seconds["_step"])
            seconds.clear()
            run = Measured()
            whole = time.perf_counter()
            sharded(estimator(model, **params), made.X, made.y, run=run)
            whole = time.perf_counter() - whole
            ShardedSample._step = original
            median = {
                name: statistics.median(r[name] for r in run.rounds) for name in run.rounds[0]
            }
            steps = statistics.median(seconds["_step"])
            kept[key] = median | dict(
                total=total,
                local=seconds_per_row(model, made, params),
                client=steps - median["gradients"] - median["serialization"],
                cutting=run.cutting / len(run.rounds),
                batch=batch,
                workers=args.workers,
            )
            yield


def seconds_per_row(model, made, params):
    """Of a pass of the local fit, with the batches that it takes by default."""
    params = params | dict(batch_size="auto")
    spent = []
    for n_passes in (1, 3):
        start = time.perf_counter()
        estimator(model, **params | dict(max_iter=n_passes)).fit(made.X, made.y)
        spent.append(time.perf_counter() - start)
    return (spent[1] - spent[0]) / 2 / len(made.y)


def report_rounds(report, kept):
    rows = []
    for key, found in kept.items():
        if key == "scheduler":
            continue
        parts = {
            "gradients": found["gradients"] / found["workers"],
            "client": found["client"],
            "serialization": found["serialization"],
            "scheduler": kept["scheduler"],
        }
        rest = found["total"] - sum(parts.values())
        rows.append(
            [
                key,
                *(short(1000 * value) for value in (found["total"], *parts.values(), rest)),
                f"{found['touched']:,.0f}",
                f"{found['bytes'] / 1e6:.2f}",
                f"{found['bytes'] / found['touched']:.0f}",
            ]
        )
    head = ["", "ms", "gradients", "client", "pickling", "scheduler", "rest", "touched", "MB", "B"]
    report.table(
        f"A round of {N_SHARDS} shards: milliseconds and their parts, rows of tables touched "
        "(summed over the shards), megabytes both ways, bytes for each row touched",
        head,
        rows,
    )


def touched_rows(n_rows, n_fields, n_columns):
    """How many columns so many rows touch, where categories occur as 1 / rank."""
    rank = np.arange(1, n_columns // n_fields + 1)
    share = 1 / rank / (1 / rank).sum()
    return n_fields * -np.expm1(n_rows * np.log1p(-np.minimum(share, 0.999))).sum()


def seconds_per_pass(found, scheduler, n_rows, n_fields, n_columns, n_workers):
    """From the constants of a round, what a pass takes; one shard for each worker."""
    batch = n_rows / N_STEPS
    touched = n_workers * touched_rows(batch / n_workers, n_fields, n_columns)
    n_bytes = touched * found["bytes"] / found["touched"]
    per_row = (found["gradients"] + found["cutting"]) / found["batch"] * n_fields / 10
    parts = {
        "gradients and cutting, on the workers": batch / n_workers * per_row,
        "client: gathering, summing, stepping": touched * found["client"] / found["touched"],
        "pickling on the client": n_bytes * found["serialization"] / found["bytes"] / 2,
        "network of the client, 10 Gbit/s": n_bytes / NETWORK,
        "scheduler": scheduler * n_workers / N_SHARDS,
    }
    return {name: N_STEPS * each for name, each in parts.items()}, touched, n_bytes


def report_beyond(report, kept):
    """From the constants of a round: a billion rows, and how many it takes to beat one core."""
    rounds = kept["rounds"]
    by_model = {key.split(",")[0]: key for key in rounds if "16,000" in key}
    found, scheduler = rounds[by_model["FM"]], rounds["scheduler"]
    n_rows, n_columns, n_workers, n_entries, k = 10**9, 10**8, 100, 40, 8
    size = n_rows, n_entries, n_columns, n_workers
    parts, touched, n_bytes = seconds_per_pass(found, scheduler, *size)
    rows = [[name, f"{value / 3600:.2f} h a pass"] for name, value in parts.items()]
    local = n_rows * found["local"] * n_entries / 10 / 3600
    per_pass = n_bytes * N_STEPS / 1e12
    rows += [
        ["together", f"{sum(parts.values()) / 3600:.2f} h a pass"],
        ["rows of tables touched, all shards", f"{touched:,.0f} a round"],
        ["bytes both ways", f"{n_bytes / 1e9:.1f} GB a round, {per_pass:.1f} TB a pass"],
        [
            "memory of the client",
            f"{2 * n_columns * 2 * (1 + k) * 4 / 1e9:.1f} GB, best pass included",
        ],
        ["memory of a worker for its rows", f"{n_rows / n_workers * n_entries * 8 / 1e9:.1f} GB"],
        ["one machine, if they fitted", f"{local:.1f} h a pass on one core"],
    ]
    report.table("FM on 10⁹ rows of 40 entries, 10⁸ columns, 100 workers, 400 steps", None, rows)
    rows = []
    for model, key in by_model.items():
        for n_workers in (4, 16, 64):
            for n_rows in np.geomspace(1e5, 1e11, 61):
                parts, *_ = seconds_per_pass(rounds[key], scheduler, n_rows, 10, 200_000, n_workers)
                if sum(parts.values()) < n_rows * rounds[key]["local"]:
                    rows.append([model, n_workers, f"{n_rows:,.0f}"])
                    break
            else:
                rows.append([model, n_workers, "never"])
    report.table(
        "From how many rows on a cluster beats one core: 10 entries a row, 200,000 columns",
        ["model", "workers", "rows"],
        rows,
    )


PARTS = {"loss": measure_loss, "rounds": measure_rounds, "beyond": None}


def main():
    args = arguments()
    warnings.simplefilter("ignore")
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "cluster.json"
    kept = json.loads(file.read_text("utf-8")) if file.exists() else {}
    kept.pop("figure", None)
    for part in args.only:
        if PARTS[part]:
            for _ in PARTS[part](args, kept.setdefault(part, {})):
                file.write_text(json.dumps(kept, indent=1, default=float) + "\n", "utf-8")
    report = Report("cluster", args.out)
    report.keep(**kept)
    if kept.get("loss"):
        report_loss(report, kept["loss"])
    if "scheduler" in kept.get("rounds", {}):
        report_rounds(report, kept["rounds"])
        report_beyond(report, kept)
    report.table("Measured on", None, machine(), n_texts=2)
    report.write()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
