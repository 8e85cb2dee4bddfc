"""Several threads for one kernel, which look out for the next one.

To start or to wake a thread takes as long as a small kernel, and so does waiting for the lock of
Python's interpreter. Threads therefore wait within kernels, for what others write into an array.
They end if nothing comes for a while.
"""

import os
import threading
import time
from contextlib import contextmanager

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

# Multiplications below which a kernel is done before a second thread has begun.
_WORTH_A_THREAD = 500_000

# How often a thread looks before it gives up: for some 300 microseconds, about as long as
# what lies between two kernels. On a busy machine whoever looks keeps others from working.
_LOOKS = 1_000_000


def _pointer(context, builder, array_type, array, i):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [i])


@intrinsic
def _read(_, board, i):
    """``board[i]``, which another thread may have written just now."""

    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(board, types.int64), generate


@intrinsic
def _write(_, board, i, number):
    """Write ``board[i]`` for other threads to read, after all that was written before."""

    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args[:2])
        builder.store_atomic(args[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(board, types.int64, types.int64), generate


@njit
def _look(board, i, least):
    """Wait, but not for long, until ``board[i] >= least``."""
    for _ in range(_LOOKS):
        if _read(board, i) >= least:
            break


@njit
def begin(share):
    """What a kernel calls first. Returns the part that it is to do, and the number of parts."""
    board, kernel, part, n_parts = share
    if part == 0:  # within a kernel this thread needs no interpreter: the others can begin
        _write(board, 0, kernel)
    return part, n_parts


@njit
def finish(share):
    """What a kernel calls last."""
    board, kernel, part, n_parts = share
    if part == 0:
        for other in range(1, n_parts):
            _look(board, other, kernel)
    else:
        _write(board, part, kernel)
        _look(board, 0, kernel + 1)  # the first part needs the interpreter now


class _Team:
    """The calling thread and ``n - 1`` others, each of which does a part of every kernel.

    ``board[0]`` is the number of the latest kernel, and ``board[part]`` that of the latest of
    which a part is done.
    """

    def __init__(self, n):
        self.n, self.board = n, np.zeros(n, np.int64)
        self.n_kernels, self.task, self.error = 0, None, None
        self.running, self.ended, self.change = {}, False, threading.Lock()  # threads by their part

    def run(self, kernel, args):
        """Call ``kernel(*args, share)`` for all parts at a time."""
        try:
            alone = self._share(kernel, args)
            for part in (0, *alone):
                kernel(*args, (self.board, self.n_kernels, part, self.n))
                self.board[part] = self.n_kernels
            while (self.board[1:] < self.n_kernels).any() and self.error is None:
                time.sleep(1e-4)  # the others may wait for this core
            if self.error is not None:
                raise self.error
        except BaseException:  # as of Ctrl-C: nobody may write to the tables behind our back
            self.end()
            raise

    def _share(self, kernel, args):
        """Let the others know of a kernel. Returns the parts for which no thread can start."""
        with self.change:
            self.n_kernels += 1
            self.task = kernel, args, self.n_kernels
            missing = {*range(1, self.n)} - self.running.keys()
        alone = []
        for part in missing:
            try:
                threading.Thread(target=self._work, args=(part,), name=f"skfm_{part}").start()
            except RuntimeError:
                alone.append(part)
        return alone

    def _work(self, part):
        try:
            while self._takes_part(part):
                kernel, args, number = self.task
                kernel(*args, (self.board, number, part, self.n))
                self.board[part] = number
        except BaseException as error:  # for `run` to raise; wherever this thread was
            self.error = error

    def _takes_part(self, part):
        """Whether a thread has a part to do. It is one of those running until it has none."""
        with self.change:
            if self.ended or self.board[part] == self.n_kernels:
                self.running.pop(part, None)
                return False
            self.running[part] = threading.current_thread()
            return True

    def end(self):
        """Let the others end, and wait for them even after Ctrl-C."""
        interrupt, waits = None, True
        while waits:
            try:
                with self.change:
                    self.ended = True
                    self.board[0] += 1
                    others = [*self.running.values()]
                for thread in others:
                    thread.join()
                waits = False
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt:
            raise interrupt


_local = threading.local()
_ALONE = np.zeros(1, np.int64), 0, 0, 1


def _forget():
    """Begin anew in a child process, which has none of the threads."""
    global _local
    _local = threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def threads(n):
    """Let kernels that this thread calls within the context run on `n` threads."""
    before, team = getattr(_local, "team", None), _Team(n)
    _local.team = team
    try:
        yield
    finally:
        if getattr(_local, "team", None) is team:  # and this is no child forked within the context
            _local.team = before
            team.end()


def run(kernel, work, *args):
    """Call ``kernel(*args, share)`` for all parts, at a time if `work` is enough."""
    team = getattr(_local, "team", None)
    if team is None or team.n == 1 or team.ended or work < _WORTH_A_THREAD:
        kernel(*args, _ALONE)
    else:
        team.run(kernel, args)
