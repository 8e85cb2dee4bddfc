"""Time skfm beside its peers and beside what the machine can do.

    python docs/benchmarks/run.py

makes an environment of its own beside this file, installs skfm from the checkout and the peers
from the package index, and measures there; a peer that cannot be installed is left out. The
contestants take turns, in the opposite order in every other round. Figures are medians over the
rounds; ratios are the median of the ratios to skfm in each round, and above 1 skfm is faster. One
thread is used where no other number is named. Log losses are of held-out rows. Each package has its
own defaults, but for k, the batch size and the layers where they are named; early stopping is off,
and fields are told. "skfm" is the compiled engine where it is installed.

Each part prints its tables and writes them with its plot into a folder, which the page of the
documentation includes. ``--only passes predict`` runs these parts only. ``--quick --no-peers``
runs everything in small and without a network, in the environment that it is started in; the
figures mean nothing then. ``--redraw`` only draws the plots anew from the files of a run.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from environment import HERE, can_import, in_own_environment, in_this_environment, machine

PARTS = {
    "machine": "what the figures depend on",
    "limits": "moving rows and multiplying matrices, and how near the kernels come",
    "passes": "training beside the peers: seconds per pass and log loss",
    "predict": "prediction in bulk and one row at a time",
    "target": "time to a given log loss",
    "scaling": "cost against k, non-zeros per row, rows and columns",
    "threads": "cost against the number of threads",
    "memory": "peak memory of a fit",
    "encoder": "FieldEncoder beside OneHotEncoder",
    "compiling": "first fits and searches, with and without compiled code",
    "table": "a real table: seconds and log loss beside trees and networks",
}
RESULTS = HERE / "results"  # of which the documentation has a page
OPTIONAL = ("numba", "modern_fm", "pylibffm", "torch", "lightgbm")


@dataclass
class Settings:
    """What the parts need to know: sizes, rounds, and the modules that can be imported."""

    quick: bool
    peers: bool
    rounds: int
    most_rows: int
    available: set


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, help="these parts only")
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--most-rows", type=int, default=10_000_000, help="of the part scaling")
    parser.add_argument("--out", type=Path, help="folder for tables and plots")
    parser.add_argument("--redraw", action="store_true", help="only the plots, from what is there")
    parser.add_argument("--quick", action="store_true", help="small sizes and one round")
    parser.add_argument("--no-peers", action="store_true", help="stay in this environment")
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 5)
    return args


def print_machine(report, settings):
    """Processor, caches, memory, load and versions."""
    report.table("Measured on", None, machine(), n_texts=2)


def print_limits(report, settings):
    if "numba" not in settings.available:
        report.say("The limits are measured by loops that numba compiles, which is not here.")
        return
    import limits

    size = (1000, 6, 50) if settings.quick else (100_000, 39, 1282)
    report.figure("shares", limits.compare(report, *size, settings.rounds))


def functions():
    """What measures each part."""
    import costs
    import learning

    return {
        "machine": print_machine,
        "limits": print_limits,
        "passes": learning.print_passes,
        "predict": learning.print_prediction,
        "target": learning.print_time_to_loss,
        "scaling": costs.print_scaling,
        "threads": costs.print_threads,
        "memory": costs.print_memory,
        "encoder": costs.print_encoder,
        "compiling": learning.print_compiling,
        "table": learning.print_table,
    }


def main():
    args = arguments()
    parts = args.only or PARTS
    if args.redraw:
        from reports import Report

        for part in parts:
            Report(part, args.out or RESULTS).redraw()
        return 0
    if not os.environ.get("SKFM_BENCHMARK"):
        return in_this_environment() if args.no_peers else in_own_environment()

    warnings.simplefilter("ignore")
    modules = [name for name in OPTIONAL if not args.no_peers or name == "numba"]
    available = {name for name in modules if can_import(name)}
    settings = Settings(args.quick, not args.no_peers, args.rounds, args.most_rows, available)
    with contextlib.ExitStack() as stack:
        folder = args.out or RESULTS
        if args.quick and not args.out:  # which must not take the place of real figures
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        measure(parts, folder, settings)
        if args.out or not args.quick:
            print(f"\nTables and plots are in {folder}")
    return 0


def measure(parts, folder, settings):
    """Run the parts; say how long each took and what share of a core it got, also in its file.

    Much less than 100% says that the machine was busy with something else.
    """
    from reports import Report

    measures = functions()
    for part in parts:
        print(f"\n=== {part}: {PARTS[part]}\n", flush=True)
        start, busy, report = time.perf_counter(), sum(os.times()[:4]), Report(part, folder)
        measures[part](report, settings)
        spent, busy = time.perf_counter() - start, sum(os.times()[:4]) - busy
        if part != "machine":
            report.say(
                f"Rounds: {settings.rounds}. This part took {spent:.0f} seconds and got "
                f"{busy / spent:.0%} of one core."
            )
        report.write()


if __name__ == "__main__":
    sys.exit(main())
