"""Goodput of run folders made by hand, whose every second is known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.monitor.goodput import CAUSES, Goodput, goodput
from pretrain.monitor.status import write_status

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Folder:
    """A run folder that is written as time passes, and how long each thing took."""

    def __init__(self, path: Path, *, timed: bool = True) -> None:
        self.path = path
        self.timed = timed
        self.now = BEGIN
        self.spent = dict.fromkeys((*CAUSES, "trained"), 0.0)
        self.lines: list[dict[str, Any]] = []
        self.pauses: dict[str, float] = {}
        self.step = self.starts = 0

    def pass_by(self, seconds: float, cause: str | None) -> None:
        self.now += timedelta(seconds=seconds)
        if cause:
            self.spent[cause] += seconds

    def event(self, event: str, **facts: Any) -> None:
        self._append("events.jsonl", {"time": self.now.isoformat(), "event": event, **facts})

    def start(self, kind: str, before: float, after: float) -> None:
        """A process that is `before` seconds old when it says so, and updates `after` seconds later."""
        self.starts += 1
        self.pass_by(before, "setup")
        self.event(kind, **({"setup_seconds": before} if self.timed else {}))
        self.pass_by(after, "setup")

    def update(self, seconds: float, *, skipped: bool = False) -> None:
        self.step += 1
        self.pass_by(seconds, "left_out" if skipped else "trained")
        line = {"step": self.step, "seconds": seconds, "skipped": skipped}
        if self.timed:
            line |= {"time": self.now.isoformat()} | ({"pauses": self.pauses} if self.pauses else {})
        self.lines.append(line)
        self.pauses = {}

    def pause(self, name: str, seconds: float, cause: str) -> None:
        self.pass_by(seconds, cause)
        self.pauses[name] = self.pauses.get(name, 0.0) + seconds

    def back(self, step: int) -> None:
        """What is later counts as thrown away."""
        for line in self.lines[step:]:
            self.spent["left_out" if line["skipped"] else "trained"] -= line["seconds"]
            self.spent["thrown_away"] += line["seconds"]
            self._append("timing.discarded.jsonl", line)
        self.lines, self.step = self.lines[:step], step

    def close(self) -> Goodput:
        for line in self.lines:
            self._append("timing.jsonl", line)
            metrics = {"step": line["step"], "kind": "train"}
            self._append("metrics.jsonl", metrics | ({"skipped": True} if line["skipped"] else {}))
        return goodput(self.path)

    def check(self, found: Goodput) -> None:
        assert found.trained_seconds == pytest.approx(self.spent["trained"], abs=1e-4)
        for cause in CAUSES:
            assert found.lost_seconds[cause] == pytest.approx(self.spent[cause], abs=1e-4), cause
        assert found.seconds == pytest.approx((self.now - BEGIN).total_seconds(), abs=1e-4)
        assert found.starts == self.starts

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with (self.path / name).open("a") as file:
            file.write(json.dumps(line) + "\n")


def test_a_run_that_was_killed_rewound_and_stopped_is_accounted_for_to_the_second(tmp_path: Path) -> None:
    run = Folder(tmp_path)
    run.start("start", 20, 5)
    for _ in range(4):
        run.update(2.0)
    run.pause("saving", 1.5, "saving")
    run.update(2.0)
    run.update(3.0, skipped=True)
    run.pass_by(100, "down")  # killed: nobody knows when
    run.back(4)
    run.start("resume", 10, 1)
    run.update(2.0)
    run.pause("evaluation", 7, "evaluation")
    run.pass_by(0.25, "other")
    run.update(2.5, skipped=True)
    run.update(2.0)
    run.back(6)
    run.pause("rewind", 4, "thrown_away")
    run.event("rewind", step=6)
    run.update(2.0)
    run.pause("saving", 0.5, "saving")
    run.event("stop", step=7, pauses=run.pauses)
    found = run.close()
    run.check(found)
    assert found.trained_seconds == 4 * 2 + 2 + 2
    assert found.lost_seconds["thrown_away"] == 2 + 3 + 2 + 4
    assert found.lost_seconds["left_out"] == 2.5
    assert found.share == pytest.approx(12 / found.seconds)


def test_every_pause_of_the_loop_is_accounted_for(tmp_path: Path) -> None:
    """By the names that the loop gives them."""
    sources = (Path(__file__).parents[3] / "pretrain" / "loop").glob("*.py")
    names = {name for source in sources for name in re.findall(r'pause\("(\w+)"\)', source.read_text())}
    causes = {
        "evaluation": "evaluation",
        "tasks": "evaluation",
        "saving": "saving",
        "rewind": "thrown_away",
        "report": "other",
    }
    assert names == causes.keys()
    run = Folder(tmp_path)
    run.start("start", 1, 1)
    for number, (name, cause) in enumerate(causes.items()):
        run.pause(name, 10 + number, cause)
    run.update(1.0)
    run.check(run.close())


LIVES = st.lists(
    st.tuples(
        st.floats(0.1, 50),
        st.floats(0, 20),
        st.lists(
            st.tuples(
                st.floats(0.01, 9), st.booleans(), st.sampled_from(["", "evaluation", "saving", "report"])
            ),
            max_size=6,
        ),
        st.floats(0.1, 1000),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(lives=LIVES)
def test_the_parts_are_what_they_were_and_add_up_to_the_whole(
    lives: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = Folder(tmp_path_factory.mktemp("run"))
    for number, (before, after, updates, down, lost) in enumerate(lives):
        if number:
            run.back(max(0, run.step - lost))
        run.start("resume" if number else "start", before, after)
        for seconds, skipped, pause in updates:
            run.update(seconds, skipped=skipped)
            if pause:
                run.pause(pause, 1.0, pause if pause in CAUSES else "other")
        run.event("stop", pauses=run.pauses)
        run.pauses = {}
        if number < len(lives) - 1:
            run.pass_by(down, "down")
    found = run.close()
    if any(life[2] for life in lives):
        run.check(found)
    assert found.trained_seconds + sum(found.lost_seconds.values()) == pytest.approx(found.seconds)
    assert 0 <= found.share <= 1
    assert min(found.lost_seconds.values()) >= 0


def test_the_time_that_a_finished_run_waits_to_be_extended_is_not_its_own(tmp_path: Path) -> None:
    run = Folder(tmp_path)
    run.start("start", 2, 0)
    run.update(8.0)
    run.event("finish", step=1)
    run.pass_by(1e6, None)
    run.start("resume", 1, 0)
    run.update(9.0)
    found = run.close()
    assert found.seconds == pytest.approx(20)
    assert found.share == pytest.approx(17 / 20)
    assert found.lost_seconds["down"] == 0


@pytest.mark.parametrize(("state", "cause"), [("running", "other"), ("failed", "down")])
def test_until_now_a_run_is_at_work_or_down(tmp_path: Path, state: Any, cause: str) -> None:
    run = Folder(tmp_path)
    run.start("start", 5, 0)
    run.update(5.0)
    run.close()
    write_status(tmp_path, state, 1)
    found = goodput(tmp_path, run.now + timedelta(seconds=30))
    assert found.seconds == pytest.approx(40)
    assert found.lost_seconds[cause] == pytest.approx(30)


def test_a_record_without_times_still_adds_up(tmp_path: Path) -> None:
    """Of an older run: what a kill threw away lies between its last event and the next start."""
    run = Folder(tmp_path, timed=False)
    run.event("start")
    run.starts = 1
    for _ in range(6):
        run.update(5.0)
        if run.step == 3:
            run.event("checkpoint", step=3)
    run.pass_by(40, "down")
    run.back(3)
    run.event("resume")
    run.starts = 2
    for _ in range(3):
        run.update(5.0)
    run.event("finish")
    found = run.close()
    assert found.seconds == pytest.approx(30 + 40 + 15)
    assert found.trained_seconds == 30
    assert found.lost_seconds["thrown_away"] == 15
    assert found.trained_seconds + sum(found.lost_seconds.values()) == pytest.approx(found.seconds)


def test_a_folder_of_nothing_has_no_goodput(tmp_path: Path) -> None:
    found = goodput(tmp_path)
    assert (found.seconds, found.share, found.starts) == (0.0, 0.0, 0)


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    for text in path.read_text().splitlines():
        yield json.loads(text)


def test_a_line_that_a_kill_left_in_both_files_counts_once(tmp_path: Path) -> None:
    run = Folder(tmp_path)
    run.start("start", 1, 0)
    run.update(2.0)
    run.update(3.0)
    run.close()
    twice = list(lines_of(tmp_path / "timing.jsonl"))[1]
    (tmp_path / "timing.discarded.jsonl").write_text(json.dumps(twice) + "\n")
    found = goodput(tmp_path)
    assert (found.trained_seconds, found.lost_seconds["thrown_away"]) == (5.0, 0.0)
