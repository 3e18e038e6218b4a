"""Real runs that meet a NaN, a spike and spikes that last: skipped, rewound, killed in between, given up."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from trial import SCRIPT, UPDATES, Ended, RunFiles, Started, Trial, launch_command

pytestmark = [pytest.mark.dist, pytest.mark.timeout(400)]
FAULTY = Path(__file__).parent / "faulty_launch.py"
RULE = [f"guard.spike.{rule}" for rule in ("window=8", "max_skips=2", "rewind_skip=2", "max_rewinds=3")]
ZERO2 = ("run.engine=deepspeed", "deepspeed.zero_optimization.stage=2")
NAN, SPIKE, LASTING = "nan:136:144", "spike:136:144", "spike:136:160"  # the 18th batch of 8; 3 of them


def start(trial: Trial, name: str, fault: str, *overrides: str, ranks: int = 1) -> Started:
    """A run of the plain engine, unless `overrides` say otherwise, that meets `fault`."""
    launcher = launch_command("torchrun" if ranks > 1 else "python", ranks)
    command = [str(FAULTY) if part == str(SCRIPT) else part for part in launcher]
    command += ["--config", "dense.yaml", f"run.name={name}", "run.engine=torch", *RULE, *overrides]
    log = trial.folder / f"{name}.{len(trial.started)}.log"
    started = Started(command, trial.folder, log, trial.environment | {"FAULT": fault})
    trial.started.append(started)
    return started


def finished(trial: Trial, name: str, fault: str, *overrides: str, ranks: int = 1) -> RunFiles:
    ended = start(trial, name, fault, *overrides, ranks=ranks).wait()
    assert ended.code == 0, ended.output[-6000:]
    assert [line["step"] for line in trial.files(name).lines(kind="train")] == list(range(1, UPDATES + 1))
    return trial.files(name)


def events(run: RunFiles, kind: str) -> list[dict[str, Any]]:
    return [line for line in run.lines("events.jsonl") if line["event"] == kind]


@pytest.fixture(scope="module")
def rewound(trial: Trial) -> RunFiles:
    """A run that met a NaN in its 18th batch."""
    return finished(trial, "rewound", NAN)


def test_a_nan_rewinds_to_the_checkpoint_and_the_data_goes_on_behind_it(
    trial: Trial, rewound: RunFiles
) -> None:
    (back,) = events(rewound, "rewind")
    assert (back["from_step"], back["to_step"], back["checkpoint"]) == (18, 10, "step_00000010")
    assert back["jumped_sequences"] == (18 - 10 + 2) * 8
    whole = trial.finished("plain", "run.engine=torch", *RULE)
    lines, others = rewound.metrics.splitlines(), whole.metrics.splitlines()
    assert lines[:11] == others[:11]  # ten updates and an evaluation
    assert [line["lr"] for line in rewound.lines(kind="train")] == [
        line["lr"] for line in whole.lines(kind="train")
    ]
    assert not set(rewound.losses[10:]) & set(whole.losses[10:])
    discarded = rewound.lines("metrics.discarded.jsonl")
    assert [line["step"] for line in discarded] == list(range(11, 19))
    assert (discarded[-1]["grad_norm"], discarded[-1]["skipped"]) == (None, True)
    state = json.loads((rewound.folder / "checkpoints" / "step_00000030" / "state.json").read_text())
    assert (state["position"]["jumps"], state["position"]["rewinds"]) == ([[80, 80]], 1)


@pytest.mark.slow
def test_a_run_that_is_killed_behind_a_rewind_is_the_same_run(trial: Trial, rewound: RunFiles) -> None:
    killed, started = trial.files("rewound-killed"), start(trial, "rewound-killed", NAN)
    while not events(killed, "rewind") or len(killed.lines(kind="train")) < 13:
        assert started.process.poll() is None, started.output[-4000:]
    started.signal(signal.SIGKILL)
    started.wait()
    assert killed.checkpoints == ["step_00000010"]
    finished(trial, "rewound-killed", NAN)
    assert killed.metrics == rewound.metrics
    assert len(events(killed, "rewind")) == 2


@pytest.mark.slow
def test_a_run_that_is_stopped_before_it_rewinds_is_the_same_run(trial: Trial, rewound: RunFiles) -> None:
    """It goes back to the checkpoint that was due, and not to the one that was saved in order to stop."""
    stopped, started = trial.files("rewound-stopped"), start(trial, "rewound-stopped", NAN)
    trial.until(started, "rewound-stopped", step=13)
    started.signal(signal.SIGTERM)
    assert started.wait().code == 0
    assert stopped.status["state"] == "continue"
    at = stopped.status["step"]
    assert 13 <= at < 18
    assert stopped.checkpoints == ["step_00000010", f"step_{at:08d}"]
    finished(trial, "rewound-stopped", NAN)
    (rewind,) = events(stopped, "rewind")
    assert rewind["step"] == 10
    assert stopped.metrics == rewound.metrics


def test_one_spike_is_left_out_and_changes_nothing_else_of_the_timeline(trial: Trial) -> None:
    run = finished(trial, "spike", SPIKE)
    assert not events(run, "rewind")
    (skip,) = events(run, "skip")
    assert (skip["step"], skip["measure"]) == (18, "log grad_norm")
    assert skip["value"] == pytest.approx(skip["centre"] + skip["sigmas"] * skip["spread"])
    assert [line["step"] for line in run.lines() if line.get("skipped")] == [18]
    state = json.loads((run.folder / "checkpoints" / "step_00000030" / "state.json").read_text())
    position = state["position"]
    assert (position["skipped_updates"], position["skipped_tokens"]) == (1, 1024)


@pytest.mark.slow
def test_spikes_that_last_rewind(trial: Trial) -> None:
    run = finished(trial, "lasting", LASTING)
    assert [line["step"] for line in events(run, "skip")] == [18, 19, 20]
    assert [(line["from_step"], line["to_step"]) for line in events(run, "rewind")] == [(20, 10)]


@pytest.mark.slow
def test_a_weight_that_is_no_number_is_never_saved(trial: Trial) -> None:
    run = finished(trial, "weight", "weight:152:153")
    (back,) = events(run, "rewind")
    assert "a weight is not a number after step 20" in back["reason"]
    assert [line["step"] for line in events(run, "checkpoint")] == [10, 20, 30]


@pytest.mark.slow
def test_a_run_without_a_checkpoint_begins_again_elsewhere(trial: Trial) -> None:
    run = finished(trial, "early", "nan:40:48")
    (back,) = events(run, "rewind")
    assert (back["to_step"], back["checkpoint"], back["jumped_sequences"]) == (0, None, (6 + 2) * 8)


@pytest.mark.slow
def test_a_nan_on_one_rank_rewinds_both(trial: Trial) -> None:
    run = finished(trial, "two-ranks", NAN, *ZERO2, ranks=2)
    assert [line["to_step"] for line in events(run, "rewind")] == [10]


def test_a_run_whose_data_stays_bad_gives_up_and_says_so(trial: Trial) -> None:
    ended: Ended = start(trial, "hopeless", "nan:136:1000000").wait()
    run = trial.files("hopeless")
    assert ended.code == 1
    assert run.status["state"] == "failed"
    assert "after 3 rewinds (guard.spike.max_rewinds)" in run.status["reason"]
    assert "schedule.lr_max" in run.status["reason"]
    assert len(events(run, "rewind")) == 3
    assert run.checkpoints == ["step_00000010"]
