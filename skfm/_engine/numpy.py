"""The reference engine: what happens to one mini-batch, in NumPy and SciPy.

Every array here is local to a batch of B rows with U distinct columns in F fields:
``P`` is the pooling matrix of shape (B·F, U) and ``V`` holds the parameter rows of the
distinct columns. All functions follow the dtype of ``V``.
"""

from contextlib import nullcontext

import numpy as np
from scipy.sparse import csc_array, csr_array

from .._batch import positions

# The sum of the squared gradients in a row must stay below this, so that sums of squares
# over a long training stay finite in float32. NaN fails the comparison too.
MAX_SQUARE = 1e30

# Numbers that rows are pooled into at a time in prediction: few enough to stay in the cache.
POOLED_AT_A_TIME = 1 << 19

# What decides how much memory a batch takes: how many arrays of pooled rows interactions have at
# a time, and whether solvers change rows where they are.
POOLED_ARRAYS = 2
IN_PLACE = False


def assemble(batcher, rows):
    """Cut some rows out of a matrix: the arrays of a batch.

    Parameters
    ----------
    batcher : Batcher
        The matrix, and the slots and fields of its columns. Those without a slot are
        ignored.
    rows : ndarray of shape (B,)

    Returns
    -------
    touched : ndarray of shape (U,)
        Slots of the distinct columns.
    indptr : ndarray of shape (B·F + 1,), int32
        Where the entries of each row and field begin.
    indices, values : ndarray
        Position in `touched` and value of each entry.
    """
    B, F, columns = len(rows), batcher.fields.n_fields, batcher.columns
    entries, values, length = _entries(batcher, rows)
    slots = columns.slots(entries)
    unknown = slots.min(initial=0) < 0 or slots.max(initial=-1) >= batcher.n_slots
    if F > 1 or unknown:
        row = np.repeat(np.arange(B), length)
        if unknown:
            known = (slots >= 0) & (slots < batcher.n_slots)
            slots, values, row = slots[known], values[known], row[known]
        group = row * F + columns.field.take(slots)
        if not batcher.fields.ascending:
            order = np.argsort(group, kind="stable")
            slots, values, group = slots[order], values[order], group[order]
        length = np.bincount(group, minlength=B * F)
    indptr = np.zeros(B * F + 1, np.int32)
    np.cumsum(length, out=indptr[1:])
    touched, local = distinct(slots, batcher.stamp)
    values = columns.counted(values, slots).astype(batcher.dtype, copy=False)
    return touched, indptr, local, values


def _entries(batcher, rows):
    """Columns and values of the entries of `rows`, one after the other, and their number
    in each row."""
    X = batcher.X
    if batcher.length is not None:  # copying whole rows is faster
        length = np.full(len(rows), batcher.length)
        columns, data = (
            array[: X.nnz].reshape(X.shape[0], batcher.length).take(rows, axis=0).ravel()
            for array in (X.indices, X.data)
        )
    else:
        where, length = positions(X.indptr, rows)
        columns, data = X.indices.take(where), X.data.take(where)
    return columns, data, length


def distinct(slots, stamp):
    """Return the distinct values of `slots` and the position of each entry among them.

    `stamp` is scratch space with one int32 per slot, of any content. Marking slots in
    it costs O(nnz), where sorting would cost O(nnz log nnz).
    """
    order = np.arange(slots.size, dtype=np.int32)
    stamp[slots] = order
    touched = slots.take(np.flatnonzero(stamp.take(slots) == order))
    stamp[touched] = order[: touched.size]
    return touched, stamp.take(slots)


def row_sums(batch, w, power=1):
    """Σ_u x_nu^power w_u for each row n, shape (B,); w has shape (U, 1), power is 0, 1 or 2."""
    return _rows(batch, power) @ w[:, 0]


def column_sums(batch, weight, power=1):
    """Σ_n weight_n x_nu^power for each column u, of shape (U,); power 0 counts the entries."""
    return _columns(batch, power) @ weight


def pool(batch, V):
    """Sum parameter rows into fields: E = P V, of shape (B·F, width)."""
    indptr, indices = batch.indptr, batch.indices
    if batch.binary and len(indices) == len(indptr) - 1 and np.diff(indptr).min() == 1:
        return V.take(indices, axis=0)  # one-hot: nothing to multiply, nothing to sum
    return _pooling(batch) @ V


