"""The benchmark of training steps runs, compares like with like, and computes its figures as it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "training_step.py"
sys.path.insert(0, str(SCRIPT.parent))

from speed import summary  # noqa: E402
from speed.contenders import BARE, CONTENDERS, chosen  # noqa: E402
from speed.rounds import Measured  # noqa: E402

from pretrain.errors import UserError  # noqa: E402

EAGER, COMPILED = "transformers eager", "transformers compiled"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script, on one thread."""
    command = [sys.executable, str(SCRIPT), "--threads", "1", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


@pytest.mark.slow
def test_it_runs_and_writes(tmp_path: Path) -> None:
    """Ours and theirs start with the same loss and gradient; the page and the figures are written."""
    figures, page = tmp_path / "figures.json", tmp_path / "page.md"
    ended = run(
        *("--shape", "small_moe", "--dtype", "fp32", "--quick"),
        *("--contenders", "ours; transformers eager, grouped_mm"),
        *("--json", str(figures), "--write", str(page)),
    )
    assert ended.returncode == 0, ended.stderr
    ours, theirs = json.loads(figures.read_text())["rows"]
    assert abs(ours["loss"] - theirs["loss"]) <= 1e-5 * theirs["loss"]
    assert abs(ours["norm"] - theirs["norm"]) <= 1e-4 * theirs["norm"]
    for row in (ours, theirs):
        assert row["missing"] is None
        assert row["tokens_per_second"] > 0
        assert 0 < row["share_of_peak"] < 1
        assert row["differs"] is None
    text = page.read_text()
    assert "| ours |" in text
    assert str(tmp_path) not in text
    assert "processor" in text


def test_an_unknown_contender_is_refused() -> None:
    """By name, with the nearest one."""
    with pytest.raises(UserError, match="Did you mean 'engine torch'"):
        chosen("engine tosch", "moe")


def test_every_shape_has_baselines() -> None:
    """Each meets transformers eager and compiled, the mixture with every experts implementation."""
    for shape, expected in (("dense", 1), ("moe", 3)):
        for role in ("eager", "compiled"):
            assert sum(CONTENDERS[name].role == role for name in chosen(None, shape)) == expected


def test_every_builder_exists() -> None:
    """The table names functions that are there."""
    import importlib

    for contender in CONTENDERS.values():
        module, function = contender.build.split(":")
        assert callable(getattr(importlib.import_module(module), function))


def measured(name: str, seconds: list[float], loss: float = 9.0, norm: float = 1.0) -> Measured:
    """A contender with these times: 100 tokens a step, 10 FLOPs each, at a peak of 2000 FLOP/s."""
    first = {"losses": [loss, loss], "norm": norm, "tokens": 100, "flops_per_token": 10, "kernels": []}
    rounds = [{"seconds": time, "peak_bytes": 7, "peak_flops": 2000.0} for time in seconds]
    return Measured(shape="dense", precision="fp32", contender=name, first=first, rounds=rounds)


def test_ratios_are_of_the_same_round() -> None:
    """A machine that becomes three times slower for a round changes no ratio."""
    group = [
        measured("ours", [1.0, 3.0, 1.0]),
        measured(BARE, [1.0, 3.0, 1.0]),
        measured("engine torch", [1.1, 3.3, 1.1]),
        measured(EAGER, [2.0, 6.0, 2.0]),
        measured(COMPILED, [1.5, 4.5, 1.5]),
    ]
    ours, _, engine, eager, _ = summary.rows(group)
    assert ours.over_eager == pytest.approx(2.0)
    assert ours.over_compiled == pytest.approx(1.5)
    assert eager.over_eager == 1.0
    assert engine.over_bare == pytest.approx(1.1)
    assert ours.tokens_per_second == 100.0
    assert ours.share_of_peak == pytest.approx(100 * 10 / 1.0 / 2000)


@pytest.mark.parametrize(
    ("name", "loss", "norm", "found"),
    [
        (EAGER, 9.001, 1.0, "first loss"),
        (EAGER, 9.0, 1.01, "gradient norm"),
        (EAGER, float("nan"), 1.0, "first loss"),
        ("litgpt eager", 9.0, 2.0, None),  # it learns other parameters
        (EAGER, 9.00001, 1.0001, None),
    ],
)
def test_a_contender_that_trains_something_else_is_named(
    name: str, loss: float, norm: float, found: str | None
) -> None:
    _, row = summary.rows([measured("ours", [1.0]), measured(name, [1.0], loss, norm)])
    assert (row.differs or "").startswith(found or "")
    assert (row.differs is None) == (found is None)
