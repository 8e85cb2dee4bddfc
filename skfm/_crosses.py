"""Crosses: products of columns from different fields, hashed into buckets."""

from functools import partial
from itertools import combinations, product
from numbers import Integral

import numpy as np

from ._batch import MAX_VALUE
from ._hashing import mix

MAX_PAIRS = 2**20
MAX_PER_BATCH = 2**24  # seconds, and a gigabyte


class TooManyCrossesError(ValueError):
    """The rows of a batch have more crosses than memory should hold."""


class Crosses:
    """Which fields are crossed, and how a batch's crosses are found.

    A cross is hashed from the columns that it is made of, in the order of their fields:
    the bucket depends on nothing else. Fields with several entries in a row give every
    combination, fields without any give none.

    Parameters
    ----------
    tuples : list of tuple of int
        Fields of each cross, ascending.
    n_fields, n_buckets : int
    """

    def __init__(self, tuples, n_fields, n_buckets):
        self.n_fields, self.n_buckets = n_fields, n_buckets
        self.tuples = tuples
        lengths = sorted({len(fields) for fields in tuples})
        self._by_length = [np.array([t for t in tuples if len(t) == n]) for n in lengths]

    def only(self, fields):
        """The same for a single cross of these fields."""
        return Crosses([fields], self.n_fields, self.n_buckets)

    def __call__(self, indptr, columns, values):
        """Find the crosses of a batch.

        Parameters
        ----------
        indptr : ndarray of shape (n_rows * n_fields + 1,)
            Where the entries of each row and field begin.
        columns, values : ndarray of shape (n_entries,)
            Columns of the matrix that the entries are in, and their values.

        Returns
        -------
        indptr : ndarray of shape (n_rows + 1,)
        buckets, values : ndarray of shape (n_crosses,)
            Crosses of each row, one row after the other.
        """
        n_rows = (len(indptr) - 1) // self.n_fields
        hashes = mix(columns.astype(np.uint64))
        parts = [self._of_length(fields, indptr, hashes, values) for fields in self._by_length]
        row, buckets, values = map(np.concatenate, zip(*parts, strict=True))
        if len(parts) > 1:
            order = np.argsort(row, kind="stable")
            row, buckets, values = row[order], buckets[order], values[order]
        counts = np.bincount(row, minlength=n_rows)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), buckets, values

    def _of_length(self, fields, indptr, hashes, values):
        """Row, bucket and value of all crosses of so many fields."""
        n_rows = (len(indptr) - 1) // self.n_fields
        # One group of entries per row, cross and field; a combination takes one of each.
        group = (np.arange(n_rows)[:, None, None] * self.n_fields + fields).reshape(
            n_rows * len(fields), -1
        )
        length = indptr.take(group + 1) - indptr.take(group)
        n_combinations = length.prod(axis=1, dtype=np.float64)
        if n_combinations.sum() > MAX_PER_BATCH:
            raise TooManyCrossesError(
                f"{n_rows} rows have {n_combinations.sum():.0f} crosses, because fields with "
                "several entries in a row give every combination. Cross fewer fields, or lower "
                "batch_size."
            )
        n_combinations = n_combinations.astype(np.intp)
        which = np.repeat(np.arange(len(group)), n_combinations)
        end = np.cumsum(n_combinations)
        number = np.arange(len(which)) - np.repeat(end - n_combinations, n_combinations)
        found = np.zeros(len(which), np.uint64)
        product = np.ones(len(which), values.dtype)
        for field in range(group.shape[1]):
            choices = length[:, field].take(which)
            entry = indptr.take(group[:, field].take(which)) + number % choices
            number //= choices
            found = mix(found + hashes.take(entry))
            with np.errstate(over="ignore"):
                product *= values.take(entry)
            np.clip(product, -MAX_VALUE, MAX_VALUE, out=product)
        return which // len(fields), (found % np.uint64(self.n_buckets)).astype(np.intp), product

    def graph(self, entries, weights):
        """Write Σ of the weights of buckets, each times the value of its cross, into a graph."""
        graph = entries.graph
        in_field = graph.sum(graph("Cast", entries.is_in, to=np.int64), 2)
        single = graph("LessOrEqual", graph("ReduceMax", in_field, keepdims=0), np.array(1))
        ways = self._graph_of_singles, self._graph_of_combinations
        totals = []
        for tuples in self._by_length:
            # Only a row with several entries in a field needs all combinations.
            write = [partial(way, entries, weights, tuples) for way in ways]
            totals.append(graph.choose(single, *write))
        return graph.total(totals)

    def _graph_of_singles(self, entries, weights, tuples, graph):
        """For rows with one entry at most in each field."""
        entries = entries.within(graph)
        is_in = graph("Cast", entries.is_in, to=np.int64)
        at, present = graph("ArgMax", is_in, axis=2, keepdims=0), graph.sum(is_in, 2)
        present = graph("Cast", present, to=float)
        parts = []
        for fields in tuples.T:
            which = graph("Gather", at, fields, axis=1)

            def chosen(tensor, which=which):
                return graph("GatherElements", tensor, which, axis=1)

            value = graph("Mul", chosen(entries.values), graph("Gather", present, fields, axis=1))
            parts.append((chosen, value))
        return self._graph_of_parts(entries, weights, parts)

    def _graph_of_combinations(self, entries, weights, tuples, graph):
        """For all combinations of entries: each counts if its fields are crossed."""
        entries, parts, n = entries.within(graph), [], tuples.shape[1]
        base = 1 + self.n_fields
        if base**n > MAX_PER_BATCH:
            raise ValueError(
                f"Crosses of {n} of {self.n_fields} fields are too many combinations for ONNX. "
                "Cross fewer, or merge fields (fields=)."
            )
        where, number = None, entries.take(1 + entries.field.astype(np.int64))
        for position in range(n):
            # Entries go along an axis of their own for each field of a cross.
            axes = np.array([1 + axis for axis in range(n) if axis != position])

            def along(tensor, axes=axes):
                return graph("Unsqueeze", tensor, axes)

            parts.append((along, along(entries.values)))
            code = along(number)
            before = where and graph("Mul", where, np.array(base))
            where = graph("Add", before, code) if before else code
        is_crossed = np.zeros((base,) * n)
        is_crossed[tuple(1 + tuples.T)] = 1
        chosen, value = parts[0]
        value = graph("Mul", value, graph("Gather", is_crossed.ravel(), where))
        return self._graph_of_parts(entries, weights, [(chosen, value), *parts[1:]])

    def _graph_of_parts(self, entries, weights, parts):
        """The sum over crosses: of each field what chooses their entries, and the values."""
        graph, found, product = entries.graph, None, None
        hashes = mix(entries.fitted.columns.seen.astype(np.uint64))
        first, later = (entries.take(of.view(np.int64)) for of in (mix(hashes), hashes))
        for chosen, value in parts:
            if found is None:
                found, product = chosen(first), value
                continue
            found = graph.mix(graph("Add", found, chosen(later)))
            product = graph("Mul", product, value)
            product = graph("Clip", product, np.array(-MAX_VALUE), np.array(MAX_VALUE))
        remainder = graph("Mod", graph("Cast", found, to=np.uint64), np.uint64(self.n_buckets))
        bucket = graph("Cast", remainder, to=np.int64)
        weight = graph("Cast", graph("Gather", weights, bucket), to=float)
        return graph.sum(graph("Flatten", graph("Mul", product, weight), axis=1), 1)


