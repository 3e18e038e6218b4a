"""Runs that are killed, stopped, moved and extended: what continues is the run that was never interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
from trial import UPDATES, Ended, RunFiles, Trial

pytestmark = [pytest.mark.dist, pytest.mark.timeout(400)]
TORCH = "run.engine=torch"
FREE = (
    "batch.micro_sequences=2",
    "checkpoint.every_steps=7",
    "trackers.tensorboard=false",
    "guard.stop_file=HALT",
)


def living(name: str) -> list[str]:
    """Processes of the run of this name."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if f"run.name={name}" in command and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(" ".join(command))
    return found


def assert_gone(name: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while living(name):
        assert time.monotonic() < end, living(name)
        time.sleep(0.1)


def assert_whole(run: RunFiles) -> None:
    """Checkpoints and nothing half-written beside them."""
    assert all(name.startswith("step_") for name in run.checkpoints)
    assert {path.name for path in run.folder.glob("*.tmp")} == set()


def test_a_killed_run_continues_byte_for_byte(trial: Trial) -> None:
    whole, killed = trial.finished("dense"), trial.files("killed")
    started = trial.start("killed")
    trial.until_saved(started, "killed", step=10)
    trial.until(started, "killed", step=14)
    started.signal(signal.SIGKILL)
    started.wait()
    assert killed.status["state"] == "running"
    assert killed.checkpoints == ["step_00000010"]
    at_kill = killed.metrics
    ended = trial.run("killed")
    assert ended.code == 0, ended.output
    assert "Continuing killed after step 10 of 30" in ended.output
    assert killed.metrics == whole.metrics
    assert_whole(killed)
    discarded = (killed.folder / "metrics.discarded.jsonl").read_bytes()
    kept = len(
        b"".join(
            raw for raw, line in zip(whole_lines(whole), whole.lines(), strict=True) if line["step"] <= 10
        )
    )
    torn_off = at_kill[kept : at_kill.rfind(b"\n") + 1]
    assert discarded == torn_off
    assert len(killed.lines("metrics.discarded.jsonl", "train")) >= 4
    assert [line["step"] for line in killed.lines("timing.jsonl")] == list(range(1, UPDATES + 1))
    events = [line["event"] for line in killed.lines("events.jsonl")]
    assert events == ["start", "checkpoint", "resume", "checkpoint", "checkpoint", "finish"]


def whole_lines(run: RunFiles) -> list[bytes]:
    return run.metrics.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("name", "config", "ranks", "overrides"),
    [
        ("elastic", "dense", 2, ("deepspeed.zero_optimization.stage=3", *FREE)),
        pytest.param(
            "elastic-moe", "moe", 2, ("deepspeed.zero_optimization.stage=2",), marks=pytest.mark.slow
        ),
        pytest.param("elastic-torch", "dense", 2, (TORCH,), marks=pytest.mark.slow),
    ],
)
def test_a_run_continues_on_other_ranks_and_another_stage(
    trial: Trial, name: str, config: str, ranks: int, overrides: tuple[str, ...]
) -> None:
    whole = trial.finished(config, config=config)
    run = trial.copy(config, name, step=20)
    ended = trial.run(name, *overrides, config=config, launcher="torchrun", ranks=ranks)
    assert ended.code == 0, ended.output
    assert whole_lines(run)[:22] == whole_lines(whole)[:22]  # 20 updates and two evaluations as they were
    assert run.losses == pytest.approx(whole.losses, abs=1e-4)
    assert run.status["state"] == "finished"


@dataclass(frozen=True, kw_only=True)
class Stop:
    """One start that was stopped, and how the run folder stood after it."""

    ended: Ended
    status: dict[str, Any]
    steps: int
    checkpoints: list[str]


