"""What a fitted model has learned: which fields, pairs of columns and parts of a score count."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array, vstack
from sklearn.utils import Bunch, check_random_state

from ._batch import Batcher, checked, without_stored_zeros
from ._compat import Interval, validate_params
from ._displays import InteractionDisplay, LossCurveDisplay
from ._engine import load
from ._names import Names, unwrap
from ._terms import Evaluation

__all__ = [
    "Interaction",
    "InteractionDisplay",
    "LossCurveDisplay",
    "contributions",
    "field_interactions",
    "similar_columns",
    "top_interactions",
]

# Pairs of entries that are looked at together, in bulk and with their parameters.
_PAIRS, _WEIGHTS = 1 << 22, 1 << 18

# Rows that are looked at together, at most.
_ROWS = 1 << 12

# Fields that a matrix of all pairs is made for, and numbers that `contributions` returns, at most.
_MAX_FIELDS, _MAX_NUMBERS = 2_000, 1 << 28


class Interaction(NamedTuple):
    """A pair of columns that interact.

    Attributes
    ----------
    names : tuple of str
        What the two columns are called.
    strength : float
        What the pair adds to the score, on the average of the rows that have both: to the
        log-odds, or to the prediction of a regressor, in the units of y.
    count : int
        How many of the rows looked at have both.
    columns : tuple of int
        The numbers of the columns.
    target : object
        The class whose score it is; None if there is only one score.
    """

    names: tuple
    strength: float
    count: int
    columns: tuple
    target: object = None


# -- the public functions -------------------------------------------------------------


def contributions(model, X, *, fields=None, feature_names=None):
    """Take the score of each row apart.

    A score is the sum of an intercept, a linear part of each field, an interaction of each two
    fields and, of a Wide & Deep model, crosses and what the network adds, which cannot be told
    apart by field.

    Parameters
    ----------
    model : estimator or Pipeline
        A fitted estimator of skfm, or a fitted Pipeline that ends with one.
    X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
        Rows as `model` takes them.
    fields : array-like of shape (n_features,), default=None
        The field that each encoded column is reported under, a number or a name. None takes the
        variables that the columns encode, as far as their names are known, otherwise the
        fields of the model; of a model without fields, each column.
    feature_names : array-like of shape (n_features,), default=None
        Names of the encoded columns. None takes those that the Pipeline or the matrix has.

    Returns
    -------
    parts : :class:`~sklearn.utils.Bunch`
        With the attributes

        scores : ndarray of shape (n_samples, n_parts) or (n_samples, n_classes, n_parts)
            Its sums over the last axis are `decision_function`, and what a regressor predicts.
        names : list of str
            What each part is called, such as ``"age"`` or ``"age × sex"``.
        kinds : list of str
            "intercept", "linear", "interaction", "cross" or "network".
        fields : list of tuple of str
            The names of the fields that each part is of.

        There is a linear part of each field, and an interaction of each two fields, that a row
        of `X` has entries in. A field with several entries interacts with itself.

    Raises
    ------
    ValueError
        If `X` does not suit the model, or the result would take more than 2 GiB.
    TypeError
        If `model` is of another package.
    NotFittedError
        If `model` is not fitted.

    Notes
    -----
    Numbers count as they do in training: where most rows have an entry in a column and its mean
    is far from 0, as of years, the linear part and the interactions are those of the difference
    from the mean, and rows without an entry have them, too. The split between the linear part and
    interactions is the model's; another one may give the same scores.

    A row with m entries takes O(m² k) operations.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skfm import FMClassifier
    >>> from skfm.inspection import contributions
    >>> from skfm.preprocessing import FieldEncoder
    >>> rows = [["ad1", "mon"], ["ad2", "tue"], ["ad1", "tue"], ["ad2", "mon"]] * 50
    >>> clicks = [1, 1, 0, 0] * 50
    >>> model = make_pipeline(FieldEncoder(), FMClassifier(random_state=0)).fit(rows, clicks)
    >>> parts = contributions(model, rows[:1])
    >>> parts.names
    ['intercept', 'x0', 'x1', 'x0 × x1']
    >>> bool(abs(parts.scores.sum() - model.decision_function(rows[:1])[0]) < 1e-6)
    True
    """
    look = _Look(model, X, fields, feature_names)
    n, learned = len(look.field_names), look.fitted.models
    parts = [_stacked(look.parts(one, batch) for batch in look.batches()) for one in learned]
    linear, pairs, rest = zip(*parts, strict=True)
    by_itself, met = _occurring(linear), _occurring(pairs)
    # Numbers between knots are two fields of the model with one name, and so are their crosses.
    others = {key: (key[0], tuple(map(look.field_name, key[1]))) for key in rest[0]}
    other = list(dict.fromkeys(others.values()))
    scores = _room(len(learned), look.n_rows, 1 + len(by_itself) + len(met) + len(other))
    for output, one in enumerate(learned):
        dense = _dense(linear[output], by_itself), _dense(pairs[output], met)
        last = np.zeros((look.n_rows, len(other)))
        for key, part in others.items():
            last[:, other.index(part)] += rest[output][key]
        scores[output] = np.hstack([np.full((look.n_rows, 1), float(one.bias)), *dense, last])
    scores *= look.fitted.target.scale
    scores[:, :, 0] += look.fitted.target.mean
    of = [(), *((a,) for a in by_itself), *(divmod(pair, n) for pair in met)]
    called = [tuple(look.field_names[number] for number in fields) for fields in of]
    kinds = ["intercept"] + ["linear"] * len(by_itself) + ["interaction"] * len(met)
    kinds, called = kinds + [kind for kind, _ in other], called + [fields for _, fields in other]
    names = [_part_name(*part) for part in zip(kinds, called, strict=True)]
    scores = scores[0] if len(learned) == 1 else scores.swapaxes(0, 1)
    return Bunch(scores=scores, names=names, kinds=kinds, fields=called)


@validate_params(
    {
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def field_interactions(
    model, X, *, max_samples=10_000, random_state=0, fields=None, feature_names=None
):
    """Measure how much each two fields interact, with the values that occur in X.

    Two rows that swap their values of one field change their scores, and by how much depends on
    the value of the other field. The strength is half of the root mean square of this difference
    of differences, over rows and others drawn at random ::

        Δ_ab(n, m) = s_ab(n, n) − s_ab(m, n) − s_ab(n, m) + s_ab(m, m)

    where s_ab(n, m) is what field a of row n and field b of row m add together. If fields are
    independent, it is the standard deviation of their interaction without all that one of them
    explains by itself: a field that is the same in all rows interacts with nothing.

    Parameters
    ----------
    model : estimator or Pipeline
        A fitted estimator of skfm, or a fitted Pipeline that ends with one.
    X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
        Rows as `model` takes them, at least 2.
    max_samples : int, default=10000
        How many rows of `X` to look at, drawn at random. None takes all of them.
    random_state : int, RandomState instance or None, default=0
        Seed of what is drawn.
    fields, feature_names : array-like of shape (n_features,), default=None
        See :func:`contributions`.

    Returns
    -------
    interactions : :class:`~sklearn.utils.Bunch`
        With the attributes

        strengths : ndarray of shape (n_fields, n_fields) or (n_classes, n_fields, n_fields)
            Symmetric; in log-odds, or in the units of y. The diagonal has the standard deviation
            of what the entries of one field add among themselves.
        names : list of str
            What the fields are called.

    Raises
    ------
    ValueError
        If `X` does not suit the model, the model has no pairwise term (``k=0``, or a Wide & Deep
        model without ``interactions=True``; crosses and networks do not count), or there are
        more than 2,000 fields.
    TypeError, NotFittedError
        As :func:`contributions`.

    Notes
    -----
    Two rows with m entries together take O(m² k) operations.

    Examples
    --------
    >>> from skfm import FFMClassifier
    >>> from skfm.datasets import make_clicks
    >>> from skfm.inspection import field_interactions
    >>> clicks = make_clicks(2000, n_fields=3, n_categories=10, random_state=0)
    >>> model = FFMClassifier(fields=clicks.fields, random_state=0).fit(clicks.X, clicks.y)
    >>> field_interactions(model, clicks.X).strengths.shape
    (3, 3)
    """
    look = _Look(model, X, fields, feature_names)
    n, learned = len(look.field_names), look.fitted.models
    if n > _MAX_FIELDS:
        raise ValueError(
            f"There are {n} fields, and a matrix of all pairs has room for {_MAX_FIELDS}. Pass "
            "fields= with the field that each column is reported under, or use top_interactions."
        )
    look.check_pairs()
    rng = check_random_state(random_state)
    rows = look.drawn(max_samples, rng)
    if len(rows) < 2:
        raise ValueError("Interactions are measured between rows: X must have 2 of them or more.")
    others = rng.permutation(rows)
    squares = np.zeros((len(learned), n * n))
    for start in range(0, len(rows), _ROWS):
        part = slice(start, start + _ROWS)
        two = look.batcher(rows[part]), look.batcher(others[part])
        for output, one in enumerate(learned):
            differences = look.differences(one, *two)
            squares[output] += np.bincount(differences.indices, differences.data**2, n * n)
    upper = np.sqrt(squares / len(rows)).reshape(-1, n, n) * look.fitted.target.scale
    # Each difference on the diagonal is of two numbers, each other one of four.
    strengths = (upper + upper.swapaxes(1, 2)) / np.where(np.eye(n), 8**0.5, 2)
    return Bunch(
        strengths=strengths[0] if len(strengths) == 1 else strengths, names=look.field_names
    )


@validate_params(
    {
        "n": [Interval(Integral, 1, None, closed="left")],
        "min_count": [Interval(Integral, 1, None, closed="left")],
        "max_samples": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def top_interactions(
    model,
    X,
    n=20,
    *,
    min_count=10,
    max_samples=50_000,
    random_state=0,
    fields=None,
    feature_names=None,
):
    """Find the pairs of columns that interact most, among those that occur together in X.

    Parameters
    ----------
    model : estimator or Pipeline
        A fitted estimator of skfm, or a fitted Pipeline that ends with one.
    X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
        Rows as `model` takes them.
    n : int, default=20
        How many pairs to return, for each class if there are more than two.
    min_count : int, default=10
        In how many of the rows looked at a pair has to occur.
    max_samples : int, default=50000
        How many rows of `X` to look at, drawn at random. None takes all of them.
    random_state : int, RandomState instance or None, default=0
        Seed of the draw.
    fields : array-like of shape (n_features,), default=None
        Fields of the encoded columns: pairs within one are left out. None takes those of
        :func:`contributions`.
    feature_names : array-like of shape (n_features,), default=None
        See :func:`contributions`.

    Returns
    -------
    interactions : list of Interaction
        The strongest first, whatever the sign. ``pandas.DataFrame(interactions)`` makes a table
        of it. Crosses and networks do not count.

        What a pair adds counts less if one of its columns hardly varies: with a column that
        all rows have, it is as good as a linear weight of the other. The order is that of
        ``|strength|`` times the shares of rows without each column (of numbers, of the variance
        in the mean square).

    Raises
    ------
    ValueError
        If `X` does not suit the model, a parameter is out of its range, or the model has no
        pairwise interactions.
    TypeError, NotFittedError
        As :func:`contributions`.

    Notes
    -----
    Memory is bounded: pairs are counted some columns at a time. It takes O(m²) operations for
    each row looked at that has m entries in columns that occur in `min_count` rows.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skfm import FMClassifier
    >>> from skfm.inspection import top_interactions
    >>> from skfm.preprocessing import FieldEncoder
    >>> rows = [["ad1", "mon"], ["ad2", "tue"], ["ad1", "tue"], ["ad2", "mon"]] * 50
    >>> clicks = [1, 1, 0, 0] * 50
    >>> model = make_pipeline(FieldEncoder(), FMClassifier(random_state=0)).fit(rows, clicks)
    >>> sorted(top.count for top in top_interactions(model, rows))
    [50, 50, 50, 50]
    """
    look = _Look(model, X, fields, feature_names)
    look.check_pairs()
    learned = look.fitted.models
    batch = look.batcher(look.drawn(max_samples, check_random_state(random_state)))
    varying, best = _varying(batch), [[] for _ in learned]
    for i, j, mean, count in _pairs_that_occur(batch, look.group, min_count):
        slots = batch.touched[i], batch.touched[j]
        for output, one in enumerate(learned):
            strength = mean * look.pair_weights(one, *slots)
            rank = np.abs(strength) * varying[i] * varying[j]
            order = np.argsort(-rank, kind="stable")[: int(n)]
            best[output].append(np.array([rank, strength, *slots, count])[:, order])
    result, classes = [], getattr(look.fitted.target, "classes", [])
    for output, found in enumerate(best):
        target = classes[output] if len(learned) > 1 else None
        found = np.concatenate(found or [np.empty((5, 0))], axis=1)
        for rank, strength, i, j, count in found.T[np.argsort(-found[0], kind="stable")][: int(n)]:
            columns = look.columns.seen[[int(i), int(j)]].tolist()
            names, adds = tuple(look.names.of(columns)), strength * look.fitted.target.scale
            one = Interaction(names, float(adds), int(count), tuple(columns), target)
            result.append((rank, one))
    return [one for _, one in sorted(result, key=lambda pair: -pair[0])]


def similar_columns(model, column, n=10, *, fields=None, feature_names=None):
    """Find the columns that interact with others most like a given one does.

    Columns are compared by the cosine of their factors or embeddings, those of all classes
    together; those of a field-aware machine without the factors for their own field. Only
    columns of the same field are compared: two airports, two films.

    Parameters
    ----------
    model : estimator or Pipeline
        A fitted estimator of skfm, or a fitted Pipeline that ends with one.
    column : str or int
        The encoded column, by its name, such as ``"dest=LAX"`` behind a
        :class:`~skfm.preprocessing.FieldEncoder`, or by its number.
    n : int, default=10
        How many columns to return, at most.
    fields, feature_names : array-like of shape (n_features,), default=None
        See :func:`contributions`.

    Returns
    -------
    similar : list of tuple (str, float)
        The name of each column and its cosine, from 1 for the same direction to −1, the most
        similar first.

    Raises
    ------
    ValueError
        If there is no such column, it did not occur in training, or the model has neither
        factors nor embeddings.
    TypeError, NotFittedError
        As :func:`contributions`.

    Notes
    -----
    Columns that occurred in few rows still have about their initial, random factors, and those are
    similar to nothing: drop rare ones before training (``FieldEncoder(min_frequency=...)``).

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skfm import FMClassifier
    >>> from skfm.inspection import similar_columns
    >>> from skfm.preprocessing import FieldEncoder
    >>> rows = [[place, day] for place in ["ski1", "ski2", "sea"] for day in ["hot", "cold"]] * 50
    >>> visited = [0, 1, 0, 1, 1, 0] * 50
    >>> model = make_pipeline(FieldEncoder(), FMClassifier(random_state=0)).fit(rows, visited)
    >>> [name for name, cosine in similar_columns(model, "x0=ski1")]
    ['x0=ski2', 'x0=sea']
    """
    steps, estimator = unwrap(model)
    fitted = estimator._fitted
    names = Names(steps, estimator, None, fields, feature_names)
    chosen = fitted.columns.slots(np.array([names.find(column)]))[0]
    if not 0 <= chosen < len(fitted.columns):
        raise ValueError(f"Column {column!r} did not occur in training.")
    group, _ = names.groups()
    slots = np.arange(len(group))
    if len(np.unique(group)) < len(group):
        slots = np.flatnonzero(group == group[chosen])
    vectors = []
    for learned in fitted.models:
        by_table, values = {}, _tables(learned)
        for term in learned.terms:
            by_table |= term.vectors(values, fitted.columns.field, slots)
        vectors += by_table.values()
    if not vectors:
        raise ValueError("The model has neither factors nor embeddings: it has k=0.")
    V = np.hstack(vectors).astype(np.float64)
    lengths = np.linalg.norm(V, axis=1)
    V /= np.where(lengths > 0, lengths, 1)[:, None]
    cosine = V @ V[np.searchsorted(slots, chosen)]
    order = np.argsort(-cosine, kind="stable")
    order = order[slots[order] != chosen][:n]
    called = names.of(fitted.columns.seen[slots[order]])
    return [(name, float(value)) for name, value in zip(called, cosine[order], strict=True)]


# -- how a model is looked at ---------------------------------------------------------


class _Look:
    """A fitted model, rows to look at it with, and what its columns and fields are called."""

    def __init__(self, model, X, fields, feature_names):
        steps, estimator = unwrap(model)
        X = checked(estimator, X if steps is None else steps.transform(X))
        self.fitted, self.columns = estimator._fitted, estimator._fitted.columns
        self.columns.fields.check_order(X.variables)
        self.names = Names(steps, estimator, X.variables, fields, feature_names)
        self.group, self.field_names = self.names.groups()
        # The reference engine in float64: compiled ones differ from it by rounding only.
        X, crosses = without_stored_zeros(X), self.fitted.crosses
        self.engine, self.n_rows = load("numpy"), X.shape[0]
        self.batcher = Batcher(X, self.columns, crosses, self.engine, np.float64)

    def batches(self):
        for start in range(0, self.n_rows, _ROWS):
            yield self.batcher(np.arange(start, min(start + _ROWS, self.n_rows)))

    def has_pairs(self, learned):
        """Whether a model has a pairwise term."""
        return self.pair_weights(learned, *np.zeros((2, 0), np.intp)) is not None

    def check_pairs(self):
        if not any(map(self.has_pairs, self.fitted.models)):
            raise ValueError(
                "The model has no pairwise interactions: it has k=0, or is a Wide & Deep model "
                "without interactions=True."
            )

    def drawn(self, max_samples, rng):
        """The numbers of some rows, ascending."""
        if max_samples is None or max_samples >= self.n_rows:
            return np.arange(self.n_rows)
        return np.sort(rng.choice(self.n_rows, int(max_samples), replace=False))

    def pair_weights(self, learned, i, j):
        """What the pairs of columns in slots i and j count in a score; None if nothing."""
        values, total = _tables(learned), None
        for start in range(0, max(len(i), 1), _WEIGHTS):
            part = slice(start, start + _WEIGHTS)
            for term in learned.terms:
                weights = term.pair_weights(values, self.columns.field, i[part], j[part])
                if weights is not None:
                    total = np.zeros(len(i)) if total is None else total
                    total[part] += weights
        return total

    def parts(self, learned, batch):
        """The scores of a batch without the bias.

        Returns
        -------
        linear : csr_array of shape (B, n)
            By field.
        pairs : csr_array of shape (B, n²)
            By pair a·n + b of fields, a ≤ b.
        rest : dict of ndarray of shape (B,)
            By kind and the fields of the model.
        """
        n, slots, row = len(self.field_names), batch.touched[batch.indices], _row_of(batch)
        values, group, weights = _tables(learned), self.group[slots], np.zeros(len(slots))
        for term in learned.terms:
            found = term.column_weights(values, slots)
            weights += 0 if found is None else found
        linear = _summed(weights * batch.values, row, group, (batch.n_rows, n))
        pairs = csr_array((batch.n_rows, n * n))
        if self.has_pairs(learned):
            pairs = self.pairs(learned, row, slots, batch.values, batch.n_rows)
        evaluation = Evaluation(self.engine, batch, learned.gather(self.engine, batch))
        rest = {}
        for term in learned.terms:
            rest |= term.other_parts(evaluation)
        return linear, pairs, rest

    def pairs(self, learned, row, slots, values, n_rows, side=None):
        """What pairs of entries add by row and pair a·n + b of fields, a ≤ b, sparse.

        With a `side` of each entry, 1 or −1, those of fields a < b count with the product of the
        two sides; entries of the same field count with their side, and only if that is the same.
        """
        n, group = len(self.field_names), self.group[slots]
        total = csr_array((n_rows, n * n))
        for left, right in _pairs_of_entries(row):
            a, b = np.sort([group[left], group[right]], axis=0)
            scores = self.pair_weights(learned, slots[left], slots[right])
            scores *= values[left] * values[right]
            if side is not None:
                within = (side[left] + side[right]) / 2
                scores *= np.where(a == b, within, side[left] * side[right])
            total = total + _summed(scores, row[left], a * n + b, total.shape)
        return total

    def differences(self, learned, batch, other):
        """The difference of differences of the rows of two batches by pair, as in `pairs`."""
        row = np.concatenate([_row_of(batch), _row_of(other)])
        slots = np.concatenate([each.touched[each.indices] for each in (batch, other)])
        values, order = np.concatenate([batch.values, other.values]), np.argsort(row, kind="stable")
        side = np.repeat([1, -1], [len(batch.values), len(other.values)])
        entries = row[order], slots[order], values[order]
        return self.pairs(learned, *entries, batch.n_rows, side[order])

    def _group_of(self, field):
        """The field that one of the model's fields is reported under, None if it is several."""
        found = np.unique(self.group[self.columns.field == field])
        return int(found[0]) if len(found) == 1 else None

    def field_name(self, field):
        """What one of the model's fields is called."""
        group = self._group_of(field)
        if group is None:
            return f"field {self.columns.fields.labels[field]}"
        return self.field_names[group]


