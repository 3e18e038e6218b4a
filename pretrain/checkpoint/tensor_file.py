"""A file of safetensors as bytes: its header, and writing it hashed and flushed to disk.

A file begins with 8 bytes, the length of its header, and the header, JSON that says where each tensor lies
in the bytes behind it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ALIGNMENT = 8  # of the tensors' bytes, which the header is padded to
CHUNK_BYTES = 16 * 2**20  # written at a time
MAX_HEADER_BYTES = 100 * 2**20  # what safetensors itself accepts
Described = tuple[str, str, Sequence[int], int]
"""(name, safetensors' code of the dtype, shape, bytes) of a tensor."""


def header(tensors: Sequence[Described]) -> bytes:
    """The beginning of a file that holds these tensors one behind another."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}  # without which transformers refuses it
    start = 0
    for name, code, shape, num_bytes in tensors:
        entries[name] = {"dtype": code, "shape": list(shape), "data_offsets": [start, start + num_bytes]}
        start += num_bytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in a file; ValueError where it is none. Loads no torch."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"{path}: no file of safetensors")
        entries = json.loads(file.read(length))
    try:
        return {name: _sizes(entry["shape"]) for name, entry in entries.items() if name != "__metadata__"}
    except (AttributeError, KeyError, TypeError):
        raise ValueError(f"{path}: no file of safetensors") from None


def _sizes(shape: Any) -> tuple[int, ...]:
    if not all(type(size) is int and size >= 0 for size in shape):
        raise TypeError(f"{shape} is no shape")
    return tuple(shape)


def write_tensor_file(path: Path, tensors: Sequence[tuple[str, Tensor]]) -> dict[str, Any]:
    """Write fp32 tensors of the CPU, on the disk when it returns; what a manifest says of the file."""
    head = header([(name, "F32", tuple(tensor.shape), 4 * tensor.numel()) for name, tensor in tensors])
    with ThreadPoolExecutor(1) as hasher:  # beside the writing: each takes as long as the other
        digest = hasher.submit(_digest, head, tensors)
        size = _write(path, head, tensors)
        sha256 = digest.result()
    return {"bytes": size, "sha256": sha256, "tensors": sorted(name for name, _ in tensors)}


def _digest(head: bytes, tensors: Sequence[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(head, tensors):
        digest.update(chunk)
    return digest.hexdigest()


def _write(path: Path, head: bytes, tensors: Sequence[tuple[str, Tensor]]) -> int:
    size = 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        for chunk in _chunks(head, tensors):
            _write_all(descriptor, chunk)
            size += len(chunk)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return size


def _chunks(head: bytes, tensors: Sequence[tuple[str, Tensor]]) -> Iterator[memoryview]:
    yield memoryview(head)
    for _, tensor in tensors:
        raw = tensor.contiguous().view(-1).numpy().data.cast("B")
        for start in range(0, len(raw), CHUNK_BYTES):
            yield raw[start : start + CHUNK_BYTES]


def _write_all(descriptor: int, chunk: memoryview) -> None:
    while len(chunk):  # a disk that fills up takes a part first
        chunk = chunk[os.write(descriptor, chunk) :]
