"""The reference engine: what happens to one mini-batch, in NumPy and SciPy.

Every array here is local to a batch of B rows with U distinct columns in F fields:
``P`` is the pooling matrix of shape (B·F, U) and ``V`` holds the parameter rows of the
distinct columns. All functions follow the dtype of ``V``.
"""

import numpy as np
from scipy.sparse import csr_array

# The sum of a batch's squared gradients must stay below this, so that sums of squares
# over a long training stay finite in float32. NaN fails the comparison too.
MAX_SQUARE = 1e30


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


def pool(batch, V):
    """Sum parameter rows into fields: E = P V, of shape (B·F, width)."""
    indptr, indices = batch.indptr, batch.indices
    if batch.binary and len(indices) == len(indptr) - 1 and np.diff(indptr).min() == 1:
        return V.take(indices, axis=0)  # one-hot: nothing to multiply, nothing to sum
    return batch.P @ V


def interact(batch, V):
    """Score all pairwise interactions of each row, in time linear in its entries.

    With V of shape (U, F·k), ⟨E_ab, E_ba⟩ summed over all ordered pairs of fields,
    diagonal included, counts every pair of entries twice and every entry with itself
    once: the score is half of that sum less the self terms. One field (F = 1) is
    Rendle's (2010) identity for the factorization machine; more are the field-aware
    machine of Juan et al. (2016).

    Returns the scores, shape (B,), and the partners E_ba, shape (B·F, F·k), which
    `interact_gradient` needs again.
    """
    B, F = batch.n_rows, batch.n_fields
    E = partners = pool(batch, V)
    if F > 1:
        # Copying whole factor vectors, as opaque items, is several times as fast.
        vectors = _items(E.reshape(B * F * F, -1)).reshape(B, F, F)
        partners = np.ascontiguousarray(vectors.swapaxes(1, 2)).view(V.dtype).reshape(E.shape)
    own = _own_factors(batch, V)
    self_terms = batch.squares @ np.vecdot(own, own)
    score = np.vecdot(E.reshape(B, -1), partners.reshape(B, -1))
    return 0.5 * (score - self_terms), partners


def interact_gradient(batch, V, partners, delta):
    """Gradient of Σ δ·score in V, of shape (U, F·k); `delta` has shape (B,)
    and the dtype of V."""
    F = batch.n_fields
    weight = (batch.squares_T @ delta)[:, None]
    if F == 1:
        dV = batch.X_T @ (partners * delta[:, None])
        dV -= weight * V
        return dV
    # Scaling the entries of P takes F·k times fewer products than those of E.
    per_entry = batch.values * np.repeat(delta, np.diff(batch.indptr[::F]))
    scaled = csr_array((per_entry, batch.indices, batch.indptr), shape=(F * batch.n_rows, len(V)))
    dV = scaled.T @ partners
    own = _own_factors(batch, dV) - weight * _own_factors(batch, V)
    put(_by_field(dV, F), _own_rows(batch), own)
    return dV


def _own_factors(batch, V):
    """The factors by which columns meet others of their own field, (U, k)."""
    if batch.n_fields == 1:
        return V
    return _by_field(V, batch.n_fields).take(_own_rows(batch), axis=0)


def _own_rows(batch):
    return np.arange(len(batch.field)) * batch.n_fields + batch.field


def _by_field(V, n_fields):
    """The factors of each column for each field, one below the other: (U·F, k)."""
    return V.reshape(len(V) * n_fields, V.shape[1] // n_fields)


def _items(rows):
    """View each row of a contiguous matrix as one opaque item."""
    return rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()


def put(table, rows, values):
    """Set ``table[rows] = values`` for matrices, faster than indexing does."""
    np.put(_items(table), rows, _items(np.ascontiguousarray(values)))


def adagrad(table, accum, rows, values, grad, count, learning_rate, l1, l2):
    """AdaGrad (Duchi et al. 2011, section 4) on some rows of a table and its state, in place.

    `values` is ``table[rows]``, `grad` the gradient of the batch's summed loss and
    `count` how often each row occurred in the batch, weighted. Returns False, and
    changes nothing, if the gradient is too large to be squared.
    """
    count = count[:, None]
    step = _penalized(grad, values, count, l2)
    if step is None:
        return False
    total = accum.take(rows, axis=0)
    total += step * step
    put(accum, rows, total)
    root = np.sqrt(total, out=total)
    step /= root
    step *= -learning_rate
    step += values
    if l1:
        step = _shrink(step, (l1 * learning_rate) * count / root)
    put(table, rows, step)
    return True


def ftrl(table, z, n, rows, values, grad, count, learning_rate, beta, l1, l2):
    """FTRL-Proximal (McMahan et al. 2013, algorithm 1), as `adagrad` otherwise."""
    step = _penalized(grad, values, count[:, None], l2)
    if step is None:
        return False
    total = n.take(rows, axis=0)
    sigma = np.sqrt(total)
    total += step * step
    put(n, rows, total)
    root = np.sqrt(total, out=total)
    np.subtract(root, sigma, out=sigma)
    sigma *= values
    sigma /= learning_rate
    step -= sigma
    step += z.take(rows, axis=0)
    put(z, rows, step)
    if l1:
        step = _shrink(step, l1)
    step *= -learning_rate
    root += beta
    step /= root
    put(table, rows, step)
    return True


def _penalized(grad, values, count, l2):
    """The gradient with the L2 penalty of λ·v per occurrence; None if not usable."""
    step = values * (l2 * count)
    step += grad
    flat = step.ravel()
    return step if flat @ flat < MAX_SQUARE else None


def _shrink(x, threshold):
    """Move x towards zero by `threshold`, and stop there (soft-thresholding)."""
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)
