"""Contenders in alternation: one process each, kept alive, of which one runs at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = Path(__file__).resolve().parents[1]
LAST_LINES = 3


@dataclass(kw_only=True)
class Measured:
    """What one contender showed."""

    shape: str
    precision: str
    contender: str
    first: dict[str, Any] = field(default_factory=dict)  # what it answered when it was prepared
    rounds: list[dict[str, Any]] = field(default_factory=list)
    missing: str | None = None  # why it has no rounds


class Process:
    """A worker that is asked and answers, one line each."""

    def __init__(self, job: dict[str, Any]) -> None:
        paths = [str(FOLDER), str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait would slow whoever runs
            "TOKENIZERS_PARALLELISM": "false",
        }
        if job["device"] == "cpu":
            environment["DS_ACCELERATOR"] = "cpu"
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "speed.worker", json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            text=True,
        )

    def ask(self, order: str, number: int) -> dict[str, Any]:
        """Give an order and wait; a process that is gone has failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{order} {number}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else {"failed": self._last_words()}

    def _last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line for line in self.errors.read().splitlines() if line.strip()]
        return f"its process ended with {code}: {' | '.join(lines[-LAST_LINES:])}"

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def measure(
    shape: str,
    precision: str,
    contenders: Sequence[str],
    *,
    device: str,
    threads: int | None,
    num_rounds: int,
    steps: int,
    warmup_steps: int,
    say: Callable[[str], None],
) -> list[Measured]:
    """Prepare everybody in turn, then let each make `steps` steps in turn, `num_rounds` times."""
    results = [Measured(shape=shape, precision=precision, contender=name) for name in contenders]
    with ExitStack() as stack:
        running: list[tuple[Measured, Process]] = []
        for result in results:
            say(f"{shape} {precision}: {result.contender} prepares")
            job = {"contender": result.contender, "shape": shape, "precision": precision}
            process = stack.enter_context(Process(job | {"device": device, "threads": threads}))
            result.first = process.ask("prepare", warmup_steps)
            result.missing = _missing(result.first)
            if result.missing is None:
                running.append((result, process))
            else:
                process.__exit__(None, None, None)
        for number in range(1, num_rounds + 1):
            for result, process in running:
                say(f"{shape} {precision}: round {number} of {num_rounds}, {result.contender}")
                if result.missing is None:
                    _one_round(result, process, steps)
    return results


def _one_round(result: Measured, process: Process, steps: int) -> None:
    answer = process.ask("round", steps)
    result.missing = _missing(answer)
    if result.missing is None:
        result.rounds.append(answer)


def _missing(answer: dict[str, Any]) -> str | None:
    if "failed" in answer:
        return f"failed: {answer['failed']}"
    return answer.get("unavailable")
