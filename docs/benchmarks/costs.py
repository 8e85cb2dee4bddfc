"""Parts about what things cost: by size and number of threads, in memory, and in encoding."""

import statistics
import warnings
from itertools import islice
from pathlib import Path

import encoding
import memory
from contestants import K, line_up, ours, second_pass
from environment import cores, pinned
from reports import ratio, short
from rows import Clicks, many_rows

# Each axis: what is varied, its values, and what a value means for rows, fields, categories
# and k. All else is as in the middle of the others.
MIDDLE = {"n_rows": 100_000, "n_fields": 20, "n_categories": 2500}
AXES = {
    "k": (1, 2, 4, 8, 16, 32, 64),
    "non-zeros per row": (5, 10, 20, 40, 80),
    "rows": (10_000, 100_000, 1_000_000, 10_000_000),
    "columns": (1000, 10_000, 100_000, 1_000_000, 4_000_000),
}
QUICK = {"k": (4, 8), "non-zeros per row": (5, 10), "rows": (500, 2000), "columns": (100, 1000)}
QUICK_MIDDLE = {"n_rows": 1000, "n_fields": 5, "n_categories": 20}

# More entries than these are for the models that are made for them: the others take minutes.
MANY_ENTRIES, FOR_MANY = 10**8, ("FM", "FFM")


def sizes(axis, value, quick):
    """The arguments of `many_rows` at a point of an axis, and k; None for k is that of K."""
    size = dict(QUICK_MIDDLE if quick else MIDDLE)
    if axis == "rows":
        size |= {"n_rows": value, "n_fields": size["n_fields"] if quick else 39}
    elif axis == "non-zeros per row":
        size["n_categories"] = size["n_fields"] * size["n_categories"] // value
        size["n_fields"] = value
    elif axis == "columns":
        size["n_categories"] = value // size["n_fields"]
    return size, value if axis == "k" else None


def print_scaling(report, settings):
    """Microseconds per row in a pass, against k, non-zeros per row, rows and columns."""
    lines, models = {}, ("FM", "FFM", "Wide & Deep") if settings.quick else tuple(K)
    middle = QUICK_MIDDLE if settings.quick else MIDDLE
    report.say(
        "The second pass of a fit. Beside what is varied: "
        "{n_rows:,} rows of {n_fields} fields, {n_categories:,} categories each".format(**middle)
        + "; 39 fields where rows are varied." * (not settings.quick)
    )
    for axis, values in (QUICK if settings.quick else AXES).items():
        found = {model: [] for model in models}
        values = [n for n in values if axis != "rows" or n <= settings.most_rows]
        for value in values:
            size, k = sizes(axis, value, settings.quick)
            X, y = many_rows(**size)
            for model in models:
                if X.nnz > MANY_ENTRIES and model not in FOR_MANY:
                    continue
                contestant = ours(model, size["n_fields"], k)
                # One round says enough where a pass takes seconds.
                rounds = 1 if settings.quick or X.nnz > 10**7 else settings.rounds
                spent = [second_pass(contestant, X, y) for _ in range(rounds)]
                found[model].append((value, 1e6 * statistics.median(spent) / len(y)))
            del X, y
        head = [axis, *models]
        at = {model: dict(points) for model, points in found.items()}
        rows = [
            (f"{value:,}", *(short(at[model].get(value, float("nan"))) for model in models))
            for value in values
        ]
        report.table(f"Microseconds per row against {axis}", head, rows)
        lines[axis] = found
    report.keep(lines=lines)
    report.figure("lines", lines, "µs per row and pass")