@pytest.fixture(scope="module")
def stops(trial: Trial) -> dict[str, Stop]:
    """One run, stopped in four ways, one after the other, then left to finish."""
    name, run, seen = "stopped", trial.files("stopped"), {}

    def note(how: str, ended: Ended) -> None:
        steps = len(run.lines(kind="train"))
        seen[how] = Stop(ended=ended, status=run.status, steps=steps, checkpoints=run.checkpoints)

    for how, step in (("SIGTERM", 3), ("SIGINT", 8), ("STOP", 13)):
        started = trial.start(name, TORCH)
        trial.until(started, name, step)
        if how == "STOP":
            (run.folder / "STOP").touch()
        else:
            started.signal(getattr(signal, how))
        note(how, started.wait())
    (run.folder / "STOP").unlink()
    note("guard.max_seconds=0.01", trial.run(name, TORCH, "guard.max_seconds=0.01"))
    note("the end", trial.run(name, TORCH))
    return seen


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "STOP", "guard.max_seconds=0.01"])
def test_a_stopped_run_saves_and_says_so(stops: dict[str, Stop], how: str) -> None:
    stop = stops[how]
    assert stop.ended.code == 0, stop.ended.output
    assert stop.steps < UPDATES
    assert (stop.status["state"], stop.status["step"]) == ("continue", stop.steps)
    assert how in stop.status["reason"]
    assert f"step_{stop.steps:08d}" in stop.checkpoints
    assert "the same command continues" in stop.ended.output
    assert "Traceback" not in stop.ended.output


def test_the_time_limit_is_kept(stops: dict[str, Stop]) -> None:
    assert stops["guard.max_seconds=0.01"].steps == stops["STOP"].steps + 1


def test_a_run_stopped_four_times_is_the_run(trial: Trial, stops: dict[str, Stop]) -> None:
    assert stops["the end"].ended.code == 0, stops["the end"].ended.output
    assert trial.files("stopped").metrics == trial.finished("dense-plain", TORCH).metrics
    assert not (trial.files("stopped").folder / "metrics.discarded.jsonl").exists()


@pytest.mark.slow
def test_a_run_without_its_summary_is_finished_again_without_training(trial: Trial) -> None:
    whole = trial.finished("dense-plain", TORCH)
    run = trial.copy("dense-plain", "unsummed", step=UPDATES)
    assert trial.run("unsummed", TORCH).code == 0
    assert run.metrics == whole.metrics
    assert run.summary["validation"] == whole.summary["validation"]
    assert run.summary["samples"] == whole.summary["samples"]
    assert (run.folder / "report.html").exists()
    assert run.status["state"] == "finished"


@pytest.mark.slow
def test_a_longer_last_stage_is_the_longer_run(trial: Trial) -> None:
    """A power schedule that has not begun to decay knows no end: the run goes on as if it had been longer."""
    open_end, longer = (TORCH, "schedule.decay_tokens=0"), "stages.1.tokens=13K"
    trial.finished("extended", *open_end)
    assert trial.run("extended", *open_end, longer).code == 0
    straight = trial.finished("straight", *open_end, longer)
    ours = [line for line in trial.files("extended").lines() if line["step"] != UPDATES]
    assert ours == [line for line in straight.lines() if line["step"] != UPDATES]
    assert trial.files("extended").metrics == straight.metrics
    assert trial.files("extended").summary["steps"] == 33


def started_on_two(trial: Trial, name: str) -> Any:
    started = trial.start(name, launcher="deepspeed", ranks=2)
    trial.until(started, name, step=4)
    return started


