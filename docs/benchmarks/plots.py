"""The figures: each function draws one from what a part has measured."""

import math

from matplotlib import pyplot
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

OURS, NUMPY, THEIRS = "#1f5fa8", "#8db4dd", "#b8bcc2"
COLORS = {"FM": "#1f5fa8", "FwFM": "#5a9e6f", "FFM": "#c8553d", "Wide & Deep": "#8a5aa8"}
CONTESTANTS = {
    "skfm": OURS,
    "skfm, NumPy": NUMPY,
    "modern-fm, batch 1": "#d98b5f",
    "modern-fm, batch 256": "#b5532a",
    "pylibffm": "#6b8e4e",
    "PyTorch": "#c23b58",
}
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.5",
    "grid.color": "0.9",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def figure(rows, columns, height, **options):
    """A figure 7 inches wide, and its axes in one list."""
    pyplot.rcParams.update(STYLE)
    made, axes = pyplot.subplots(
        rows, columns, figsize=(7, height), layout="constrained", squeeze=False, **options
    )
    made.get_layout_engine().set(hspace=0.06, wspace=0.06)
    return made, list(axes.flat)


def count(value, _=None):
    """A number as it is read: 20k, 3M."""
    for bound, sign in ((1e6, "M"), (1e3, "k")):
        if value >= bound:
            return f"{value / bound:.3g}{sign}"
    return f"{value:.3g}"


def log_axis(axis, values):
    """A logarithmic axis with labels as they are read: several in a decade if there is one."""
    axis.set_major_formatter(FuncFormatter(count))
    axis.set_minor_formatter(NullFormatter())
    if max(values) < 30 * min(values):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))


def bars(found, label):
    """For each model a panel, in it a bar for each contestant."""
    sizes = [len(values) + 0.5 for values in found.values()]
    height = 0.8 + 0.24 * sum(sizes) + 0.2 * len(sizes)
    made, axes = figure(len(found), 1, height, sharex=True, height_ratios=sizes)
    everything = [value for values in found.values() for value in values.values()]
    low, high = min(everything) / 2, max(everything) * 2.5
    for ax, (model, values) in zip(axes, found.items(), strict=True):
        names = list(values)[::-1]
        shades = {"skfm": OURS, "skfm, NumPy": NUMPY}
        colors = [shades.get(name, THEIRS) for name in names]
        ax.barh(names, [values[n] for n in names], color=colors, height=0.72)
        for i, name in enumerate(names):
            ax.text(values[name] * 1.08, i, count(values[name]), va="center", fontsize=8)
        ax.set(xscale="log", xlim=(low, high), title=model)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
    log_axis(axes[-1].xaxis, [low, high])
    axes[-1].set_xlabel(label)
    return made


def lines(found, label):
    """For each axis of sizes a panel, in it a line for each model."""
    made, axes = figure(2, 2, 5.6)
    for ax, (axis, of_models) in zip(axes, found.items(), strict=True):
        for model, points in of_models.items():
            x, y = zip(*points, strict=True)
            ax.plot(x, y, marker="o", markersize=3.5, color=COLORS[model], label=model)
        ax.set(xscale="log", yscale="log", xlabel=axis)
        ax.grid()
        log_axis(ax.xaxis, x)
        log_axis(ax.yaxis, [value for points in of_models.values() for _, value in points])
        if len(x) < 8:
            ax.set_xticks(x)
            ax.xaxis.set_minor_locator(LogLocator(numticks=1))
    for ax in axes[::2]:
        ax.set_ylabel(label)
    handles, labels = axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return made


