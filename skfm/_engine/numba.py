"""The compiled engine: the functions of `numpy.py` as loops, compiled by numba.

Sums are taken in the order of the rows, whatever the number of threads: these share out
rows where scores are computed, and columns where gradients are summed. Arrays are indexed
flat and by unsigned numbers, as numba's handling of negative ones keeps loops from being
vectorized.
"""

from functools import cache

import numpy as np
from numba import njit, uint64
from numpy.lib.stride_tricks import as_strided

from .._batch import MAX_VALUE, Units
from .interactions import LANES, fields, one_field, own_columns
from .kernels import announced, compiled  # noqa: F401 (one is the engine's)
from .numpy import MAX_SQUARE
from .team import begin, finish, run, threads  # noqa: F401 (one is the engine's)
from .vectors import add_product, add_scaled, load, prefetch, store, sum_of, zeros

# Numbers in a row from which it pays to align rows and to look some rows ahead.
_WIDE = 4 * LANES
_AHEAD = 4

# A number that is moved between memory and cache takes as long as so many multiplications.
_MOVED = 4

# Most loops pool nothing: what counts is that batches are large enough.
POOLED_AT_A_TIME = 1 << 22
POOLED_ARRAYS = 0
IN_PLACE = True

_NO_UNITS = Units(np.empty(0), np.empty(0))


# -- batches --------------------------------------------------------------------------


def assemble(batcher, rows):
    """See the reference engine. For prediction nothing is renumbered: `touched` is None, and
    the kernels find their rows in the whole tables."""
    X, columns = batcher.X, batcher.columns
    data, one = np.empty(0, np.float32), np.float32(1)  # exact, whatever the dtype
    if not batcher.binary:
        data, one = X.data, batcher.dtype(1)
    shift, scale = _NO_UNITS if columns.plain else columns.units
    touched, *arrays = _assemble(
        rows,
        X.indptr,
        X.indices,
        data,
        columns.slot_of,
        batcher.n_slots,
        columns.field,
        batcher.fields.n_fields,
        batcher.fields.ascending,
        batcher.stamp,
        batcher.renumbers,
        one,
        shift,
        scale,
    )
    return touched if batcher.renumbers else None, *arrays


@compiled
def _assemble(
    rows,
    indptr,
    columns,
    data,
    slot_of,
    n_slots,
    field,
    F,
    ascending,
    stamp,
    trains,
    one,
    shift,
    scale,
):
    size = 0
    for row in rows:
        size += indptr[row + 1] - indptr[row]
    begin = np.zeros(len(rows) * F + 1, np.int32)
    indices, values = np.empty(size, np.int32), np.full(size, one)
    # First copy the rows, which lie far apart, with nothing to wait for in between.
    e = uint64(0)
    for i in range(uint64(len(rows))):
        row = uint64(rows[i])
        if i + uint64(2 * _AHEAD) < uint64(len(rows)):
            later = uint64(rows[i + uint64(2 * _AHEAD)])
            for p in range(indptr[later], indptr[later + uint64(1)], LANES):
                prefetch(columns, uint64(p))
        for p in range(uint64(indptr[row]), uint64(indptr[row + uint64(1)])):
            indices[e] = columns[p]
            if len(data):
                values[e] = data[p]
            e += uint64(1)
    n_entries, last = uint64(0), uint64(0)
    for i in range(uint64(len(rows))):
        start, first = n_entries, last
        last += uint64(indptr[rows[i] + 1] - indptr[rows[i]])
        p = uint64(indptr[rows[i]]) - first
        for e in range(first, last):
            slot = slot_of[uint64(indices[e])]
            if uint64(slot) >= uint64(n_slots):  # so is -1
                continue
            indices[n_entries], values[n_entries] = slot, values[e]
            if len(scale):
                x = (np.float64(data[p + e]) - shift[uint64(slot)]) / scale[uint64(slot)]
                values[n_entries] = min(max(x, -MAX_VALUE), MAX_VALUE)
            n_entries += uint64(1)
            if F > 1:
                begin[i * uint64(F) + uint64(field[uint64(slot)]) + uint64(1)] += 1
        if F == 1:
            begin[i + uint64(1)] = n_entries
            continue
        at = begin[i * uint64(F)]
        for f in range(i * uint64(F) + uint64(1), (i + uint64(1)) * uint64(F) + uint64(1)):
            at += begin[f]
            begin[f] = at
        if not ascending:
            _sort_by_field(indices, values, start, n_entries, field, begin, i * uint64(F), F)
    touched = _renumber(indices[:n_entries], stamp) if trains else np.empty(0, np.intp)
    return touched, begin, indices[:n_entries], values[:n_entries]


