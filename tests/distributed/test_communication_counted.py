"""The collectives that the real engines make, counted on 256 ranks that are not there, against the theory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# tried on an H100: NCCL 2.28 makes each of these on every one of these types, as gloo does
COLLECTIVES = {"all_reduce", "reduce", "all_gather", "reduce_scatter"}
DTYPES = {"fp32", "bf16", "float64", "int64", "uint8"}
OPERATIONS = {"", "SUM", "MAX"}


def counted(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "communication.py"), "--json", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def assert_as_planned(entry: dict[str, Any]) -> None:
    what = [entry[key] for key in ("config", "precision", "engine", "zero")]
    found = {
        (kind["collective"], kind["dtype"]): kind["elements"]
        for kind in entry["counted"]
        if not kind["scalar"]
    }
    planned = {(plan["collective"], plan["dtype"]): plan["elements"] for plan in entry["planned"]}
    assert found == planned, what
    for kind in entry["counted"]:
        assert kind["collective"] in COLLECTIVES, what
        assert kind["dtype"] in DTYPES, what
        assert kind["op"] in OPERATIONS, what
    # what is left out of the plan is a handful of numbers
    assert sum(kind["times"] for kind in entry["counted"] if kind["scalar"]) < 16, what


def test_an_update_sends_what_was_planned() -> None:
    found = counted("--few")
    assert len(found) == 5
    for entry in found:
        assert_as_planned(entry)


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "passes"), [("256", "3"), ("7", "1")])
def test_every_stage_sends_what_was_planned(ranks: str, passes: str) -> None:
    for entry in counted("--ranks", ranks, "--passes", passes):
        assert_as_planned(entry)
