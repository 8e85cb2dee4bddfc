"""The one training loop: passes, batches, early stopping; and scores in bulk."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

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
    """Rows of a matrix with their targets and weights; `rows` says which take part.

    The training loop asks for nothing but the methods up to `slope`, so that the rows may also
    be elsewhere: see `_rounds`.
    """

    batcher: object
    rows: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    def start(self, loss):
        """The best constant score."""
        y, weight = self.y[self.rows], self.weight[self.rows]
        return loss.start(loss.sum(y, weight), weight.sum())

    def mean_loss(self, loss, scores):
        """Weighted mean loss of `scores`: one for each row, or one for all."""
        value = loss.value(self.y[self.rows], scores)
        return np.average(value, weights=self.weight[self.rows])

    def scores(self, model):
        """Raw scores of the rows, in any form that the other methods take."""
        return raw_scores([model], self.batcher, self.rows)[:, 0]

    def learn(self, model, loss, schedule):
        """Let a model learn from the rows once; return their mean loss."""
        order = self.rows
        if schedule.shuffle:
            rng = np.random.default_rng([schedule.seed, model.history.n_passes])
            order = rng.permutation(order)
        return one_pass(model, loss, self, order, schedule.batch_size)

    def thinned(self, most):
        """About as many of the rows as `most`, evenly spread."""
        return replace(self, rows=self.rows[:: 1 + len(self.rows) // most])

    def slope(self, model, loss, others):
        """The sum of the loss's gradients here and in `others`, a function of a shift."""
        samples = [self, *others]
        scores = np.concatenate([s.scores(model) for s in samples])
        y, weight = (
            np.concatenate([getattr(s, name)[s.rows] for s in samples]) for name in ("y", "weight")
        )
        return lambda shift: weight @ loss.gradient(y, scores + shift)

    def batches(self, order, size):
        """Yield (batch, y, weight) for `size` rows at a time."""
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            yield self.batcher(rows), self.y[rows], self.weight[rows]


class Schedule(NamedTuple):
    """How to pass over a sample; the fields are the estimators' parameters."""

    max_iter: int
    batch_size: int
    shuffle: bool
    tol: float | None
    n_iter_no_change: int
    seed: int

    @classmethod
    def of(cls, estimator, batch_size, seed):
        max_iter, shuffle, tol = estimator.max_iter, estimator.shuffle, estimator.tol
        return cls(max_iter, batch_size, shuffle, tol, estimator.n_iter_no_change, seed)


@dataclass
class Progress:
    """Where a fit stands between two passes.

    Attributes
    ----------
    n_passes : int
        Passes made in this fit.
    best : float
        The lowest loss that was watched.
    target : float
        What the next loss has to be lower than, by `tol`.
    waited : int
        Passes without improvement.
    saved : dict
        The copy of the best weights.
    """

    n_passes: int
    best: float
    target: float
    waited: int
    saved: dict


def rows_per_batch(most, per_row, floats=_BATCH_FLOATS):
    """Up to `most` rows, as many as can be pooled into so many numbers."""
    return max(1, min(most, floats // max(per_row, 1)))


def rows_scored_together(per_row, engine):
    return rows_per_batch(_MAX_ROWS, per_row, engine.POOLED_AT_A_TIME)


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
    size = rows_scored_together(models[0].per_row, batcher.engine)
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
    value = sample.mean_loss(loss, sample.scores(model) if scores is None else scores)
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
    """Set the bias so that the loss's gradients sum up to zero.

    Then the mean prediction is the mean of y, as in every model with an intercept that was
    fitted to the end; the best pass may come long before. Where rows were learned by heart,
    however, their mean says little about others.
    """
    slope = samples[0].slope(model, loss, samples[1:])
    if slope(-_MAX_SHIFT) < 0 < slope(_MAX_SHIFT):
        model.tables["bias"].set(model.bias + brentq(slope, -_MAX_SHIFT, _MAX_SHIFT))


@np.errstate(over="ignore", invalid="ignore")
def train(model, loss, watch, sample, valid, schedule, learn_valid=False, keeper=None):
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
        ``watch.begin()`` and ``watch.end(history, is_validated)`` are called around each pass,
        the latter with whether there is `valid`. If its result is true, the training ends.
    keeper : object, default=None
        ``keeper.keep(model, progress)`` is called after each pass, and
        ``keeper.resume(model)`` in the beginning: it may set the model to what it was after
        a pass, and return the progress of then, else None.
    """
    history = model.history
    history.is_worse = history.follows_last = False
    constant = sample.start(loss)
    average = mean_loss(model, loss, valid or sample, constant)
    now = keeper.resume(model) if keeper else None
    if now:
        last = history.loss_curve[-1]
    else:
        last = mean_loss(model, loss, valid) if valid else np.inf
        now = Progress(0, last, last, 0, model.copy())
        history.outcome = "finished"

    try:
        while now.n_passes < schedule.max_iter:
            watch.begin()
            train_loss = last = sample.learn(model, loss, schedule)
            if valid:
                last = mean_loss(model, loss, valid)
                history.validation_scores.append(-float(last))
            now.n_passes += 1
            history.n_passes += 1
            history.loss_curve.append(float(train_loss))
            if last < now.best:
                now.best, history.best_pass = last, history.n_passes
                # Until it is complete, the copy is not what an interrupt may bring back.
                copied, now.saved = now.saved, None
                now.saved = model.copy(copied)
            if watch.end(history, valid is not None):
                history.outcome = "stopped"
                break
            if schedule.tol is not None:
                improved = last < now.target - schedule.tol
                now.waited = 0 if improved else now.waited + 1
                if now.waited >= schedule.n_iter_no_change:
                    history.outcome = "converged"
                    break
                # Of the first loss without `valid`, only the average can say what it is worth.
                improves = improved and last < (average if now.target == np.inf else now.target)
                history.outcome = "improving" if improves else "finished"
                now.target = min(now.target, last)
            if keeper:
                keeper.keep(model, now)
        if valid:
            model.restore(now.saved)
            last = now.best
        if learn_valid:
            centre(model, loss, [sample])
            helps = mean_loss(model, loss, valid) < now.best
            model.restore(now.saved)
            if history.best_pass:
                valid.learn(model, loss, schedule)
                # Rows in an order, unshuffled, can lead away even from what they are themselves.
                if not mean_loss(model, loss, valid) <= now.best:
                    model.restore(now.saved)
            if helps:
                centre(model, loss, [sample, valid])
            last = mean_loss(model, loss, valid)
        # Of constant targets nothing can be better than the average, and nothing needs to be.
        history.is_worse = average > 0 and last > _WORSE * average
        if learn_valid and not schedule.shuffle:
            some = sample.thinned(_MAX_ROWS)
            limit = _WORSE * mean_loss(model, loss, some, constant)
            history.follows_last = mean_loss(model, loss, some) > limit > 0
        if history.is_worse and not valid:
            # Rows were scored before the step that they were part of: the end may be better.
            history.is_worse = all(
                mean_loss(model, loss, rows) > _WORSE * mean_loss(model, loss, rows, constant)
                for rows in (sample.thinned(_MAX_ROWS), sample)
            )
    except FloatingPointError:
        history.outcome = "diverged"
    except KeyboardInterrupt:
        history.outcome = "interrupted"
    if history.outcome in ("diverged", "interrupted") or (
        history.outcome == "stopped" and not valid
    ):
        if now.saved is not None:
            model.restore(now.saved)
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
