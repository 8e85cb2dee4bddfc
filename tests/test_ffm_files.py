"""Files in LIBFFM's text format."""

import gzip
import io
import os
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, vstack

import skfm._ffm_files
import skfm._model
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
    whole = FFMClassifier(3, fields=fields, batch_size=32, random_state=0)
    whole.partial_fit(X, y, classes=[0, 1])
    chunked = FFMClassifier(3, batch_size=32, random_state=0)
    for X, y, fields in iter_ffm_file(path, chunk_rows=128):
        chunked.set_params(fields=fields).partial_fit(X, y, classes=[0, 1])
    np.testing.assert_array_equal(chunked.factors_, whole.factors_)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"x 0:0:1", "the label 'x' is not a finite number"),
        (b"nan 0:0:1", "label"),
        (b"1_0 0:0:1", "label"),
        (b"0:0:1", "label"),
        (b"1 0:0", "'0:0' is not of the form field:index:value"),
        (b"1 0:1 0:2:3:4:5", "'0:1' is not of the form"),
        (b"1 0:0:1:2", "form"),
        (b"1 0:0:1 2", "'2' is not of the form"),
        (b"1 0::1", "the index of '0::1'"),
        (b"1 0: 0:1", "form"),
        (b"1 0.5:0:1", "the field of '0.5:0:1' is not an integer"),
        (b"1 -1:0:1", "the field"),
        (b"1 0:-1:1", "the index"),
        (b"1 0:2147483648:1", "the index"),
        (b"1 0:1e400:1", "the index"),
        (b"1 0:0:inf", "the value of '0:0:inf' is not a finite number"),
        (b"1 0:0:abc", "the value"),
        (b"1 0:0:1_0", "the value"),
        (b"1 0:0:", "the value"),
        (b"1 0:7:1 # a remark", "'#' is not of the form"),
        (b"\xff\xfe 0:0:1", "the label"),
        (b"1 3:0:1", "index 0 appears under field 3 here and under field 0 before"),
        (b"1 0:5:1 1:5:1", "index 5 appears under field 1 here and under field 0 before"),
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


_PIECES = ["1", "0", ":", " ", "-", ".", "e", "_", "\n", "nan", "\uff11", "\xa0", "\u0661", "\x85"]
_PIECES += ["\x1c", "\0", "\u2003", "\ufeff", "1 0:0:1\n", " 1:1:1", "2147483647", "1e400", "0x1"]


@given(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_or_refused_by_line(text):
    try:
        X, y, fields = load_ffm_file(io.BytesIO(b"1 0:0:1\n" + text.encode()), n_features=9)
    except ValueError as error:
        assert str(error).startswith("the file, line ")  # noqa: PT017
        return
    assert np.isfinite(X.data).all()
    assert np.isfinite(y).all()
    assert X.shape == (len(y), 9)
    assert len(fields) == 9


@pytest.mark.parametrize("character", ["\uff11", "\u0661", "\xa0", "\u2003", "\x85"])
@pytest.mark.parametrize("line", ["{}1 0:0:1", "1{} 0:0:1", "1 {}:0:1", "1 0:{}1:1", "1 0:0:1{}"])
def test_digits_and_spaces_of_other_alphabets_are_none(character, line):
    text = "1 0:0:1\n" + line.format(character)
    with pytest.raises(ValueError, match=r"line 2: the (label|field|index|value)"):
        load_ffm_file(io.BytesIO(text.encode()))


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, bool, complex, object, "U3", "M8[ns]"])
@pytest.mark.parametrize("read", [load_ffm_file, iter_ffm_file])
def test_values_are_floats(dtype, read):
    with pytest.raises(ValueError, match="float type"):
        read(io.BytesIO(b"1 0:0:300"), dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_values_too_large_for_their_type_are_refused(dtype):
    largest = float(np.finfo(dtype).max)
    X, _, _ = load_ffm_file(io.BytesIO(f"1 0:0:{largest!r} 0:1:{-largest!r}".encode()), dtype=dtype)
    assert X.data.tolist() == [largest, -largest]
    with pytest.raises(ValueError, match=r"line 2: the value of .* is too large for float"):
        load_ffm_file(io.BytesIO(f"1 0:0:1\n1 0:0:{-2 * largest!r}".encode()), dtype=dtype)


def test_an_index_that_memory_would_not_suffice_for_is_named(monkeypatch):
    monkeypatch.setattr(skfm._memory, "_memory_of_machine", lambda: 2**30)
    text = b"1 0:0:1\n1 0:2147483646:1 0:2:1\n"
    for read in (load_ffm_file, iter_ffm_file):
        with pytest.raises(ValueError, match=r"line 2: index 2147483646 makes .* 1\.0 GiB"):
            list(read(io.BytesIO(text)))
    with pytest.raises(ValueError, match="n_features=2147483647"):
        load_ffm_file(io.BytesIO(b"1 0:0:1\n"), n_features=2**31 - 1)
    # Rows take no memory for columns that they do not name.
    ((X, _, _),) = iter_ffm_file(io.BytesIO(b"1 0:0:1\n"), n_features=2**31 - 1)
    assert X.shape == (1, 2**31 - 1)


def test_fields_of_columns_that_no_row_names():
    text = b"1 7:2:1 5:6:1\n1 4:4:1\n"
    _, _, fields = load_ffm_file(io.BytesIO(text), n_features=np.int8(9))
    assert fields.tolist() == [7, 7, 7, 7, 4, 4, 5, 5, 5]


@pytest.mark.parametrize("damage", ["cut off", "a bit", "no gzip", "check sum"])
def test_damaged_compression_names_the_file(tmp_path, damage):
    rng = np.random.default_rng(0)
    lines = b"".join(b"1 0:0:%d\n" % n for n in rng.integers(10**9, size=20_000))
    whole = bytearray(gzip.compress(lines))
    if damage == "cut off":
        whole = whole[: len(whole) // 2]
    elif damage == "no gzip":
        whole = lines
    else:
        whole[-6 if damage == "check sum" else len(whole) // 2] ^= 0xFF
    path = tmp_path / "damaged.ffm.gz"
    path.write_bytes(whole)
    with pytest.raises((OSError, EOFError, zlib.error, ValueError), match=r"damaged\.ffm\.gz"):
        load_ffm_file(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_what_can_be_read_only_once(tmp_path):
    def pipe():
        end, other = os.pipe()
        os.write(other, b"1 0:0:1\n0 1:1:1\n")
        os.close(other)
        return os.fdopen(end, "rb")

    with pipe() as file:
        assert load_ffm_file(file)[0].shape == (2, 2)
    with pipe() as file:
        assert [X.shape for X, _, _ in iter_ffm_file(file, 1, n_features=2)] == [(1, 2)] * 2
    with pipe() as file, pytest.raises(ValueError, match=r"only once.*Pass n_features"):
        list(iter_ffm_file(file))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe can be read only once.*Pass n_features"):
        list(iter_ffm_file(tmp_path / "pipe"))
