"""Dask: what runs the rounds on its workers, and its collections as lists of blocks."""

from concurrent.futures import CancelledError
from contextlib import contextmanager
from weakref import WeakSet

import numpy as np

try:
    import dask
    import dask.array as da
    import distributed
    from dask.delayed import Delayed, delayed
except ImportError as error:
    raise ImportError(
        f"skfm.dask needs Dask and distributed ({error}). Install them: pip install 'skfm[dask]'."
    ) from error

# Seconds between two looks at whether the cluster can go on, and after which it cannot.
_LOOK, _PATIENCE = 2.0, 20.0


class Run:
    """Calls functions on the workers of a client: see `_rounds`."""

    def __init__(self, client):
        self.client, self._started = client, WeakSet()

    @contextmanager
    def fitting(self):
        """What a fit needs: room for messages, and a thread of its own within a task.

        In the end workers keep nothing of it.
        """
        inside = _is_task()
        if inside:
            distributed.secede()  # or its own tasks would wait for the thread that waits for them
        try:
            # Messages are as large as the values that a batch touches.
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": "10GB"}):
                yield
        finally:
            if self.client.status == "running":
                for handle in [*self._started]:
                    handle.release()
            if inside:
                distributed.rejoin()

    def start(self, function, *lists, urgent=False):
        lists = [[*arguments] for arguments in lists]
        with self._explained():
            handles = self.client.map(function, *lists, pure=False, priority=10 if urgent else 0)
        self._started.update(handles)
        return handles

    def results(self, handles):
        idle = 0.0
        while True:
            with self._explained():
                try:
                    distributed.wait(handles, timeout=_LOOK)
                except (TimeoutError, distributed.TimeoutError):
                    idle = 0.0 if self._can_go_on() else idle + _LOOK
                else:  # whose own TimeoutError would be of the data, such as of a slow store
                    return self.client.gather(handles)
            if idle >= _PATIENCE:
                raise RuntimeError(self._why_not())

    @contextmanager
    def _explained(self):
        """Say of the cluster's errors what they mean; those of our functions pass as they are."""
        self.check_client()
        try:
            yield
        except distributed.scheduler.KilledWorker as error:
            raise RuntimeError(
                "Workers died several times at the same task, most likely because they ran out of "
                "memory. Give them more, add workers, or raise n_shards so that each task has "
                f"fewer rows. ({error})"
            ) from error
        except CancelledError as error:
            self.check_client()
            raise RuntimeError(
                f"The cluster lost data that it cannot compute again, or was closed ({error}). "
                "Pass collections that are computed, not scattered, or fit again."
            ) from error
        except Exception:
            self.check_client()  # whatever else is wrong then follows from that
            raise

    def check_client(self):
        if self.client.status not in ("running", "connecting"):
            raise RuntimeError(
                f"The Dask client is {self.client.status}: pass client=Client(…) that is "
                "connected to a cluster."
            )
        if self.client.asynchronous:
            raise RuntimeError("The Dask client is asynchronous: pass Client(…) without that.")

    def _workers(self):
        return self.client.run_on_scheduler(_workers)

    def _can_go_on(self):
        """Whether any worker that is not paused has something to do."""
        return any(status == "running" and busy for status, busy in self._workers().values())

    def _why_not(self):
        paused = [where for where, (status, _) in self._workers().items() if status == "paused"]
        if paused:
            return (
                f"No worker goes on: {', '.join(paused)} paused, as their memory is full. Give "
                "workers more memory, add workers, or persist less on them."
            )
        return (
            "No worker takes the tasks of the fit: there are none, or they die again and again, as "
            "where their memory does not suffice."
        )


def _is_task():
    """Whether this runs within a task of Dask."""
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def _workers(dask_scheduler):
    return {
        address: (worker.status.name, bool(worker.processing))
        for address, worker in dask_scheduler.workers.items()
    }


def mapped(function, parts, *arguments):
    """A function of each delayed part, and of arguments that all share; delayed."""
    shared = [delayed(argument, traverse=False) for argument in arguments]
    return [delayed(function)(part, *shared) for part in parts]


def array_of(parts, rows, shape, meta):
    """A Dask array of delayed blocks."""
    blocks = [
        da.from_delayed(part, shape=(n, *shape), meta=meta)
        for part, n in zip(parts, rows, strict=True)
    ]
    return da.concatenate(blocks, axis=0, allow_unknown_chunksizes=True)


def is_list(collection):
    return isinstance(collection, list | tuple) and all(
        isinstance(part, Delayed | distributed.Future) for part in collection
    )


def parts_of(collection, name):
    """The blocks of a collection, delayed or as futures, and how many rows each has."""
    if is_list(collection) and len(collection):
        return [*collection], [np.nan] * len(collection)
    if isinstance(collection, da.Array):
        if collection.ndim == 2 and collection.numblocks[1] > 1:
            raise ValueError(
                f"{name} is cut along its columns, too: its blocks need whole rows. Use "
                f"{name}.rechunk({{1: -1}})."
            )
        return [*collection.to_delayed().ravel()], [*collection.chunks[0]]
    if hasattr(collection, "to_delayed") and not isinstance(collection, Delayed):  # data frames
        parts = [*collection.to_delayed()]
        return parts, [np.nan] * len(parts)
    raise TypeError(
        f"{name} must be a Dask array, a Dask data frame or series, or a list of delayed parts; "
        f"got {type(collection).__name__}. Data in memory need no cluster: use the estimator "
        "without Dask in its name."
    )
