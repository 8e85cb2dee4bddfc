"""A fit on rows that are spread over workers: what `FactorizationBase._fit` is to one matrix."""

from functools import partial, reduce
from itertools import pairwise
from operator import add
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, vstack

from ._base import raise_nothing_left, warn_of_small_weights
from ._callbacks import FitWatch
from ._input import BAD_CLASS_WEIGHT, MAX_WEIGHT
from ._memory import check_columns
from ._model import numbers_per_row
from ._rounds import Output, ShardedSample, cut_part, each_of
from ._shards import (
    about,
    check_rows,
    check_values,
    check_weights,
    cut,
    digest,
    encoded,
    head,
    joined,
    labels_split,
    of_part,
    placed,
    scanned,
    slots_of,
    split,
    summary,
    weight_of,
)
from ._start import Data, Facts, Start, models_of
from ._targets import sort_of
from ._threads import n_threads
from ._training import Schedule, rows_per_batch
from ._units import units_of

# A pass of about so many steps loses little to one of more: see docs/dask.rst.
_STEPS = 400

# Numbers that a shard's part of a batch may be turned into, at most: 256 MB.
_SHARD_FLOATS = 1 << 26

# Rows that warnings look at.
_SEEN = 1000


class Collection(NamedTuple):
    """Blocks of rows, targets and weights (None: 1), each a list that may be cut by itself.

    The lists are emptied where shards take their place, so that no block is kept in memory.
    `suffix` is what their names end in.
    """

    X: list
    y: list
    weight: list | None
    suffix: str = ""


def fit_sharded(learner, about_fit, run, data, valid, n_shards, checkpoint=None):
    """Fit a learner to rows elsewhere.

    Parameters
    ----------
    learner : FactorizationBase
        The copy of an estimator that is fitted.
    about_fit : tuple
        The estimator, and X, y and sample_weight as it got them, for callbacks.
    run : object
        What calls functions where the rows are: see `_rounds`.
    data : Collection
        Handles of blocks to learn from.
    valid : Collection or None
        Handles of blocks to watch the loss on.
    n_shards : int
        Number of shards. The result depends on it, and on nothing else of how rows are spread.
    checkpoint : Checkpoint, default=None

    Returns
    -------
    data : Data
        A few of the rows.
    """
    fit = _ShardedFit(learner, run, n_shards, checkpoint)
    return fit.fit(about_fit, data, valid)


def _scan(each, X):
    """What fields are inferred from, over all shards."""
    following, least = zip(*each(scanned), strict=True)
    return reduce(np.minimum, following), min(least)


def _agreed(abouts, known, name):
    """What the blocks of a matrix agree on, also with those that are `known`.

    Raises
    ------
    ValueError
        If a block has other columns than the rest, or the same in another order.
    """
    full = [number for number, about in enumerate(abouts) if about.n_rows]
    first = abouts[full[0] if full else 0]
    whole, than = (known, "X") if known else (first, f"block {full[0] if full else 0}")
    # Slicing a block loses the names of its variables: the first that has some speaks for all.
    named = [about for about in [whole, *abouts] if about.variables is not None]
    given = whole.names, named[0].variables if named else None
    for number, this in enumerate(abouts):
        where = f"{name} (block {number})"
        if this.n_columns != whole.n_columns:
            raise ValueError(
                f"{where} has {this.n_columns} columns, {than} has {whole.n_columns}. Empty "
                "blocks also need the columns of the others."
            )
        if this.n_rows and any(map(_differ, (this.names, this.variables), given)):
            ours, theirs = (_names(about) for about in (this, whole._replace(variables=given[1])))
            raise ValueError(
                f"{where} has its columns in another order or under other names than {than}: "
                f"{ours} instead of {theirs}."
            )
    n_rows = sum(about.n_rows for about in abouts)
    dtypes = [abouts[number].dtype for number in full] or [first.dtype]
    return first._replace(n_rows=n_rows, dtype=np.result_type(*dtypes), variables=given[1])


