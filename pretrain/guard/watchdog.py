"""A thread in every rank that ends the job when nothing moves, and says which rank is late and where.

The job ends with the exit code AGAIN: whoever started it should start it again.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.guard.blame import SILENT_BEATS, blame, silent
from pretrain.guard.health import HealthOptions
from pretrain.guard.notes import Board, Note, another, note_of, process_state, read_if_there, within
from pretrain.guard.signals import StopRequests
from pretrain.monitor.record import EVENTS, JsonLines
from pretrain.monitor.status import write_status
from pretrain.ranks import STOP_ASKED, Ranks

if TYPE_CHECKING:
    import torch.distributed as dist

BEGIN = "begin"  # what a rank does until it builds: claim the folder, prepare the data
FAILED = "failed"  # the key of a rank's last words
AGAIN = 75  # EX_TEMPFAIL: not the run's fault, start it again
BEATS = 20  # looks at the clock, and at the others, in the time that nothing may move
MAX_BEAT_SECONDS = 5.0
ANSWER_SECONDS = 5.0  # for a store or a file system that may be what hangs
# launchers kill the others 30 seconds after the first has died: what is known has to be said before
WORD_SECONDS, AGAIN_SECONDS = 3.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Move:
    """The last progress of this rank."""

    count: int
    doing: str
    step: int
    at: float
    seconds: float  # that it may take


class Watchdog:
    """Watches over this rank's progress, and over the others' lives."""

    def __init__(
        self,
        options: HealthOptions,
        ranks: Ranks,
        store: dist.Store,
        folder: Path,
        requests: StopRequests | None = None,
    ) -> None:
        self.seconds = options.watchdog_seconds
        self.ranks = ranks
        self.folder = folder
        self.requests = requests
        self.board = Board(ranks, store)
        self._move = Move(count=0, doing=BEGIN, step=0, at=time.monotonic(), seconds=float("inf"))
        self._closed = threading.Event()
        self._verdict: str | None = None
        self._beat = min(MAX_BEAT_SECONDS, (self.seconds or MAX_BEAT_SECONDS * BEATS) / BEATS)
        if self.seconds is not None:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        if ranks.size > 1:
            threading.Thread(target=self._talk, name="watchdog's notes", daemon=True).start()

    def at(self, doing: str, step: int, *, extra_seconds: float = 0.0) -> None:
        """Progress: this rank begins `doing` for update `step`, which may take so much longer than usual."""
        allowed = (self.seconds or float("inf")) + extra_seconds
        self._move = Move(
            count=self._move.count + 1, doing=doing, step=step, at=time.monotonic(), seconds=allowed
        )

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()

    def failed(self, reason: str) -> None:
        """Leave word for the ranks that will only see that this one is gone."""
        if self.ranks.size > 1:
            word = f"rank {self.ranks.rank}: {reason}"
            within(ANSWER_SECONDS, lambda: another(self.board.store).set(FAILED, word))

    def missing(self) -> str:
        """What this rank can tell of the others when it has lost one of them."""
        board = Board(self.ranks, self.board.store)
        board.heard = self.board.heard
        for beat in range(2):  # a rank on another machine is missed when its note stays as it is
            within(WORD_SECONDS, partial(board.exchange, self._note(-beat), everyone=True))
            word = within(WORD_SECONDS, lambda: read_if_there(another(self.board.store), FAILED))
            if word or any(process_state(heard.note) for heard in board.heard.values()):
                break
            time.sleep(min(SILENT_BEATS * self._beat, AGAIN_SECONDS) * (1 - beat))
        return word or blame(board, self._note(0), self._beat)

    def _note(self, beat: int) -> Note:
        return note_of(beat, self._move.count, f"{self._move.doing} {self._move.step}")

    def _stuck_seconds(self) -> float:
        return time.monotonic() - self._move.at

    def _talk(self) -> None:
        """Exchange notes for ever; may never come back from a store that does not answer."""
        for beat in count(1):
            if self._closed.wait(self._beat):
                return
            close = self._stuck_seconds() > self._move.seconds / 2
            try:
                self._verdict = self.board.exchange(self._note(beat), everyone=self.ranks.first or close)
                self._relay_stop()
            except RuntimeError:
                return  # the store went with the first rank: the next collective will say so, too

    def _relay_stop(self) -> None:
        """Another rank was asked to stop while this one works alone."""
        if self.ranks.first and self.requests and not self.requests.reason:
            asked = read_if_there(another(self.board.store), STOP_ASKED)
            if asked:
                self.requests.ask(asked)

    def _watch(self) -> None:
        looked = woke = time.monotonic()
        while not self._closed.wait(self._beat):
            slept, looked = time.monotonic() - looked, time.monotonic()
            move = self._move
            if slept > SILENT_BEATS * self._beat:
                self._move, woke = replace(move, at=looked), looked  # this process was stopped itself
            elif self._verdict:
                self._end(self._verdict, mine=False)
            elif self._stuck_seconds() > move.seconds:
                late = blame(self.board, self._note(0), self._beat)
                what = f"no progress for {move.seconds:g} s in '{move.doing} {move.step}'"
                self._end(f"{what}: {late}", mine=True)
            elif self.ranks.size > 1 and (lost := self._lost(woke)):
                self._end(f"a rank is lost in '{move.doing} {move.step}': {lost}", mine=True)

    def _lost(self, since: float) -> str | None:
        # after what stuck ranks get: who hangs in a collective with the lost one says more
        seconds, beats = (self.seconds or 0) + SILENT_BEATS * self._beat, SILENT_BEATS * self._beat
        return silent(self.board, seconds, gone_seconds=beats, since=since)

    def _end(self, verdict: str, *, mine: bool) -> None:
        if mine and self.ranks.size > 1:
            told = within(ANSWER_SECONDS, lambda: self.board.end(verdict))
            mine = told if told is not None else self._speaks()
        print(f"\nwatchdog: rank {self.ranks.rank}: {verdict}", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(sys.stderr)
        within(ANSWER_SECONDS, self._write_stacks)
        if mine:
            within(ANSWER_SECONDS, lambda: self._record(verdict))
        time.sleep(2 * self._beat)  # a launcher ends all ranks with the first: the others want to speak, too
        os._exit(AGAIN)

    def _speaks(self) -> bool:
        """Whether this rank writes for all where the store does not answer, nor its server."""
        return self.ranks.rank == (0 if self.ranks.served else 1)

    def _write_stacks(self) -> None:
        if self._move.doing == BEGIN:
            return
        with (self.folder / f"stacks.rank_{self.ranks.rank}.txt").open("w") as file:
            faulthandler.dump_traceback(file)

    def _record(self, verdict: str) -> None:
        if self._move.doing == BEGIN:
            return  # the folder may be another job's: what was said on standard error is all
        write_status(self.folder, "failed", max(0, self._move.step - 1), verdict)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with JsonLines(self.folder / EVENTS) as events:
            events.append({"time": now, "event": "hang", "step": self._move.step, "reason": verdict})
