"""A run that is looked at in every way, killed and continued: the numbers are those of one that is not."""

from __future__ import annotations

import json
import signal

import pytest
from trial import RunFiles, Trial

pytestmark = pytest.mark.slow
WATCHED = ("trackers.statistics_every=1", "trackers.profile_steps=[3]", "trackers.memory_snapshot_steps=[4]")
BARE = ("trackers.statistics_every=null", "trackers.report=false", "trackers.tensorboard=false")


@pytest.fixture(scope="module")
def watched(trial: Trial) -> RunFiles:
    started = trial.start("watched", *WATCHED, config="moe")
    trial.until_saved(started, "watched", 10)
    trial.until(started, "watched", 13)
    started.signal_group(signal.SIGKILL)
    started.wait()
    return trial.finished("watched", *WATCHED, config="moe")


def test_looking_changes_no_byte_of_the_metrics(trial: Trial, watched: RunFiles) -> None:
    bare = trial.finished("bare", *BARE, config="moe")
    assert watched.metrics == bare.metrics
    assert not (bare.folder / "statistics.jsonl").exists()
    assert not (bare.folder / "samples.jsonl").exists()


def test_statistics_and_samples_neither_repeat_nor_miss_a_step(watched: RunFiles) -> None:
    assert [line["step"] for line in watched.lines("statistics.jsonl")] == list(range(1, 31))
    assert [line["step"] for line in watched.lines("samples.jsonl")] == [10, 20, 30]
    assert watched.lines("samples.jsonl")[-1]["samples"] == watched.summary["samples"]
    taken_back = watched.lines("statistics.discarded.jsonl")
    assert [line["step"] for line in taken_back] == list(range(11, 11 + len(taken_back)))
    kept = {line["step"]: line for line in watched.lines("statistics.jsonl")}
    assert all(line == kept[line["step"]] for line in taken_back)  # the same numbers again


def test_goodput_knows_of_the_kill(watched: RunFiles) -> None:
    goodput = watched.summary["goodput"]
    assert goodput["starts"] == 2
    assert goodput["lost_seconds"]["thrown_away"] > 0
    assert goodput["lost_seconds"]["down"] > 0
    assert goodput["trained_seconds"] + sum(goodput["lost_seconds"].values()) == pytest.approx(
        goodput["seconds"]
    )
    trained = sum(line["seconds"] for line in watched.lines("timing.jsonl"))
    assert goodput["trained_seconds"] == pytest.approx(trained)


def test_profiles_are_there_and_their_writing_is_no_update(watched: RunFiles) -> None:
    names = sorted(path.name for path in (watched.folder / "profile").iterdir())
    assert names == [
        "step_00000003_rank_0.json",
        "step_00000003_rank_0.txt",
        "step_00000004_rank_0.memory.txt",
    ]
    json.loads((watched.folder / "profile" / names[0]).read_text())


def test_a_start_says_what_it_was_made_with(watched: RunFiles) -> None:
    starts = [line for line in watched.lines("events.jsonl") if line["event"] in ("start", "resume")]
    assert len(starts) == 2
    for start in starts:
        assert start["setup_seconds"] > 0
        assert {"python", "torch", "deepspeed", "transformers"} <= start["versions"].keys()


def test_what_only_shows_a_run_stops_none(trial: Trial, watched: RunFiles) -> None:
    """A folder where the page should be, a damaged line of statistics, a file that is no evaluation."""
    started = trial.start("shown", *WATCHED, config="moe")
    trial.until_saved(started, "shown", 10)
    started.signal_group(signal.SIGKILL)
    started.wait()
    folder = trial.files("shown").folder
    (folder / "report.html").unlink(missing_ok=True)
    (folder / "report.html" / "in the way").mkdir(parents=True)
    statistics = folder / "statistics.jsonl"
    statistics.write_text("{broken\n" + statistics.read_text())
    (folder / "evaluations").mkdir()
    (folder / "evaluations" / "step_00000010.json").write_text("{}")
    run = trial.finished("shown", *WATCHED, config="moe")
    assert run.metrics == watched.metrics
    assert (folder / "statistics.damaged.jsonl").exists()
    assert run.summary["steps"] == 30