def check_crosses(crosses, fields, n_buckets, feature_names=None):
    """Turn the `crosses` parameter into `Crosses` of `fields`; None if there are none.

    `feature_names` are those of the columns, where they have any.
    """
    if crosses is None:
        return None
    n_fields = fields.n_fields
    if isinstance(crosses, str) and crosses == "all":
        n_pairs = n_fields * (n_fields - 1) // 2
        if n_pairs > MAX_PAIRS:
            raise ValueError(
                f"crosses='all' makes {n_pairs} pairs of the {n_fields} fields; at most "
                f"{MAX_PAIRS} are allowed. Name the pairs that matter, or merge fields (fields=)."
            )
        tuples = list(combinations(range(n_fields), 2))
    else:
        if not _is_list(crosses):
            raise ValueError(f"crosses must be None, 'all' or a list of tuples, got {crosses!r}.")
        tuples = [t for cross in crosses for t in _check_cross(cross, fields, feature_names)]
        if len(set(tuples)) < len(tuples):
            raise ValueError("crosses must name each combination of fields once.")
    return Crosses(tuples, n_fields, n_buckets) if tuples else None


def _check_cross(cross, fields, feature_names):
    """The positions of the fields of a cross, ascending, for all of its variables' fields."""
    chosen = list(cross) if _is_list(cross) else [cross]
    if len(chosen) < 2 or not all(map(_is_field, chosen)):
        raise ValueError(
            "A cross is a tuple of two or more fields, each by its name or its number, counted "
            f"from 0; got {cross!r} in crosses. Pass 'all' for all pairs."
        )
    labels, positions = fields.labels, []
    for field in chosen:
        if isinstance(field, str):
            positions.append(fields.positions(field, feature_names))
        elif field in labels:
            positions.append([int(np.searchsorted(labels, field))])
        else:
            raise ValueError(
                f"crosses names field {field}, but there are {len(labels)} fields, from "
                f"{labels[0]} to {labels[-1]}."
            )
    if len({position for each in positions for position in each}) < sum(map(len, positions)):
        raise ValueError(f"A field cannot be crossed with itself: {cross!r} in crosses.")
    return [tuple(sorted(chosen)) for chosen in product(*positions)]


def _is_field(value):
    return isinstance(value, (Integral, str)) and not isinstance(value, bool)


def _is_list(value):
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)
