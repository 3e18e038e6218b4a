"""Start this machine's ranks of a run: one a GPU, one where there are none.

    python launch/ranks.py --config 3b_moe run.name=first                         all GPUs of this machine
    NODES=4 NODE_RANK=0 MASTER_ADDR=node0 python launch/ranks.py --config 3b_moe  one of four; so on each
    python launch/ranks.py --dry-run --config 3b_moe                              what would be started

In a pod of an indexed Kubernetes job, in a container, and as the one task that srun or mpirun gives a
machine, the same command finds out how many machines there are and which one this is
(pretrain/layout.py). Other than under torchrun, exit codes of ranks are passed on as they are, the largest
one, and after a signal the ranks have as long as an update and a save take.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
if sys.path and Path(sys.path[0] or ".").resolve() == HERE:  # as in launch/pretrain.py
    sys.path[0] = str(next(folder for folder in HERE.parents if (folder / "pretrain").is_dir()))

from pretrain.config.load import load  # noqa: E402
from pretrain.config.schema import Config  # noqa: E402
from pretrain.errors import UserError  # noqa: E402
from pretrain.guard.processes import end_with_parent  # noqa: E402
from pretrain.guard.signals import SAME_PRESS_SECONDS, SIGNALS  # noqa: E402
from pretrain.guard.watchdog import AGAIN  # noqa: E402
from pretrain.layout import Layout, layout_from, variables_of  # noqa: E402
from pretrain.main import parse as parse_run  # noqa: E402
from pretrain.monitor.status import read_status  # noqa: E402

JOINT_SECONDS = 300.0  # between the end of the first rank and the last, which may be writing the report
POLL_SECONDS = 0.1


class Ranks:
    """The processes of this machine."""

    def __init__(self, command: Sequence[str], layout: Layout, environ: Mapping[str, str]) -> None:
        self.received: list[int] = []
        self.pressed: float | None = None  # when Ctrl-C first was
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._on_signal)
        self.processes = [
            subprocess.Popen(
                command,
                env={**environ, **variables_of(ranks)},
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
            for ranks in layout.here()
        ]

    def wait(self) -> int:
        """Until all have ended; the largest of their exit codes, 128 + N for signal N."""
        passed_on, until = 0, float("inf")
        while any(process.poll() is None for process in self.processes):
            time.sleep(POLL_SECONDS)
            for number in self.received[passed_on:]:
                self._to_all(number)
            passed_on = len(self.received)
            if any(process.returncode is not None for process in self.processes):
                until = min(until, time.monotonic() + JOINT_SECONDS)
            if time.monotonic() > until:
                self._to_all(signal.SIGKILL)
        codes = [process.returncode for process in self.processes]
        return max(code if code >= 0 else 128 - code for code in codes)

    def _to_all(self, number: int) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and self.pressed is not None and now - self.pressed < SAME_PRESS_SECONDS:
            return  # a terminal's, and that of whoever passes it on
        self.pressed = now if number == signal.SIGINT else self.pressed
        self.received.append(number)


def count_gpus() -> int:
    """GPUs that this process may use."""
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/kfd").exists():
        return 0
    import torch

    return torch.cuda.device_count()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def to_continue(config: Config) -> bool:
    """Whether the run was stopped before its end, and nobody left a stop file to keep it so."""
    status = read_status(config.run.folder)
    stays = (config.run.folder / config.guard.stop_file).exists()
    return status is not None and status.state == "continue" and not stays


def parse(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and the words of the run."""
    parser = argparse.ArgumentParser(
        prog="launch/ranks.py",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="launch/ranks.py [--dry-run] [--again] --config NAME_OR_PATH [section.key=value ...]",
        description=__doc__,
        epilog="Variables, which count before what a scheduler says: NODES, NODE_RANK, RANKS_PER_NODE, "
        "MASTER_ADDR, MASTER_PORT.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the config, and say what would be started"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help=f"exit code {AGAIN} in place of 0 where the run was stopped and is to go on: for whoever starts "
        "again what has not succeeded, as Kubernetes does",
    )
    parser.add_argument("--shell", choices=("layout", "run"), help=argparse.SUPPRESS)  # for slurm/job.sh
    return parser.parse_known_args(words)


def shell(layout: Layout, folder: Path | None) -> str:
    """As assignments, for slurm/job.sh; with the run folder, where there is one run."""
    facts = f"nodes={layout.nodes} gpus={layout.gpus} tasks={layout.per_node} MASTER_PORT={layout.port}"
    return f"{facts} folder={shlex.quote(str(folder or ''))}"


def main(words: Sequence[str]) -> int:
    """Start, wait; the exit code."""
    options, run = parse(words)
    try:
        layout = layout_from(os.environ, count_gpus)
        if options.shell == "layout":
            print(shell(layout, None))
            return 0
        parsed = parse_run(run)
        config = load(parsed.config, parsed.overrides)
    except UserError as mistake:
        print(f"\n{mistake}", file=sys.stderr)
        return 2
    if options.shell:
        print(shell(layout, config.run.folder))
        return 0
    if layout.by == "Slurm" and layout.nodes > 1 and "SLURM_STEP_NUM_TASKS" not in os.environ:
        print(f"\nlaunch/ranks.py: the job has {layout.nodes} nodes; srun starts it on each", file=sys.stderr)
        return 2
    command = [sys.executable, str(HERE / "pretrain.py"), *run]
    where = f"{layout.address}:{layout.port or 'a free port'}"
    print(
        f"{layout.size} rank(s) on {layout.nodes} machine(s) (by {layout.by}), {layout.per_node} here, where "
        f"there are {layout.gpus} GPU(s), machine {layout.node}; they meet at {where}",
        file=sys.stderr,
    )
    if options.dry_run:
        print(shlex.join(command))
        return 0
    code = Ranks(command, replace(layout, port=layout.port or free_port()), os.environ).wait()
    return AGAIN if code == 0 and options.again and to_continue(config) else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
