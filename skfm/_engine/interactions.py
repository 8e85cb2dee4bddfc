"""Compiled loops over the interactions within the rows of a batch.

`V` and `dV` are flat. Their rows, which begin `width` and `width_d` numbers apart, hold a
linear weight and then the factors.
"""

from functools import cache

import numpy as np
from numba import njit, uint64

from .kernels import compiled
from .team import begin, finish
from .vectors import add_product, add_scaled, load, store, sum_of, zeros

# Numbers that one vector instruction is given, a cache line of them; LLVM splits it for
# smaller machines.
LANES = 16


@njit
def own_columns(part, n_parts):
    """Which columns belong to a part, as the bits of a number: one for each column mod 64.

    That splits the popular columns, which come first in a batch.
    """
    own = uint64(0)
    for column in range(64):
        if column * n_parts // 64 == part:
            own |= uint64(1) << uint64(column)
    return own


@cache
def one_field(k):
    """The two kernels of the factorization machine: each entry meets the sum of the others."""

    @compiled
    def forward(F, indptr, indices, values, V, width, scores, share):
        part, n_parts = begin(share)
        n, zero = len(scores), scores.dtype.type(0)
        for row in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
            score, total, pairs = zero, zeros(zero, k), zeros(zero, k)
            for e in range(uint64(indptr[row]), uint64(indptr[row + uint64(1)])):
                x, v = zero + values[e], uint64(indices[e]) * uint64(width)
                score += x * V[v]
                scaled = add_scaled(zeros(zero, k), load(V, v + uint64(1), zero, k), x)
                pairs = add_product(pairs, total, scaled)
                total = add_scaled(total, scaled, zero + 1)
            scores[row] = score + sum_of(pairs)
        finish(share)

    @compiled
    def backward(F, indptr, indices, values, V, width, delta, dV, width_d, share):
        part, n_parts = begin(share)
        zero, own = dV.dtype.type(0), own_columns(part, n_parts)
        for row in range(uint64(len(delta))):
            first, last = uint64(indptr[row]), uint64(indptr[row + uint64(1)])
            total = zeros(zero, k)
            for e in range(first, last):
                v = uint64(indices[e]) * uint64(width) + uint64(1)
                total = add_scaled(total, load(V, v, zero, k), values[e])
            for e in range(first, last):
                column = uint64(indices[e])
                if not own >> (column & uint64(63)) & uint64(1):
                    continue
                v, d = column * uint64(width) + uint64(1), column * uint64(width_d) + uint64(1)
                x = values[e]
                others = add_scaled(total, load(V, v, zero, k), -x)
                dV[d - uint64(1)] += delta[row] * x
                store(dV, d, add_scaled(load(dV, d, zero, k), others, delta[row] * x))
        finish(share)

    return forward, backward


