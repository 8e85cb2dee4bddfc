"""Files in LIBFFM's text format."""

import gzip
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, vstack

import skfm._ffm_files
from skfm import FFMClassifier
from skfm.datasets import dump_ffm_file, iter_ffm_file, load_ffm_file

from .common import small_clicks

finite = st.floats(-1e30, 1e30, allow_nan=False)


@st.composite
def rows(draw):
    """Fields of columns, and rows as (label, {column: value})."""
    n = draw(st.integers(1, 8))
    fields = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    entries = st.dictionaries(st.integers(0, n - 1), finite, max_size=n)
    return fields, draw(st.lists(st.tuples(finite, entries), max_size=12))


@given(rows(), st.integers(1, 5), st.sampled_from([b" ", b"\t", b"  "]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_is_written_by_hand_is_read(data, chunk_rows, space, blank):
    fields, table = data
    text = b""
    for label, entries in table:
        items = [f"{fields[c]}:{c}:{v!r}".encode() for c, v in entries.items()]
        text += space.join([repr(label).encode(), *items]) + (b" \r\n\n" if blank else b"\n")
    expected = np.zeros((len(table), len(fields)))
    for row, (_, entries) in enumerate(table):
        for column, value in entries.items():
            expected[row, column] = value
    named = {column for _, entries in table for column in entries}

    X, y, found = load_ffm_file(io.BytesIO(text), n_features=len(fields))
    np.testing.assert_array_equal(X.toarray(), expected)
    np.testing.assert_array_equal(y, [label for label, _ in table])
    assert X.nnz == sum(len(entries) for _, entries in table)
    for column in named:
        assert found[column] == fields[column]
    assert len(found) == len(fields)

    X, _, found = load_ffm_file(io.BytesIO(text))
    assert X.shape[1] == len(found) == max(named, default=-1) + 1
    chunks = list(iter_ffm_file(io.BytesIO(text), chunk_rows))
    assert [len(y) for _, y, _ in chunks[:-1]] == [chunk_rows] * (len(chunks) - 1)
    if table:
        np.testing.assert_array_equal(vstack([c[0] for c in chunks]).toarray(), X.toarray())
        np.testing.assert_array_equal(np.concatenate([c[1] for c in chunks]), y)
    for chunk in chunks:
        np.testing.assert_array_equal(chunk[2], found)
    for X, _, none in iter_ffm_file(io.BytesIO(text), chunk_rows, n_features=50):
        assert X.shape[1] == 50
        assert none is None


@given(rows(), st.sampled_from([np.float64, np.float32, np.int64]))
@settings(max_examples=100, deadline=None)
def test_what_is_dumped_is_loaded_exactly(data, dtype):
    fields, table = data
    lists = [sorted(entries.items()) for _, entries in table] or [[]]
    values = np.array([v for entries in lists for _, v in entries])
    if dtype is np.int64:
        values = np.clip(values, -(2**53), 2**53)
    X = csr_array(
        (
            values.astype(dtype),
            np.array([c for entries in lists for c, _ in entries], np.int32),
            np.cumsum([0, *map(len, lists)]),
        ),
        shape=(len(lists), len(fields)),
    )
    y = np.array([label for label, _ in table] or [0.0])
    buffer = io.BytesIO()
    dump_ffm_file(X, y, buffer, fields=fields)
    buffer.seek(0)
    again, labels, found = load_ffm_file(buffer, n_features=len(fields))
    np.testing.assert_array_equal(again.data, X.data)
    np.testing.assert_array_equal(again.indices, X.indices)
    np.testing.assert_array_equal(again.indptr, X.indptr)
    np.testing.assert_array_equal(labels, y)
    named = np.unique(X.indices)
    np.testing.assert_array_equal(found[named], np.array(fields)[named])


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_names_of_files(tmp_path, suffix):
    clicks = small_clicks()
    path = tmp_path / f"clicks.ffm{suffix}"
    dump_ffm_file(clicks.X, clicks.y, path, fields=clicks.fields)
    with (gzip.open if suffix else open)(path, "rt") as file:
        first = file.readline()
    columns = clicks.X.indices[:4]
    assert first.split() == [
        str(clicks.y[0]),
        *(f"{field}:{column}:1" for field, column in enumerate(columns)),
    ]
    for f in (path, str(path)):
        X, y, fields = load_ffm_file(f, dtype=np.float32)
        assert X.dtype == np.float32
        np.testing.assert_array_equal(X.toarray(), clicks.X[:, : X.shape[1]].toarray())
        np.testing.assert_array_equal(y, clicks.y)
        np.testing.assert_array_equal(fields, clicks.fields[: X.shape[1]])
    inferred = io.BytesIO()
    dump_ffm_file(clicks.X, clicks.y, inferred)
    assert inferred.getvalue().startswith(first.encode())
    equal = io.BytesIO()
    dump_ffm_file(clicks.X.toarray(), clicks.y.tolist(), equal, fields=4)
    assert equal.getvalue() == inferred.getvalue()


def test_training_from_a_file_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(skfm._ffm_files, "_BLOCK", 50)  # less than a chunk
    clicks = small_clicks()
    path = tmp_path / "clicks.ffm"
    dump_ffm_file(clicks.X, clicks.y, path, fields=clicks.fields)
    X, y, fields = load_ffm_file(path)
    whole = FFMClassifier(2, fields=fields, batch_size=32, random_state=0)
    whole.partial_fit(X, y, classes=[0, 1])
    chunked = FFMClassifier(2, batch_size=32, random_state=0)
    for X, y, fields in iter_ffm_file(path, chunk_rows=128):
        chunked.set_params(fields=fields).partial_fit(X, y, classes=[0, 1])
    np.testing.assert_array_equal(chunked.factors_, whole.factors_)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"x 0:0:1", "the label 'x' is no finite number"),
        (b"nan 0:0:1", "label"),
        (b"1_0 0:0:1", "label"),
        (b"0:0:1", "label"),
        (b"1 0:0", "'0:0' is not of the form field:index:value"),
        (b"1 0:1 0:2:3:4:5", "'0:1' is not of the form"),
        (b"1 0:0:1:2", "form"),
        (b"1 0:0:1 2", "'2' is not of the form"),
        (b"1 0::1", "the index of '0::1'"),
        (b"1 0: 0:1", "form"),
        (b"1 0.5:0:1", "the field of '0.5:0:1' is no integer"),
        (b"1 -1:0:1", "the field"),
        (b"1 0:-1:1", "the index"),
        (b"1 0:2147483648:1", "the index"),
        (b"1 0:1e400:1", "the index"),
        (b"1 0:0:inf", "the value of '0:0:inf' is no finite number"),
        (b"1 0:0:abc", "the value"),
        (b"1 0:0:1_0", "the value"),
        (b"1 0:0:", "the value"),
        (b"1 0:7:1 # a remark", "'#' is not of the form"),
        (b"\xff\xfe 0:0:1", "the label"),
        (b"1 3:0:1", "index 0 appears under field 3, but before under field 0"),
        (b"1 0:5:1 1:5:1", "index 5 appears under field 1, but before under field 0"),
    ],
)
@pytest.mark.parametrize("block", [2, 1 << 13])
def test_malformed_lines(tmp_path, monkeypatch, line, message, block):
    monkeypatch.setattr(skfm._ffm_files, "_BLOCK", block)
    path = tmp_path / "bad.ffm"
    path.write_bytes(b"1 0:0:1 1:1:1\n\n0 0:0:1\n0 0:0:1\n" + line + b"\n1 0:0:1\n")
    with pytest.raises(ValueError, match=rf"bad\.ffm, line 5: .*{message}"):
        load_ffm_file(path)
    with pytest.raises(ValueError, match=r"bad\.ffm, line 5"):
        list(iter_ffm_file(path, 2, n_features=10))


