"""The model of one output, and the one training loop."""

import copy
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from ._solvers import Block

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


class Model:
    """One output: a bias and a head, with their parameters in blocks.

    Parameters
    ----------
    head : Interactions or WideDeep
    solvers : sequence of solvers
        For the bias and for each table of the head.
    start : float
        Initial bias.
    """

    def __init__(self, head, solvers, start):
        initial = [np.full((1, 1), start, np.float32), *head.initial()]
        self.head, self.tables = head, ["all", *head.tables]
        self.blocks = [Block(*pair) for pair in zip(solvers, initial, strict=True)]
        self.history = History()
        self.n_steps = 0

    @property
    def bias(self):
        return self.blocks[0].value[0, 0]

    def values(self, n_columns):
        """The tables of the head, with so many of the columns."""
        pairs = zip(self.blocks[1:], self.tables[1:], strict=True)
        return [b.value[:n_columns] if t == "columns" else b.value for b, t in pairs]

    @property
    def _of_columns(self):
        """The blocks that have a row for each column seen."""
        pairs = zip(self.blocks, self.tables, strict=True)
        return [block for block, table in pairs if table == "columns"]

    def check_continues(self, head, solvers):
        """Raise ValueError if the parameters or states would not fit other settings."""
        changed = [
            name for name, value in self.head.structure.items() if head.structure[name] != value
        ]
        pairs = zip(self.blocks, solvers, strict=False)
        if not all(type(block.solver) is type(solver) for block, solver in pairs):
            changed.append("solver")
        if changed:
            raise ValueError(
                f"{' and '.join(changed)} cannot change where training continues; fit without "
                "warm_start begins anew."
            )

    def fork(self, copied):
        """A model that goes on from here and leaves this one as it is.

        Only steps change the rows of this one, unless they are `copied`; an `Undo` takes
        those back.
        """
        other = copy.copy(self)
        other.blocks = [block.fork(copied) for block in self.blocks]
        curves = {"loss_curve": [*self.history.loss_curve]}
        curves["validation_scores"] = [*self.history.validation_scores]
        other.history = replace(self.history, **curves)
        return other

    def continue_with(self, head, solvers):
        """Take on new settings that `check_continues` has let pass."""
        self.head = head
        for block, solver in zip(self.blocks, solvers, strict=True):
            block.change_solver(solver)

    def add_columns(self, columns):
        """Give rows to new columns, numbered as in the matrix."""
        for block, rows in zip(self._of_columns, self.head.initial_rows(columns), strict=True):
            block.append(rows)

    def check_covers(self, batcher):
        """Raise RuntimeError if the tables have fewer rows than the batches may name.

        Compiled kernels would read and write behind their ends.
        """
        n_buckets = batcher.crosses.n_buckets if batcher.crosses else 0
        least = {"columns": batcher.n_slots, "crosses": n_buckets, "all": 0}
        if any(b.n_rows < least[t] for b, t in zip(self.blocks, self.tables, strict=True)):
            raise RuntimeError(
                "The model is damaged: it has fewer parameters than columns. Fit it anew, or "
                "load it again."
            )

    def forward(self, engine, batch, training=False):
        """Raw scores as float64, and what `step` needs to remember."""
        batch.renew_scratch()
        values = [
            engine.gather(batch, block.value, batch.rows(table))
            for block, table in zip(self.blocks, self.tables, strict=True)
        ]
        step = self.n_steps if training else None
        score, memory = self.head.forward(engine, batch, values[1:], step)
        return score + values[0][0, 0].astype(np.float64), (values, memory)

    def step(self, engine, batch, remembered, delta, weight, undo=None):
        """Update the blocks, given the loss gradient `delta` in each score.

        An `undo` is told beforehand what the step overwrites.

        Raises
        ------
        FloatingPointError
            If a gradient is no longer finite, before any block is updated.
        """
        values, memory = remembered
        delta, weight = delta.astype(values[0].dtype), weight.astype(values[0].dtype)
        grads = self.head.backward(engine, batch, values[1:], memory, delta)
        grads = [delta.sum(keepdims=True)[:, None], *grads]
        counts = {table: batch.count(engine, table, weight) for table in set(self.tables)}
        counts = [counts[table] for table in self.tables]
        work = list(zip(self.blocks, values, grads, counts, strict=True))
        if not all(block.penalize(engine, *arrays) for block, *arrays in work):
            raise FloatingPointError("a gradient is no longer finite")
        if undo:
            for block, table in zip(self.blocks, self.tables, strict=True):
                undo.note(block, batch.rows(table))
        for (block, *arrays), table in zip(work, self.tables, strict=True):
            block.update(engine, batch.rows(table), *arrays)
        self.n_steps += 1

    def copy(self, saved=None):
        """Copy all parameters and states, into `saved` if it is given."""
        return [
            block.copy(None if saved is None else saved[i]) for i, block in enumerate(self.blocks)
        ]

    def restore(self, saved):
        for block, arrays in zip(self.blocks, saved, strict=True):
            block.restore(arrays)