@cache
def fields(k):
    """The two kernels of the field-aware machine."""

    @compiled
    def forward(F, indptr, indices, values, V, width, scores, share):
        part, n_parts = begin(share)
        n, zero, Fk = len(scores), scores.dtype.type(0), uint64(F * k)
        E, x_of = np.empty(F * F * k, scores.dtype), np.empty(F, scores.dtype)
        place, block = np.empty(F, np.uint64), np.empty(F, np.uint64)
        for row in range(uint64(n * part // n_parts), uint64(n * (part + 1) // n_parts)):
            of_row = indptr[row * uint64(F) : (row + uint64(1)) * uint64(F) + uint64(1)]
            score, pairs, several = zero, zeros(zero, k), False
            for e in range(uint64(of_row[0]), uint64(of_row[F])):
                score += (zero + values[e]) * V[uint64(indices[e]) * uint64(width)]
            for f in range(F):
                several |= of_row[f + 1] - of_row[f] > 1
            # A field's vectors are those of its entry or, with several, pooled into E.
            n_fields = uint64(0)
            for f in range(uint64(F)):
                first, last = uint64(of_row[f]), uint64(of_row[f + uint64(1)])
                if first == last:
                    continue
                block[n_fields] = f * uint64(k)
                place[n_fields] = uint64(indices[first]) * uint64(width) + uint64(1)
                x_of[n_fields] = values[first]
                if several:
                    place[n_fields], x_of[n_fields], own = f * Fk, 1, f * (Fk + uint64(k))
                    for j in range(Fk):
                        E[f * Fk + j] = 0
                    for e in range(first, last):
                        v = uint64(indices[e]) * uint64(width) + uint64(1)
                        of_own = load(V, v + f * uint64(k), zero, k)
                        of_own = add_scaled(zeros(zero, k), of_own, zero + values[e])
                        pairs = add_product(pairs, load(E, own, zero, k), of_own)
                        add_row(E, f * Fk, V, v, Fk, values[e])
                n_fields += uint64(1)
            if several:
                pairs = _add_pairs(pairs, E, place, block, x_of, n_fields, zero, k)
            else:
                pairs = _add_pairs(pairs, V, place, block, x_of, n_fields, zero, k)
            scores[row] = score + sum_of(pairs)
        finish(share)

    @compiled
    def backward(F, indptr, indices, values, V, width, delta, dV, width_d, share):
        part, n_parts = begin(share)
        # T[a, b] is the pooled vector of field b for field a: all that meets field a is
        # contiguous. Each thread has fields of its own.
        zero, Fk = dV.dtype.type(0), uint64(F * k)
        T = np.empty(F * F * k, dV.dtype)
        start, end = uint64(F * part // n_parts), uint64(F * (part + 1) // n_parts)
        for row in range(uint64(len(delta))):
            of_row = indptr[row * uint64(F) : (row + uint64(1)) * uint64(F) + uint64(1)]
            for b in range(uint64(F)):
                first, last = uint64(of_row[b]), uint64(of_row[b + uint64(1)])
                if first == last:
                    for a in range(start, end):
                        store(T, a * Fk + b * uint64(k), zeros(zero, k))
                for e in range(first, last):
                    x, v = values[e], uint64(indices[e]) * uint64(width) + uint64(1)
                    for a in range(start, end):
                        t = a * Fk + b * uint64(k)
                        so_far = zeros(zero, k)
                        if e > first:
                            so_far = load(T, t, zero, k)
                        store(T, t, add_scaled(so_far, load(V, v + a * uint64(k), zero, k), x))
            for a in range(start, end):
                first, last = uint64(of_row[a]), uint64(of_row[a + uint64(1)])
                own = a * uint64(k)
                if last - first == uint64(1):
                    store(T, a * Fk + own, zeros(zero, k))
                for e in range(first, last):
                    column, x = uint64(indices[e]), values[e] * delta[row]
                    d = column * uint64(width_d) + uint64(1)
                    dV[d - uint64(1)] += x
                    add_row(dV, d, T, a * Fk, Fk, x)
                    if last - first > uint64(1):
                        v = load(V, column * uint64(width) + uint64(1) + own, zero, k)
                        d += own
                        store(dV, d, add_scaled(load(dV, d, zero, k), v, -x * values[e]))
        finish(share)

    return forward, backward


@njit(error_model="numpy")
def add_row(out, o, V, v, n, x):
    """``out[o : o + n] += x * V[v : v + n]``, where these do not overlap."""
    zero, done = out.dtype.type(0), uint64(0)
    while done + uint64(LANES) <= n:
        added = load(V, v + done, zero, LANES)
        store(out, o + done, add_scaled(load(out, o + done, zero, LANES), added, x))
        done += uint64(LANES)
    while done + uint64(4) <= n:
        added = load(V, v + done, zero, 4)
        store(out, o + done, add_scaled(load(out, o + done, zero, 4), added, x))
        done += uint64(4)
    while done < n:
        out[o + done] += x * V[v + done]
        done += uint64(1)


@njit(inline="always")
def _add_pairs(pairs, V, place, block, x_of, n, zero, k):
    """Add x_a x_b ⟨v_ab, v_ba⟩ for all pairs of n fields.

    The vectors of field a begin at ``place[a]`` of V, and those for it at ``block[a]`` in
    the others. Two sums, as an addition must wait for the one before it.
    """
    for a in range(n):
        even, odd, b = zeros(zero, k), zeros(zero, k), a + uint64(1)
        while b + uint64(1) < n:
            left = load(V, place[a] + block[b], zero, k)
            right = load(V, place[b] + block[a], zero, k)
            even = add_product(even, left, add_scaled(zeros(zero, k), right, x_of[b]))
            left = load(V, place[a] + block[b + uint64(1)], zero, k)
            right = load(V, place[b + uint64(1)] + block[a], zero, k)
            odd = add_product(odd, left, add_scaled(zeros(zero, k), right, x_of[b + uint64(1)]))
            b += uint64(2)
        if b < n:
            left = load(V, place[a] + block[b], zero, k)
            right = load(V, place[b] + block[a], zero, k)
            even = add_product(even, left, add_scaled(zeros(zero, k), right, x_of[b]))
        pairs = add_scaled(add_scaled(pairs, even, x_of[a]), odd, x_of[a])
    return pairs
