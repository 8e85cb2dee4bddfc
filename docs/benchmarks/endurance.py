"""Whether memory stays flat and checkpoints survive, and how good the estimate of memory is.

``python docs/benchmarks/endurance.py`` prints:

- how much more memory a process holds after 100 fits and 10,000 predictions than after the first
  tenth of each, with each engine;
- the estimate by which `fit` refuses models that are too large, beside what a process holds more
  at most during `fit`: for each model with few and many parameters per column, both solvers and
  both engines;
- of 200 trainings that SIGKILL ends at random moments, how many left a checkpoint that goes on.

``--quick`` does a tenth of it.
"""

import argparse
import subprocess
import sys
import tempfile
import warnings
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
from memory import growth, hashed_rows, in_own_process, resident

ROOT = Path(__file__).parents[2]
MODELS = {
    "FMClassifier": {"k": 8},
    "FFMClassifier": {"k": 4, "fields": 8},
    "FwFMClassifier": {"k": 8, "fields": 8},
    "WideDeepClassifier": {"k": 8, "fields": 8, "hidden_layer_sizes": (16,)},
}
MODELS["DeepFM"] = MODELS["WideDeepClassifier"] | {"interactions": True}
LARGE = {
    "FMClassifier": {"k": 64},
    "FFMClassifier": {"k": 16},
    "FwFMClassifier": {"k": 64},
    "WideDeepClassifier": {"k": 64, "hidden_layer_sizes": (1024, 1024)},
    "DeepFM": {"k": 64, "hidden_layer_sizes": (1024, 1024)},
}
MB = 1e6


def made(name, **params):
    """A new estimator, and DeepFM under its own name."""
    import skfm

    kind = {"DeepFM": "WideDeepClassifier"}.get(name, name)
    return getattr(skfm, kind)(**MODELS[name] | params, random_state=0)


def held_by_repeated_calls(name, engine, n_fits, n_predicts):
    """Bytes held more after all calls than after a tenth of them: of fits, and of predictions."""
    from skfm.datasets import make_clicks

    warnings.simplefilter("ignore")  # two passes are few
    clicks = make_clicks(2000, n_fields=8, n_categories=50, random_state=0)
    model, grown = made(name, max_iter=2, engine=engine), []
    for call, n in (
        (lambda: model.fit(clicks.X, clicks.y), n_fits),
        (lambda: model.predict_proba(clicks.X[:1]), n_predicts),
    ):
        for _ in range(n // 10):
            call()
        before = resident()
        for _ in range(n - n // 10):
            call()
        grown.append(resident() - before)
    return grown


def estimate_and_peak(name, params, n_rows, n_columns):
    """The estimate of a fit, and the most bytes that a process held more during it."""
    from skfm import _memory

    warnings.simplefilter("ignore")
    X, y = hashed_rows(n_rows, n_columns, n_columns)
    params = params | {"max_iter": 2, "tol": None}
    made(name, **params).fit(X[:200], y[:200])  # what is loaded at the first fit is loaded
    model, estimates = made(name, **params), []
    real = _memory.memory_needed
    _memory.memory_needed = lambda *args: estimates.append(real(*args)) or estimates[-1]
    peak = growth(lambda: model.fit(X, y))[2]
    return estimates[-1][0], peak


def print_estimates(engines, times):
    print("MB that fit is estimated to need / that it needs at most (estimate / peak)")
    ratios = []
    for name, large in LARGE.items():
        for of_size, n_columns in ({}, 80_000 * times), (large, 16_000 * times):
            for solver, engine in product(("adagrad", "ftrl"), engines):
                params = of_size | {"solver": solver, "engine": engine}
                args = name, params, 10_000 * times, n_columns
                estimate, peak = in_own_process(estimate_and_peak, *args)
                ratios.append(estimate / peak)
                what = f"{name:20} k={(MODELS[name] | of_size)['k']:<3} {solver:8} {engine:6}"
                figures = f"{estimate / MB:7.1f} / {peak / MB:.1f}  ({ratios[-1]:.2f})"
                print(f"  {what} {figures}", flush=True)
    print(f"  from {min(ratios):.2f} to {max(ratios):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="do a tenth of it")
    times = 1 if parser.parse_args().quick else 10
    engines = ["numpy", "numba"] if find_spec("numba") else ["numpy"]
    print(f"MB held more after {10 * times} fits / {1000 * times:,} predictions")
    for name in MODELS:
        for engine in engines:
            fits, predicts = in_own_process(
                held_by_repeated_calls, name, engine, 10 * times, 1000 * times
            )
            print(f"  {name:20} {engine:6} {fits / MB:7.2f} / {predicts / MB:.2f}", flush=True)
    print_estimates(engines, times)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.test_checkpoints", f"{folder}/checkpoint"]
        done = subprocess.run(
            [*command, str(20 * times)], cwd=ROOT, capture_output=True, text=True, check=True
        )
    chunks = np.array(done.stdout.split(), int)
    print(
        f"{len(chunks)} trainings killed, {len(chunks)} checkpoints went on, to {chunks[-1]} chunks"
    )


if __name__ == "__main__":
    main()