def distinct(slots, stamp):
    local = slots.astype(np.int32)
    return _renumber(local, stamp), local


@compiled
def _renumber(slots, stamp):
    """Turn slots into their positions among the distinct ones, in place; return these.

    A stamp is right if it is greater than the base, its last number, which grows with
    each call. There is no branch, as none could be predicted.
    """
    base = stamp[-1]
    if base > 2**31 - 2 - len(slots):
        base = 0
        stamp[:] = 0
    touched, n_touched = np.empty(len(slots) + 1, np.intp), 0
    for e in range(len(slots)):
        slot = uint64(slots[e])
        mark = stamp[slot]
        local = mark - base - 1 if mark > base else n_touched
        touched[n_touched] = slot
        n_touched += mark <= base
        stamp[slot] = base + 1 + local
        slots[e] = local
    stamp[-1] = base + n_touched
    return touched[:n_touched]


@njit
def _sort_by_field(slots, values, first, last, field, begin, group, F):
    """Put the entries of a row where their fields begin, in their order."""
    size = last - first
    slots_before, values_before = np.empty(size, slots.dtype), np.empty(size, values.dtype)
    for e in range(size):
        slots_before[e], values_before[e] = slots[first + e], values[first + e]
    to = np.empty(F, np.int32)
    for f in range(uint64(F)):
        to[f] = begin[group + f]
    for e in range(size):
        f = field[uint64(slots_before[e])]
        slots[to[f]], values[to[f]] = slots_before[e], values_before[e]
        to[f] += 1


# -- rows of tables -------------------------------------------------------------------


def gather(batch, table, rows):
    """See the reference engine; no kernel minds the dtype of a table."""
    if rows is None:
        return table
    values = _rows_of(batch, (len(rows), table.shape[1]), table.dtype)
    if values.flags.c_contiguous:
        return np.take(table, rows, axis=0, out=values, mode="clip")  # "raise" would copy
    run(_gather, _MOVED * values.size, table.ravel(), table.shape[1], rows, *_flat(values))
    return values


