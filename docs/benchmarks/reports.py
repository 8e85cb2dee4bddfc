"""Measuring in turn, and tables of what was measured: printed, and written into files."""

import json
import statistics
import time


def seconds(function):
    """How long a call takes, and what it returns."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def in_turn(contestants, measure, rounds):
    """What ``measure(contestant)`` returns in each round, by name.

    The contestants take turns, in the opposite order in every other round.
    """
    found = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names if number % 2 == 0 else names[::-1]:
            found[name].append(measure(contestants[name]))
    return found


def ratio(times, base):
    """The median of the ratios, round by round."""
    return statistics.median(a / b for a, b in zip(times, base, strict=True))


def short(value):
    """A number of seconds or the like to three digits."""
    if value != value:
        return "–"
    if value == 0 or value >= 100:
        return f"{value:,.0f}"
    for bound, digits in ((10, 1), (1, 2), (0.1, 3), (0.01, 4)):
        if value >= bound:
            return f"{value:.{digits}f}"
    return f"{value:.5f}"


class Report:
    """The tables and figures of one part, in files that begin with its name."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.lines, self.kept = [], {}

    def say(self, text):
        """A paragraph."""
        self._add(text, "")

    def table(self, title, head, rows, n_texts=1):
        """A simple table of reStructuredText, which is readable as it is.

        The first `n_texts` columns are to the left, the others to the right.
        """
        cells = [[str(cell) for cell in row] for row in ([head] if head else []) + [*rows]]
        for row in cells:
            row[0] = row[0] or "\\"  # an empty one would go on with the row before
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rule = " ".join("=" * width for width in widths)
        lines = [
            " ".join(
                f"{cell:<{w}}" if i < n_texts else f"{cell:>{w}}"
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        top = [rule, lines.pop(0), rule] if head else [rule]
        self._add(f"**{title}**", "", *top, *lines, rule, "")

    def keep(self, **values):
        """Remember what was measured, for the JSON file."""
        self.kept.update(values)

    def figure(self, kind, *args):
        """Save what a function of `plots` draws; it can be drawn again from the JSON file."""
        self.kept["figure"] = [kind, *args]
        self.draw(kind, *args)

    def draw(self, kind, *args):
        try:
            import matplotlib
        except ImportError:
            print("without matplotlib: no plot")
            return
        matplotlib.use("Agg")
        import plots

        drawn = getattr(plots, kind)(*args)
        drawn.savefig(self.folder / f"{self.name}.png", dpi=200)
        plots.pyplot.close(drawn)

    def redraw(self):
        """Draw the figure anew from the JSON file, if there is one."""
        file = self.folder / f"{self.name}.json"
        kind_and_args = json.loads(file.read_text("utf-8")).get("figure") if file.exists() else None
        if kind_and_args:
            self.draw(*kind_and_args)

    def write(self):
        (self.folder / f"{self.name}.rst").write_text("\n".join(self.lines), "utf-8")
        if self.kept:
            text = json.dumps(self.kept, indent=1, default=float)
            (self.folder / f"{self.name}.json").write_text(text + "\n", "utf-8")

    def _add(self, *lines):
        self.lines += lines
        print(*lines, sep="\n", flush=True)
