"""The compiled engine: the functions of `numpy.py` as loops, compiled by numba.

Sums are taken in the order of the rows, whatever the number of threads: these share out
rows where scores are computed, and columns where gradients are summed. Arrays are indexed
flat and by unsigned numbers, as numba's handling of negative ones keeps loops from being
vectorized.
"""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache

import numpy as np
from llvmlite import ir
from numba import config, njit, types, uint64
from numba.extending import intrinsic
from numpy.lib.stride_tricks import as_strided

from .numpy import MAX_SQUARE

__all__ = [
    "adagrad",
    "add_penalty",
    "assemble",
    "count",
    "distinct",
    "ftrl",
    "gather",
    "interact",
    "interact_gradient",
    "linear",
    "linear_gradient",
    "pool",
    "pool_gradient",
    "threads",
]

# Multiplications below which a kernel is done before a second thread has woken up.
_WORTH_A_THREAD = 50_000

# Numbers that one vector instruction is given, a cache line of them; LLVM splits it for
# smaller machines.
_LANES = 16

# Numbers in a row from which it pays to align rows and to look some rows ahead.
_WIDE = 4 * _LANES
_AHEAD = 4


def _compiled(function):
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written to, so that each process compiles anew
        return njit(**options)(function)


# -- threads --------------------------------------------------------------------------

_local = threading.local()


@contextmanager
def threads(n):
    """Let kernels that this thread calls within the context run on `n` threads."""
    if n == 1:
        yield
        return
    before = _local.__dict__.copy()
    with ThreadPoolExecutor(n - 1, "skfm") as executor:
        _local.n, _local.executor = n, executor
        try:
            yield
        finally:
            _local.__dict__.clear()
            _local.__dict__.update(before)


def _run(kernel, work, *args):
    """Call ``kernel(*args, part, n_parts)`` for all parts, at a time if `work` is enough."""
    n = getattr(_local, "n", 1)
    if n == 1 or work < _WORTH_A_THREAD:
        return [kernel(*args, 0, 1)]
    others = [_local.executor.submit(kernel, *args, part, n) for part in range(1, n)]
    try:
        first = kernel(*args, 0, n)
    finally:  # even after Ctrl-C nobody may write to the tables behind our back
        wait(others)
    return [first, *(other.result() for other in others)]


# -- blocks of k numbers --------------------------------------------------------------

# LLVM does not see that a loop over the k numbers of a block could be a few vector
# instructions, as the arrays might overlap. These are such loops, written as vectors.


def _vectors(context, builder, array_type, array, start, k):
    """Pointers to the vectors that k numbers of an array make up, and their types."""
    item = context.get_data_type(array_type.dtype)
    data = context.make_array(array_type)(context, builder, array).data
    for done in range(0, k, _LANES):
        kind = ir.VectorType(item, min(_LANES, k - done))
        where = builder.add(start, ir.Constant(start.type, done))
        yield builder.bitcast(builder.gep(data, [where]), kind.as_pointer()), kind


def _load(context, builder, pointer, kind, array_type, wanted):
    """Load a vector and convert it to another float type."""
    vector = builder.load(pointer)
    vector.align = array_type.dtype.bitwidth // 8
    if kind.element == wanted:
        return vector
    return builder.fpext(vector, ir.VectorType(wanted, kind.count))


def _spread(builder, number, n):
    """A vector of n times the same number."""
    kind = ir.VectorType(number.type, n)
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), n), [0] * n)
    return builder.shuffle_vector(one, undefined, zeros)


def _scaled(adds):
    def typed(typing, out, o, V, v, x, k):
        def generate(context, builder, signature, args):
            out_, o_, V_, v_, x_, _ = args
            to = _vectors(context, builder, out, out_, o_, k.literal_value)
            of = _vectors(context, builder, V, V_, v_, k.literal_value)
            for (target, kind), (source, narrow) in zip(to, of, strict=True):
                vector = _load(context, builder, source, narrow, V, kind.element)
                vector = builder.fmul(vector, _spread(builder, x_, kind.count))
                if adds:
                    old = _load(context, builder, target, kind, out, kind.element)
                    vector = builder.fadd(old, vector)
                builder.store(vector, target).align = out.dtype.bitwidth // 8
            return context.get_dummy_value()

        return types.void(out, o, V, v, out.dtype, k), generate

    return intrinsic(prefer_literal=True)(typed)


_put_scaled, _add_scaled = _scaled(adds=False), _scaled(adds=True)