def _tables(learned):
    return {name: table.value for name, table in learned.tables.items()}


def _row_of(batch):
    """The row of each entry of a batch."""
    return np.repeat(np.arange(batch.n_rows), np.diff(batch.indptr[:: batch.n_fields]))


def _pairs_of_entries(row):
    """The numbers of the left and the right entry of each pair in a row, some at a time.

    `row` has the row of each entry, ascending.
    """
    n_after = np.searchsorted(row, row, side="right") - 1 - np.arange(len(row))
    end = np.cumsum(n_after)
    for start in range(0, int(end[-1]) if len(end) else 0, _WEIGHTS):
        number = np.arange(start, min(start + _WEIGHTS, end[-1]))
        left = np.searchsorted(end, number, side="right")
        yield left, left + 1 + number - (end - n_after)[left]


def _varying(batch):
    """The share of each column's mean square that is variance, over all rows of a batch.

    Of zeros and ones it is the share of zeros.
    """
    square = np.bincount(batch.indices, batch.values**2) * batch.n_rows
    total = np.bincount(batch.indices, batch.values)
    return 1 - total**2 / np.where(square > 0, square, 1)


def _pairs_that_occur(batch, group, min_count):
    """Pairs of columns of different fields that enough rows have, some left columns at a time.

    Yields
    ------
    i, j : ndarray of shape (n_pairs,)
        Where in ``batch.touched`` the two columns are.
    mean : ndarray of shape (n_pairs,)
        Average product of their values, over the rows that have both.
    count : ndarray of shape (n_pairs,)
        The number of these rows.
    """
    # A pair is not in more rows than each of its columns.
    frequent = np.bincount(batch.indices, minlength=len(batch.touched)) >= min_count
    keep = frequent[batch.indices]
    column, value, row = batch.indices[keep].astype(np.int64), batch.values[keep], _row_of(batch)
    n_columns, length = len(batch.touched), np.bincount(row[keep], minlength=batch.n_rows)
    n_after = np.repeat(np.cumsum(length), length) - 1 - np.arange(len(column))
    # Within rows, columns have the same order everywhere: by field, then by number.
    by_column = np.argsort(column, kind="stable")
    n_pairs = np.cumsum(np.bincount(column, n_after, n_columns))
    ends = np.cumsum(np.bincount(column, minlength=n_columns))
    first = 0
    while first < n_columns:
        before = n_pairs[first - 1] if first else 0
        last = max(np.searchsorted(n_pairs, before + _PAIRS, side="right"), first + 1)
        entries = by_column[(ends[first - 1] if first else 0) : ends[last - 1]]
        left = np.repeat(entries, n_after[entries])
        begin = np.cumsum(n_after[entries]) - n_after[entries]
        right = left + 1 + np.arange(len(left)) - np.repeat(begin, n_after[entries])
        first = last
        i, j = column[left], column[right]
        apart = group[batch.touched[i]] != group[batch.touched[j]]
        key = (i * n_columns + j)[apart]
        order = np.argsort(key)
        key, product = key[order], (value[left] * value[right])[apart][order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        count = np.diff(starts, append=len(key))
        enough = count >= min_count
        if enough.any():
            mean = np.add.reduceat(product, starts)[enough] / count[enough]
            i, j = np.divmod(key[starts[enough]], n_columns)
            yield i, j, mean, count[enough]


# -- arrays ---------------------------------------------------------------------------


def _summed(scores, row, column, shape):
    """Scores summed by row and column, sparse."""
    return csr_array(coo_array((scores, (row, column)), shape))


def _stacked(parts):
    """What `_Look.parts` gives of all rows from that of batches."""
    linear, pairs, rest = zip(*parts, strict=True)
    rest = {key: np.concatenate([each[key] for each in rest]) for key in rest[0]}
    return vstack(linear, format="csr"), vstack(pairs, format="csr"), rest


def _occurring(matrices):
    """The columns in which any of the matrices has an entry, a list."""
    return np.unique(np.concatenate([matrix.indices for matrix in matrices])).tolist()


def _dense(matrix, columns):
    """Those columns of a matrix that has no entries in others."""
    local = np.searchsorted(columns, matrix.indices)
    shape = matrix.shape[0], len(columns)
    return csr_array((matrix.data, local, matrix.indptr), shape=shape).toarray()


def _room(n_outputs, n_rows, n_parts):
    if n_outputs * n_rows * n_parts > _MAX_NUMBERS:
        raise ValueError(
            f"{n_rows} rows with {n_parts} parts each are too many for memory. Pass fewer rows, "
            "or fields= with the field that each column is reported under."
        )
    return np.empty((n_outputs, n_rows, n_parts))


def _part_name(kind, fields):
    name = " × ".join(fields)
    return {"intercept": kind, "network": kind, "cross": f"cross {name}"}.get(kind, name)
