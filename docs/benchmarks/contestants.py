"""The models that are compared, skfm's and its peers', with one way to fit and to ask them.

A contestant has ``fit(X, y, fields, passes)``, which returns a fitted model, and
``predict(model, X, fields)`` and ``loss(model, X, y, fields)``. Each package has its own
defaults but for what is named. No peer is imported before it is asked to fit.
"""

import contextlib
import itertools
import os
import tempfile
import time
from importlib.util import find_spec


class Ours:
    """An estimator of skfm."""

    def __init__(self, cls, k, engine="auto", **params):
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
    """An estimator of modern-fm, with one row to a step unless `batch_size` is named."""

    def __init__(self, cls, k, **params):
        self.takes_fields = cls.__name__ != "FMClassifier"
        self.make = lambda passes: cls(
            n_factors=k, max_iter=passes, n_jobs=1, random_state=0, **params
        )

    def fit(self, X, y, fields, passes):
        extra = {"field_ids": fields} if self.takes_fields else {}
        return self.make(passes).fit(X, y, **extra)


class Linear(Ours):
    """Logistic regression by scikit-learn's SGDClassifier: no interactions."""

    def __init__(self):
        from sklearn.linear_model import SGDClassifier

        self.make = lambda passes: SGDClassifier(
            loss="log_loss", max_iter=passes, tol=None, random_state=0
        )


class PyLibFFM:
    """LIBFFM by pylibffm, whose losses are those that it prints.

    The weights that it returns are all the same number (0.4.1), so that its prediction can be
    timed, but is worth nothing.
    """

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
    """The network of skfm in PyTorch: sparse Adagrad for both parts, which has no L2 there.

    Rows are the columns of their entries, one per field, as a matrix; making that matrix is
    not timed. The seed, the layers' start and the order of rows are PyTorch's.
    """

    def __init__(self, k, hidden, batch_size, n_threads=1):
        self.k, self.hidden, self.batch_size = k, hidden, batch_size
        self.n_threads = n_threads

    def entries(self, X):
        import torch

        return torch.from_numpy(X.indices.reshape(X.shape[0], -1).astype("int64"))

    def fit(self, X, y, fields, passes):
        import torch
        from torch import nn

        torch.set_num_threads(self.n_threads)
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
        layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        deep = nn.Sequential(embeddings, layers)
        optimizers = [
            torch.optim.Adagrad(part.parameters(), lr=rate, initial_accumulator_value=1)
            for part, rate in ((wide, 0.1), (embeddings, 0.1), (layers, 0.05))
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


HIDDEN = (128, 64)
BATCH = 256


def fastest_engine():
    """By name, as "auto" takes another one for few rows."""
    return "numba" if find_spec("numba") else "numpy"


def ours(model, n_fields, k=None, **params):
    """The classifier of skfm that is measured for a kind of model.

    The fields are told, as inferring them is no part of a pass.
    """
    import skfm

    k, params = K[model] if k is None else k, {"engine": fastest_engine(), **params}
    if model != "FM":
        params = {"fields": n_fields, **params}
    if model == "Wide & Deep":
        params = {"hidden_layer_sizes": HIDDEN, "batch_size": BATCH, **params}
    return Ours(getattr(skfm, model.replace(" & ", "") + "Classifier"), k, **params)


K = {"FM": 8, "FwFM": 8, "FFM": 4, "Wide & Deep": 8}


def line_up(model, n_fields, available):
    """The contestants for a kind of model by name, skfm first.

    `available` are the modules that can be imported.
    """
    k, found = K[model], {"skfm": ours(model, n_fields)}
    if "numba" in available:
        found["skfm, NumPy"] = ours(model, n_fields, engine="numpy")
    if "modern_fm" in available and model != "Wide & Deep":
        import modern_fm

        cls = getattr(modern_fm, model + "Classifier")
        found["modern-fm, batch 1"] = Modern(cls, k)
        found["modern-fm, batch 256"] = Modern(cls, k, batch_size=256)
    if "pylibffm" in available and model == "FFM":
        found["pylibffm"] = PyLibFFM(k)
    if "torch" in available and model == "Wide & Deep":
        found["PyTorch"] = Torch(k, HIDDEN, BATCH)
    if model == "FM":
        found["SGDClassifier"] = Linear()
    return found


class Moments:
    """A stream that notes when each line is written to it."""

    def __init__(self):
        self.seen = []

    def write(self, text):
        self.seen += [time.perf_counter()] * text.count("\n")

    def flush(self):
        pass


def second_pass(contestant, X, y):
    """Seconds of the second pass of a fit of `Ours`, which says when a pass has ended."""
    model = contestant.make(2).set_params(verbose=True)
    with contextlib.redirect_stdout(Moments()) as moments:
        model.fit(X, y)
    *_, before, end = moments.seen
    return end - before