def pool_gradient(batch, dE):
    """Gradient of the pooling in the parameter rows: Pᵀ dE, of shape (U, width)."""
    return _once(batch, "pooling, transposed", lambda: _pooling(batch).T) @ dE


def _once(batch, name, make):
    """What `make` gives, kept with the batch: SciPy takes a while to make a matrix."""
    if name not in batch.memo:
        batch.memo[name] = make()
    return batch.memo[name]


def _pooling(batch):
    """P, of shape (B·F, U): row ``n * F + a`` holds the entries of sample n in field a."""
    shape = len(batch.indptr) - 1, len(batch.touched)
    return _once(
        batch,
        "pooling",
        lambda: csr_array((batch.values, batch.indices, batch.indptr), shape=shape),
    )


def _rows(batch, power=1):
    """X, of shape (B, U), each value to a power."""
    if power == 1 and batch.n_fields == 1:
        return _pooling(batch)
    power = 1 if batch.binary else power
    shape, indptr = (batch.n_rows, len(batch.touched)), batch.indptr[:: batch.n_fields]

    def make():
        values = batch.values if power == 1 else batch.values**power
        return csr_array((values, batch.indices, indptr), shape=shape)

    return _once(batch, ("rows", power), make)


def _columns(batch, power=1):
    """The transpose of `_rows`."""
    power = 1 if batch.binary else power
    return _once(batch, ("columns", power), lambda: _rows(batch, power).T)


def interact(batch, V):
    """Score each row: its linear terms and all pairwise interactions, in linear time.

    V has shape (U, 1 + F·k): a column's linear weight, then its factors for each field.
    ⟨E_ab, E_ba⟩ summed over all ordered pairs of fields, diagonal included, counts every
    pair of entries twice and every entry with itself once: the interactions are half of
    that sum less the self terms. One field (F = 1) is Rendle's (2010) identity for the
    factorization machine; more are the field-aware machine of Juan et al. (2016).

    Returns the scores, shape (B,), and what each pooled row meets, shape (B·F, 1 + F·k):
    the constant 1 and the partners E_ba. `interact_gradient` needs these again.
    """
    B, F = batch.n_rows, batch.n_fields
    E = pool(batch, V)
    partners = np.empty_like(E)
    np.copyto(_factors(partners, F), _factors(E, F).swapaxes(1, 2))
    partners[:, 0] = 1
    linear = E[:, 0].reshape(B, F).sum(axis=1)
    linear_and_pairs = np.vecdot(E.reshape(B, -1), partners.reshape(B, -1))
    self_terms = _rows(batch, 2) @ _self_products(batch, V)
    return 0.5 * (linear + linear_and_pairs - self_terms), partners


def interact_gradient(batch, V, partners, delta):
    """Gradient of Σ δ·score in V, of shape (U, 1 + F·k); `delta` has shape (B,) and the
    dtype of V."""
    F = batch.n_fields
    weight = column_sums(batch, delta, 2)[:, None]
    if F == 1:
        dV = _columns(batch) @ (partners * delta[:, None])
        # A matrix product is the fastest outer product where rows are short.
        dV -= np.dot(weight, _mask_of_factors(V)[None, :]) * V
        return dV
    # Scaling the entries of P takes F·k times fewer products than those of E.
    per_entry = batch.values * np.repeat(delta, np.diff(batch.indptr[::F]))
    scaled = csc_array((per_entry, batch.indices, batch.indptr), shape=(len(V), batch.n_rows * F))
    dV = scaled @ partners
    own = _own_factors(batch, V)
    dV.ravel()[own] -= weight * V.ravel().take(own)
    return dV


