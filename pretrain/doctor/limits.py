"""Checks that always end: with findings, with the line that they failed, or with the line that they hang."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pretrain.doctor.finding import Finding, problem

LONGEST_ERROR = 300  # characters of a child's last words
LAST_SECONDS = 1.0  # that a child has to be gone once it is killed


@dataclass(frozen=True, kw_only=True)
class Check:
    """Something to look at, and how long it may take."""

    name: str
    work: Callable[[], Iterable[Finding]]
    seconds: float
    if_hung: str = "something that it asks does not answer; look at network file systems and at the driver"


def carry_out(check: Check) -> tuple[Finding, ...]:
    """The findings of a check, which never raises and never takes longer than it may.

    It works in a thread that is left alone where it hangs: a process that waits for a lost file server
    cannot even be killed.
    """
    found: list[tuple[Finding, ...]] = []

    def work() -> None:
        try:
            found.append(tuple(check.work()))
        except Exception as error:
            told = f"the check itself failed: {type(error).__name__}: {error}"
            found.append((problem(check.name, told, "a fault of this program or of the machine: tell us"),))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(check.seconds)
    if found:
        return found[0]
    return (problem(check.name, f"no answer within {check.seconds:g} s", check.if_hung),)


class Failed(Exception):
    """A child process that ended badly or not in time; the message is its last words."""


def output_of(command: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """What a child process prints; Failed where it fails, hangs, or is not there."""
    try:
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=None if environment is None else dict(environment),
        )
    except FileNotFoundError:
        raise Failed(f"{command[0]}: no such command") from None
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    try:
        told, errors = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        with suppress(subprocess.TimeoutExpired):  # in the hands of a driver it cannot even be killed
            child.wait(LAST_SECONDS)
        raise Failed(f"no answer within {seconds:g} s") from None
    if child.returncode:
        raise Failed(last_words(errors or told) or f"exit code {child.returncode}")
    return told


def last_words(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][-LONGEST_ERROR:] if lines else ""