def _differ(names, others):
    return names is not None and others is not None and list(names) != list(others)


def _names(about):
    names = [*map(str, about.variables or about.names or [])]
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "") or "no names"


class _ShardedFit:
    """The stages of one fit, which share what is written down here."""

    def __init__(self, learner, run, n_shards, checkpoint):
        self.learner, self.run, self.n_shards, self.checkpoint = learner, run, n_shards, checkpoint

    def fit(self, about_fit, data, valid):
        learner = self.learner
        raw, known = self._joined(data, None)
        learner.n_features_in_ = known.n_columns
        if known.names is not None:
            learner.feature_names_in_ = np.array(known.names, dtype=object)
        check_columns(known.n_columns, f"X has {known.n_columns} columns")
        each = each_of(self.run, raw)
        target = learner._target_of(each)
        shape = SimpleNamespace(shape=(known.n_rows, known.n_columns))
        columns = learner._make_columns(shape, known.variables, scan=partial(_scan, each))
        draw = learner._draw_seed
        seed = self.checkpoint.seed(draw) if self.checkpoint else draw()
        start = Start.of(learner, seed, target, columns)
        shards = self._encoded(raw, target, data.suffix)
        del raw, each  # or workers would keep what they hold
        summaries = self._summaries(shards, target)
        watched = None
        if valid:
            raw_valid, _ = self._joined(valid, known)
            watched = self._encoded(raw_valid, target, valid.suffix)
            del raw_valid
        n_rows = sum(s.n_rows for s in summaries)
        warn_of_small_weights(
            sum(s.weight for s in summaries) / sum(s.n_learned for s in summaries)
        )
        splits = valid is None and learner._can_split(n_rows)
        if splits:
            shards, summaries = self._split(shards, target, seed, n_rows)
        if self.checkpoint:
            of_all = each_of(self.run, shards)(digest)
            of_valid = each_of(self.run, watched)(digest) if valid else []
            self.checkpoint.check_data([of_all, of_valid])
        few = self._few(shards, known)
        n_learned = sum(s.n_learned for s in summaries)
        batch_size = self._batch_size(n_learned, start.terms[0])
        facts = self._facts(shards, summaries, target, known.n_columns)
        learner._fitted = models_of(learner, start, facts, batch_size // self.n_shards)
        samples = self._samples(shards, summaries, watched, target)
        del shards, watched
        self._train(about_fit, samples, Schedule.of(learner, batch_size, seed), splits)
        return few

    # -- rows -------------------------------------------------------------------------

    def _checked(self, blocks, function, *arguments):
        numbers = range(len(blocks))
        lists = [[argument] * len(blocks) for argument in arguments]
        handles = self.run.start(function, blocks, numbers, *lists)
        return handles, self.run.results(self.run.start(about, handles))

    def _joined(self, data, known):
        """Check blocks, and make shards of them: each a range of row numbers."""
        learner, name = self.learner, f"X{data.suffix}"
        rows, abouts = self._checked(data.X, check_rows, learner, name)
        known = _agreed(abouts, known, name)
        kind = learner._target_type
        y, of_y = self._checked(data.y, check_values, kind, f"y{data.suffix}")
        sorts = {sort_of(dtype) for n, dtype in of_y if n}
        if len(sorts) > 1:
            raise ValueError(
                f"y{data.suffix} has {' in some blocks and '.join(sorted(sorts))} in others: "
                "labels have one type."
            )
        counts = [[about.n_rows for about in abouts], [n for n, _ in of_y]]
        lists = [rows, y]
        if data.weight is not None:
            weight_name = f"sample_weight{data.suffix}"
            weight, of_weight = self._checked(data.weight, check_weights, weight_name)
            counts.append([n for n, _ in of_weight])
            lists.append(weight)
        totals = [sum(count) for count in counts]
        if len(set(totals)) > 1 or not totals[0]:
            raise ValueError(
                f"{name} has {totals[0]} rows, y{data.suffix} has {totals[1]}"
                + (f", sample_weight{data.suffix} has {totals[2]}" if len(totals) > 2 else "")
                + ("." if totals[0] else ": there is nothing to learn from.")
            )
        slices = [
            self._slices(blocks, count, totals[0])
            for blocks, count in zip(lists, counts, strict=True)
        ]
        if data.weight is None:
            slices.append([[]] * self.n_shards)
        constants = [known.n_columns] * self.n_shards, [known.dtype] * self.n_shards
        raw = self.run.start(joined, *slices, *constants)
        if data.weight is not None and not 0 < sum(each_of(self.run, raw)(weight_of)) < MAX_WEIGHT:
            raise ValueError(
                f"sample_weight{data.suffix} must not be all zero, nor sum up to {MAX_WEIGHT:.0e} "
                "or more."
            )
        for blocks in data[:3]:
            if blocks is not None:
                blocks.clear()
        return raw, known

    def _slices(self, blocks, counts, total):
        """For each shard, handles of the slices of blocks that it consists of."""
        n, slices = self.n_shards, []
        ends = np.cumsum(counts)
        edges = [total * shard // n for shard in range(n + 1)]
        wanted = []
        for start, stop in pairwise(edges):
            for block, (end, count) in enumerate(zip(ends, counts, strict=True)):
                first, last = max(start, end - count), min(stop, end)
                if first < last:
                    wanted.append((len(slices), block, first - end + count, last - end + count))
            slices.append([])
        shards, numbers, firsts, lasts = zip(*wanted, strict=True)
        cuts = self.run.start(
            cut, [blocks[i] for i in numbers], [*map(int, firsts)], [*map(int, lasts)]
        )
        for shard, handle in zip(shards, cuts, strict=True):
            slices[shard].append(handle)
        return slices

    def _encoded(self, raw, target, suffix):
        constants = [target] * self.n_shards, [f"y{suffix}"] * self.n_shards
        return self.run.start(encoded, raw, *constants)

    def _summaries(self, shards, target):
        found = each_of(self.run, shards)(summary, target)
        if not 0 < sum(s.weight for s in found) < MAX_WEIGHT:
            raise ValueError(BAD_CLASS_WEIGHT)
        return found

    def _split(self, shards, target, seed, n_rows):
        """Hold out rows of each shard; the shards, and what is known of them."""
        learner, n = self.learner, self.n_shards
        seeds = [seed + shard for shard in range(n)]
        shards = self.run.start(split, shards, [learner] * n, [target] * n, seeds)
        summaries = self._summaries(shards, target)
        if not any(s.n_watched for s in summaries):
            if n_rows < 2 * n:
                raise ValueError(
                    f"n_shards={n} is too many for {n_rows} rows: each shard must have rows to "
                    "learn from and rows to hold out. Lower n_shards, pass X_val and y_val, or "
                    "set early_stopping=False."
                )
            raise_nothing_left(learner, n_rows)
        if not learner.shuffle and hasattr(target, "classes"):
            sides = zip(*each_of(self.run, shards)(labels_split), strict=True)
            target.warn_of_unlearned(*map(np.concatenate, sides))
        return shards, summaries

    def _few(self, shards, known):
        """Some of the rows, for what is said of the fit in the end."""
        found = each_of(self.run, shards)(head, 1 + _SEEN // self.n_shards, known.n_columns)
        X, y, weight = zip(*found, strict=True)
        y = np.concatenate([part for part in y if len(part)])
        return Data(
            csr_array(vstack(X, format="csr")), y, np.concatenate(weight), np.arange(len(y))
        )

    # -- the model ----------------------------------------------------------------------

    def _batch_size(self, n_rows, terms):
        """Rows per step: a pass of many machines is the faster the fewer rounds it has."""
        learner, n = self.learner, self.n_shards
        if learner.batch_size != "auto":
            if learner.batch_size < n:
                raise ValueError(
                    f"batch_size={learner.batch_size} leaves no row for some of the n_shards={n} "
                    "shards: raise it or lower n_shards."
                )
            return learner.batch_size
        most = n * rows_per_batch(n_rows, numbers_per_row(terms), _SHARD_FLOATS)
        return max(n, learner._batch_size(n_rows, terms), min(n_rows // _STEPS, most))

    def _facts(self, shards, summaries, target, n_columns):
        occurs = np.zeros(n_columns, bool)
        for of_shard in summaries:
            occurs[of_shard.own] = True
        new = np.flatnonzero(occurs)
        each = each_of(self.run, shards)

        def each_part(function, *arguments):
            return each(of_part, function, *arguments)

        sums = zip(*(s.starts for s in summaries), strict=True)
        total = sum(s.weight_learned for s in summaries)
        return Facts(
            weight=float(sum(s.weight for s in summaries)),
            entries=float(sum(s.nnz for s in summaries) / sum(s.n_rows for s in summaries)),
            new=new,
            units=units_of(each_part, new, True),
            starts=[target.loss.start(reduce(add, of_output), total) for of_output in sums],
            nnz=sum(s.nnz for s in summaries),
        )

    # -- training -----------------------------------------------------------------------

    def _placed(self, shards, summaries):
        """Shards over the columns of the model; handles, and the slots of each."""
        columns = self.learner._fitted.columns
        slots = []
        for of_shard in summaries:
            own = columns.slots(of_shard.own)
            shifted = columns.slots(columns.shifted)
            slots.append(np.union1d(own[own >= 0], shifted))
        parts = [columns.part(its) for its in slots]
        return self.run.start(placed, shards, parts, slots), slots

    def _samples(self, shards, summaries, watched, target):
        """A function that gives the samples of an output: rows to learn from, and to watch."""
        fitted = self.learner._fitted
        pieces, slots = self._placed(shards, summaries)
        of_valid, its_slots, part = pieces, slots, "watched"
        if watched:
            found = self._summaries(watched, target)
            (of_valid, its_slots), part = self._placed(watched, found), "learned"
            sizes, sums = [s.n_learned for s in found], [s.weight_learned for s in found]
        else:
            sizes, sums = [s.n_watched for s in summaries], [s.weight_watched for s in summaries]
        if sum(sizes):
            of_valid = self.run.start(cut_part, of_valid, [part] * self.n_shards)
            its_slots = each_of(self.run, of_valid)(slots_of)
        engine = self.learner._engine.__name__.split(".")[-1]
        weight = sum(s.weight_learned for s in summaries)

        def of_output(number):
            output = Output(number, target, engine, fitted.crosses)
            weighted = reduce(add, [s.starts[number] for s in summaries])
            n_learned = [s.n_learned for s in summaries]
            sample = ShardedSample(
                self.run, pieces, slots, "learned", n_learned, weight, weighted, output
            )
            valid = sum(sizes) and ShardedSample(
                self.run, of_valid, its_slots, "all", sizes, sum(sums), None, output
            )
            return sample, valid or None

        return of_output

    def _train(self, about_fit, samples, schedule, splits):
        learner = self.learner
        fitted, watch = learner._fitted, FitWatch(about_fit[0], learner, *about_fit[1:])
        engine = learner._engine
        with (
            watch,
            engine.announced(watch.tell_of_compiling),
            engine.threads(n_threads(learner.n_jobs)),
        ):
            for number, model in enumerate(fitted.models):
                keeper = self.checkpoint and self.checkpoint.keeper(number)
                watch.train(model, number, *samples(number), schedule, splits, keeper)
        if self.checkpoint and not watch.interrupted.is_set():
            self.checkpoint.remove()