@dataclass
class History:
    """What happened in training so far."""

    n_passes: int = 0
    loss_curve: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    best_pass: int = 0
    outcome: str = ""
    is_worse: bool = False  # than the average of the targets, on the rows watched


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


def rows_per_batch(most, per_row):
    """Up to `most` rows, as many as can be pooled within the cache."""
    return max(1, min(most, _BATCH_FLOATS // max(per_row, 1)))


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
    size = rows_per_batch(_MAX_ROWS, models[0].head.per_row)
    scores = np.empty((len(rows), len(models)))

    def score(batcher, starts):
        for start in starts:
            batch = batcher(rows[start : start + size])
            for output, model in enumerate(models):
                scores[start : start + size, output] = model.forward(batcher.engine, batch)[0]

    starts = range(0, len(rows), size)
    n = min(n_threads, len(starts))
    if n < 2 or size * models[0].head.per_row < _WORTH_A_THREAD:
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
    total = 0.0
    for batch, y, weight in sample.batches(order, batch_size):
        score, remembered = model.forward(sample.batcher.engine, batch, training=True)
        total += weight @ loss.value(y, score)
        if not np.isfinite(total):
            raise FloatingPointError("the loss is no longer finite")
        delta = weight * loss.gradient(y, score)
        model.step(sample.batcher.engine, batch, remembered, delta, weight, undo)
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
        model.blocks[0].set(model.bias + brentq(slope, -_MAX_SHIFT, _MAX_SHIFT))


@np.errstate(over="ignore", invalid="ignore")
def train(model, loss, sample, valid, schedule, watch, learn_valid=False):
    """Train a model for up to `max_iter` more passes and write down its history.

    What is watched is the loss on `valid` or, if that is None, on the sample. With
    `valid`, the weights end as they were after the best pass, or before the first if
    none was better. With `learn_valid` they then learn from its rows once, as it would be
    a waste not to, and the bias is centred if that was to the good of these rows before.
    Without `valid` the weights end as they are; only if the fit diverged or was interrupted
    do the best weights seen come back.

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
                history.validation_scores.append(-last)
            history.n_passes += 1
            history.loss_curve.append(train_loss)
            if last < best:
                best, history.best_pass, saved = last, history.n_passes, model.copy(saved)
            if watch.end(history):
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
        history.is_worse = last > _WORSE * average
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
    if history.outcome in ("diverged", "interrupted"):
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


def check_memory(n_columns, per_column, others, pooled, copies):
    """Raise ValueError if training needs more memory than there is.

    Parameters
    ----------
    n_columns, per_column : int
        Columns with parameters, and the numbers that each takes with its solver states
        in all outputs.
    others : int
        Numbers that the model takes whatever the columns.
    pooled : int
        Numbers that a batch is pooled into, which counts three times.
    copies : int
        How many copies of all numbers there are at a time.
    """
    available = _memory_of_machine()
    needed = 4 * (copies * (n_columns * per_column + others) + 3 * pooled)
    if available and needed > available:
        raise ValueError(
            f"The model needs {needed / 2**30:.1f} GiB, but there are "
            f"{available / 2**30:.1f} GiB of memory: {n_columns} columns occur, and each takes "
            f"{per_column} numbers with the state of the solver"
            + (f"; layers and crosses take {others} more" if others else "")
            + ". Lower k, batch_size or the sizes of layers, merge fields (fields=), or drop "
            "rare columns."
        )


def _memory_of_machine():
    """Bytes of memory of this machine or container; None where it does not say."""
    limits = []
    with suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits, default=None)
