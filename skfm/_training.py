"""The one training loop: passes, batches, early stopping; and scores in bulk."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from ._crosses import TooManyCrossesError

# Floats that the pooled rows of a batch may take: 16 MB of float32.
_BATCH_FLOATS = 1 << 22
_MAX_ROWS = 1024

# Numbers that a batch must be pooled into for prediction to be faster on several threads,
# which have to hand over the interpreter between kernels.
_WORTH_A_THREAD = 1 << 21


# From this share of the average prediction's loss on, a model counts as worse.
_WORSE = 1.001

# Of the bias, in log-odds or standard deviations of y.
_MAX_SHIFT = 10.0


@dataclass
class Sample:
    """Rows of a matrix with their targets and weights; `rows` says which take part."""

    batcher: object
    rows: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    def batches(self, order, size):
        """Yield (batch, y, weight) for `size` rows at a time."""
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield self.batcher(rows), self.y[rows], self.weight[rows]


@dataclass(frozen=True)
class Schedule:
    """How to pass over a sample; the fields are the estimators' parameters."""

    max_iter: int
    batch_size: int
    shuffle: bool
    tol: float | None
    n_iter_no_change: int
    seed: int


def rows_per_batch(most, per_row, floats=_BATCH_FLOATS):
    """Up to `most` rows, as many as can be pooled into so many numbers."""
    return max(1, min(most, floats // max(per_row, 1)))


@contextmanager
def interruptible():
    """Let Ctrl-C be a KeyboardInterrupt; compiled code makes it the cause of SystemErrors."""
    try:
        yield
    except SystemError as error:
        cause = error
        while isinstance(cause, SystemError):
            cause = cause.__cause__
        if isinstance(cause, KeyboardInterrupt):
            raise cause from None
        raise


@interruptible()
def raw_scores(models, batcher, rows, n_threads=1):
    """Raw scores of the rows numbered `rows`, float64, one column for each model."""
    for model in models:
        model.check_covers(batcher)
    size = rows_per_batch(_MAX_ROWS, models[0].per_row, batcher.engine.POOLED_AT_A_TIME)
    scores = np.empty((len(rows), len(models)))

    def score_rows(batcher, part):
        batch = batcher(rows[part])
        try:
            for output, model in enumerate(models):
                values = model.gather(batcher.engine, batch)
                # What the terms remember goes at once: its memory serves the next batch.
                scores[part, output] = model.scores(batcher.engine, batch, values)[0]
        except TooManyCrossesError:
            middle = (part.start + part.stop) // 2
            if middle == part.start:
                raise
            score_rows(batcher, slice(part.start, middle))
            score_rows(batcher, slice(middle, part.stop))

    def score(batcher, starts):
        for start in starts:
            score_rows(batcher, slice(start, min(start + size, len(rows))))

    starts = range(0, len(rows), size)
    n = min(n_threads, len(starts))
    if n < 2 or size * models[0].per_row < _WORTH_A_THREAD:
        score(batcher, starts)
        return scores
    with ThreadPoolExecutor(n) as pool:
        parts = [(batcher.sibling(), starts[part::n]) for part in range(n)]
        list(pool.map(score, *zip(*parts, strict=True)))
    return scores


def mean_loss(model, loss, sample, scores=None):
    """Weighted mean loss of a model, or of `scores`, on a sample; infinite if not finite."""
    if scores is None:
        scores = raw_scores([model], sample.batcher, sample.rows)[:, 0]
    value = np.average(
        loss.value(sample.y[sample.rows], scores), weights=sample.weight[sample.rows]
    )
    return value if np.isfinite(value) else np.inf


@interruptible()
def one_pass(model, loss, sample, order, batch_size, undo=None):
    """Train on the rows in `order` once; return their mean loss, each before its update."""
    model.check_covers(sample.batcher)
    engine, total = sample.batcher.engine, 0.0
    for rows in sample.batches(order, batch_size):
        total += model.step(engine, *rows, loss, undo)
    return total / sample.weight[order].sum()


def centre(model, loss, samples):
    """Set the bias such that the loss's gradients sum up to zero.

    Then the mean prediction is the mean of y, as in every model with an intercept that was
    fitted to the end; the best pass may come long before. Where rows were learned by heart,
    however, their mean says little about others.
    """
    scores = np.concatenate([raw_scores([model], s.batcher, s.rows)[:, 0] for s in samples])
    y, weight = (
        np.concatenate([getattr(s, name)[s.rows] for s in samples]) for name in ("y", "weight")
    )

    def slope(shift):
        return weight @ loss.gradient(y, scores + shift)

    if slope(-_MAX_SHIFT) < 0 < slope(_MAX_SHIFT):
        model.tables["bias"].set(model.bias + brentq(slope, -_MAX_SHIFT, _MAX_SHIFT))


@np.errstate(over="ignore", invalid="ignore")
def train(model, loss, sample, valid, schedule, watch, learn_valid=False):
    """Train a model for up to `max_iter` more passes and write down its history.

    What is watched is the loss on `valid` or, if that is None, on the sample. With
    `valid`, the weights end as they were after the best pass, or before the first if
    none was better. With `learn_valid` they then learn from its rows once, as it would be
    a waste not to, and the bias is centred if that was to the good of these rows before.
    Without `valid` the weights end as they are; only if the fit diverged, was stopped or
    interrupted do the best weights seen come back.

    Parameters
    ----------
    watch : object
        ``watch.begin()`` and ``watch.end(history)`` are called around each pass. A true
        result of the latter ends the training.
    """
    history = model.history
    constant = loss.start(sample.y[sample.rows], sample.weight[sample.rows])
    average = mean_loss(model, loss, valid or sample, constant)
    best = mean_loss(model, loss, valid) if valid else np.inf
    target, waited, saved = best, 0, model.copy()
    history.outcome = "finished"

    def learn(sample):
        order = sample.rows
        if schedule.shuffle:
            rng = np.random.default_rng([schedule.seed, history.n_passes])
            order = rng.permutation(order)
        return one_pass(model, loss, sample, order, schedule.batch_size)

    try:
        for _ in range(schedule.max_iter):
            watch.begin()
            train_loss = last = learn(sample)
            if valid:
                last = mean_loss(model, loss, valid)
                history.validation_scores.append(-float(last))
            history.n_passes += 1
            history.loss_curve.append(float(train_loss))
            if last < best:
                best, history.best_pass = last, history.n_passes
                # Until it is complete, the copy is not what an interrupt may bring back.
                copied, saved = saved, None
                saved = model.copy(copied)
            if watch.end(history, valid is not None):
                history.outcome = "stopped"
                break
            if schedule.tol is not None:
                improved = last < target - schedule.tol
                waited = 0 if improved else waited + 1
                if waited >= schedule.n_iter_no_change:
                    history.outcome = "converged"
                    break
                # Of the first loss without `valid`, only the average can say what it is worth.
                improves = improved and last < (average if target == np.inf else target)
                history.outcome = "improving" if improves else "finished"
                target = min(target, last)
        if valid:
            model.restore(saved)
            last = best
        if learn_valid:
            centre(model, loss, [sample])
            helps = mean_loss(model, loss, valid) < best
            model.restore(saved)
            if history.best_pass:
                learn(valid)
            if helps:
                centre(model, loss, [sample, valid])
            last = mean_loss(model, loss, valid)
        # Of constant targets nothing can be better than the average, and nothing needs to be.
        history.is_worse = average > 0 and last > _WORSE * average
        if history.is_worse and not valid:
            # Rows were scored before the step that they were part of: the end may be better.
            few = replace(sample, rows=sample.rows[:: 1 + len(sample.rows) // _MAX_ROWS])
            history.is_worse = all(
                mean_loss(model, loss, rows) > _WORSE * mean_loss(model, loss, rows, constant)
                for rows in (few, sample)
            )
    except FloatingPointError:
        history.outcome = "diverged"
    except KeyboardInterrupt:
        history.outcome = "interrupted"
    if history.outcome in ("diverged", "interrupted") or (
        history.outcome == "stopped" and not valid
    ):
        if saved is not None:
            model.restore(saved)
    elif not valid:
        history.best_pass = history.n_passes


@np.errstate(over="ignore", invalid="ignore")
def train_online(model, loss, sample, batch_size, undo):
    """Train a model on the sample once, in order."""
    history = model.history
    try:
        train_loss = one_pass(model, loss, sample, sample.rows, batch_size, undo)
    except FloatingPointError:
        history.outcome = "diverged"
        return
    history.n_passes += 1
    history.loss_curve.append(train_loss)
    history.best_pass, history.outcome = history.n_passes, "online"
