"""What a fitted model has learned: which fields, pairs of columns and parts of a score count."""

from collections import Counter
from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from sklearn.utils import Bunch, check_random_state

from ._compat import Interval, validate_params
from ._displays import InteractionDisplay, LossCurveDisplay
from ._look import Look, pairs_that_occur, tables_of, varying
from ._names import Names, unwrap

__all__ = [
    "Interaction",
    "InteractionDisplay",
    "LossCurveDisplay",
    "contributions",
    "field_interactions",
    "similar_columns",
    "top_interactions",
]

# Fields that a matrix of all pairs is made for, and numbers that `contributions` returns, at most.
_MAX_FIELDS, _MAX_NUMBERS = 500, 1 << 28


class Interaction(NamedTuple):
    """A pair of columns that interact: see `top_interactions`."""

    names: tuple
    strength: float
    importance: float
    count: int
    columns: tuple
    target: object = None


# -- the public functions -------------------------------------------------------------


_NAMING = {"fields": ["array-like", None], "feature_names": ["array-like", None]}


@validate_params(_NAMING, prefer_skip_nested_validation=True)
def contributions(model, X, *, fields=None, feature_names=None):
    """Split the score of each row into parts.

    A score is the sum of an intercept, a linear part of each field, and an interaction of each
    two fields. A Wide & Deep model adds crosses and, as one part, the output of its network.

    Parameters
    ----------
    model : estimator or Pipeline
        A fitted estimator of skfm, or a fitted Pipeline that ends with one.
    X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
        Rows as `model` takes them.
    fields : array-like of shape (n_features,), default=None
        The field to report each encoded column under, a number or a name. None takes the
        variables that the columns encode, if their names are known, otherwise the fields of the
        model. In a model without fields each column is a field.
    feature_names : array-like of shape (n_features,), default=None
        Names of the encoded columns. None takes those that the Pipeline or the matrix has.

    Returns
    -------
    parts : :class:`~sklearn.utils.Bunch`
        With the attributes

        scores : ndarray of shape (n_samples, n_parts) or (n_samples, n_classes, n_parts)
            The sums over the last axis are `decision_function`, or the predictions of a
            regressor.
        names : list of str
            Name of each part, such as ``"age"`` or ``"age × sex"``. If a field has the name of
            another part, its part has the kind after its name, such as ``"intercept (linear)"``.
        kinds : list of str
            "intercept", "linear", "interaction", "cross" or "network".
        fields : list of tuple of str
            Names of the fields of each part.

        Fields, and pairs of fields, in which no row of `X` has entries have no parts. A field
        with several entries interacts with itself.

    Raises
    ------
    ValueError
        If `X` does not suit the model, or the result would take more than 2 GiB.
    TypeError
        If `model` is from another package.
    NotFittedError
        If `model` is not fitted.

    Notes
    -----
    Numbers count as they do in training. If most rows have an entry in a column and its mean is
    far from 0, as for years, the linear part and the interactions are those of the difference
    from the mean, and rows without an entry have them, too. The model determines the split
    between the linear part and interactions; another split may give the same scores.

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
    look = Look(model, X, fields, feature_names)
    n, models = len(look.field_names), look.fitted.models
    # Numbers between knots are two fields of the model with one name, and so are their crosses.
    keys = look.parts(models[0], look.batcher(np.arange(1)))[2]
    others = {key: (key[0], tuple(map(look.field_name, key[1]))) for key in keys}
    other = list(dict.fromkeys(others.values()))
    by_itself, met = _occurring(look, len(other))
    scores = np.zeros((len(models), look.n_rows, 1 + len(by_itself) + len(met) + len(other)))
    first, last = 1 + len(by_itself), 1 + len(by_itself) + len(met)
    for output, learned in enumerate(models):
        scores[output, :, 0] = learned.bias
        start = 0
        for batch in look.batches():
            rows = scores[output, start : start + batch.n_rows]
            start += batch.n_rows
            linear, pairs, rest = look.parts(learned, batch)
            rows[:, 1:first] = _dense(linear, by_itself)
            rows[:, first:last] = _dense(pairs, met)
            for key, part in others.items():
                rows[:, last + other.index(part)] += rest[key]
    scores *= look.fitted.target.scale
    scores[:, :, 0] += look.fitted.target.mean
    of = [(), *((a,) for a in by_itself.tolist()), *(divmod(pair, n) for pair in met.tolist())]
    called = [tuple(look.field_names[number] for number in fields) for fields in of]
    kinds = ["intercept"] + ["linear"] * len(by_itself) + ["interaction"] * len(met)
    kinds, called = kinds + [kind for kind, _ in other], called + [fields for _, fields in other]
    names = _part_names(kinds, called)
    scores = scores[0] if len(models) == 1 else scores.swapaxes(0, 1)
    return Bunch(scores=scores, names=names, kinds=kinds, fields=called)


@validate_params(
    _NAMING
    | {
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def field_interactions(
    model, X, *, max_samples=5_000, random_state=0, fields=None, feature_names=None
):
    """Measure how much each two fields interact, over the rows of X.

    What two fields add together says little about their interaction: if one of them is the same
    in all rows, the sum is no more than a linear weight of the other. So this function subtracts
    what each of them adds, on average, with the other's values in other rows ::

        d_ab(n) = s_ab(n, n) − mean_m s_ab(n, m) − mean_m s_ab(m, n)

    where s_ab(n, m) is what field a of row n and field b of row m add together. The strength is
    the standard deviation of d_ab over the rows.

    Parameters
    ----------
    model : estimator or Pipeline
        A fitted estimator of skfm, or a fitted Pipeline that ends with one.
    X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
        Rows as `model` takes them, at least 2.
    max_samples : int, default=5000
        Maximum number of rows of `X` to consider, drawn at random. None takes all of them.
    random_state : int, RandomState instance or None, default=0
        Seed of the draw.
    fields, feature_names : array-like of shape (n_features,), default=None
        See :func:`contributions`.

    Returns
    -------
    interactions : :class:`~sklearn.utils.Bunch`
        With the attributes

        strengths : ndarray of shape (n_fields, n_fields) or (n_classes, n_fields, n_fields)
            Symmetric; in log-odds, or in the unit of y. The diagonal has the standard deviation
            of what the entries of one field add among themselves.
        names : list of str
            Names of the fields.

    Raises
    ------
    ValueError
        If `X` does not suit the model, the model has no pairwise term (``k=0``, or a Wide & Deep
        model without ``interactions=True``; crosses and networks do not count), or there are
        more than 500 fields.
    TypeError, NotFittedError
        As :func:`contributions`.

    Notes
    -----
    A row with m entries takes O(m² k) operations. Averages are over all rows considered, or over
    fewer of them, at least 10, if these have many columns.

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
    look = Look(model, X, fields, feature_names)
    n = len(look.field_names)
    if n > _MAX_FIELDS:
        raise ValueError(
            f"There are {n} fields, and a matrix of all pairs has room for {_MAX_FIELDS}. Pass "
            "fields= with the field that each column is reported under, or use top_interactions."
        )
    look.check_pairs()
    rng = check_random_state(random_state)
    rows, strengths = look.drawn(max_samples, rng), []
    if len(rows) < 2:
        raise ValueError("Interactions are measured between rows: X must have 2 of them or more.")
    for learned in look.fitted.models:
        total, squares = np.zeros((2, n, n))
        for together in look.interactions(learned, rows, rng):
            total += together.sum(axis=0)
            squares += np.einsum("nab,nab->ab", together, together)
        variance = squares / len(rows) - (total / len(rows)) ** 2
        strengths.append(np.sqrt(np.maximum(variance, 0)) * look.fitted.target.scale)
    strengths = np.array(strengths) if len(strengths) > 1 else strengths[0]
    return Bunch(strengths=strengths, names=look.field_names)


