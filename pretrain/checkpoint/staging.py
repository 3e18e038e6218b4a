"""The copy out of the model into memory of the host: the one part of a save that training waits for.

The memory is kept from save to save: taking it anew costs many times the copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pretrain.checkpoint.sharing import MAX_FILE_BYTES, Sharing
from pretrain.engine.base import Kind


class Stateful(Protocol):
    """The part of an engine that is saved."""

    def state(self) -> Iterator[tuple[Kind, str, Tensor]]:
        """Every tensor of the training state, whole and fp32, one at a time. Collective."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one rank writes, and how large the whole checkpoint is."""

    files: dict[str, list[tuple[str, Tensor]]]  # by file, the tensors by parameter name
    bytes: int  # of all ranks' tensors


class Staging:
    """The host memory of one rank's share."""

    def __init__(self, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self._max_file_bytes = max_file_bytes
        self._buffers: dict[tuple[Kind, str], Tensor] = {}

    def copy(self, engine: Stateful, num_ranks: int, rank: int | None) -> Share:
        """Copy the share of `rank` (None: of nobody) out of the engine. Collective.

        What it gives holds until the next copy.
        """
        sharing = Sharing(num_ranks, self._max_file_bytes)
        files: dict[str, list[tuple[str, Tensor]]] = {}
        on_gpu = False
        for kind, name, tensor in engine.state():
            assert tensor.dtype == torch.float32, "the canonical state is fp32"
            place = sharing.place(kind, tensor.numel() * tensor.element_size())
            if place.rank == rank:
                buffer = self._buffer((kind, name), tensor)
                buffer.copy_(tensor.detach(), non_blocking=True)
                files.setdefault(place.file, []).append((name, buffer))
                on_gpu = on_gpu or tensor.is_cuda
        if on_gpu:
            torch.cuda.synchronize()
        return Share(files=files, bytes=sharing.bytes)

    def _buffer(self, key: tuple[Kind, str], tensor: Tensor) -> Tensor:
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape != tensor.shape:
            buffer = torch.empty(tensor.shape, dtype=torch.float32, device="cpu", pin_memory=tensor.is_cuda)
            self._buffers[key] = buffer
        return buffer
