"""Saving while training goes on: the state is copied out of the model, the rest happens in the background."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from pretrain.checkpoint.aside import Aside
from pretrain.checkpoint.keep import SCORE
from pretrain.checkpoint.notes import Notes
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.space import explain, needed_bytes
from pretrain.checkpoint.staging import Share, Staging, Stateful
from pretrain.checkpoint.together import Failed, Together, write_alone
from pretrain.ranks import Ranks

if TYPE_CHECKING:
    import torch.distributed as dist


@dataclass(frozen=True, kw_only=True)
class Saved:
    """How a save ended."""

    step: int
    path: Path
    seconds: float  # from the copy to the name
    bytes: int  # of tensors, over all ranks
    error: str | None = None  # why there is no such checkpoint
    note: str | None = None  # what went wrong after there was one


class Saver:
    """Saves of one run, one after another. Calls of `save` and `wait` are made by every rank alike."""

    def __init__(
        self, root: Path, options: CheckpointOptions, ranks: Ranks, store: dist.Store | None = None
    ) -> None:
        assert store is not None or ranks.size == 1, "several ranks need a store to agree"
        self.root = root
        self.options = options
        self.ranks = ranks
        self._store = store
        self._staging = Staging()
        self._number = 0  # of saves: a step may be saved again after a rewind
        self._thread: threading.Thread | None = None
        self._last: Saved | None = None
        self._ended: SimpleQueue[Saved] = SimpleQueue()

    def save(
        self, engine: Stateful, position: Position, facts: Mapping[str, Any], score: float | None = None
    ) -> None:
        """Copy the state out of the model; the rest happens behind, unless the options ask for it in line.

        `facts`: JSON values kept beside the position (config, hashes). `score`: the validation loss of these
        weights, where it is known. Collective; waits for the save before.
        """
        self.wait()
        began = time.monotonic()
        share = self._staging.copy(engine, self.ranks.size, self.ranks.rank)
        self._number += 1
        how = {"ranks": self.ranks.size, "asynchronous": self.options.asynchronous}
        content = {"position": asdict(position), **facts, SCORE: _finite(score), "saved": how}
        content = json.loads(json.dumps(content))  # as it is now
        arguments = (Aside(self.root, position.step), share, content, began)
        if not self.options.asynchronous:
            self._write(*arguments)
            return
        # a daemon: it must not keep a process that is told to end at once
        self._thread = threading.Thread(target=self._write, args=arguments, name="saving", daemon=True)
        self._thread.start()

    def finished(self) -> list[Saved]:
        """The saves that ended since this was last asked, on the first rank; never waits."""
        found = []
        while True:
            try:
                found.append(self._ended.get_nowait())
            except Empty:
                return found

    def wait(self) -> Saved | None:
        """Until nothing is under way; how the last save ended, the same on every rank."""
        if self._thread:
            self._thread.join()
            self._thread = None
        return self._last

    def _write(self, aside: Aside, share: Share, content: Mapping[str, Any], began: float) -> None:
        step = content["position"]["step"]
        saved = Saved(step=step, path=aside.target, seconds=0.0, bytes=share.bytes)
        try:
            saved = replace(saved, note=self._as_rank(aside, share, content))
        except Failed as error:
            saved = replace(saved, error=str(error))
        except Exception as error:  # of a thread, where it would be lost
            saved = replace(saved, error=explain(error, self.root, needed_bytes(share.bytes)))
        self._last = saved = replace(saved, seconds=time.monotonic() - began)
        if self.ranks.first:
            self._ended.put(saved)

    def _as_rank(self, aside: Aside, share: Share, content: Mapping[str, Any]) -> str | None:
        if self.ranks.size == 1:
            return write_alone(aside, share, content, self.options)
        assert self._store is not None
        notes, before = (Notes(self._store, str(number)) for number in (self._number, self._number - 1))
        together = Together(notes=notes, before=before, num_ranks=self.ranks.size)
        if self.ranks.first:
            return together.first(aside, share, content, self.options)
        together.other(aside, share, self.ranks.rank)
        return None


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
