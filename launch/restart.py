"""Start a run, and start it again when it crashes.

    python launch/restart.py -- deepspeed launch/pretrain.py --config 3b_moe.yaml
    python launch/restart.py --max-restarts 20 -- torchrun --nproc_per_node 8 launch/pretrain.py --config x

What counts is the run's status.json, since launchers do not pass exit codes on as they are. Signals go to
the ranks themselves: a launcher would give them 30 seconds, the ranks need as long as an update and a save.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
if sys.path and Path(sys.path[0] or ".").resolve() == HERE:  # as in launch/pretrain.py
    sys.path[0] = str(next(folder for folder in HERE.parents if (folder / "pretrain").is_dir()))

import psutil  # noqa: E402

from pretrain.config.load import load  # noqa: E402
from pretrain.errors import UserError  # noqa: E402
from pretrain.guard.lock import wait_until_free  # noqa: E402
from pretrain.guard.processes import adopt_orphans, below, end_all, end_with_parent, ranks_below  # noqa: E402
from pretrain.guard.restarts import Ending, Restarts, newest_step, stamp, status_since  # noqa: E402
from pretrain.guard.signals import SAME_PRESS_SECONDS, SIGNALS  # noqa: E402

LEFTOVER_SECONDS = 120.0  # for ranks whose launcher is gone, to finish an update and save
LOCK_SECONDS = 60.0  # for an earlier job to let go of the run folder
POLL_SECONDS = 0.1
OVERRIDE = re.compile(r"[a-z_]+(\.\w+)+=")


class Wrapper:
    """One command, started until it need not be again."""

    def __init__(self, command: Sequence[str], run_folder: Path, restarts: Restarts) -> None:
        self.command = list(command)
        self.run_folder = run_folder
        self.restarts = restarts
        self.received: list[int] = []
        self.pressed: float | None = None  # when Ctrl-C first was
        self.ends_now = False
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._on_signal)

    def run(self) -> int:
        """Start, wait and decide, again and again; the exit code of the last start."""
        while True:
            owner = wait_until_free(self.run_folder, LOCK_SECONDS)
            if owner:
                say(f"{self.run_folder} is held by process {owner}, which is not ours; stop it first")
                return 1
            ending = self._start()
            if self.ends_now:
                return 128 + signal.SIGINT
            if self.received:
                stopped = ending.status is not None and ending.status.state in ("continue", "finished")
                return 0 if stopped else ending.code
            decision = self.restarts.decide(ending)
            if not decision.again:
                say(decision.why)
                return decision.code
            say(
                f"start {self.restarts.made + 1} of at most {self.restarts.max_restarts + 1} in "
                f"{decision.wait_seconds:g} s, from step {ending.saved_step}: {decision.why}"
            )
            if not self._pause(decision.wait_seconds):
                return ending.code or 1

    def _start(self) -> Ending:
        before = stamp(self.run_folder)
        process = subprocess.Popen(self.command, start_new_session=True, preexec_fn=end_with_parent)
        passed_on = 0
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            for number in self.received[passed_on:]:
                self._pass_on(process.pid, number)
            passed_on = len(self.received)
            if self.ends_now:
                end_all(below(os.getpid()), 0)
        end_all(below(os.getpid()), 0 if self.ends_now else LEFTOVER_SECONDS)
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        return Ending(
            code=code,
            status=status_since(self.run_folder, before),
            saved_step=newest_step(self.run_folder),
        )

    def _pass_on(self, pid: int, number: int) -> None:
        """To the ranks; to the command itself where it has none that are seen from here (python, srun)."""
        for process in ranks_below(pid) or [psutil.Process(pid)]:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def _pause(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.received:
            time.sleep(POLL_SECONDS)
        return not self.received

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT:
            self.pressed = self.pressed or now
            self.ends_now = now - self.pressed > SAME_PRESS_SECONDS
        self.received.append(number)


def say(text: str) -> None:
    """On standard error: standard output is the run's."""
    print(f"restart: {text}", file=sys.stderr, flush=True)


def run_folder_of(command: Sequence[str]) -> Path:
    """The folder of the run that a command line names by --config and overrides."""
    names = [word.split("=", 1)[1] for word in command if word.startswith("--config=")]
    names += [after for word, after in pairwise(command) if word == "--config"]
    if not names:
        raise UserError(
            "the command names no --config, so that nobody could tell whether its run makes progress: "
            f"{' '.join(command) or 'nothing behind --'}"
        )
    return load(names[-1], [word for word in command if OVERRIDE.match(word)]).run.folder


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="launch/restart.py",
        usage="launch/restart.py [--max-restarts N] [--wait SECONDS] -- COMMAND...",
        description="Start COMMAND, and start it again when it crashes or hangs: the run goes on from its "
        "newest checkpoint. It is not started again when it finished, when it was stopped (a signal, the "
        "stop file, the time limit), after a mistake in the config (exit code 2), or when no checkpoint was "
        "written between two crashes.",
        epilog="Ctrl-C, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 make the run save and stop; a second Ctrl-C "
        "ends all of it at once. The exit code is 0 when the run finished or was stopped, else that of the "
        "last start.",
    )
    parser.add_argument("--max-restarts", type=int, default=10, metavar="N", help="starts after the first")
    parser.add_argument(
        "--wait",
        type=float,
        default=10,
        metavar="SECONDS",
        help="before the first restart (10); doubled each time, up to ten minutes",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="as you would type it")
    options = parser.parse_args(arguments)
    options.command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if options.max_restarts < 0 or options.wait < 0:
        parser.error("--max-restarts and --wait cannot be negative")
    return options


def main() -> int:
    """Run the command line; the exit code."""
    options = parse(sys.argv[1:])
    try:
        folder = run_folder_of(options.command)
    except UserError as mistake:
        print(f"\n{mistake}", file=sys.stderr)
        return 2
    adopt_orphans()
    restarts = Restarts(max_restarts=options.max_restarts, wait_seconds=options.wait)
    try:
        return Wrapper(options.command, folder, restarts).run()
    except FileNotFoundError as error:
        say(f"no such command: {error.filename}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
