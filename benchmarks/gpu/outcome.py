"""One step of the proof in a process of its own, and what became of it: nothing that fails is dropped."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOISE = ("[W", "[rank0]:[W", "warnings.warn", "sys:1:")  # after an error, when a process group goes


def run(arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """`python arguments`: its state (ran, failed, out of memory, out of time), and its JSON or its error."""
    begun = time.perf_counter()
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        ended = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"state": "out of time", "error": f"not done after {seconds:.0f} s", "seconds": seconds}
    took = {"seconds": time.perf_counter() - begun, "exit_code": ended.returncode}
    value = _json(ended.stdout)
    if ended.returncode == 0 and value is not None:
        return {"state": "ran", "result": value} | took
    error = last_line(ended.stderr) or last_line(ended.stdout) or "no word"
    state = "out of memory" if "OutOfMemory" in error or "out of memory" in error else "failed"
    return {"state": state, "error": error} | took


def last_line(text: str) -> str:
    """The last line that says something, without where this machine keeps the project."""
    lines = [
        line.removeprefix("[rank0]:").strip() for line in text.splitlines() if not line.startswith(NOISE)
    ]
    return next((line for line in reversed(lines) if line), "").replace(str(ROOT), ".")[:300]


def _json(text: str) -> Any:
    lines = text.strip().splitlines()
    try:
        return json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        return None


def parity(seconds: float) -> dict[str, Any]:
    """The tests that need a GPU: how many passed, failed and were skipped, and which failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        outcome = run(["-m", "pytest", "-m", "gpu", "tests", f"--junitxml={report}"], seconds)
        if report.exists():
            return counted(ET.parse(report).getroot()) | {"seconds": outcome["seconds"]}
    return {"state": outcome["state"], "error": outcome.get("error", "wrote no report")}


def counted(report: ET.Element) -> dict[str, Any]:
    """Counts of a JUnit report."""
    failed, skipped, passed = [], [], 0
    for case in report.iter("testcase"):
        name = f"{case.get('classname', '').split('.')[-1]}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif (why := case.find("skipped")) is not None:
            skipped.append(f"{name}: {why.get('message', '')}")
        else:
            passed += 1
    state = "failed" if failed or not passed else "ran"
    error = f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped"
    return {"state": state, "error": error, "passed": passed, "failed": failed, "skipped": skipped}


def repeatable(seconds: float) -> dict[str, Any]:
    """Two runs of the same three updates: whether losses and gradient norms agree to the last bit."""
    both = [run(["-m", "benchmarks.gpu.updates", "--updates", "3"], seconds / 2) for _ in range(2)]
    for outcome in both:
        if outcome["state"] != "ran":
            return outcome
    first, second = (outcome["result"] for outcome in both)
    pairs = [
        (float.fromhex(a), float.fromhex(b))
        for kind in first
        for a, b in zip(first[kind], second[kind], strict=True)
    ]
    return {
        "state": "ran",
        "equal": first == second,
        "largest_relative_difference": max(abs(a - b) / abs(a) if a else math.inf for a, b in pairs),
        "runs": [first, second],
    }