def test_other_bad_input(tmp_path):
    X = np.eye(2)
    with pytest.raises(ValueError, match="index of '0:3:1' is not below n_features=3"):
        load_ffm_file(io.BytesIO(b"1 0:3:1"), n_features=3)
    with pytest.raises(ValueError, match="labels"):
        dump_ffm_file(X, ["a", "b"], tmp_path / "x", fields=2)
    with pytest.raises(ValueError, match="labels"):
        dump_ffm_file(X, [1, np.nan], tmp_path / "x", fields=2)
    with pytest.raises(ValueError, match="NaN"):
        dump_ffm_file(X * np.nan, [1, 0], tmp_path / "x", fields=2)
    with pytest.raises(ValueError, match="inconsistent"):
        dump_ffm_file(X, [1, 0, 1], tmp_path / "x", fields=2)
    with pytest.raises(ValueError, match="fields"):
        dump_ffm_file(X, [1, 0], tmp_path / "x", fields=[0, 1, 2])
    assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="chunk_rows"):
        iter_ffm_file(tmp_path / "x", 0)
    with pytest.raises(FileNotFoundError):
        load_ffm_file(tmp_path / "x")
    with pytest.raises(TypeError, match="binary mode"):
        load_ffm_file(io.StringIO("1 0:0:1"))
    with pytest.raises(ValueError, match="'f' parameter"):
        load_ffm_file(3)
    whole = gzip.compress(b"1 0:0:1\n" * 10_000)
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EOFError):
        load_ffm_file(tmp_path / "cut.gz")


def test_nothing_to_read():
    X, y, fields = load_ffm_file(io.BytesIO(b"\n"))
    assert X.shape == (0, 0)
    assert len(y) == len(fields) == 0
    assert list(iter_ffm_file(io.BytesIO(b""))) == []
    X, y, fields = load_ffm_file(io.BytesIO(b"1\n0\n"), n_features=3)
    assert X.shape == (2, 3)
    assert y.tolist() == [1, 0]
    assert fields.tolist() == [0, 0, 0]
