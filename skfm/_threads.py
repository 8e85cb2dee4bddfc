"""How many threads there are: of BLAS within a fit, and of our own."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

from joblib import cpu_count, effective_n_jobs
from threadpoolctl import ThreadpoolController

from ._compat import within_joblib_worker


class _OneBlasThread:
    """A context, for any number of threads at a time, in which BLAS runs on one thread.

    With two, sums have another order and results other bits. The number of BLAS threads
    belongs to the process: the first to enter sets it, the last to leave restores it.
    """

    def __init__(self):
        self._controller = self._limiter = None
        self._lock, self._inside = threading.Lock(), 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self):
        """Begin anew in a child process, where no fit is under way."""
        if self._inside:
            self._limiter.restore_original_limits()
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self):
        with self._lock:
            if self._controller is None:  # looking for the libraries takes milliseconds
                self._controller = ThreadpoolController()
            if self._inside == 0:
                self._limiter = self._controller.limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_):
        with self._lock:
            if self._inside == 1:
                self._limiter.restore_original_limits()
            self._inside = max(self._inside - 1, 0)  # a child forked within begins at 0


one_blas_thread = _OneBlasThread()


# The thread that is within `only_here`, by object and process: a forked child has none of them.
_busy = {}


@contextmanager
def only_here(thing, what):
    """The context in which no other thread may do the same with `thing`; this one may.

    Raises
    ------
    RuntimeError
        If another thread does; it says that `thing` is `what`.
    """
    key, ours = (os.getpid(), id(thing)), (threading.get_ident(), object())
    try:
        if _busy.setdefault(key, ours)[0] != ours[0]:
            raise RuntimeError(
                f"This {type(thing).__name__} {what} on another thread. Wait until it is done, or "
                "use a clone."
            )
        yield
    finally:
        if _busy.get(key) is ours:
            _busy.pop(key, None)


def n_threads(n_jobs):
    """Number of threads to start for `n_jobs`: one within a joblib worker, as of a search.

    Never more than this machine has cores: results do not depend on it, and threads that wait
    for each other would only take turns.
    """
    n = 1 if within_joblib_worker() else effective_n_jobs(n_jobs)
    return n if n == 1 else min(n, cpu_count())  # counting takes a third of predicting a row


def for_each(items, do, n_workers, on_interrupt=None):
    """Call ``do(item, number)`` for each item on several threads, and wait for all of them.

    Ctrl-C calls `on_interrupt`, upon which the calls are to end by themselves; without it, it
    is raised once those under way have ended.
    """
    change, running, cancelled = threading.Condition(), [0], threading.Event()

    def task(item, number):
        with change:
            if cancelled.is_set():
                return
            running[0] += 1
        try:
            do(item, number)
        finally:
            with change:
                running[0] -= 1
                change.notify_all()

    try:
        with ThreadPoolExecutor(n_workers) as pool:
            futures = [pool.submit(task, *each[::-1]) for each in enumerate(items)]
            try:
                wait(futures)
            except KeyboardInterrupt:
                if on_interrupt is None:
                    cancelled.set()
                    raise
                on_interrupt()
            for future in futures:
                future.result()
    finally:
        # Ctrl-C while a thread starts makes the pool lose track of it: wait, so that nothing
        # trains after we return.
        cancelled.set()
        interrupt = None
        while running[0]:
            try:
                with change:
                    change.wait_for(lambda: running[0] == 0)
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt:
            raise interrupt