def print_threads(report, settings):
    """Seconds per pass on one core and more, with as many threads; losses are the same."""
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= len(cores())]
    data = Clicks(2000, 6, 50) if settings.quick else Clicks(100_000)
    rows, lines = [], {}
    for model in K:
        times = {n: [] for n in counts}
        for number in range(settings.rounds):
            for n in counts if number % 2 == 0 else counts[::-1]:
                with pinned(n):
                    contestant = ours(model, data.n_fields, n_jobs=n)
                    times[n].append(second_pass(contestant, data.X, data.y))
        middle = [statistics.median(times[n]) for n in counts]
        gains = [f"{ratio(times[1], times[n]):.2f}" for n in counts[1:]]
        rows.append((model, *map(short, middle), *gains))
        lines[model] = list(zip(counts, middle, strict=True))
    head = ["", *(f"{n} thread{'s' * (n > 1)}, s" for n in counts)]
    head += [f"gain by {n}" for n in counts[1:]]
    report.table(f"Seconds per pass on as many cores: {data}", head, rows)
    report.keep(lines=lines)


def print_memory(report, settings):
    """How much more a process holds at most during a fit than before it, in MB.

    Each figure is of a process of its own, which has loaded the data and fitted a few rows.
    """
    data = Clicks(2000, 6, 50) if settings.quick else Clicks(100_000)
    rows = []
    with memory.kept(data) as folder:
        for model in ("FM", "FFM") if settings.quick else K:
            names = [*line_up(model, data.n_fields, settings.available)]
            for name in names[:1] if settings.quick else names:
                arguments = folder, model, name, data.n_fields, settings.available
                held, peak = memory.in_own_process(growth, *arguments)
                rows.append((f"{model}: {name}", f"{held / 1e6:,.0f}", f"{peak / 1e6:,.0f}"))
    size = (data.X.data.nbytes + data.X.indices.nbytes + data.X.indptr.nbytes) / 1e6
    report.table(f"MB beside the data of {size:,.0f} MB: {data}", ["", "after", "peak"], rows)
    report.keep(rows=rows)
    if Path("/proc/self/statm").exists():
        n = 1000 if settings.quick else 1_000_000
        found = islice(memory.models(n, n), 1 if settings.quick else None)
        rows = [
            (title, f"{sizes['columns']:,}",
             *(f"{sizes[what] / 1e6:,.0f}" for what in ("data", "state", "peak", "bound")))
            for title, sizes in found
        ]  # fmt: skip
        head = ["MB", "columns occur", "data", "state", "peak", "bound"]
        report.table(f"{n:,} rows of 8 hashed fields, 16,777,216 columns", head, rows)
        report.keep(hashed=rows)


def growth(folder, model, name, n_fields, available):
    """In a process of its own: what a fit leaves behind, and its peak."""
    warnings.simplefilter("ignore")
    X, y, fields = memory.load(folder)
    contestant = line_up(model, n_fields, available)[name]
    contestant.fit(X[:300], y[:300], fields, 1)
    return memory.growth(lambda: contestant.fit(X, y, fields, 2))[1:]


def print_encoder(report, settings):
    """FieldEncoder beside OneHotEncoder on a table of strings; ratios are to FieldEncoder."""
    n_rows = 2000 if settings.quick else 200_000
    rows, kept = [], []
    for kind, name, *both in encoding.compare(n_rows, settings.rounds):
        if name == "FieldEncoder":
            base = both
        cells = []
        for times, first in zip(both, base, strict=True):
            cells += [short(statistics.median(times)), f"{ratio(times, first):.2f}"]
        rows.append((f"{kind}: {name}", *cells))
        kept.append((kind, name, both))
    head = ["", "fit_transform s", "ratio", "transform s", "ratio"]
    report.table(f"{n_rows:,} rows of {len(encoding.CARDINALITIES)} strings", head, rows)
    shares = [
        (name, short(spent), passes, short(fitting), f"{spent / (spent + fitting):.0%}")
        for name, spent, passes, fitting in encoding.behind_encoder(n_rows)
    ]
    head = ["", "encoding s", "passes", "fit s", "share of encoding"]
    report.table("Models behind FieldEncoder(min_frequency=5)", head, shares)
    report.keep(times=kept)
