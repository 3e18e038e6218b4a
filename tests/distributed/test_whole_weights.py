"""Whole weights in the middle of a run, whatever shards them: read by every rank, and left as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.dist


def seen(folder: Path, engine: str, rank: int) -> dict[str, Any]:
    return torch.load(folder / f"{engine}-{rank}.pt", weights_only=True)


def assert_whole(folder: Path, engines: tuple[str, ...], dtype: torch.dtype) -> None:
    plain = seen(folder, "torch", 0)["seen"]
    for engine in engines:
        for rank in (0, 1):
            found = seen(folder, engine, rank)
            assert {"logits 5", f"logits {11 + rank}", "weight embedding"} <= found["seen"].keys()
            for name, tensor in found["seen"].items():
                if name.startswith("weight "):
                    assert tensor.dtype == dtype
                    # an update behind the first weights: what rounding decides is below the learning rate
                    torch.testing.assert_close(tensor, plain[name], atol=1e-3, rtol=1e-2)
            first = seen(folder, engine, 0)["seen"]["logits 5"]
            assert torch.equal(found["seen"]["logits 5"], first), "every rank reads with the same weights"
            torch.testing.assert_close(first, plain["logits 5"], atol=0.05, rtol=0.01)
            for name, tensor in found["without"].items():
                assert torch.equal(tensor, found["with"][name]), f"{engine}: reading changed {name}"
                assert torch.equal(tensor, found["again"][name]), f"{engine}: reading left a mark on {name}"


def test_two_ranks_read_with_sharded_weights_and_train_on(tmp_path: Path, run_ranks: Any) -> None:
    run_ranks("whole_worker.py", 2, tmp_path, "moe", "fp32", "torch", "3")
    assert_whole(tmp_path, ("torch", "3"), torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["dense", "moe"])
def test_every_stage_reads_and_trains_on(tmp_path: Path, run_ranks: Any, model: str, precision: str) -> None:
    engines = ("torch", "1", "2", "3", *(("0",) if precision == "fp32" else ()))
    run_ranks("whole_worker.py", 2, tmp_path, model, precision, *engines)
    assert_whole(tmp_path, engines, torch.float32 if precision == "fp32" else torch.bfloat16)
