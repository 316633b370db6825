"""Whatever is no table is refused in three parts: what, allowed, do; never with a traceback."""

import bz2
import gzip
import lzma
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trainwright.core.errors import DataError
from trainwright.data.knobs import DataKnobs
from trainwright.data.prepare import prepare
from trainwright.data.table import source as table_source

ROWS = "a,b,target\n" + "".join(f"{i % 7},{i * 0.5},{'xy'[i % 2]}\n" for i in range(40))


def refused(source: object, **knobs: object) -> DataError:
    with pytest.raises(DataError) as error:
        prepare(source, DataKnobs(**knobs), seed=0)  # pyright: ignore[reportArgumentType]
    assert error.value.what
    assert error.value.allowed
    assert error.value.do
    assert str(error.value).isprintable() or not re.search(
        r"[\x00-\x09\x0b-\x1f]", str(error.value)
    )
    return error.value


def write(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def table(path: Path, text: str) -> str:
    return write(path / "t.csv", text)


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path):
    write(tmp_path / "customers.csv", ROWS)
    assert "customers.csv" in refused(str(tmp_path / "custommers.csv")).do
    assert "customers.csv" in refused(str(tmp_path / "*.tsv")).do


PARQUET = pl.DataFrame({"a": range(50), "target": [0, 1] * 25})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"\xef\xbb\xbf\n\n", "empty"),
        ("t.csv", b"a,b,target\n", "no rows"),
        ("t.csv", b"\x89PNG\r\n\x1a\n0000", "PNG"),
        ("t.csv", b"PK\x03\x04" + bytes(40), "zip"),
        ("t.csv", b"a,b\n1,\x00\n", "NUL"),
        ("t.csv", pickle.dumps({"a": 1}), "pickle"),
        ("t.pkl", b"anything", "pickle"),
        ("t.csv", b"\xff\xfea\x00,\x00\x00\xd8", "UTF-16"),
        ("t.csv", bytes(range(1, 9)) * 50 + b"\xff", "encoding"),
        ("t.csv", ROWS.replace("3,1.5,y", "3,1.5").encode(), "row 5 has 2 cells"),
        ("t.csv", ROWS.replace("3,1.5,y", "3,1.5,y,9").encode(), "row 5 has 4 cells"),
        ("t.csv", b"a,target\n" + b"x" * (1 << 21) + b",1\n2,3\n", "cell of over 1 MiB"),
        ("t.csv.gz", gzip.compress(ROWS.encode())[:-12], "cut short"),
        ("t.csv.xz", lzma.compress(ROWS.encode())[:-12], "cut short"),
        ("t.csv.bz2", bz2.compress(ROWS.encode())[:-12], "cut short"),
        ("t.csv.zst", zstandard.compress(ROWS.encode())[:-6], "cut short"),
        ("t.parquet", b"PAR1 and nothing else", "cut short"),
        ("t.parquet", b"hello", "called Parquet"),
        ("t.arrow", b"hello", "called Arrow"),
        ("t.jsonl", b'{"a": 1, "target": 0}\n{"a": 2,\n', "line 2"),
        ("t.jsonl", b"[1, 2]", "not an object"),
        ("t.jsonl", b"[" * 100_000, "nested too deeply"),
    ],
)  # fmt: skip
def test_files_that_are_no_tables_are_refused(tmp_path, name, content, says):
    assert says in refused(write(tmp_path / name, content)).what


def test_a_truncated_parquet_is_refused_read_or_streamed(tmp_path):
    PARQUET.write_parquet(tmp_path / "whole.parquet")
    half = (tmp_path / "whole.parquet").read_bytes()[:-30]
    path = write(tmp_path / "half.parquet", half)
    for stream in (False, True):
        assert "cut short" in refused(path, stream=stream).what


