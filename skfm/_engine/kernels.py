"""How kernels are compiled, kept, and run on several threads."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from numba import config, njit
from numba.core import event

from .._batch import MAX_VALUE

if config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")

# Multiplications below which a kernel is done before a second thread has woken up.
_WORTH_A_THREAD = 2_000_000


def _ingredients():
    """A digest of all that kernels are made of: the files here, and a constant from elsewhere."""
    digest = sha256(repr(MAX_VALUE).encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


_INGREDIENTS = _ingredients()


def compiled(function):
    # No fastmath: LLVM would be free to round the rows of one batch in different ways.
    options = {"nogil": True, "error_model": "numpy"}
    try:
        made = njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written to, so that each process compiles anew
        return njit(**options)(function)
    # Numba takes compiled code from its cache unless the function's own file has changed,
    # though other files are in it, too. There is no public way to tell it; a numba without
    # these attributes does as ever.
    with suppress(AttributeError):
        index = made._cache._cache_file
        index._source_stamp = index._source_stamp, _INGREDIENTS
    return made


_local = threading.local()


def _forget():
    """Begin anew in a child process, which has none of the threads."""
    global _local
    _local = threading.local()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def threads(n):
    """Let kernels that this thread calls within the context run on `n` threads."""
    before = _local.__dict__.copy()
    with ThreadPoolExecutor(max(n - 1, 1), "skfm") as executor:  # starts none before it is asked
        _local.n, _local.executor = n, executor
        try:
            yield
        finally:
            _local.__dict__.clear()
            _local.__dict__.update(before)


class _Listener(event.Listener):
    def __init__(self, tell):
        self.tell = tell

    def on_start(self, _):
        tell, self.tell = self.tell, None
        if tell:
            tell()

    def on_end(self, _):
        pass


@contextmanager
def announced(tell):
    """Within the context, call `tell` once before something is compiled, on whatever thread."""
    with event.install_listener("numba:compile", _Listener(tell)):
        yield


def run(kernel, work, *args):
    """Call ``kernel(*args, part, n_parts)`` for all parts, at a time if `work` is enough."""
    n = getattr(_local, "n", 1)
    if n == 1 or work < _WORTH_A_THREAD:
        return [kernel(*args, 0, 1)]
    others, alone = [], []
    try:
        for part in range(1, n):
            try:
                others.append(_local.executor.submit(kernel, *args, part, n))
            except RuntimeError:  # no thread could start, or an interrupt ended the executor
                alone.append(part)
        done = [kernel(*args, part, n) for part in (0, *alone)]
    finally:
        _wait_for(others)
    return [*done, *(other.result() for other in others)]


def _wait_for(futures):
    """Wait even after Ctrl-C: nobody may write to the tables behind our back."""
    interrupt = None
    while not all(future.done() for future in futures):
        try:
            wait(futures)
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt:
        raise interrupt