@intrinsic(prefer_literal=True)
def _dot(typing, A, a, V, v, k):
    def generate(context, builder, signature, args):
        A_, a_, V_, v_, _ = args
        item = context.get_data_type(A.dtype)
        total = ir.Constant(item, 0)
        left = _vectors(context, builder, A, A_, a_, k.literal_value)
        right = _vectors(context, builder, V, V_, v_, k.literal_value)
        for (p, kind), (q, narrow) in zip(left, right, strict=True):
            product = builder.fmul(
                _load(context, builder, p, kind, A, item),
                _load(context, builder, q, narrow, V, item),
            )
            name = f"llvm.vector.reduce.fadd.v{kind.count}f{A.dtype.bitwidth}"
            reduce = builder.module.declare_intrinsic(
                name, fnty=ir.FunctionType(item, [item, kind])
            )
            total = builder.call(reduce, [total, product], fastmath=("reassoc",))
        return total

    return A.dtype(A, a, V, v, k), generate


if config.BOUNDSCHECK:  # numba checks what it compiles itself, so let it
    _compiled_inline = njit(error_model="numpy")

    @_compiled_inline
    def _put_scaled(out, o, V, v, x, k):
        for j in range(uint64(k)):
            out[o + j] = x * V[v + j]

    @_compiled_inline
    def _add_scaled(out, o, V, v, x, k):
        for j in range(uint64(k)):
            out[o + j] += x * V[v + j]

    @_compiled_inline
    def _dot(A, a, V, v, k):
        total = A.dtype.type(0)
        for j in range(uint64(k)):
            total += A[a + j] * V[v + j]
        return total


# -- batches --------------------------------------------------------------------------


def assemble(batcher, rows):
    """See the reference engine. For prediction nothing is renumbered: `touched` is None, and
    the kernels find their rows in the whole tables."""
    X, columns = batcher.X, batcher.columns
    data = np.empty(0, np.float32) if batcher.binary else X.data
    touched, *arrays = _assemble(
        rows,
        X.indptr,
        X.indices,
        data,
        columns.slot_of,
        columns.field,
        batcher.fields.n_fields,
        batcher.fields.ascending,
        batcher.stamp,
        batcher.trains,
        batcher.dtype(1),
    )
    return touched if batcher.trains else None, *arrays


@_compiled
def _assemble(rows, indptr, columns, data, slot_of, field, F, ascending, stamp, trains, one):
    size = 0
    for row in rows:
        size += indptr[row + 1] - indptr[row]
    begin = np.zeros(len(rows) * F + 1, np.int32)
    indices, values = np.empty(size, np.int32), np.full(size, one)
    # First copy the rows, with nothing else to do: they lie far apart, and the processor
    # fetches several at a time.
    e = uint64(0)
    for row in rows:
        for p in range(uint64(indptr[row]), uint64(indptr[row + 1])):
            indices[e] = columns[p]
            if len(data):
                values[e] = data[p]
            e += uint64(1)
    n_entries, last = uint64(0), uint64(0)
    for i in range(uint64(len(rows))):
        start, first = n_entries, last
        last += uint64(indptr[rows[i] + 1] - indptr[rows[i]])
        for e in range(first, last):
            slot = slot_of[uint64(indices[e])]
            if slot < 0:
                continue
            indices[n_entries], values[n_entries] = slot, values[e]
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
            _sort_by_field(indices[start:n_entries], values[start:n_entries], field)
    touched = _renumber(indices[:n_entries], stamp) if trains else np.empty(0, np.intp)
    return touched, begin, indices[:n_entries], values[:n_entries]


def distinct(slots, stamp):
    local = slots.astype(np.int32)
    return _renumber(local, stamp), local


@_compiled
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
def _sort_by_field(slots, values, field):
    order = np.argsort(field[slots], kind="mergesort")
    slots[:], values[:] = slots[order], values[order]


# -- rows of tables -------------------------------------------------------------------


def gather(batch, table, rows):
    """See the reference engine; no kernel minds the dtype of a table."""
    if rows is None:
        return table
    values = _rows_of(batch, table.shape[1], table.dtype)
    if values.flags.c_contiguous:
        return np.take(table, rows, axis=0, out=values, mode="clip")  # "raise" would copy
    _gather(table.ravel(), table.shape[1], rows, *_flat(values))
    return values


