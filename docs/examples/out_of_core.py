"""
Out of core
===========

Train on a file that is larger than memory, chunk by chunk: from Parquet, from LIBFFM text or
from a memory-mapped CSR matrix. Each chunk is first predicted, which makes it a held-out set,
and then learned from. After every few chunks the model is saved together with the number of
the next chunk. Killed and started again, the script goes on from there and ends with the same
bits as if nothing had happened.

    python docs/examples/out_of_core.py --rows 8000000 --memory 600

generates a Parquet file of 1.8 GB and trains on it with at most 600 MB of memory, most of
which the imported libraries take.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_array
from sklearn.metrics import log_loss

from skfm import FMClassifier
from skfm.datasets import dump_ffm_file, iter_ffm_file
from skfm.preprocessing import FieldEncoder

N_VARIABLES, N_BUCKETS = 26, 2**13
CHECKPOINT_EVERY = 4  # chunks


# -- chunks: from each source, rows and labels beginning with chunk number `start` -------


def parquet_chunks(path, chunk_rows, start):
    file = pq.ParquetFile(path)  # written in row groups of chunk_rows
    encoder = FieldEncoder(n_buckets=N_BUCKETS)  # stateless: no first pass over the file
    for group in range(start, file.num_row_groups):
        frame = file.read_row_group(group).to_pandas()
        y = frame.pop("clicked").to_numpy()
        yield encoder.transform(frame), y


def ffm_chunks(path, chunk_rows, start):
    chunks = iter_ffm_file(path, chunk_rows, n_features=N_VARIABLES * N_BUCKETS, dtype=np.float32)
    for number, (X, y, _) in enumerate(chunks):
        if number >= start:
            yield X, y


def csr_chunks(folder, chunk_rows, start):
    def stored(name, first, end):
        # Mapped anew each time: pages of the file that have been read count as memory.
        return np.array(np.load(folder / f"{name}.npy", mmap_mode="r")[first:end])

    n_rows = len(np.load(folder / "y.npy", mmap_mode="r"))
    for first in range(start * chunk_rows, n_rows, chunk_rows):
        end = min(first + chunk_rows, n_rows)
        indptr = stored("indptr", first, end + 1)
        data, indices = (stored(name, indptr[0], indptr[-1]) for name in ("data", "indices"))
        shape = end - first, N_VARIABLES * N_BUCKETS
        yield csr_array((data, indices, indptr - indptr[0]), shape=shape), stored("y", first, end)


CHUNKS = {"parquet": parquet_chunks, "ffm": ffm_chunks, "csr": csr_chunks}


# -- training ------------------------------------------------------------------------------


def save(state, path):
    """Replace the checkpoint at once: whenever the process dies, one is complete."""
    temporary = path.with_suffix(".new")
    with open(temporary, "wb") as file:
        joblib.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def resume(path):
    """The last checkpoint, or a new model that has seen no chunk."""
    if path.exists():
        return joblib.load(path)
    model = FMClassifier(8, solver="ftrl", batch_size=256, random_state=0)
    return {"model": model, "chunk": 0, "losses": []}


def train(chunks, checkpoint):
    """Learn from all chunks that the checkpoint has not seen."""
    state = resume(checkpoint)
    model, start = state["model"], state["chunk"]
    print(f"{'chunk':>6}{'rows/s':>10}{'log loss':>10}{'memory':>10}", flush=True)
    began = time.perf_counter()
    for number, (X, y) in enumerate(chunks(start), start):
        if number:
            state["losses"].append(log_loss(y, model.predict_proba(X), labels=[0, 1]))
        model.partial_fit(X, y, classes=[0, 1])
        state["chunk"] = number + 1
        speed = len(y) / (time.perf_counter() - began)
        loss = np.mean(state["losses"][-10:]) if state["losses"] else np.nan
        print(f"{number:>6}{speed:>10,.0f}{loss:>10.4f}{resident():>7.0f} MB", flush=True)
        if state["chunk"] % CHECKPOINT_EVERY == 0:
            save(state, checkpoint)
        began = time.perf_counter()
    save(state, checkpoint)
    return state


def resident():
    """Megabytes of memory that the process has needed at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


