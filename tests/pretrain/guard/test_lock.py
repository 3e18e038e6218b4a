"""One job a run folder, and a lock that no kill leaves behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pretrain.errors import UserError
from pretrain.guard.lock import RunLock, wait_until_free

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys, time
from pathlib import Path
from pretrain.guard.lock import RunLock, wait_until_free
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_lock_is_refused_and_names_the_owner(tmp_path: Path) -> None:
    first = RunLock(tmp_path)
    with pytest.raises(UserError, match=rf"{tmp_path}: another job .*process {os.getpid()}"):
        RunLock(tmp_path)
    with pytest.raises(UserError, match=f"process {os.getpid()}"):  # the refused one left the owner's name
        RunLock(tmp_path)
    del first
    RunLock(tmp_path)


def test_folders_are_locked_one_by_one(tmp_path: Path) -> None:
    locks = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        locks.append(RunLock(tmp_path / name))
    assert len(locks) == 2


def test_a_killed_owner_holds_nothing(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"process {owner.pid}"):
            RunLock(tmp_path)
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    RunLock(tmp_path)
    assert (tmp_path / ".lock").read_text() == f"{os.getpid()} on {socket.gethostname()}"


def test_waiting_for_a_job_that_leaves_and_for_one_that_stays(tmp_path: Path) -> None:
    assert wait_until_free(tmp_path, 0) is None
    lock = RunLock(tmp_path)
    assert wait_until_free(tmp_path, 0.3) == f"{os.getpid()} on {socket.gethostname()}"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(wait_until_free, tmp_path, 20)
        time.sleep(0.3)
        assert not waiting.done()
        del lock
        assert waiting.result(5) is None
    RunLock(tmp_path)