def test_ctrl_c_stops_the_deepspeed_command_and_the_same_command_continues(trial: Trial) -> None:
    whole, run = (
        trial.finished("dense-deepspeed-2-zero1", launcher="deepspeed", ranks=2),
        trial.files("ctrl-c"),
    )
    started = started_on_two(trial, "ctrl-c")
    started.signal_group(signal.SIGINT)
    started.wait()
    assert_gone("ctrl-c")
    assert run.status["state"] == "continue"
    assert "SIGINT" in run.status["reason"]
    assert run.checkpoints[-1] == f"step_{len(run.lines(kind='train')):08d}"
    assert "rank 0 failed" not in started.output
    assert trial.run("ctrl-c", launcher="deepspeed", ranks=2).code == 0
    assert run.metrics == whole.metrics


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGKILL],
    ids=lambda number: number.name,
)
@pytest.mark.slow
def test_ranks_notice_that_the_deepspeed_command_is_gone(trial: Trial, number: signal.Signals) -> None:
    name = f"orphaned-{number.name}"
    started = started_on_two(trial, name)
    started.signal(number)
    started.process.wait(60)
    assert_gone(name)
    run = trial.files(name)
    assert run.status["state"] == "continue"
    assert run.status["step"] == len(run.lines(kind="train")) < UPDATES
    assert run.checkpoints[-1] == f"step_{run.status['step']:08d}"
    assert_whole(run)


@pytest.mark.slow
def test_one_signalled_rank_stops_all(trial: Trial) -> None:
    started = trial.start("one-rank", launcher="torchrun", ranks=2)
    trial.until(started, "one-rank", step=4)
    ranks = psutil.Process(started.process.pid).children(recursive=True)
    second = next(rank for rank in ranks if rank.environ().get("RANK") == "1")
    second.send_signal(signal.SIGUSR1)
    ended = started.wait()
    assert ended.code == 0, ended.output
    run = trial.files("one-rank")
    assert (run.status["state"], run.status["reason"]) == ("continue", "another rank asked to stop")


@pytest.mark.slow
def test_a_kill_at_any_moment_continues_byte_for_byte(trial: Trial) -> None:
    """Killed again and again, at moments that no one chose."""
    whole, run = trial.finished("dense-plain", TORCH), trial.files("hunted")
    every = "checkpoint.every_steps=1"
    for attempt in range(6):
        started = trial.start("hunted", TORCH, every)
        trial.until(started, "hunted", step=min(UPDATES - 4, 4 * attempt + 1))
        time.sleep(0.013 * attempt)
        started.signal(signal.SIGKILL)
        started.wait()
    assert trial.run("hunted", TORCH, every).code == 0
    assert run.metrics == whole.metrics
    assert run.checkpoints == ["step_00000029", "step_00000030"]


@pytest.mark.slow
def test_a_killed_compiled_run_continues_byte_for_byte(trial: Trial) -> None:
    compiled = (TORCH, "kernels.compile=blocks")
    whole = trial.finished("compiled", *compiled)
    started = trial.start("compiled-killed", *compiled)
    trial.until_saved(started, "compiled-killed", step=10)
    trial.until(started, "compiled-killed", step=14)
    started.signal(signal.SIGKILL)
    started.wait()
    assert trial.run("compiled-killed", *compiled).code == 0
    assert trial.files("compiled-killed").metrics == whole.metrics


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_run_root_that_cannot_be_written_is_named(trial: Trial) -> None:
    locked = trial.folder / "locked"
    locked.mkdir(mode=0o500)
    ended = trial.run("nowhere", "run.root=locked")
    locked.chmod(0o700)
    shutil.rmtree(locked)
    assert ended.code == 2
    assert "run.root" in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.slow
def test_a_run_that_diverges_fails_and_keeps_its_last_checkpoint(trial: Trial) -> None:
    run, wild = (
        trial.files("wild"),
        ("schedule.lr_max=1e30", "schedule.amplitude=1e36", "checkpoint.every_steps=1"),
    )
    ended = trial.run("wild", TORCH, "optimizer.clip=null", *wild)
    assert ended.code == 1
    assert "Traceback" not in ended.output
    assert run.status["state"] == "failed"
    assert " is nan at step " in run.status["reason"] or " is inf at step " in run.status["reason"]
    assert len(run.lines(kind="train")) == run.status["step"] - 1
    assert run.checkpoints[-1] == f"step_{run.status['step'] - 1:08d}"