def ways(found):
    """For each model a panel: log loss against seconds, a point for each number of passes."""
    made, axes = figure(1, len(found), 3.4)
    names = {}
    for ax, (model, of_contestants) in zip(axes, found.items(), strict=True):
        losses = []
        for name, way in of_contestants.items():
            points = [(spent, loss) for _, spent, loss in way if loss == loss]
            x, y = zip(*points, strict=True)
            (names[name],) = ax.plot(x, y, marker="o", markersize=3.5, color=CONTESTANTS[name])
            losses += y
        low, high = min(losses), max(losses)
        # What overfits may go far up.
        high = min(high, low + 4 * (sorted(losses)[len(losses) // 2] - low) + 0.005)
        ax.set(xscale="log", xlabel="seconds", title=model)
        ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
        ax.grid()
        ax.xaxis.set_major_formatter(FuncFormatter(count))
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("log loss, held out")
    made.legend(names.values(), names, loc="outside lower center", ncols=3, frameon=False)
    return made


def table(found):
    """Log loss against seconds of a fit, a point for each model."""
    made, (ax,) = figure(1, 1, 3.8)
    for name, (spent, loss) in found.items():
        ax.scatter(spent, loss, s=36, color=OURS if "skfm" in name else "0.55", zorder=3)
    spent = [time for time, _ in found.values()]
    ax.set(xscale="log", xlabel="seconds for a fit (log scale)", ylabel="log loss, held out")
    ax.set_xlim(min(spent) / 1.7, max(spent) * 2.5)
    ax.margins(y=0.15)
    ax.grid()
    log_axis(ax.xaxis, spent)
    label(made, ax, found)
    return made


def label(made, ax, points):
    """Write the name of each point beside it, where nothing is yet."""
    made.canvas.draw()  # before which nothing has its place
    taken = [Bbox.from_bounds(*ax.transData.transform(p) - 8, 16, 16) for p in points.values()]
    places = [
        (x, y, side)
        for y in (0, 8, -8, 16, -16, 26, -26)
        for x, side in ((8, "left"), (-8, "right"))
    ]
    for name, point in points.items():
        for x, y, side in places:
            text = ax.annotate(
                name, point, (x, y), textcoords="offset points", ha=side, va="center", fontsize=9
            )
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            ax.annotate(name, point, places[0][:2], textcoords="offset points", fontsize=9)
        taken.append(box)


def shares(found):
    """How much of a kernel's time its limits take: moving rows, and computing."""
    made, (ax,) = figure(1, 1, 0.9 + 0.3 * len(found))
    names = list(found)[::-1]
    for i, name in enumerate(names):
        moving, computing, limit = found[name]
        ax.barh(i + 0.19, moving, 0.36, color="#1f5fa8", label="moving rows" if i == 0 else None)
        ax.barh(i - 0.19, computing, 0.36, color="#e0a458", label="computing" if i == 0 else None)
        ax.text(max(moving, computing) + 0.015, i, f"limit {limit:.0%}", va="center", fontsize=8)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0%}"))
    ax.set_xlim(0, max(1.05, math.ceil(10 * max(max(v) for v in found.values())) / 10 + 0.1))
    ax.axvline(1, color="0.5", linewidth=0.8)
    ax.set_xlabel("share of the kernel's time that this would take alone")
    ax.grid(axis="x")
    made.legend(loc="outside upper center", ncols=2, frameon=False)
    return made


def steps(found):
    """For each set a panel: by how many % the loss is higher, against the steps a pass."""
    made, axes = figure(1, len(found), 3.2, sharey=True)
    for ax, (name, of_set) in zip(axes, found.items(), strict=True):
        everything = []
        for key, values in of_set.items():
            if ", " not in key:
                continue
            model, solver = key.replace("WideDeep", "Wide & Deep").split(", ")
            points = sorted(int(n) for n in values if n.isdigit())
            excess = [100 * (values[str(n)] / values["local"] - 1) for n in points]
            style = "-" if solver == "adagrad" else "--"
            ax.plot(
                points, excess, style, marker=".", color=COLORS[model], label=f"{model}, {solver}"
            )
            everything += points
        ax.set_xscale("log")
        log_axis(ax.xaxis, [min(everything), 30 * min(everything)])
        ax.set_xticks(sorted(set(everything)))
        ax.minorticks_off()
        ax.axhline(0, color="0.5", linewidth=0.8)
        ax.set_title(f"{name}, {count(of_set['rows'])} rows")
        ax.set_xlabel("steps a pass")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+g}%"))
        ax.grid(axis="y")
    axes[0].set_ylabel("log loss above the local fit's")
    made.legend(
        *axes[0].get_legend_handles_labels(),
        fontsize=7,
        ncols=3,
        handlelength=3.2,
        loc="outside lower center",
    )
    return made
