"""What each rank leaves in the store about itself, so that the others can say who is late and where.

The store may be what hangs, since it lives in the first rank's process: everything here is done in threads
that can be left behind, each with a connection of its own.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pretrain.ranks import Ranks

if TYPE_CHECKING:
    import torch.distributed as dist

KEY = "note of rank"
ENDS = "the job ends"  # the key of the reason why
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Note:
    """One rank's word about itself."""

    host: str
    pid: int
    beat: int  # grows while the process lives
    moves: int  # grows with its progress
    doing: str  # what it began last, and of which update
    line: str  # where its main thread is


@dataclass(frozen=True, kw_only=True)
class Heard:
    """The last note of a rank, and when its beat was last another one."""

    note: Note
    at: float


class Board:
    """The notes of all ranks."""

    def __init__(self, ranks: Ranks, store: dist.Store) -> None:
        self.ranks = ranks
        self.store = store
        self.heard: dict[int, Heard] = {}
        self.answered = time.monotonic()  # when the store last did
        self._own: dist.Store | None = None

    def exchange(self, note: Note, *, everyone: bool) -> str | None:
        """Leave `note`; read the first rank's, and all where `everyone`; why the job ends, if it does.

        Called by one thread, which may never come back.
        """
        self._own = store = self._own or another(self.store)
        store.set(f"{KEY} {self.ranks.rank}", json.dumps(asdict(note)))
        for rank in range(self.ranks.size):
            if rank != self.ranks.rank and (everyone or rank == 0 or rank not in self.heard):
                self._read(store, rank)
        self.answered = time.monotonic()
        return read_if_there(store, ENDS)

    def _read(self, store: dist.Store, rank: int) -> None:
        key = f"{KEY} {rank}"
        if store.check([key]):
            note = Note(**json.loads(store.get(key)))
            before = self.heard.get(rank)
            if before is None or before.note.beat != note.beat:
                self.heard[rank] = Heard(note=note, at=time.monotonic())

    def end(self, verdict: str) -> bool:
        """Tell every rank that the job ends; whether this rank was the first to say so."""
        store = another(self.store)
        store.set(ENDS, verdict)
        return store.add(f"{ENDS}, said", 1) == 1


def another(store: dist.Store) -> dist.Store:
    """A connection to the same store, for another thread."""
    return store.clone()  # type: ignore[attr-defined]


def read_if_there(store: dist.Store, key: str) -> str | None:
    """The value of a key that may not have been set; never waits for it."""
    return store.get(key).decode() if store.check([key]) else None


def note_of(beat: int, moves: int, doing: str) -> Note:
    """This process's note of now."""
    return Note(
        host=socket.gethostname(), pid=os.getpid(), beat=beat, moves=moves, doing=doing, line=main_line()
    )


def main_line() -> str:
    """The innermost line of this project where the main thread is, or of whatever it runs."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    innermost = frame
    while frame is not None and "/pretrain/" not in frame.f_code.co_filename:
        frame = frame.f_back
    frame = frame or innermost
    if frame is None:
        return "unknown"
    file = Path(frame.f_code.co_filename)
    return f"{file.parent.name}/{file.name}:{frame.f_lineno} in {frame.f_code.co_name}"


def process_state(note: Note) -> str | None:
    """`gone` or `stopped` where this machine can see that of the note's process; None: nothing is wrong."""
    if note.host != socket.gethostname():
        return None
    try:
        state = Path(f"/proc/{note.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return "gone"
    return {"Z": "gone", "X": "gone", "T": "stopped", "t": "stopped"}.get(state)


def within(seconds: float, work: Callable[[], T]) -> T | None:
    """The result of `work`, or None where it fails or takes longer; it is then left behind."""
    results: list[T] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            print(f"watchdog: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return results[0] if results else None
