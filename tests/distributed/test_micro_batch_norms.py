"""Norms of micro-batches seen by hooks against gradients computed one micro-batch at a time, by engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.dist
ENGINES = {
    "fp32": ("torch", "0", "1", "2", "3"),
    "bf16": ("torch", "1", "2", "3"),  # DeepSpeed accumulates bf16 in fp32 from stage 1 on
}


@pytest.fixture(
    scope="module",
    params=[
        ("dense", "fp32"),
        pytest.param(("moe", "fp32"), marks=pytest.mark.slow),
        pytest.param(("dense", "bf16"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def seen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_ranks: Any
) -> tuple[Path, float]:
    model, precision = request.param
    folder = tmp_path_factory.mktemp(f"norms-{model}-{precision}")
    for size in (1, 2):
        run_ranks("noise_worker.py", size, folder, model, precision, *ENGINES[precision])
    return folder, 1e-5 if precision == "fp32" else 3e-2


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.parametrize("size", [1, 2])
def test_hooks_see_each_micro_batch_by_itself(seen: tuple[Path, float], size: int) -> None:
    folder, tolerance = seen
    alone = read(folder, "alone")
    names = [path.stem for path in folder.glob(f"*-{size}.json")]
    assert len(names) >= 4
    for name in names:
        check(alone, read(folder, name), tolerance)


def check(alone: dict[str, Any], found: dict[str, Any], tolerance: float) -> None:
    first, second = found["updates"]
    assert first["sums"][0] == pytest.approx(sum(alone["squares"]), rel=tolerance)
    assert first["sums"][1] == sum(count**2 for count in alone["valid"])
    assert first["norm"] == pytest.approx(alone["norm"], rel=tolerance)
    assert len(set(alone["valid"])) > 1  # or equal shares would hide a wrong weight
    assert second["sums"][0] != pytest.approx(first["sums"][0], rel=tolerance)  # at other weights
    assert second["sums"][1] == first["sums"][1]
