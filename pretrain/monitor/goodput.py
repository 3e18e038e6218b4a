"""Goodput: the share of a run's wall time that trained tokens which are kept, and where the rest went.

The wall time goes from the beginning of the first process to the last sign of the last one; the time between
the end of a finished run and a start that extends it is not in it. A process gives signs of life by its
events and by the times of its updates (timing.jsonl, and timing.discarded.jsonl of those that a later start
or a rewind did not keep). The parts add up to the whole:

trained      updates that are kept
setup        from the beginning of a process to its first update: data, engine, weights, compilation ahead
evaluation   held-out loss, benchmark tasks and samples inside the loop
saving       what a save keeps the training from; writing goes on behind it and is not in it
thrown_away  updates that a kill, a stop without a save or a rewind took back, and the way back
left_out     updates that a spike kept from the weights
down         from the last sign of a process to the beginning of the next
other        what lies between updates and is none of these; what a kill left unmeasured

Of records without times of updates (older ones), what a kill threw away lies before the next start: it is
taken out of the time down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pretrain.monitor.record import EVENTS, METRICS, TIMING, discarded, read
from pretrain.monitor.status import read_status

STARTS = ("start", "resume", "branch")
FINISH = "finish"
CAUSES = ("setup", "evaluation", "saving", "thrown_away", "left_out", "down", "other")
PAUSES = {  # the others are `other`
    "evaluation": "evaluation",
    "tasks": "evaluation",
    "saving": "saving",
    "rewind": "thrown_away",
}

Line = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Goodput:
    """What the wall time of a run went into, restarts included."""

    seconds: float  # from the first start to the end, or to now
    trained_seconds: float
    starts: int
    lost_seconds: Mapping[str, float]  # by CAUSES; with `trained_seconds` they add up to `seconds`

    @property
    def share(self) -> float:
        """Of the wall time, that trained tokens which are kept: 0 to 1; 0 before there is any."""
        return self.trained_seconds / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class _Life:
    """One process of the run, by seconds since 1970."""

    began: float
    last: float  # sign of life
    finished: bool
    setup: float  # from its beginning to its first update, without pauses


def goodput(run_folder: Path, now: datetime | None = None) -> Goodput:
    """Of the run in this folder; up to `now` (with a time zone) where that is given and it is not finished.

    What follows the last sign is time down then, or, where status.json says that it runs, other.
    """
    events = read(run_folder / EVENTS)
    kept = read(run_folder / TIMING)
    known = {line["time"] for line in kept if "time" in line}  # a kill while going back leaves a line in both
    gone = [line for line in read(discarded(run_folder / TIMING)) if line.get("time") not in known]
    lives = _lives(events, [*kept, *gone])
    skipped = {line["step"] for line in read(run_folder / METRICS) if line.get("skipped")}
    lost = dict.fromkeys(CAUSES, 0.0)
    lost["left_out"] = _seconds(line for line in kept if line["step"] in skipped)
    lost["thrown_away"] = _seconds(gone)
    for pauses in (line.get("pauses", {}) for line in (*kept, *gone, *events)):
        for name, seconds in pauses.items():
            lost[PAUSES.get(name, "other")] += seconds
    lost["setup"] = sum(life.setup for life in lives)
    trained = _seconds(line for line in kept if line["step"] not in skipped)
    timed = all("time" in line for line in (*kept, *gone))
    return _whole(lives, lost, trained, _since(run_folder, lives, now), timed=timed)


def _whole(
    lives: Sequence[_Life], lost: dict[str, float], trained: float, since: tuple[str, float], *, timed: bool
) -> Goodput:
    """The parts that follow from the others; where clocks disagree, what was measured is believed."""
    between = [(early, max(0.0, late.began - early.last)) for early, late in pairwise(lives)]
    lost["down"] += sum(seconds for life, seconds in between if not life.finished)
    lost[since[0]] += since[1]
    idle = sum(seconds for life, seconds in between if life.finished)
    wall = lives[-1].last - lives[0].began - idle + since[1] if lives else 0.0
    excess = trained + sum(lost.values()) - wall
    if not timed and excess > 0:
        lost["down"] -= min(excess, lost["down"])
    lost["other"] += max(0.0, -excess)
    seconds = trained + sum(lost.values())
    return Goodput(seconds=seconds, trained_seconds=trained, starts=len(lives), lost_seconds=lost)


def _lives(events: Sequence[Line], lines: Sequence[Line]) -> list[_Life]:
    starts = [index for index, event in enumerate(events) if event["event"] in STARTS]
    timed = ((_time(line), line) for line in lines if "time" in line)
    updates = sorted(timed, key=lambda update: update[0])
    lives = []
    for start, end in pairwise([*starts, len(events)]):
        own, next_at = events[start:end], _time(events[end]) if end < len(events) else float("inf")
        at = _time(own[0])
        lives.append(_life(own, [(time, line) for time, line in updates if at <= time < next_at]))
    return lives


def _life(events: Sequence[Line], updates: Sequence[tuple[float, Line]]) -> _Life:
    began = _time(events[0]) - events[0].get("setup_seconds", 0.0)
    last = max([_time(event) for event in events] + [time for time, _ in updates])
    if updates:
        time, first = updates[0]
        setup = time - first["seconds"] - _paused(first) - began
    else:
        setup = last - began - sum(_paused(event) for event in events)
    finished = events[-1]["event"] == FINISH
    return _Life(began=began, last=last, finished=finished, setup=max(0.0, setup))


def _since(run_folder: Path, lives: Sequence[_Life], now: datetime | None) -> tuple[str, float]:
    """The seconds from the last sign of the run until now, and what they count as."""
    if now is None or not lives or lives[-1].finished:
        return "other", 0.0
    status = read_status(run_folder)
    cause = "other" if status and status.state == "running" else "down"
    return cause, max(0.0, now.astimezone(UTC).timestamp() - lives[-1].last)


def _seconds(lines: Iterable[Line]) -> float:
    return sum(line["seconds"] for line in lines)


def _paused(line: Line) -> float:
    return sum(line.get("pauses", {}).values())


def _time(line: Line) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()
