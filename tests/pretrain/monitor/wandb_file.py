"""What stands in wandb's offline files: its records by its own protobuf classes, out of LevelDB's log format.

A file begins with 7 bytes of wandb's; from there on it lies in blocks of 32 KiB. A chunk has a checksum (4
bytes, little endian), a length (2) and a kind (1): a whole record, or its first, a middle or last part.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER, CHUNK = 32768, 7, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(file: Path) -> Iterator[Any]:
    """Every record."""
    from wandb.proto.wandb_internal_pb2 import Record

    for raw in _raw(file.read_bytes()):
        record = Record()
        record.ParseFromString(raw)
        yield record


def history(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """wandb's own number and the values of every line of the history."""
    lines = []
    for record in records(file):
        if record.WhichOneof("record_type") == "history":
            values = {
                ".".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            lines.append((record.history.step.num, values))
    return lines


def axes(file: Path) -> dict[str, str]:
    """The axis of each metric, by its name or pattern."""
    kinds = (record for record in records(file) if record.WhichOneof("record_type") == "metric")
    return {record.metric.name or record.metric.glob_name: record.metric.step_metric for record in kinds}


def _raw(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    at, parts = HEADER, []
    while at + CHUNK <= len(data):
        left = BLOCK - at % BLOCK
        if left < CHUNK:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + CHUNK])
        if kind == 0:
            break
        parts.append(data[at + CHUNK : at + CHUNK + length])
        at += CHUNK + length
        if kind in (WHOLE, LAST):
            yield b"".join(parts)
            parts = []
