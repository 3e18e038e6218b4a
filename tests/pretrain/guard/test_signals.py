"""Requests to stop, in real processes: heard at any moment, by whatever the main thread is held up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pretrain.guard.signals import SAME_PRESS_SECONDS, SIGNALS

ROOT = Path(__file__).parents[3]
BEGIN = """
import hashlib, os, signal, sys, time
from pretrain.guard.signals import Stopped, StopRequests
requests = StopRequests()
def busy():  # inside C, where no Python runs and no handler is called
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2 * 10**9)
"""
WAITS = (
    BEGIN
    + """
print("ready", flush=True)
while not requests.reason:
    time.sleep(0.02)
print(requests.reason, flush=True)
"""
)
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*before, sys.executable, "-c", code, *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # whoever runs the tests may be deaf to it, as under nohup
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_is_a_request_and_no_end(start: Start, number: signal.Signals) -> None:
    process = start(WAITS)
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == f"received {number.name}\n"
    assert process.returncode == 0


def test_ctrl_c_is_the_reason_though_its_launcher_was_heard_first(start: Start) -> None:
    process = start(WAITS + "time.sleep(0.5)\nprint(requests.reason, flush=True)")
    process.send_signal(signal.SIGTERM)  # what a launcher makes of the Ctrl-C that the terminal sends to both
    assert process.stdout is not None
    assert process.stdout.readline() == "received SIGTERM\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "received SIGINT\n"


def test_a_second_ctrl_c_ends_at_once_even_where_no_python_runs(start: Start) -> None:
    process = start(BEGIN + "print('ready', flush=True); busy()")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # the launcher passing on what the terminal has sent
    time.sleep(SAME_PRESS_SECONDS + 2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_preparation_is_interrupted_at_once(start: Start) -> None:
    code = """
try:
    with requests.interrupting():
        print("ready", flush=True)
        time.sleep(60)
except Exception:
    print("swallowed")
except Stopped as stop:
    print(stop, requests.reason)
"""
    process = start(BEGIN + code)
    process.send_signal(signal.SIGUSR2)
    assert process.communicate(timeout=20)[0] == "received SIGUSR2 received SIGUSR2\n"


def test_a_request_from_before_ends_what_could_be_interrupted(start: Start) -> None:
    code = """
print("ready", flush=True)
time.sleep(0.5)
try:
    with requests.interrupting():
        print("begun")
except Stopped as stop:
    print(stop)
"""
    process = start(BEGIN + code)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "received SIGTERM\n"


def test_nohup_is_respected(start: Start) -> None:
    process = start(WAITS, before=("nohup",))
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "received SIGTERM\n"


def test_a_forked_child_dies_of_a_signal_and_does_not_pass_it_on(start: Start) -> None:
    code = """
child = os.fork()
if child == 0:
    time.sleep(60)
print("ready", flush=True)
time.sleep(0.3)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), requests.reason)
"""
    assert start(BEGIN + code).communicate(timeout=20)[0] == "-15 None\n"


PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def test_a_rank_notices_that_its_launcher_was_killed(start: Start) -> None:
    launcher = start(PARENT, WAITS)
    launcher.kill()
    assert launcher.communicate(timeout=20)[0] == "the launcher is gone\n"
