"""Sweeps that are stopped, killed, shared by two processes, extended, and gone on with."""

from __future__ import annotations

import json
import signal

import pytest
from small_sweep import Sweeps, descendants, gone, kill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_stopped_killed_twice_and_gone_on_with_it_is_the_sweep_left_alone(sweeps: Sweeps) -> None:
    """SIGTERM saves; SIGKILL of the sweep, then of one of its runs, leaves nothing running, loses nothing."""
    keys = {
        "grid": {"schedule.lr_max": [0.005, 0.01]},
        "budgets": [20480],
        "set": {"checkpoint.every_steps": 10},
    }
    sweeps.write("alone", **keys)
    sweeps.made("alone", "--jobs", "1")
    sweeps.write("killed", **keys)
    started = sweeps.start("killed", "--jobs", "2")
    sweeps.until(started, "killed", 25)
    started.signal(signal.SIGTERM)
    assert started.wait().code == 130
    for updates in (40, 70):
        started = sweeps.start("killed", "--jobs", "2")
        sweeps.until(started, "killed", updates)
        runs = descendants(started.process.pid)
        kill(started.process.pid)
        assert started.wait().code == -signal.SIGKILL
        assert gone(runs)
    started = sweeps.start("killed", "--jobs", "2", "--json")
    sweeps.until(started, "killed", 100)
    kill(descendants(started.process.pid)[-1])
    ended = started.wait()
    assert ended.code == 0, ended.output
    assert '"finished": 2' in json.dumps(json.loads(ended.output.strip().splitlines()[-1]))
    for run in sweeps.plan("killed").runs:
        one, other = sweeps.files("alone", run), sweeps.files("killed", run)
        assert one.metrics == other.metrics
    one, other = sweeps.rows("alone"), sweeps.rows("killed")
    assert {name: row["loss"] for name, row in one.items()} == {
        name: row["loss"] for name, row in other.items()
    }


def test_two_parts_at_once_fill_one_table(sweeps: Sweeps) -> None:
    sweeps.write("parts", grid={"schedule.lr_max": [0.002, 0.005, 0.01]}, budgets=[2560])
    both = [sweeps.start("parts", "--jobs", "1", "--part", f"{part}/2") for part in (1, 2)]
    assert [started.wait().code for started in both] == [0, 0]
    assert [row["status"] for row in sweeps.rows("parts").values()] == ["finished"] * 3


def test_a_part_that_somebody_is_at_work_on_is_refused(sweeps: Sweeps) -> None:
    sweeps.write("taken", grid={"schedule.lr_max": [0.002]}, budgets=[256 * 2000])
    first = sweeps.start("taken", "--jobs", "1")
    sweeps.until(first, "taken", 5)
    second = sweeps.start("taken", "--jobs", "1").wait()
    assert second.code == 2
    assert "another process is at work on part 1 of 1" in second.output
    first.signal(signal.SIGTERM)
    assert first.wait().code == 130


def test_it_goes_on_beyond_the_grid_until_the_best_is_inside(sweeps: Sweeps) -> None:
    """From rates that are too low, and the same if it is looked at once more."""
    rates = [1e-5, 1e-4]
    sweeps.write("beyond", grid={"schedule.lr_max": rates}, extend={"key": "schedule.lr_max", "rounds": 2})
    sweeps.made("beyond", "--jobs", "1")
    rows = sweeps.rows("beyond")
    assert [float(row["lr"]) for row in rows.values()] == [1e-5, 1e-4, 1e-3, 1e-2]
    sweeps.made("beyond", "--jobs", "1")
    assert sweeps.rows("beyond") == rows


def test_what_failed_is_tried_again_when_asked_for(sweeps: Sweeps) -> None:
    limit = {"data.max_epochs": {"text": 1e-6}}
    sweeps.write("again", list=[{"schedule.lr_max": 0.01}], budgets=[2560], set=limit)
    sweeps.made("again", "--jobs", "1")
    assert next(iter(sweeps.rows("again").values()))["status"].startswith("failed")
    corpus = sweeps.folder / "again.yaml"
    corpus.write_text(corpus.read_text().replace("1.0e-06", "1.0"))
    assert sweeps.start("again", "--jobs", "1").wait().code == 2  # another base
    (sweeps.folder / "sweeps" / "again" / "sweep.json").unlink()
    sweeps.made("again", "--jobs", "1")
    assert next(iter(sweeps.rows("again").values()))["status"].startswith("failed")
    sweeps.made("again", "--jobs", "1", "--resume")
    assert next(iter(sweeps.rows("again").values()))["status"] == "finished"
