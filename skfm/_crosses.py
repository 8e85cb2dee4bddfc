"""Crosses: products of columns from different fields, hashed into buckets."""

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
                f"{n_rows} rows have {n_combinations.sum():.0f} crosses, as fields with several "
                "entries give every combination. Cross fewer fields, or take fewer rows at a "
                "time (batch_size)."
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
        """Write Σ of the weights of buckets, each times the value of its cross, into a graph.

        Every combination of entries is hashed, and counts if its fields are crossed.
        """
        graph, totals, nothing = entries.graph, [], self.n_fields
        hashes = mix(entries.fitted.columns.seen.astype(np.uint64))
        fields = np.where(entries.fields < 0, nothing, entries.fields)
        for tuples in self._by_length:
            n = tuples.shape[1]
            if (nothing + 1) ** n > MAX_PER_BATCH:
                raise ValueError(
                    f"Crosses of {n} of {self.n_fields} fields are too many combinations for ONNX. "
                    "Cross fewer, or merge fields (fields=)."
                )
            is_crossed = np.zeros((nothing + 1,) * n)
            is_crossed[tuple(tuples.T)] = 1
            found = product = where = None
            for position in range(n):
                # Entries go along an axis of their own for each field of a cross.
                axes = [1 + axis for axis in range(n) if axis != position]

                def along(tensor, axes=axes):
                    return graph("Unsqueeze", tensor, np.array(axes))

                value, field = along(entries.values), along(graph("Gather", fields, entries.slots))
                if position == 0:
                    found, product, where = along(entries.take(_signed(mix(hashes)))), value, field
                    continue
                found = graph.mix(graph("Add", found, along(entries.take(_signed(hashes)))))
                product = graph("Mul", product, value)
                product = graph("Clip", product, np.array(-MAX_VALUE), np.array(MAX_VALUE))
                where = graph("Add", graph("Mul", where, np.array(nothing + 1)), field)
            found = graph("Cast", found, to=np.uint64)
            bucket = graph("Cast", graph("Mod", found, np.uint64(self.n_buckets)), to=np.int64)
            counted = graph("Mul", product, graph("Gather", is_crossed.ravel(), where))
            weight = graph("Cast", graph("Gather", weights, bucket), to=float)
            axes = range(1, n + 1)
            totals.append(graph.sum(graph("Mul", counted, weight), *axes))
        return graph.total(totals)


def _signed(hashes):
    return hashes.view(np.int64)


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
                f"crosses='all' means {n_pairs} pairs of the {n_fields} fields, and at most "
                f"{MAX_PAIRS} are allowed: name those that matter, or merge fields (fields=)."
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