def _rows_of(batch, shape, dtype):
    """Room for rows of numbers.

    Wide rows are a whole number of cache lines apart, and what follows their first number
    starts at one: vectors across two lines cost twice.
    """
    n, width = shape
    if width <= _WIDE:
        return batch.scratch(shape, dtype)
    stride = LANES * -(-width // LANES)
    room = batch.scratch((2 * LANES + n * stride,), dtype)
    first = -room.ctypes.data // room.itemsize % LANES + LANES - 1
    return as_strided(room[first:], shape, (stride * room.itemsize, room.itemsize))


def _flat(rows):
    """The numbers of a matrix in one dimension, and how far apart its rows begin."""
    if rows.flags.c_contiguous:
        return rows.ravel(), rows.shape[1]
    size = (len(rows) - 1) * rows.strides[0] // rows.itemsize + rows.shape[1]
    return as_strided(rows, (size,), (rows.itemsize,)), rows.strides[0] // rows.itemsize


@compiled
def _prefetch_row(table, rows, width, i):
    """Ask for the row that is needed a few rows after `rows[i]`."""
    if i + uint64(_AHEAD) < uint64(len(rows)):
        first = uint64(rows[i + uint64(_AHEAD)]) * uint64(width)
        for j in range(uint64(0), uint64(width), uint64(LANES)):
            prefetch(table, first + j)


@compiled
def _gather(table, width, rows, values, stride, share):
    part, n_parts = begin(share)
    n = len(rows)
    for i in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
        _prefetch_row(table, rows, width, i)
        row = uint64(rows[i]) * uint64(width)
        for j in range(uint64(width)):
            values[i * uint64(stride) + j] = table[row + j]
    finish(share)


# -- sums over rows and columns -------------------------------------------------------


def row_sums(batch, w, power=1):
    scores = np.empty(batch.n_rows, batch.dtype)
    _linear(batch.indptr[:: batch.n_fields], batch.indices, _powers(batch, power), w, scores)
    return scores


def _powers(batch, power):
    if batch.binary or power == 1:
        return batch.values
    return batch.values * batch.values if power else np.ones_like(batch.values)


@compiled
def _linear(indptr, indices, values, w, scores):
    for n in range(len(scores)):
        total = scores.dtype.type(0)
        for e in range(uint64(indptr[n]), uint64(indptr[n + 1])):
            total += values[e] * w[uint64(indices[e]), 0]
        scores[n] = total


def column_sums(batch, weight, power=1):
    sums = np.zeros(len(batch.touched), batch.dtype)
    values = _powers(batch, power)
    _sum_columns(batch.indptr[:: batch.n_fields], batch.indices, values, weight, sums)
    return sums


@compiled
def _sum_columns(indptr, indices, values, weight, sums):
    for n in range(len(weight)):
        for e in range(uint64(indptr[n]), uint64(indptr[n + 1])):
            sums[uint64(indices[e])] += values[e] * weight[n]


# -- pooling --------------------------------------------------------------------------


def pool(batch, V):
    k = V.shape[1]
    E = batch.scratch((len(batch.indptr) - 1, k), batch.dtype)
    arrays = batch.indptr, batch.indices, batch.values, *_flat(V), E.ravel()
    run(_pooling(k)[0], len(batch.indices) * k, *arrays)
    return E


def pool_gradient(batch, dE):
    k = dE.shape[1]
    dV = _rows_of(batch, (len(batch.touched), k), dE.dtype)
    dV.fill(0)
    arrays = batch.indptr, batch.indices, batch.values, dE.ravel(), *_flat(dV)
    run(_pooling(k)[1], len(batch.indices) * k, *arrays)
    return dV


@cache
def _pooling(k):
    """The two kernels for rows of k numbers."""

    @compiled
    def forward(indptr, indices, values, V, width, E, share):
        part, n_parts = begin(share)
        n, zero = len(indptr) - 1, E.dtype.type(0)
        for row in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
            pooled = zeros(zero, k)
            for e in range(uint64(indptr[row]), uint64(indptr[row + uint64(1)])):
                v = load(V, uint64(indices[e]) * uint64(width), zero, k)
                pooled = add_scaled(pooled, v, values[e])
            store(E, row * uint64(k), pooled)
        finish(share)

    @compiled
    def backward(indptr, indices, values, dE, dV, width, share):
        part, n_parts = begin(share)
        zero, own = dV.dtype.type(0), own_columns(part, n_parts)
        for row in range(uint64(len(indptr) - 1)):
            pooled = load(dE, row * uint64(k), zero, k)
            for e in range(uint64(indptr[row]), uint64(indptr[row + uint64(1)])):
                column = uint64(indices[e])
                if own >> (column & uint64(63)) & uint64(1):
                    v = column * uint64(width)
                    store(dV, v, add_scaled(load(dV, v, zero, k), pooled, values[e]))
        finish(share)

    return forward, backward


# -- interactions ---------------------------------------------------------------------


def interact(batch, V):
    """See the reference engine. Nothing needs to be remembered: partners are cheaper to
    gather again than to store."""
    if V.shape[1] == 1:
        return row_sums(batch, V), None
    scores = np.empty(batch.n_rows, batch.dtype)
    arrays = batch.indptr, batch.indices, batch.values, *_flat(V), scores
    run(_kernels(batch, V)[0], len(batch.indices) * V.shape[1], batch.n_fields, *arrays)
    return scores, None


def interact_gradient(batch, V, partners, delta):
    """See the reference engine. `partners` is None, as `interact` remembers nothing."""
    if V.shape[1] == 1:
        return column_sums(batch, delta)[:, None]
    dV = _rows_of(batch, V.shape, V.dtype)
    dV.fill(0)
    arrays = batch.indptr, batch.indices, batch.values, *_flat(V), delta, *_flat(dV)
    # Without fields each thread would read every row to write its columns, and save nothing.
    work = len(batch.indices) * V.shape[1] if batch.n_fields > 1 else 0
    run(_kernels(batch, V)[1], work, batch.n_fields, *arrays)
    return dV


def _kernels(batch, V):
    if batch.n_fields == 1:
        return one_field(V.shape[1] - 1)
    return fields((V.shape[1] - 1) // batch.n_fields)


# -- updates --------------------------------------------------------------------------


def add_penalty(grad, values, count, l2):
    usable = np.ones(1, bool)
    run(
        _add_penalty,
        _MOVED * grad.size,
        *_flat(grad),
        *_flat(values),
        count,
        _row(l2, grad),
        usable,
    )
    return usable[0]


@compiled
def _add_penalty(grad, width, values, width_v, count, l2, usable, share):
    part, n_parts = begin(share)
    n = 1 + (len(grad) - len(l2)) // width
    for i in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
        weight = count[min(i, uint64(len(count) - 1))]
        g, v = i * uint64(width), i * uint64(width_v)
        for j in range(uint64(len(l2))):
            grad[g + j] += weight * l2[j] * values[v + j]
        if not _sum_of_squares(grad, g, uint64(len(l2))) < MAX_SQUARE:
            usable[0] = False
    finish(share)


@njit(error_model="numpy")
def _sum_of_squares(array, i, n):
    """The sum of squares of ``array[i : i + n]``."""
    zero, done = array.dtype.type(0), uint64(0)
    squares, rest = zeros(zero, LANES), zero
    while done + uint64(LANES) <= n:
        vector = load(array, i + done, zero, LANES)
        squares = add_product(squares, vector, vector)
        done += uint64(LANES)
    while done < n:
        rest += array[i + done] * array[i + done]
        done += uint64(1)
    return sum_of(squares) + rest


def adagrad(table, accum, rows, values, grad, count, learning_rate, l1):
    rows = np.arange(len(values)) if rows is None else rows
    rate, l1 = _row(learning_rate, grad), _row(l1, grad)
    arrays = table.ravel(), accum.ravel(), rows, *_flat(grad), count
    run(_adagrad, 2 * _MOVED * grad.size, *arrays, rate, l1, l1.any())


@compiled
def _adagrad(table, accum, rows, grad, width, count, rate, l1, shrinks, share):
    part, n_parts = begin(share)
    n, width_t = len(rows), uint64(len(l1))
    for i in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
        _prefetch_row(accum, rows, width_t, i)
        weight = count[min(i, uint64(len(count) - 1))]
        g, t = i * uint64(width), uint64(rows[i]) * width_t
        for j in range(width_t):
            total = accum[t + j] + grad[g + j] * grad[g + j]
            accum[t + j] = total
            root = np.sqrt(total)
            value = table[t + j] - rate[j] * (grad[g + j] / root)
            if shrinks:
                value = _shrunk(value, rate[j] * (weight * l1[j]) / root)
            table[t + j] = value
    finish(share)


def ftrl(table, z, n, rows, values, grad, learning_rate, beta, l1):
    rows = np.arange(len(values)) if rows is None else rows
    number = grad.dtype.type
    settings = _row(learning_rate, grad), number(beta), _row(l1, grad)
    run(
        _ftrl,
        2 * _MOVED * grad.size,
        table.ravel(),
        z.ravel(),
        n.ravel(),
        rows,
        *_flat(grad),
        *settings,
    )


@compiled
def _ftrl(table, z, n, rows, grad, width, rate, beta, l1, share):
    part, n_parts = begin(share)
    size, width_t = len(rows), uint64(len(l1))
    for i in range(uint64(size * part // n_parts), uint64(size * (part + 1) // n_parts)):
        _prefetch_row(z, rows, width_t, i)
        _prefetch_row(n, rows, width_t, i)
        g, t = i * uint64(width), uint64(rows[i]) * width_t
        for j in range(width_t):
            before = n[t + j]
            total = before + grad[g + j] * grad[g + j]
            n[t + j] = total
            root = np.sqrt(total)
            step = grad[g + j] - (root - np.sqrt(before)) * table[t + j] / rate[j] + z[t + j]
            z[t + j] = step
            table[t + j] = -rate[j] * _shrunk(step, l1[j]) / (root + beta)
    finish(share)


@njit(error_model="numpy")
def _shrunk(x, threshold):
    size = abs(x) - threshold
    return np.copysign(size, x) if size > 0 else 0 * x


def _row(setting, like):
    """A learning rate or penalty as one number per column."""
    return np.broadcast_to(setting, (1, like.shape[1]))[0].astype(like.dtype)
