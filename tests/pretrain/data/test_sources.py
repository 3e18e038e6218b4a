from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from pretrain.data.options import FileSource
from pretrain.data.sources.base import Document, Reason
from pretrain.data.sources.registry import open_source
from pretrain.errors import UserError

# One line of each fate: two documents, then what is counted and passed by.
LINES = [
    json.dumps({"text": "first é", "n": 1}).encode(),
    json.dumps({"other": 3, "text": "second\nline"}).encode(),
    b"",
    b'{"text": null}',
    b"no json",
    b'{"n": 1}',
    b"[1]",
    b'{"text": 5}',
    b'{"text": "\xff\xfe"}',
]


def fates(kind: str, path: Path, column: str = "text") -> list[str]:
    """The text of each document and the reason of each that was skipped, in order."""
    reader = open_source("mine", FileSource(kind=kind, path=str(path), column=column))
    return [one.text if isinstance(one, Document) else one.reason for one in reader.documents()]


def refusal(kind: str, path: str | Path, column: str = "text") -> str:
    with pytest.raises(UserError) as error:
        fates(kind, Path(path), column)
    return str(error.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_every_line_of_json_is_a_document_or_is_counted(tmp_path: Path, name: str) -> None:
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "wb") as file:
        file.write(b"\n".join(LINES))
    empty, bad = [Reason.EMPTY] * 2, [Reason.MALFORMED] * 4
    assert fates("jsonl", tmp_path / name) == ["first é", "second\nline", *empty, *bad, Reason.INVALID]


def test_zstandard_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(LINES[0]))
    assert fates("jsonl", tmp_path / "a.jsonl.zst") == ["first é"]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_damaged_archive_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not packed at all")
    message = refusal("jsonl", tmp_path / name)
    assert message.startswith("data.sources.mine.path:")
    assert name in message


def test_parquet_gives_its_column(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"n": [1, 2, 3], "body": ["one", None, "three"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"body": pa.array(["four"], pa.large_string())}), tmp_path / "b.parquet")
    assert fates("parquet", tmp_path, "body") == ["one", Reason.EMPTY, "three", "four"]
    assert fates("parquet", tmp_path / "a.parquet", "n") == [Reason.MALFORMED] * 3


def test_a_parquet_string_that_is_no_text_is_counted(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    offsets, data = pa.array([0, 2, 6], pa.int32()), pa.py_buffer(b"\xff\xfegood")
    strings = pa.StringArray.from_buffers(2, offsets.buffers()[1], data)
    pq.write_table(pa.table({"text": strings}), tmp_path / "a.parquet")
    assert fates("parquet", tmp_path / "a.parquet") == [Reason.INVALID, "good"]


def test_parquet_goes_nowhere_else(tmp_path: Path) -> None:
    """No network and nothing in the home folder, in a process of its own since `datasets` reads them once."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"text": ["one"]}), tmp_path / "a.parquet")
    program = f"""
import socket
def refuse(*args): raise AssertionError("network")
socket.socket.connect = socket.getaddrinfo = refuse
from pretrain.data.options import FileSource
from pretrain.data.sources.registry import open_source
print(*open_source("mine", FileSource(kind="parquet", path={str(tmp_path / "a.parquet")!r})).documents())
"""
    environment = {"HOME": str(tmp_path / "home"), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "text='one'" in done.stdout, done.stderr
    assert not (tmp_path / "home").exists()


def test_text_is_taken_as_it_stands_one_document_a_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.txt").write_bytes("wïndows\r\nline".encode())
    (tmp_path / "deep" / "a.md").write_text("other")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe")
    (tmp_path / ".hidden").write_text("no")
    assert fates("text", tmp_path) == ["wïndows\r\nline", Reason.INVALID, "other"]
    assert fates("text", tmp_path / "*.txt") == ["wïndows\r\nline", Reason.INVALID]
    assert fates("text", tmp_path / "**" / "a.*") == ["other"]


def test_a_missing_file_is_named_with_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("text")
    message = refusal("text", tmp_path / "corpsu.txt")
    assert message.startswith("data.sources.mine.path: ")
    assert "corpsu.txt' does not exist" in message
    assert "Did you mean 'corpus.txt'?" in message


@pytest.mark.parametrize(
    ("kind", "path", "said"),
    [
        ("parquet", "", "no file that ends in .parquet"),
        ("text", "*.rst", "no file matches"),
        ("text", "x/y", "exist"),
    ],
)
def test_a_path_that_finds_nothing_is_an_error(tmp_path: Path, kind: str, path: str, said: str) -> None:
    (tmp_path / "a.txt").write_text("text")
    message = refusal(kind, tmp_path / path)
    assert message.startswith("data.sources.mine.path: ")
    assert said in message


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, kind: str) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "a.jsonl").write_text('{"content": "x"}\n' * 3)
    pq.write_table(pa.table({"content": ["x"]}), tmp_path / "a.parquet")
    message = refusal(kind, tmp_path / f"a.{kind}", "contnt")
    assert message.startswith("data.sources.mine.column: there is no column 'contnt'; there are: content.")
    assert "Did you mean 'content'?" in message


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"\0" * 100)
    assert "a.parquet' is not a Parquet file" in refusal("parquet", tmp_path / "a.parquet")


def test_changed_files_change_the_identity(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    options = FileSource(kind="text", path=str(file))
    before = open_source("mine", options).identity()
    assert open_source("mine", options).identity() == before
    file.write_text("more")
    assert open_source("mine", options).identity() != before
