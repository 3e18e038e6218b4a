"""An engine that is only its state, saves of it by one or several ranks, and whether one came back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.saver import Saved, Saver
from pretrain.engine.base import KINDS, Kind
from pretrain.ranks import Ranks

SHAPES = {"embedding": (7, 3), "layers.0.norm.weight": (5,), "layers.0.experts": (2, 3, 4), "head": (40,)}
ALONE = Ranks(rank=0, size=1, local_rank=0, local_size=1, address="", port=0)
IN_LINE = CheckpointOptions(asynchronous=False, keep_last=1)
BEHIND = CheckpointOptions(keep_last=1)


class StoredState:
    """Numbers from a seed."""

    def __init__(self, seed: int, shapes: dict[str, tuple[int, ...]] | None = None) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tensors = {
            (kind, name): torch.randn(shape, generator=generator)
            for kind in KINDS
            for name, shape in (shapes or SHAPES).items()
        }

    def state(self) -> Iterator[tuple[Kind, str, Tensor]]:
        for (kind, name), tensor in self.tensors.items():
            yield kind, name, tensor


def savers(root: Path, options: CheckpointOptions, size: int) -> list[Saver]:
    """The savers of all ranks of a run, here in one process."""
    store = dist.HashStore()
    return [Saver(root, options, replace(ALONE, rank=rank, size=size), store) for rank in range(size)]


def saved_by_all(
    those: list[Saver], seed: int, step: int, score: float | None = None
) -> tuple[list[Saved], list[Saved | None]]:
    """Every rank saves; what the first is told, and what each waited for."""
    for saver in those:
        saver.save(StoredState(seed), Position(step=step, tokens=10 * step), {"facts": seed}, score)
    waited = [saver.wait() for saver in those]
    assert not any(saver.finished() for saver in those[1:])
    return those[0].finished(), waited


def save_alone(root: Path, seed: int, step: int, options: CheckpointOptions = IN_LINE) -> Saved:
    """One rank saves."""
    told, _ = saved_by_all(savers(root, options, 1), seed, step)
    assert len(told) == 1
    return told[0]


def same(checkpoint: Checkpoint, seed: int) -> bool:
    """Whether a checkpoint holds the numbers of this seed, every bit of them."""
    tensors = StoredState(seed).tensors
    held = sum(len(entry["tensors"]) for entry in checkpoint.files.values())
    return held == len(tensors) and all(
        torch.equal(checkpoint.tensor(kind, name), tensor) for (kind, name), tensor in tensors.items()
    )
