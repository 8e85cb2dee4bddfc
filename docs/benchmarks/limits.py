"""What the machine can do at most: moving rows of parameters, and multiplying matrices.

The loops here touch the rows that a kernel touches, in the same order, and compute next to
nothing. A kernel that takes as long as they do cannot be made faster but by touching less.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from contestants import BATCH, HIDDEN, K, ours, second_pass
from numba import njit, uint64
from reports import in_turn, seconds, short
from rows import Clicks

FLOAT = 4  # bytes


# Rows that are read are copied to so many others, which stay in the cache: no copy has to wait
# for another one, as the additions of a sum would.
RING = 8


@cache
def loops(width):
    """Compiled loops over rows of so many floats, in tables of one dimension.

    The first reads rows of a table, the second changes them. The third moves what a step of
    AdaGrad on a batch moves: the rows of the distinct columns are copied; the copy of each
    entry's is read twice, for the score and for the gradient, to which the entry then adds;
    values and states change.
    """
    width, last = uint64(width), uint64(RING - 1)

    @njit
    def read(table, rows, ring):
        for i in range(uint64(len(rows))):
            row, to = uint64(rows[i]) * width, (i & last) * width
            for j in range(width):
                ring[to + j] = table[row + j]

    @njit
    def change(table, rows, x):
        for i in range(uint64(len(rows))):
            row = uint64(rows[i]) * width
            for j in range(width):
                table[row + j] += x

    @njit
    def step(table, state, touched, local, values, grad, ring):
        for i in range(uint64(len(touched))):
            row = uint64(touched[i]) * width
            for j in range(width):
                values[i * width + j] = table[row + j]
                grad[i * width + j] = 0
        for e in range(uint64(len(local))):
            row, to = uint64(local[e]) * width, (e & last) * width
            for j in range(width):
                ring[to + j] = values[row + j]
        for e in range(uint64(len(local))):
            row = uint64(local[e]) * width
            for j in range(width):
                grad[row + j] += values[row + j]
        for i in range(uint64(len(touched))):
            row = uint64(touched[i]) * width
            for j in range(width):
                state[row + j] += grad[i * width + j]
                table[row + j] -= grad[i * width + j]

    return read, change, step


def numbers(n_rows, width):
    """Ones: zeros would take no memory before they are written to."""
    return np.ones(n_rows * width, np.float32)


@dataclass
class Work:
    """What a pass over rows, or their prediction, has to do for one kind of model.

    `width` is the number of floats of a column, `flops` those of all scores and gradients,
    additions and multiplications counted one by one.
    """

    width: int
    flops: float
    predict_flops: float

    @classmethod
    def of(cls, model, n_rows, F):
        k, pairs = K[model], F * (F - 1) / 2
        if model == "FFM":
            return cls(1 + F * k, 6 * k * pairs * n_rows, 2 * k * pairs * n_rows)
        if model == "FwFM":
            # Sums over the partners of each field, then their products; and back again.
            return cls(1 + k, 6 * k * F * F * n_rows, 2 * k * F * F * n_rows)
        if model == "FM":
            return cls(1 + k, 10 * k * F * n_rows, 4 * k * F * n_rows)
        sizes = [F * k, *HIDDEN, 1]
        products = 2 * sum(a * b for a, b in pairwise(sizes)) * n_rows
        return cls(1 + k, 3 * products, products)


class Pass:
    """The batches of a pass over rows: their distinct columns, and those of the entries."""

    def __init__(self, X, batch_size, seed=0):
        order = np.random.default_rng(seed).permutation(X.shape[0])
        self.batches, self.n_columns = [], X.shape[1]
        for first in range(0, len(order), batch_size):
            columns = X[order[first : first + batch_size]].indices
            touched, local = np.unique(columns, return_inverse=True)
            self.batches.append((touched, local))

    @property
    def n_touched(self):
        return sum(len(touched) for touched, _ in self.batches)

    @property
    def n_entries(self):
        return sum(len(local) for _, local in self.batches)

    def bytes_moved(self, width):
        """Parameter rows that are read and written: values twice and once, states once each,
        and for each entry three rows of the batch's own copies are read and one written."""
        return FLOAT * width * (5 * self.n_touched + 4 * self.n_entries)

    def move(self, width):
        """Seconds that moving the rows takes."""
        most = max(len(touched) for touched, _ in self.batches)
        tables = [numbers(self.n_columns, width) for _ in range(2)]
        copies = [numbers(n, width) for n in (most, most, RING)]
        step = loops(width)[2]
        step(*tables, *self.batches[0], *copies)  # compiles

        def whole():
            for batch in self.batches:
                step(*tables, *batch, *copies)

        return seconds(whole)[0]


def read_rows(n_columns, width, rows):
    """Seconds for reading rows of a table at random."""
    table, ring, read = numbers(n_columns, width), numbers(RING, width), loops(width)[0]
    read(table, rows[:1], ring)  # compiles
    return seconds(lambda: read(table, rows, ring))[0]