@validate_params(
    _NAMING
    | {
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
        Maximum number of pairs to return, for each class if there are more than two.
    min_count : int, default=10
        Minimum number of rows, among those considered, in which a pair has to occur.
    max_samples : int, default=50000
        Maximum number of rows of `X` to consider, drawn at random. None takes all of them.
    random_state : int, RandomState instance or None, default=0
        Seed of the draw.
    fields : array-like of shape (n_features,), default=None
        Fields of the encoded columns. Pairs within a field are left out. None takes those of
        :func:`contributions`.
    feature_names : array-like of shape (n_features,), default=None
        See :func:`contributions`.

    Returns
    -------
    interactions : list of Interaction
        The most important first. ``pandas.DataFrame(interactions)`` makes a table of it.
        Crosses and networks do not count. Each is a named tuple of

        names : tuple of str
            Names of the two columns.
        strength : float
            What the pair adds to the log-odds, or to the prediction of a regressor, on average
            over the rows that have both.
        importance : float
            ``|strength|`` times the share of rows without each of the two columns; for a column
            of numbers, times the share of its mean square that is variance.
        count : int
            Number of rows, among those considered, that have both.
        columns : tuple of int
            The numbers of the two columns.
        target : object
            The class of the score; None if there is only one score.

        A strong pair is less important if one of its columns hardly varies: with a column that
        all rows have, it acts like a linear weight of the other.

    Raises
    ------
    ValueError
        If `X` does not suit the model, a parameter is out of its range, or the model has no
        pairwise interactions.
    TypeError, NotFittedError
        As :func:`contributions`.

    Notes
    -----
    Memory is bounded, because the function counts the pairs of some columns at a time. A row with
    m entries in columns that occur in at least `min_count` rows takes O(m²) operations.

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
    look = Look(model, X, fields, feature_names)
    look.check_pairs()
    models = look.fitted.models
    batch = look.batcher(look.drawn(max_samples, check_random_state(random_state)))
    varies, best = varying(batch), [[] for _ in models]
    for i, j, mean, count in pairs_that_occur(batch, look.reported, min_count):
        slots = batch.touched[i], batch.touched[j]
        for output, learned in enumerate(models):
            strength = mean * look.pair_weights(learned, *slots)
            importance = np.abs(strength) * varies[i] * varies[j]
            order = np.argsort(-importance, kind="stable")[: int(n)]
            best[output].append(np.array([importance, strength, *slots, count])[:, order])
    scale, classes = look.fitted.target.scale, getattr(look.fitted.target, "classes", [])
    result = []
    for output, found in enumerate(best):
        target = classes[output] if len(models) > 1 else None
        found = np.concatenate(found or [np.empty((5, 0))], axis=1)
        order = np.argsort(-found[0], kind="stable")[: int(n)]
        for importance, strength, i, j, count in found[:, order].T.tolist():
            columns = look.columns.seen[[int(i), int(j)]].tolist()
            names, strengths = tuple(look.names.of(columns)), (strength * scale, importance * scale)
            result.append(Interaction(names, *strengths, int(count), tuple(columns), target))
    return sorted(result, key=lambda interaction: -interaction.importance)


@validate_params(
    _NAMING | {"n": [Interval(Integral, 1, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def similar_columns(model, column, n=10, *, fields=None, feature_names=None):
    """Find the columns whose interactions are most like those of a given column.

    The measure is the cosine of two columns' factors or embeddings, those of all classes
    together. For a field-aware machine it leaves out the factors for their own field. Only
    columns of the same field are compared: two airports, two films.

    Parameters
    ----------
    model : estimator or Pipeline
        A fitted estimator of skfm, or a fitted Pipeline that ends with one.
    column : str or int
        The encoded column, by its name, such as ``"dest=LAX"`` behind a
        :class:`~skfm.preprocessing.FieldEncoder`, or by its number.
    n : int, default=10
        Maximum number of columns to return.
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
        If there is no such column, several have this name, it did not occur in training, `n` is
        out of its range, or the model has neither factors nor embeddings.
    TypeError, NotFittedError
        As :func:`contributions`.

    Notes
    -----
    Columns that occurred in few rows still have nearly their initial, random factors, which are
    similar to nothing. ``FieldEncoder(min_frequency=...)`` merges rare categories before
    training.

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
    reported, _ = names.reported_fields()
    slots = np.arange(len(reported))
    if len(np.unique(reported)) < len(reported):
        slots = np.flatnonzero(reported == reported[chosen])
    vectors = []
    for learned in fitted.models:
        by_table, values = {}, tables_of(learned)
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
    order = order[slots[order] != chosen][: int(n)]
    called = names.of(fitted.columns.seen[slots[order]])
    return [(name, float(value)) for name, value in zip(called, cosine[order], strict=True)]


# -- arrays ---------------------------------------------------------------------------


def _occurring(look, n_others):
    """The fields, and the pairs a·n + b of them, that rows have entries in, ascending.

    Raises ValueError once the scores of these and of other parts would have no room.
    """
    fields, pairs = np.empty((2, 0), np.intp)
    for batch in look.batches():
        fields = np.union1d(fields, look.reported[batch.touched[batch.indices]])
        _check_room(look, 1 + n_others + len(fields))
        for some in look.pairs_of_fields(batch):
            pairs = np.union1d(pairs, some)
            _check_room(look, 1 + n_others + len(fields) + len(pairs))
    return fields, pairs


def _check_room(look, n_parts):
    if len(look.fitted.models) * look.n_rows * n_parts > _MAX_NUMBERS:
        raise ValueError(
            f"{look.n_rows} rows with {n_parts} or more parts each take more than 2 GiB. Pass "
            "fewer rows, or fields= with the field that each column is reported under."
        )


def _dense(matrix, columns):
    """Those columns of a matrix that has no entries in others."""
    local = np.searchsorted(columns, matrix.indices)
    shape = matrix.shape[0], len(columns)
    return csr_array((matrix.data, local, matrix.indptr), shape=shape).toarray()


def _part_names(kinds, fields):
    """What parts are called, with their kind where a field has the name of another part."""
    names = list(map(_part_name, kinds, fields))
    count = Counter(names)
    return [
        f"{name} ({kind})" if count[name] > 1 and of else name
        for name, kind, of in zip(names, kinds, fields, strict=True)
    ]


def _part_name(kind, fields):
    name = " × ".join(fields)
    return {"intercept": kind, "network": kind, "cross": f"cross {name}"}.get(kind, name)
