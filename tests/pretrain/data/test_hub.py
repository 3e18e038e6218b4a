"""Datasets streamed by name: every row, from any row on, and words for a network that is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from pretrain.data.collect import collect
from pretrain.data.sources.base import Document, Item, Place, Reason
from pretrain.data.sources.options import HubSource
from pretrain.data.sources.registry import open_source
from pretrain.data.spool import Spool
from pretrain.data.volumes import volumes_in
from pretrain.errors import UserError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("datasets")

ROWS = 700  # more than one batch in each file


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `datasets` loads like a dataset of the hub: two files of a split, one string no UTF-8."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    for number in range(2):
        texts = [f"file {number} row {row} é" for row in range(ROWS)]
        data = "".join(texts).encode()
        if number == 1:
            data = b"\xff" + data[1:]
        ends = [0]
        for text in texts:
            ends.append(ends[-1] + len(text.encode()))
        offsets = pa.array(ends, pa.int32()).buffers()[1]
        column = pa.StringArray.from_buffers(ROWS, offsets, pa.py_buffer(data))
        table = pa.table({"body": column, "n": list(range(ROWS))})
        pq.write_table(table, folder / f"train-{number}.parquet", row_group_size=100)
    return folder


def source(dataset: Path, **changes: str):
    options = {"kind": "hub", "name": str(dataset), "split": "train", "column": "body"} | changes
    return open_source("mine", HubSource(**options))


def fate(item: Item) -> str:
    return item.text if isinstance(item, Document) else item.reason


def test_every_row_is_a_document_and_a_bad_one_is_counted(dataset: Path) -> None:
    found = list(source(dataset).documents())
    expected = [f"file {number} row {row} é" for number in range(2) for row in range(ROWS)]
    expected[ROWS] = Reason.INVALID
    assert [fate(item) for item in found] == expected
    assert found[ROWS].place == Place(f"{dataset}, file 2", "row", 1)


@pytest.mark.parametrize("seen", [0, 1, 255, 256, 300, ROWS])
def test_a_part_goes_on_at_any_row(dataset: Path, seen: int) -> None:
    reader = source(dataset)
    part = reader.parts(1)[1]
    stream = reader.stream(part)
    before = list(islice(stream, seen))
    state = json.loads(json.dumps(stream.state()))
    after = list(source(dataset).stream(part, state))
    assert [fate(item) for item in before + after] == [fate(item) for item in reader.read(part)]


def test_what_was_collected_is_not_read_again(dataset: Path, tmp_path: Path) -> None:
    reader = source(dataset)
    part = reader.parts(1)[0]
    volumes = collect(reader, part, 0, tmp_path / "text", volume_bytes=3000)
    for _ in range(3):
        next(volumes)
    volumes.close()
    before = {volume.name: volume.text_file.stat().st_mtime_ns for volume in volumes_in(tmp_path / "text")}
    for _ in collect(source(dataset), part, 0, tmp_path / "text", volume_bytes=3000):
        pass
    after = volumes_in(tmp_path / "text")
    assert before.items() <= {each.name: each.text_file.stat().st_mtime_ns for each in after}.items()
    spool = Spool(after)
    assert [spool.read(number).decode() for number in range(len(spool))] == [
        f"file 0 row {row} é" for row in range(ROWS)
    ]


def test_what_the_dataset_does_not_have_is_named(dataset: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'bdy'.*Did you mean 'body'"):
        list(source(dataset, column="bdy").documents())
    with pytest.raises(UserError, match=r"data\.sources\.mine: the dataset .*split 'trian'.* cannot be read"):
        list(source(dataset, split="trian").documents())


@pytest.mark.parametrize("offline", ["1", pytest.param("0", marks=pytest.mark.slow)])  # 0 tries for long
def test_a_missing_network_is_one_clear_message(tmp_path: Path, offline: str) -> None:
    """In a process of its own, whose connections all fail, as on a machine that cannot reach the hub."""
    program = """
import socket
def refuse(*args, **named): raise OSError("Network is unreachable")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from pretrain.errors import UserError
from pretrain.data.sources.options import HubSource
from pretrain.data.sources.registry import open_source
reader = open_source("web", HubSource(kind="hub", name="owner/some-dataset", split="train"))
try: reader.parts(1)
except UserError as error: print(error)
"""
    environment = os.environ | {
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": offline,
        "PYTHONPATH": ":".join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.startswith("data.sources.web: the dataset 'owner/some-dataset' (split 'train')"), done
    assert "the network" in done.stdout
    assert done.stdout.count("\n") == 1