def change_rows(n_columns, width, rows):
    """Seconds for reading and writing them."""
    table, change, x = numbers(n_columns, width), loops(width)[1], np.float32(1)
    change(table, rows[:1], x)
    return seconds(lambda: change(table, rows, x))[0]


def multiply(n_rows, F):
    """Seconds for the matrix products of the network in a pass, forward and backward."""
    sizes = [F * K["Wide & Deep"], *HIDDEN, 1]
    rng = np.random.default_rng(0)
    layers = [
        [rng.random(shape, np.float32) for shape in ((BATCH, a), (a, b), (BATCH, b))]
        for a, b in pairwise(sizes)
    ]

    def whole():
        for _ in range(max(1, n_rows // BATCH)):
            for inputs, weights, gradient in layers:
                inputs @ weights, inputs.T @ gradient, gradient @ weights.T

    return seconds(whole)[0]


def best(measure, *args, rounds=3):
    """The least time of several: a limit is what can be reached."""
    return min(measure(*args) for _ in range(rounds))


def print_machine(report, rounds, n_reads):
    """Tables of the limits themselves: GB/s by width and size of the table, and GFLOP/s."""
    rng, lines = np.random.default_rng(0), []
    for n_columns in (50_000, 1_000_000):
        if n_columns > 50 * n_reads:  # most of it would never be read
            continue
        for width in (9, 33, 157):
            size = n_columns * width * FLOAT
            rows = rng.integers(n_columns, size=n_reads)
            touched = n_reads * width * FLOAT / 1e9
            reading = touched / best(read_rows, n_columns, width, rows, rounds=rounds)
            changing = 2 * touched / best(change_rows, n_columns, width, rows, rounds=rounds)
            title = f"{n_columns:,} rows of {width} floats, {size / 1e6:,.0f} MB"
            lines.append((title, f"{reading:.1f}", f"{changing:.1f}"))
    report.table("Rows at random, GB/s, one thread", ["table", "read", "read and write"], lines)
    n_rows = 40 * BATCH
    products = Work.of("Wide & Deep", n_rows, 39).flops
    rate = products / best(multiply, n_rows, 39, rounds=rounds) / 1e9
    report.say(
        f"Products of the network's matrices ({BATCH} × {39 * K['Wide & Deep']} by "
        f"{' by '.join(map(str, HIDDEN))}): {rate:.0f} GFLOP/s, one thread."
    )
    return rate * 1e9


def compare(report, n_rows, n_fields, n_categories, rounds):
    """Print how near each kernel comes to the limits; return the shares for a plot.

    The pass is the second of a fit. The limit is the larger of the times that moving
    the rows and computing would take alone.
    """
    rate = print_machine(report, rounds, 10 * n_rows)
    data = Clicks(n_rows, n_fields, n_categories)
    whole, lines, shares = Pass(data.X, BATCH), [], {}
    for model in K:
        contestant = ours(model, n_fields, batch_size=BATCH)
        work = Work.of(model, n_rows, n_fields)

        fitted = contestant.fit(*data.train, 1)

        def measure(contestant, fitted=fitted):
            bulk, _ = seconds(lambda: contestant.predict(fitted, data.X, data.fields))
            return second_pass(contestant, data.X, data.y), bulk

        times = np.median(in_turn({model: contestant}, measure, rounds)[model], axis=0)
        entries = data.X.indices
        moving = best(whole.move, work.width, rounds=rounds)
        reading = best(read_rows, data.X.shape[1], work.width, entries, rounds=rounds)
        computing, guessing = work.flops / rate, work.predict_flops / rate
        if model == "Wide & Deep":
            computing = best(multiply, n_rows, n_fields, rounds=rounds)
        kinds = {
            "pass": (times[0], whole.bytes_moved(work.width), moving, computing),
            "predict": (times[1], len(entries) * work.width * FLOAT, reading, guessing),
        }
        for kind, (spent, n_bytes, move, compute) in kinds.items():
            # A network has to do both, one after the other.
            limit = move + compute if model == "Wide & Deep" else max(move, compute)
            shares[f"{model}, {kind}"] = move / spent, compute / spent, limit / spent
            lines.append(
                (
                    f"{model}, {kind}", short(spent), f"{n_bytes / 1e9:.2f}",
                    f"{n_bytes / spent / 1e9:.1f}", f"{n_bytes / move / 1e9:.1f}", short(move),
                    short(compute), f"{limit / spent:.0%}",
                )
            )  # fmt: skip
    head = ["kernel", "s", "GB", "GB/s", "limit GB/s", "rows alone s", "sums alone s", "share"]
    report.table(f"Beside the limits: {data}, batches of {BATCH}, one thread", head, lines)
    report.keep(shares=shares, flops_per_second=rate)
    return shares