@pytest.mark.parametrize("packed", ["gz", "zst"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_compression_bomb_is_refused_before_it_fills_the_memory(
    tmp_path, monkeypatch, packed, stream
):
    monkeypatch.setattr(table_source, "BOMB_BYTES", 1 << 22)
    content = b"a,target\n" + b"1,2\n" * (2 << 20)
    pack = {"gz": gzip.compress, "zst": zstandard.compress}[packed]
    path = write(tmp_path / f"t.csv.{packed}", pack(content))
    assert "times its size" in refused(path, stream=stream).what


def test_a_zip_called_csv_and_an_empty_folder_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv", "w") as archive:
        archive.writestr("t.csv", ROWS)
    assert "zip" in refused(str(tmp_path / "t.csv")).what
    (tmp_path / "empty").mkdir()
    refused(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("text", "knobs", "says"),
    [
        (ROWS, {"target": "targett"}, "no column 'targett'"),
        (ROWS.replace("x", "y"), {}, "same value"),
        (re.sub(r"[xy]\n", "\n", ROWS), {}, "empty in every row"),
        ("a,target\n" + "1,inf\n2,1.5\n3,2.5\n" * 9, {}, "infinite"),
        ("a,target\n" + "".join(f"{i},w{i}\n" for i in range(10_000)), {}, "identifier"),
        ("a,target\n" + "".join(f"{i},c{i % 2000}\n" for i in range(10_000)), {}, "2000 different"),
        ("target\n" + "x\ny\n" * 9, {}, "no column to learn from"),
        ("c,target\n" + "1,x\n1,y\n" * 9, {}, "no column to learn from"),
        (ROWS, {"task": "regression"}, "words"),
        (ROWS.replace("x\n", "z\n", 3), {"task": "binary"}, "3 classes"),
        (ROWS, {"group": "who"}, "data.group"),
        (ROWS, {"split": "b"}, "names no split"),
        (ROWS, {"time": "target"}, "is the target"),
        (ROWS, {"columns": {"aa": "numeric"}}, "data.columns"),
        ("a,target\n" + "1,2020-01-01\n2,2021-01-01\n" * 9, {}, "dates"),
    ],
)
def test_targets_and_columns_that_cannot_be_used_are_refused(tmp_path, text, knobs, says):
    assert says in refused(table(tmp_path, text), **knobs).what


def test_a_misspelt_target_is_answered_with_the_nearest_column(tmp_path):
    assert "'target'" in refused(table(tmp_path, ROWS), target="targett").do


def test_names_of_columns_are_never_echoed_raw(tmp_path):
    text = ROWS.replace("target", "\x1b[31mtarget")
    error = refused(table(tmp_path, text), target="tarrget")
    assert "\x1b" not in str(error)


@pytest.mark.parametrize(
    "source",
    [
        (np.array([[object()]] * 4), np.arange(4)),
        (np.zeros((4, 2)), np.array([object(), 1, 2, 3])),
        (np.zeros((4, 2)), np.arange(3)),
        np.zeros((4, 2)),
        (np.zeros((0, 2)), np.zeros(0)),
        (np.zeros((6, 2)), [0, 1] * 3),
        ([[1, 2], [3]], [0, 1]),
        object(),
        None,
        (torch.zeros(4, 3), torch.tensor([0.0, float("inf"), 1.0, 2.0])),
        torch.utils.data.TensorDataset(torch.zeros(4, 2)),
        pl.DataFrame({"a": [1, 2], "target": [b"1", b"2"]}),
    ],
)
def test_live_objects_that_are_no_examples_are_refused(source):
    refused(source)


def test_a_table_over_the_memory_limit_is_refused_when_streaming_is_off(tmp_path):
    path = table(tmp_path, "a,target\n" + "1,2\n" * 40_000)
    assert "memory" in refused(path, stream=False, memory_limit=1 << 16).what


cells = st.sampled_from(
    ["", "1", "2.5", "x", '"', '"a,b"', "NA", "2020-01-01", "1,5", "é", "\x1b[0m", "=1+1", "inf",
     "../../etc/passwd", "<b>", "1e400", "yes", "no", "\r", "'", "٣"]
)  # fmt: skip
tables = st.builds(
    lambda rows, comma, end: end.join(comma.join(row) for row in rows).encode(),
    st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=30),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200) | tables, stream=st.booleans())
@example(content=b'"', stream=False)
@example(content=b"\xef\xbb\xbf", stream=True)
@example(content=b"\xff\xfe\n", stream=True)
@example(content=b"a\n1\n2", stream=True)
def test_any_bytes_are_prepared_or_refused_but_nothing_else(tmp_path, content, stream):
    path = write(tmp_path / "t.csv", content)
    try:
        prepared = prepare(path, DataKnobs(stream=stream), seed=0)
    except DataError:
        return
    for batch in prepared.train.batches(16):
        assert torch.isfinite(batch.inputs[0]).all()
    prepared.close()
