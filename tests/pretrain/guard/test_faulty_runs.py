"""Real runs in which a rank is signalled, killed, stopped or goes wrong at a chosen moment."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests" / "end_to_end"))

import trial as trials  # noqa: E402
from trial import Ended, Trial  # noqa: E402

pytestmark = [pytest.mark.dist, pytest.mark.timeout(500)]
PLAIN = ("run.engine=torch", "trackers.tensorboard=false")
NO_FAULT = "none none none"


class Faulty(Trial):
    """Runs that are started with a fault."""

    def run_with(self, fault: str, name: str, *overrides: str, **how: object) -> Ended:
        """A start in which a rank does something to itself."""
        self.environment["FAULT"] = fault
        ended = self.run(name, *PLAIN, *overrides, **how)
        self.environment["FAULT"] = NO_FAULT
        assert alive(name) == []
        return ended


def alive(name: str) -> list[str]:
    processes = psutil.process_iter(["cmdline", "status"])
    of_run = [process.info for process in processes if f"run.name={name}" in (process.info["cmdline"] or [])]
    return [str(info) for info in of_run if info["status"] != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    script, trials.SCRIPT = trials.SCRIPT, Path(__file__).parent / "fault_start.py"
    made = Faulty(tmp_path_factory.mktemp("faulty"))
    made.environment["FAULT"] = NO_FAULT
    yield made
    made.close()
    trials.SCRIPT = script


MOMENTS = {
    "prepare SIGTERM": 0,
    "build SIGUSR1": 0,
    "evaluate.10 SIGINT": 10,
    "save.10 SIGHUP": 11,
    "update.7 SIGUSR2": 8,
}
DEFAULT = ("evaluate.10 SIGINT",)


@pytest.fixture(autouse=True)
def hang_up_is_heard() -> None:
    """Whoever runs the tests may ignore SIGHUP, as nohup does, and runs inherit that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize(
    "moment",
    [moment if moment in DEFAULT else pytest.param(moment, marks=pytest.mark.slow) for moment in MOMENTS],
)
def test_a_signal_at_any_moment_saves_and_the_run_goes_on_byte_for_byte(faulty: Faulty, moment: str) -> None:
    """The signal's own update is finished; one that comes after it was asked about stops the next."""
    name, steps = moment.replace(" ", "-"), MOMENTS[moment]
    ended = faulty.run_with(f"0 {moment}", name)
    run = faulty.files(name)
    assert ended.code == 0, ended.output
    assert "Traceback" not in ended.output
    step = run.status["step"]
    # a signal between two questions is heard by the second, which may be this update's own
    assert step in ({steps - 1, steps} if moment.startswith(("save", "update")) else {steps})
    assert run.status == {"state": "continue", "step": step, "reason": f"received {moment.split()[1]}"}
    assert len(run.lines(kind="train")) == step
    abandoned = moment.startswith("evaluate")
    assert len(run.lines(kind="validation")) == (steps >= 10 and not abandoned)
    assert faulty.run(name, *PLAIN).code == 0
    assert run.metrics == faulty.finished("whole", *PLAIN).metrics


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["build", "evaluate.10"])
def test_the_second_rank_alone_is_signalled(faulty: Faulty, moment: str) -> None:
    name = f"second-{moment}"
    ended = faulty.run_with(f"1 {moment} SIGUSR1", name, launcher="torchrun", ranks=2)
    assert ended.code == 0, ended.output
    assert "Traceback" not in ended.output
    assert faulty.files(name).status["state"] == "continue"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_job_which_says_what_it_knows(
    faulty: Faulty, launcher: str, rank: int
) -> None:
    name = f"killed-{launcher}-{rank}"
    ended = faulty.run_with(f"{rank} update.5 SIGKILL", name, launcher=launcher, ranks=2)
    assert ended.code != 0
    assert ended.seconds < 150
    status = faulty.files(name).status
    assert status["state"] == "failed"
    # how much is known of it hangs on whether it left a note, and on whether the first rank kept the notes
    known = ["is gone", "has never been heard of"]
    if rank == 0:
        known.append("or the store where ranks leave notes has not answered")
    assert f"lost another rank: rank {rank} " in status["reason"]
    assert any(words in status["reason"] for words in known)


@pytest.mark.slow
def test_the_words_of_a_rank_that_failed_are_the_reason(faulty: Faulty) -> None:
    faulty.run_with("1 update.5 raise", "raises", launcher="torchrun", ranks=2)
    assert "rank 1: ZeroDivisionError: a fault of ours" in faulty.files("raises").status["reason"]


@pytest.mark.slow
def test_a_flipped_bit_in_three_ranks_is_named_and_never_saved(faulty: Faulty) -> None:
    thirds = ("batch.sequences=6", "stages.0.tokens=20736", "stages.1.tokens=10752")
    checks = ("guard.check_replicas_every=4", "checkpoint.every_steps=3")
    ended = faulty.run_with("1 update.5 flip", "flipped", *thirds, *checks, launcher="torchrun", ranks=3)
    assert ended.code != 0
    run = faulty.files("flipped")
    assert run.status["state"] == "failed"
    assert "weights after update 6: rank 1 of 3 differs from the others, in " in run.status["reason"]
    assert run.checkpoints == ["step_00000003"]  # the save of step 6 was due, and checked before


@pytest.mark.slow
def test_a_hung_rank_under_the_wrapper_costs_a_restart_and_not_a_byte(faulty: Faulty) -> None:
    """Stopped once: the second start is told of no fault, by a script that takes it away."""
    once = faulty.folder / "once.sh"
    once.write_text(
        'if mkdir "$PWD/first" 2>/dev/null; then FAULT="1 update.12 SIGSTOP"; fi; export FAULT; exec "$@"\n'
    )
    name, run = "wrapped", faulty.files("wrapped")
    command = trials.launch_command("torchrun", 2)
    in_line = "checkpoint.asynchronous=false"  # else a rank could be stopped before step 10 is on disk
    arguments = ["--config", "dense.yaml", f"run.name={name}", *PLAIN, "guard.watchdog_seconds=6", in_line]
    wrapper = [sys.executable, str(ROOT / "launch" / "restart.py"), "--wait", "0.1", "--", "sh", str(once)]
    started = trials.Started(
        wrapper + command + arguments, faulty.folder, faulty.folder / "w.log", faulty.environment
    )
    faulty.started.append(started)
    ended = started.wait()
    assert ended.code == 0, ended.output[-4000:]
    assert "rank 1" in ended.output
    assert "is stopped" in ended.output
    assert alive(name) == []
    events = [line["event"] for line in run.lines("events.jsonl")]
    assert events == ["start", "checkpoint", "hang", "resume", "checkpoint", "checkpoint", "finish"]
    assert run.metrics == faulty.finished("whole-2", *PLAIN, launcher="torchrun", ranks=2).metrics


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_ranks_whose_launcher_is_killed_save_and_leave(faulty: Faulty, launcher: str) -> None:
    name = f"no-{launcher}"
    started = faulty.start(name, *PLAIN, launcher=launcher, ranks=2)
    faulty.until(started, name, 4)
    started.signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while alive(name):
        assert time.monotonic() < end, alive(name)
        time.sleep(0.1)
    status = faulty.files(name).status
    assert status["state"] == "continue"
    assert status["reason"] in ("the launcher is gone", "another rank asked to stop")  # who saw it first