def _factors(E, n_fields):
    """View the factor vectors within pooled rows as opaque items, of shape (B, F, F).

    Copying whole vectors is several times as fast as copying numbers.
    """
    row = E.strides[0]
    vector = np.dtype((np.void, (row - E.itemsize) // n_fields))
    return np.ndarray(
        (len(E) // n_fields, n_fields, n_fields),
        vector,
        E,
        offset=E.itemsize,
        strides=(n_fields * row, row, vector.itemsize),
    )


def _self_products(batch, V):
    """‖v‖² of the factors by which columns meet others of their own field, (U,)."""
    if batch.n_fields == 1:
        return (V * V) @ _mask_of_factors(V)
    own = V.ravel().take(_own_factors(batch, V))
    return np.vecdot(own, own)


def _mask_of_factors(V):
    """1 for each factor, 0 for the linear weight."""
    mask = np.ones(V.shape[1], V.dtype)
    mask[0] = 0
    return mask


def _own_factors(batch, V):
    """Where in V, flattened, a column's factors for its own field are, (U, k)."""
    k = (V.shape[1] - 1) // batch.n_fields
    first = np.arange(len(V)) * V.shape[1] + 1 + batch.field * k
    return first[:, None] + np.arange(k)


def threads(n):
    """The context in which kernels may use `n` threads; these use one."""
    return nullcontext()


def announced(tell):
    """The context in which `tell` is called before something is compiled, which is never here."""
    return nullcontext()


def gather(batch, table, rows):
    """Rows of a table, in the dtype of the batch; all rows, maybe no copy, if `rows` is None."""
    values = table if rows is None else table.take(rows, axis=0)
    return values.astype(batch.dtype, copy=False)


def _take(table, rows):
    """Copy some rows of a table; all if `rows` is None."""
    return table.copy() if rows is None else table.take(rows, axis=0)


def _put(table, rows, values):
    """Set ``table[rows] = values``, faster than indexing does; all rows if `rows` is None."""
    if rows is None:
        table[...] = values
    else:
        np.put(_items(table), rows, _items(np.ascontiguousarray(values, table.dtype)))


def _items(rows):
    """View each row of a contiguous matrix as one opaque item."""
    return rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()


def add_penalty(grad, values, count, l2):
    """Add the L2 penalty of λ·v per occurrence to a gradient, in place.

    Parameters
    ----------
    grad, values : ndarray of shape (U, width)
        Gradient of the batch's summed loss in the rows of a table, and the rows.
    count : ndarray of shape (U,) or (1,)
        How often each row occurred in the batch, weighted.
    l2 : ndarray of shape (1, width) or (1, 1)

    Returns
    -------
    usable : bool
        Whether the gradient can be squared and summed up.
    """
    grad += _outer(count, l2, values) * values
    return np.vecdot(grad, grad).max(initial=0) < MAX_SQUARE


def adagrad(table, accum, rows, values, grad, count, learning_rate, l1):
    """AdaGrad (Duchi et al. 2011, section 4) on some rows of a table and its state, in place.

    `values` is ``table[rows]``, `grad` the penalized gradient, which is used up, and
    `count` as in `add_penalty`. `rows` None means all rows. The learning rate is a number,
    or one per column of the table.
    """
    rate = np.asarray(learning_rate, grad.dtype)
    total = _take(accum, rows)
    total += grad * grad
    _put(accum, rows, total)
    root = np.sqrt(total, out=total)
    step = np.divide(grad, root, out=grad)
    step *= -rate
    step += values
    if l1.any():
        step = _shrink(step, rate * _outer(count, l1, step) / root)
    _put(table, rows, step)


def ftrl(table, z, n, rows, values, grad, learning_rate, beta, l1):
    """FTRL-Proximal (McMahan et al. 2013, algorithm 1), as `adagrad` otherwise."""
    rate = np.asarray(learning_rate, grad.dtype)
    total = _take(n, rows)
    sigma = np.sqrt(total)
    total += grad * grad
    _put(n, rows, total)
    root = np.sqrt(total, out=total)
    np.subtract(root, sigma, out=sigma)
    sigma *= values
    sigma /= rate
    step = np.subtract(grad, sigma, out=grad)
    step += _take(z, rows)
    _put(z, rows, step)
    if l1.any():
        step = _shrink(step, l1.astype(step.dtype))
    step *= -rate
    root += beta
    step /= root
    _put(table, rows, step)


def _outer(count, penalty, like):
    """Penalty of each parameter: strength times occurrences."""
    # A matrix product is the fastest outer product where rows are short.
    return np.dot(count[:, None], penalty.astype(like.dtype))


def _shrink(x, threshold):
    """Move x towards zero by `threshold`, and stop there (soft-thresholding)."""
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)
