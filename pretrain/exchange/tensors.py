"""Write safetensors one tensor at a time: header first, then bytes, so that memory holds one tensor."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pretrain.checkpoint.tensor_file import header

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CODES = {torch.float32: "F32", torch.bfloat16: "BF16"}


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A tensor that will be written."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that was written."""

    path: Path
    tensors: Sequence[Planned]


def shards(planned: Iterable[Planned], max_bytes: int) -> list[list[Planned]]:
    """The tensors in files of at most `max_bytes`, or of one tensor that is larger; in order."""
    files: list[list[Planned]] = [[]]
    size = 0
    for tensor in planned:
        if files[-1] and size + tensor.bytes > max_bytes:
            files.append([])
            size = 0
        files[-1].append(tensor)
        size += tensor.bytes
    return files


def write_shards(
    files: Sequence[tuple[Path, Sequence[Planned]]],
    tensors: Iterator[tuple[str, Tensor]],
    advance: Callable[[float], None],
) -> None:
    """Write the files one after another from `tensors`, which come in the planned order; flushed to disk."""
    for path, planned in files:
        with path.open("wb") as file:
            file.write(header([(one.name, CODES[one.dtype], one.shape, one.bytes) for one in planned]))
            for expected in planned:
                name, tensor = next(tensors)
                assert (name, tuple(tensor.shape)) == (expected.name, expected.shape), (name, expected)
                # the bytes of a tensor, without a copy where it already has the dtype
                raw = tensor.to(expected.dtype).contiguous().flatten().view(torch.uint8).numpy()
                file.write(raw.data)
                advance(expected.bytes)
                del tensor, raw  # before the next one is read
            file.flush()
            os.fsync(file.fileno())
    assert next(tensors, None) is None, "every tensor was planned"