def _rows_of(batch, width, dtype):
    """Room for a row of numbers per distinct column of a batch.

    Wide rows are a whole number of cache lines apart, and what follows their first number
    starts at one: vectors across two lines cost twice.
    """
    n = len(batch.touched)
    if width <= _WIDE:
        return batch.scratch((n, width), dtype)
    stride = _LANES * -(-(width - 1) // _LANES)
    room = batch.scratch((2 * _LANES + n * stride,), dtype)
    first = -room.ctypes.data // room.itemsize % _LANES + _LANES - 1
    return as_strided(room[first:], (n, width), (stride * room.itemsize, room.itemsize))


def _flat(rows):
    """The numbers of a matrix in one dimension, and how far apart its rows begin."""
    if rows.flags.c_contiguous:
        return rows.ravel(), rows.shape[1]
    size = (len(rows) - 1) * rows.strides[0] // rows.itemsize + rows.shape[1]
    return as_strided(rows, (size,), (rows.itemsize,)), rows.strides[0] // rows.itemsize


@intrinsic
def _prefetch(typing, array, i):
    """Ask for a number that is needed soon. The processor cannot guess which row is next."""

    def generate(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(prefetch, [pointer, flag(0), flag(3), flag(1)])  # read, keep, data
        return context.get_dummy_value()

    return types.void(array, i), generate


@_compiled
def _prefetch_row(table, rows, width, i):
    """Ask for the row that is needed a few rows after `rows[i]`."""
    if i + uint64(_AHEAD) < uint64(len(rows)):
        first = uint64(rows[i + uint64(_AHEAD)]) * uint64(width)
        for j in range(uint64(0), uint64(width), uint64(_LANES)):
            _prefetch(table, first + j)


@_compiled
def _gather(table, width, rows, values, stride):
    for i in range(uint64(len(rows))):
        _prefetch_row(table, rows, width, i)
        row = uint64(rows[i]) * uint64(width)
        for j in range(uint64(width)):
            values[i * uint64(stride) + j] = table[row + j]


# -- linear terms ---------------------------------------------------------------------


def linear(batch, w):
    scores = np.empty(batch.n_rows, batch.values.dtype)
    _linear(batch.indptr[:: batch.n_fields], batch.indices, batch.values, w, scores)
    return scores


@_compiled
def _linear(indptr, indices, values, w, scores):
    for n in range(len(scores)):
        total = scores.dtype.type(0)
        for e in range(uint64(indptr[n]), uint64(indptr[n + 1])):
            total += values[e] * w[uint64(indices[e]), 0]
        scores[n] = total


def linear_gradient(batch, delta):
    return _column_sums(batch, batch.values, delta)[:, None]


def count(batch, weight):
    ones = batch.values if batch.binary else np.ones_like(batch.values)
    return _column_sums(batch, ones, weight)


def _column_sums(batch, values, weight):
    sums = np.zeros(len(batch.touched), batch.values.dtype)
    _sum_columns(batch.indptr[:: batch.n_fields], batch.indices, values, weight, sums)
    return sums


@_compiled
def _sum_columns(indptr, indices, values, weight, sums):
    for n in range(len(weight)):
        for e in range(uint64(indptr[n]), uint64(indptr[n + 1])):
            sums[uint64(indices[e])] += values[e] * weight[n]


# -- pooling --------------------------------------------------------------------------


def pool(batch, V):
    k = V.shape[1]
    E = batch.scratch((len(batch.indptr) - 1, k), batch.values.dtype)
    arrays = batch.indptr, batch.indices, batch.values, *_flat(V), E.ravel()
    _run(_pooling(k)[0], len(batch.indices) * k, *arrays)
    return E


def pool_gradient(batch, dE):
    k = dE.shape[1]
    dV = _rows_of(batch, k, dE.dtype)
    dV.fill(0)
    arrays = batch.indptr, batch.indices, batch.values, dE.ravel(), *_flat(dV)
    _run(_pooling(k)[1], len(batch.indices) * k, *arrays)
    return dV


@cache
def _pooling(k):
    """The two kernels for rows of k numbers."""

    @_compiled
    def forward(indptr, indices, values, V, width, E, part, n_parts):
        n = len(indptr) - 1
        for row in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
            first, last = uint64(indptr[row]), uint64(indptr[row + uint64(1)])
            if first == last:
                for j in range(uint64(k)):
                    E[row * uint64(k) + j] = 0
            for e in range(first, last):
                v = uint64(indices[e]) * uint64(width)
                if e == first:
                    _put_scaled(E, row * uint64(k), V, v, values[e], k)
                else:
                    _add_scaled(E, row * uint64(k), V, v, values[e], k)

    @_compiled
    def backward(indptr, indices, values, dE, dV, width, part, n_parts):
        for row in range(uint64(len(indptr) - 1)):
            for e in range(uint64(indptr[row]), uint64(indptr[row + uint64(1)])):
                column = uint64(indices[e])
                if n_parts == 1 or column % uint64(n_parts) == uint64(part):
                    _add_scaled(dV, column * uint64(width), dE, row * uint64(k), values[e], k)

    return forward, backward


# -- interactions ---------------------------------------------------------------------


def interact(batch, V):
    """See the reference engine. Nothing needs to be remembered: partners are cheaper to
    gather again than to store."""
    scores = np.empty(batch.n_rows, batch.values.dtype)
    forward = _interactions((V.shape[1] - 1) // batch.n_fields, batch.n_fields == 1)[0]
    arrays = batch.indptr, batch.indices, batch.values, *_flat(V), scores
    _run(forward, len(batch.indices) * V.shape[1], batch.n_fields, *arrays)
    return scores, None


def interact_gradient(batch, V, memory, delta):
    dV = _rows_of(batch, V.shape[1], V.dtype)
    dV.fill(0)
    backward = _interactions((V.shape[1] - 1) // batch.n_fields, batch.n_fields == 1)[1]
    arrays = batch.indptr, batch.indices, batch.values, *_flat(V), delta, *_flat(dV)
    _run(backward, len(batch.indices) * V.shape[1], batch.n_fields, *arrays)
    return dV


@cache
def _interactions(k, one_field):
    """The two kernels for k factors.

    Both fill a table T of F × F blocks with the partners of a row's fields: T[a, b] is the
    pooled vector of field b for field a, so that all that meets field a is contiguous.
    """

    @_compiled
    def forward(F, indptr, indices, values, V, width, scores, part, n_parts):
        Fk, width, n = uint64(F * k), uint64(width), len(scores)
        T = np.empty(F * F * k, scores.dtype)
        for row in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
            of_row = indptr[row * uint64(F) : (row + uint64(1)) * uint64(F) + uint64(1)]
            score = scores.dtype.type(0)
            # Of T, pairs of fields need what is above the diagonal. On it the entries of
            # a field are summed up, and each meets those before it.
            for b in range(uint64(F)):
                first, last = uint64(of_row[b]), uint64(of_row[b + uint64(1)])
                if first == last and not one_field:
                    for a in range(b):
                        for j in range(uint64(k)):
                            T[a * Fk + b * uint64(k) + j] = 0
                for e in range(first, last):
                    x, v = values[e], uint64(indices[e]) * width + uint64(1)
                    score += x * V[v - uint64(1)]
                    t, own = b * uint64(k), b * (Fk + uint64(k))
                    if e == first:
                        for _ in range(b + uint64(1)):
                            _put_scaled(T, t, V, v, x, k)
                            t += Fk
                            v += uint64(k)
                    else:
                        score += x * _dot(T, own, V, v + b * uint64(k), k)
                        for _ in range(b + uint64(1)):
                            _add_scaled(T, t, V, v, x, k)
                            t += Fk
                            v += uint64(k)
            for a in range(uint64(F - 1)):
                above = (a + uint64(1)) * uint64(k)
                for e in range(uint64(of_row[a]), uint64(of_row[a + uint64(1)])):
                    v = uint64(indices[e]) * width + uint64(1)
                    total = scores.dtype.type(0)
                    for j in range(above, Fk):
                        total += V[v + j] * T[a * Fk + j]
                    score += values[e] * total
            scores[row] = score

    @_compiled
    def backward(F, indptr, indices, values, V, width, delta, dV, width_d, part, n_parts):
        Fk, width, width_d = uint64(F * k), uint64(width), uint64(width_d)
        T = np.empty(F * F * k, dV.dtype)
        # Each thread has fields of its own or, if there is but one, columns.
        begin, end = uint64(F * part // n_parts), uint64(F * (part + 1) // n_parts)
        if one_field:
            begin, end = uint64(0), uint64(1)
        for row in range(uint64(len(delta))):
            of_row = indptr[row * uint64(F) : (row + uint64(1)) * uint64(F) + uint64(1)]
            for b in range(uint64(F)):
                first, last = uint64(of_row[b]), uint64(of_row[b + uint64(1)])
                if first == last and not one_field:
                    for a in range(begin, end):
                        for j in range(uint64(k)):
                            T[a * Fk + b * uint64(k) + j] = 0
                for e in range(first, last):
                    x, v = values[e], uint64(indices[e]) * width + uint64(1) + begin * uint64(k)
                    t = begin * Fk + b * uint64(k)
                    if e == first:
                        for _ in range(begin, end):
                            _put_scaled(T, t, V, v, x, k)
                            t += Fk
                            v += uint64(k)
                    else:
                        for _ in range(begin, end):
                            _add_scaled(T, t, V, v, x, k)
                            t += Fk
                            v += uint64(k)
            for a in range(begin, end):
                first, last = uint64(of_row[a]), uint64(of_row[a + uint64(1)])
                own = a * (Fk + uint64(k))
                if last - first == uint64(1):
                    for j in range(uint64(k)):
                        T[own + j] = 0
                for e in range(first, last):
                    column = uint64(indices[e])
                    if one_field and n_parts > 1 and column % uint64(n_parts) != uint64(part):
                        continue
                    v, d = column * width + uint64(1), column * width_d + uint64(1)
                    x = values[e] * delta[row]
                    dV[d - uint64(1)] += x
                    if one_field:
                        _add_scaled(dV, d, T, uint64(0), x, k)
                    else:
                        for j in range(Fk):
                            dV[d + j] += x * T[a * Fk + j]
                    if last - first > uint64(1):
                        own = a * uint64(k)
                        _add_scaled(dV, d + own, V, v + own, -x * values[e], k)

    return forward, backward


# -- updates --------------------------------------------------------------------------


def add_penalty(grad, values, count, l2):
    l2 = _row(l2, grad)
    return all(_run(_add_penalty, grad.size, *_flat(grad), *_flat(values), count, l2))


@_compiled
def _add_penalty(grad, width, values, width_v, count, l2, part, n_parts):
    n = 1 + (len(grad) - len(l2)) // width
    usable = True
    for i in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
        weight = count[min(i, uint64(len(count) - 1))]
        g, v = i * uint64(width), i * uint64(width_v)
        squares = weight * 0
        for j in range(uint64(len(l2))):
            new = grad[g + j] + weight * l2[j] * values[v + j]
            grad[g + j] = new
            squares += new * new
        usable &= squares < MAX_SQUARE
    return usable


def adagrad(table, accum, rows, values, grad, count, learning_rate, l1):
    rows = np.arange(len(values)) if rows is None else rows
    rate, l1 = grad.dtype.type(learning_rate), _row(l1, grad)
    arrays = table.ravel(), accum.ravel(), rows, *_flat(grad), count
    _run(_adagrad, grad.size, *arrays, rate, l1, l1.any())


@_compiled
def _adagrad(table, accum, rows, grad, width, count, rate, l1, shrinks, part, n_parts):
    n, width_t = len(rows), uint64(len(l1))
    for i in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
        _prefetch_row(accum, rows, width_t, i)
        weight = rate * count[min(i, uint64(len(count) - 1))]
        g, t = i * uint64(width), uint64(rows[i]) * width_t
        for j in range(width_t):
            total = accum[t + j] + grad[g + j] * grad[g + j]
            accum[t + j] = total
            root = np.sqrt(total)
            value = table[t + j] - rate * (grad[g + j] / root)
            if shrinks:
                value = _shrunk(value, weight * l1[j] / root)
            table[t + j] = value


def ftrl(table, z, n, rows, values, grad, learning_rate, beta, l1):
    rows = np.arange(len(values)) if rows is None else rows
    number = grad.dtype.type
    settings = number(learning_rate), number(beta), _row(l1, grad)
    _run(_ftrl, grad.size, table.ravel(), z.ravel(), n.ravel(), rows, *_flat(grad), *settings)


@_compiled
def _ftrl(table, z, n, rows, grad, width, rate, beta, l1, part, n_parts):
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
            step = grad[g + j] - (root - np.sqrt(before)) * table[t + j] / rate + z[t + j]
            z[t + j] = step
            table[t + j] = -rate * _shrunk(step, l1[j]) / (root + beta)


@njit(error_model="numpy")
def _shrunk(x, threshold):
    size = abs(x) - threshold
    return np.copysign(size, x) if size > 0 else 0 * x


def _row(penalty, like):
    """A penalty as one number per column."""
    return np.broadcast_to(penalty, (1, like.shape[1]))[0].astype(like.dtype)
