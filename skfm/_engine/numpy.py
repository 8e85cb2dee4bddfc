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
    touched = slots[stamp.take(slots) == order]
    stamp[touched] = order[: touched.size]
    return touched, stamp.take(slots)


def pool(P, V):
    """Sum parameter rows into fields: E = P V, of shape (B·F, width)."""
    return P @ V


def unpool(P, dE, scale=None):
    """Carry gradients from the fields back to the columns: Pᵀ diag(scale) dE."""
    if scale is not None:
        data = P.data * np.repeat(scale.astype(P.dtype), np.diff(P.indptr))
        P = csr_array((data, P.indices, P.indptr), shape=P.shape)
    return P.T @ dE


def interact(batch, V):
    """Score all pairwise interactions of each row, in time linear in its entries.

    With V of shape (U, F·k), ⟨E_ab, E_ba⟩ summed over all ordered pairs of fields,
    diagonal included, counts every pair of entries twice and every entry with itself
    once: the score is half of that sum less the self terms. One field (F = 1) is
    Rendle's (2010) identity for the factorization machine; more are the field-aware
    machine of Juan et al. (2016).

    Returns the scores, shape (B,), and the partners E_ba, which `interact_gradient`
    needs again.
    """
    B, F = batch.n_rows, batch.n_fields
    k = V.shape[1] // F
    E = pool(batch.P, V)
    partners = np.ascontiguousarray(E.reshape(B, F, F, k).swapaxes(1, 2))
    partners = partners.reshape(B, F * F * k)
    own = _own_factors(batch, V)
    self_terms = batch.squares @ np.vecdot(own, own)
    score = np.vecdot(E.reshape(B, F * F * k), partners)
    return 0.5 * (score - self_terms), partners


def interact_gradient(batch, V, partners, delta):
    """Gradient of Σ δ·score in V, of shape (U, F·k); `delta` has shape (B,)."""
    F = batch.n_fields
    dV = unpool(batch.P, partners.reshape(batch.n_rows * F, -1), np.repeat(delta, F))
    weight = (batch.squares.T @ delta.astype(V.dtype))[:, None]
    own = _own_factors(batch, dV) - weight * _own_factors(batch, V)
    _by_field(dV, F)[np.arange(len(dV)), batch.field] = own
    return dV


def _own_factors(batch, V):
    """The factors by which a column meets other columns of its own field, (U, k)."""
    return _by_field(V, batch.n_fields)[np.arange(len(V)), batch.field]


def _by_field(V, n_fields):
    return V.reshape(len(V), n_fields, V.shape[1] // n_fields)


def adagrad(table, accum, rows, values, grad, count, learning_rate, l1, l2):
    """AdaGrad (Duchi et al. 2011) on some rows of a table and its state, in place.

    `values` is ``table[rows]``, `grad` the gradient of the batch's summed loss and
    `count` how often each row occurred in the batch, weighted. Returns False, and
    changes nothing, if the gradient is too large to be squared.
    """
    count = count.astype(table.dtype)[:, None]
    grad = _penalized(grad, values, count, l2)
    if grad is None:
        return False
    total = accum.take(rows, axis=0)
    total += grad * grad
    accum[rows] = total
    rate = learning_rate / np.sqrt(total)
    new = values - rate * grad
    if l1:
        new = _shrink(new, l1 * count * rate)
    table[rows] = new
    return True


def ftrl(table, z, n, rows, values, grad, count, learning_rate, beta, l1, l2):
    """FTRL-Proximal (McMahan et al. 2013, algorithm 1), as `adagrad` otherwise."""
    grad = _penalized(grad, values, count.astype(table.dtype)[:, None], l2)
    if grad is None:
        return False
    n_old = n.take(rows, axis=0)
    n_new = n_old + grad * grad
    root = np.sqrt(n_new)
    z_new = z.take(rows, axis=0)
    z_new += grad - (root - np.sqrt(n_old)) / learning_rate * values
    z[rows] = z_new
    n[rows] = n_new
    table[rows] = _shrink(z_new, l1) * (-learning_rate) / (beta + root)
    return True


def _penalized(grad, values, count, l2):
    """Add the L2 penalty, λ·v per occurrence; None if the result is not usable."""
    if l2:
        grad = grad + l2 * count * values
    flat = grad.ravel()
    return grad if flat @ flat < MAX_SQUARE else None


def _shrink(x, threshold):
    """Move x towards zero by `threshold`, and stop there (soft-thresholding)."""
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)
