"""Engines on several ranks against the plain one alone: a table of cases, each compared tensor by tensor.

The whole table is benchmarks/sharding_parity.py; docs/sharding.md shows it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.dist
TOLERANCE = 1e-5


def run(run_ranks: Any, out: Path, num_ranks: int, updates: int, *cases: str) -> list[dict[str, Any]]:
    """Figures of the cases on so many ranks, after the oracles that they need."""
    oracles = sorted({f"{case.rsplit(':', 1)[0]}:torch" for case in cases})
    run_ranks("parity_worker.py", 1, out, str(updates), *oracles, timeout=500)
    run_ranks("parity_worker.py", num_ranks, out, str(updates), *cases, timeout=500)
    found = [json.loads(line) for line in (out / f"ranks-{num_ranks}.jsonl").read_text().splitlines()]
    assert len(found) == len(cases)
    return found


def assert_exact(found: dict[str, Any]) -> None:
    """fp32: everything, up to the first token that was sent elsewhere."""
    where = found["model"], found["engine"], found["ranks"]
    assert found["clipped"], "clipping should be tried too"
    assert found["norm"] < TOLERANCE, where
    for state in found["states"] if found["first_flip"] is None else found["states"][:1]:
        for kind in ("exp_avg", "exp_avg_sq", "weight"):
            assert state[kind][0] < TOLERANCE, (where, kind, state[kind])
    flipped = _update(found["first_flip"])
    assert max(found["losses"][:flipped]) < 1e-4, where


def _update(first_flip: str | None) -> int | None:
    return int(first_flip.split(" ")[1].rstrip(",")) - 1 if first_flip else None


def assert_each_update_exact(found: dict[str, Any]) -> None:
    """Any precision: one update from the oracle's own state makes the oracle's next."""
    where = found["model"], found["precision"], found["engine"], found["ranks"]
    for kind in ("exp_avg", "exp_avg_sq", "weight"):
        assert found["from_its_state"][kind][0] < TOLERANCE, (where, kind)
    assert found["from_its_state"]["norm"] < TOLERANCE, where


def test_three_ranks_make_the_oracle_s_updates(tmp_path: Path, run_ranks: Any) -> None:
    for found in run(run_ranks, tmp_path, 3, 3, "moe:fp32:1", "dense:fp32:3-offload"):
        assert_exact(found)
        assert_each_update_exact(found)


@pytest.mark.slow
def test_fifty_losses_are_the_oracle_s(tmp_path: Path, run_ranks: Any) -> None:
    for found in run(run_ranks, tmp_path, 2, 50, "moe:fp32:1", "dense:fp32:3"):
        assert found["updates"] == 50
        assert_exact(found)


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 4])
def test_bf16_leaves_the_oracle_where_a_weight_rounds_the_other_way(
    tmp_path: Path, run_ranks: Any, num_ranks: int
) -> None:
    """As long as every working weight is the oracle's, moments agree; no token need go elsewhere."""
    for found in run(run_ranks, tmp_path, num_ranks, 3, "moe:bf16:1", "moe:bf16:2", "moe:bf16:3"):
        assert_each_update_exact(found)
        same_weights = True  # before the first update
        for rounded, state in zip(found["rounded_otherwise"], found["states"], strict=True):
            if same_weights:
                assert max(state[kind][0] for kind in ("exp_avg", "exp_avg_sq")) < TOLERANCE
            same_weights = same_weights and rounded == 0


@pytest.mark.slow
def test_three_ranks_in_bf16_update_as_one(tmp_path: Path, run_ranks: Any) -> None:
    """Gradients are summed, not averaged: no number of ranks is multiplied into a loss in bf16."""
    for found in run(run_ranks, tmp_path, 3, 3, "moe:bf16:1", "dense:bf16:2"):
        assert_each_update_exact(found)
