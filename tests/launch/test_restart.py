"""The restart wrapper around commands that crash, hang on, are stopped or leave children behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "restart.py"
# a run in small: each start does what STARTS says of it: `STEP CODE STATE`, or `wait STATE`
RUN = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
run = Path("runs/small")
def save(step):
    folder = run / "checkpoints" / f"step_{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state.json").write_text("{}")
def say(state, step):
    (run / ".status").write_text(json.dumps({"state": state, "step": step, "reason": None}))
    (run / ".status").rename(run / "status.json")
run.mkdir(parents=True, exist_ok=True)
with (run / "starts").open("a") as file:
    file.write("start\\n")
number = len((run / "starts").read_text().splitlines())
deeds = os.environ["STARTS"].split(",")
deed = deeds[min(number, len(deeds)) - 1].split()
if deed[0] == "wait":
    received = []
    for name in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(name, lambda number, frame: received.append(number))
    (run / "waits").touch()
    while not received:
        time.sleep(0.02)
    time.sleep(0.3)
    save(3)
    say("continue", 3)
    sys.exit(0)
if deed[0] == "leave":
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "left behind"])
    (run / "left").write_text(str(left.pid))
    os._exit(0)
step, code, state = deed
save(int(step))
if state != "none":
    say(state, int(step))
if code.startswith("-"):
    os.kill(os.getpid(), -int(code))
sys.exit(int(code))
"""
LAUNCHER = """
import os, subprocess, sys
sys.exit(subprocess.run([sys.executable, "run.py", *sys.argv[1:]], env=os.environ | {"RANK": "0"}).returncode)
"""


class Place:
    """A folder where a wrapped command is started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "runs" / "small"
        self.processes: list[subprocess.Popen[str]] = []
        (folder / "run.py").write_text(RUN)
        (folder / "launcher.py").write_text(LAUNCHER)

    def start(self, starts: str, *options: str, script: str = "run.py") -> subprocess.Popen[str]:
        run = [sys.executable, script, "--config", "tiny_dense", "run.root=runs", "run.name=small"]
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--wait", "0.1", *options, "--", *run],
            cwd=self.folder,
            env=os.environ | {"STARTS": starts},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    @property
    def starts(self) -> int:
        return len((self.run / "starts").read_text().splitlines())

    def until(self, name: str) -> None:
        end = time.monotonic() + 60
        while not (self.run / name).exists():
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("starts", "code", "made", "said"),
    [
        ("5 1 failed,9 -9 running,30 0 finished", 0, 3, "the run is finished"),
        ("5 0 running,30 0 finished", 0, 2, "exit code 0"),  # a launcher that did not notice
        ("5 2 none", 2, 1, "a mistake"),
        ("5 75 failed,5 75 failed", 75, 2, "no checkpoint was written since the last crash (step 5)"),
        ("5 0 continue", 0, 1, "can be continued"),
        ("5 -15 none,6 -9 none,7 -9 none,8 -9 none", 137, 3, "it was started again 2 times"),
    ],
)
def test_a_command_is_started_again_while_it_helps(
    place: Place, starts: str, code: int, made: int, said: str
) -> None:
    process = place.start(starts, "--max-restarts", "2")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == code, output
    assert place.starts == made
    assert said in output
    assert "Traceback" not in output


@pytest.mark.parametrize("script", ["run.py", "launcher.py"], ids=["plain", "under a launcher"])
def test_a_signal_reaches_the_ranks_and_ends_the_restarting(place: Place, script: str) -> None:
    """The launcher would die of it: only the rank hears it."""
    process = place.start("wait", script=script)
    place.until("waits")
    process.send_signal(signal.SIGUSR1)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    assert place.starts == 1
    assert (place.run / "checkpoints" / "step_00000003").exists()


def test_a_second_ctrl_c_leaves_nothing_behind(place: Place) -> None:
    process = place.start("wait", script="launcher.py")
    place.until("waits")
    below = psutil.Process(process.pid).children(recursive=True)
    assert len(below) == 2
    for child in below:
        child.suspend()  # nobody listens any more
    process.send_signal(signal.SIGINT)
    time.sleep(3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert not any(child.is_running() for child in below)


def test_what_a_killed_wrapper_started_is_asked_to_stop(place: Place) -> None:
    process = place.start("wait")
    place.until("waits")
    child = psutil.Process(process.pid).children()[0]
    process.kill()
    assert psutil.wait_procs([child], timeout=20)[1] == []
    assert (place.run / "checkpoints" / "step_00000003").exists()


def test_leftovers_are_ended_before_the_next_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = "import runpy, sys; sys.argv = sys.argv[1:]; import pretrain.guard.processes as p; "
    impatient += "real = p.end_all; p.end_all = lambda left, seconds: real(left, min(seconds, 0.5)); "
    impatient += "runpy.run_path(sys.argv[0], run_name='__main__')"
    run = [sys.executable, "run.py", "--config", "tiny_dense", "run.root=runs", "run.name=small"]
    ended = subprocess.run(
        [sys.executable, "-c", impatient, str(SCRIPT), "--wait", "0.1", "--", *run],
        cwd=place.folder,
        env=os.environ | {"STARTS": "leave,30 0 finished", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert place.starts == 2
    assert not psutil.pid_exists(int((place.run / "left").read_text()))


def test_a_folder_that_another_job_holds(place: Place) -> None:
    place.run.mkdir(parents=True)
    holder = "from pathlib import Path; from pretrain.guard.lock import RunLock; import time; "
    holder += "lock = RunLock(Path('runs/small')); Path('runs/small/held').touch(); time.sleep(3)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    other = subprocess.Popen([sys.executable, "-c", holder], cwd=place.folder, env=environment)
    place.until("held")
    assert place.start("30 0 finished").wait(60) == 0  # it waited for the other to leave
    assert other.wait(0.5) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--", "true"], "names no --config"),
        (["--", "python", "x.py", "--config", "tiny_dens"], "Did you mean 'tiny_dense'"),
        (["--", "no-such-launcher", "--config", "tiny_dense"], "no such command: no-such-launcher"),
        (["--max-restarts", "-1", "--", "true"], "cannot be negative"),
    ],
)
def test_mistakes_are_one_message(tmp_path: Path, arguments: list[str], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