# -- data --------------------------------------------------------------------------------------


def tables(n_rows, chunk_rows):
    """Tables of clicks with interactions, `chunk_rows` rows at a time."""
    rng = np.random.default_rng(0)
    weight, factors = rng.normal(0, 0.2, 512), rng.normal(0, 0.3, (512, 4))
    for first in range(0, n_rows, chunk_rows):
        size = min(chunk_rows, n_rows - first)
        rank = np.exp(rng.random((size, N_VARIABLES)) * np.log(50_000)).astype(np.int64)
        known = rank % 512
        total = factors[known[:, :6]].sum(axis=1)
        score = weight[known].sum(axis=1) + 0.5 * (total**2).sum(axis=1) - 3
        y = (rng.random(size) < 1 / (1 + np.exp(-score))).astype(np.int8)
        columns = {f"v{i}": np.char.add("id", r.astype(str)) for i, r in enumerate(rank.T)}
        yield pa.table({**{k: pa.array(c.tolist()) for k, c in columns.items()}, "clicked": y})


def generate(path, source, n_rows, chunk_rows):
    """Write the data; the name appears when they are complete."""
    unfinished = path.with_name(path.name + ".part")
    if source == "parquet":
        writer = None
        for table in tables(n_rows, chunk_rows):
            writer = writer or pq.ParquetWriter(
                unfinished, table.schema, use_dictionary=False, compression="none"
            )
            writer.write_table(table, row_group_size=chunk_rows)
        writer.close()
    else:
        encoder = FieldEncoder(n_buckets=N_BUCKETS)
        frames = (table.to_pandas() for table in tables(n_rows, chunk_rows))
        chunks = [(frame.pop("clicked").to_numpy(), encoder.transform(frame)) for frame in frames]
        if source == "ffm":
            with open(unfinished, "wb") as file:
                for y, X in chunks:
                    dump_ffm_file(X, y, file, fields=N_VARIABLES)
        else:
            unfinished.mkdir(exist_ok=True)
            np.save(unfinished / "y.npy", np.concatenate([y for y, _ in chunks]))
            np.save(unfinished / "data.npy", np.concatenate([X.data for _, X in chunks]))
            np.save(unfinished / "indices.npy", np.concatenate([X.indices for _, X in chunks]))
            length = np.concatenate([np.diff(X.indptr) for _, X in chunks])
            np.save(unfinished / "indptr.npy", np.concatenate([[0], np.cumsum(length)]))
    os.replace(unfinished, path)


def main():
    parser = argparse.ArgumentParser(description="Train on a file larger than memory.")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument(
        "--chunk-rows", type=int, default=32_768, help="best a multiple of the batch size, 256"
    )
    parser.add_argument("--source", choices=CHUNKS, default="parquet")
    parser.add_argument("--folder", type=Path, default=Path("out_of_core"))
    parser.add_argument("--memory", type=int, metavar="MB", help="refuse to use more")
    args = parser.parse_args()

    args.folder.mkdir(exist_ok=True)
    path = args.folder / f"clicks.{args.source}"
    if not path.exists():
        # In a process of its own, so that its memory is not counted here.
        sizes = args.rows, args.chunk_rows
        process = multiprocessing.get_context("spawn").Process(
            target=generate, args=(path, args.source, *sizes)
        )
        process.start()
        process.join()
    if args.memory:
        resource.setrlimit(resource.RLIMIT_DATA, (args.memory << 20, args.memory << 20))
    files = path.iterdir() if path.is_dir() else [path]
    print(f"{path}: {sum(file.stat().st_size for file in files) / 2**20:.0f} MB")
    chunks = partial(CHUNKS[args.source], path, args.chunk_rows)
    state = train(chunks, args.folder / "checkpoint.joblib")
    print(f"{state['chunk']} chunks, log loss {np.mean(state['losses']):.4f}, each before its turn")


if __name__ == "__main__":
    main()
