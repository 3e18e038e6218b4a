"""DeepSpeed at every ZeRO stage against the plain engine on one rank: gradients, norms, moments, weights.

Adam hides a wrong scale of the gradient, so losses alone would prove nothing: the first moment after the
first update is (1 - beta1) times the clipped gradient, and is compared tensor by tensor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pretrain.checkpoint.format import checkpoint_name

pytestmark = pytest.mark.dist
STEPS = 3
LR = 0.01
STAGES = ("torch", "0", "1", "2", "3")
OFFLOADED = ("1-offload", "2-offload", "3-offload")


def seen(folder: Path, engine: str) -> dict[str, Any]:
    return torch.load(folder / f"{engine}.pt", weights_only=True)


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], kind: str) -> tuple[float, str]:
    """The largest difference of tensors of a kind, relative to each tensor's largest value, and where."""
    assert one.keys() == other.keys()
    return max(
        (float((one[key] - other[key]).abs().max() / other[key].abs().max()), key)
        for key in one
        if key.startswith(kind + " ")
    )


@pytest.fixture(scope="module", params=["dense", "moe"])
def oracle(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_ranks: Any
) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(f"oracle-{request.param}")
    run_ranks("engine_worker.py", 1, folder, request.param, "fp32", "torch", "0", "1", "2", "3")
    return request.param, folder


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["losses"] == pytest.approx(other["losses"], rel=1e-6)
    assert one["norms"] == pytest.approx(other["norms"], rel=1e-5)
    assert one["balance"] == pytest.approx(other["balance"], rel=1e-5)
    for when in ("after_first", "after_last"):
        for kind in ("exp_avg", "exp_avg_sq"):
            worst, where = difference(one[when], other[when], kind)
            assert worst < 1e-5, f"{where} {when} differs by {worst:.2g}"
    # of the order of the update: where a gradient is almost nothing, rounding decides the direction
    for key, weight in one["after_last"].items():
        if key.startswith("weight "):
            close = (weight - other["after_last"][key]).abs() < 1e-4 * LR * STEPS
            assert close.float().mean() > 0.999, key


@pytest.mark.parametrize("stage", ["0", "1", "2", "3"])
def test_one_rank_agrees_with_the_plain_engine(oracle: tuple[str, Path], stage: str) -> None:
    _, folder = oracle
    assert_same(seen(folder, stage), seen(folder, "torch"))


@pytest.fixture(scope="module")
def two_ranks(oracle: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory, run_ranks: Any) -> Path:
    model, _ = oracle
    folder = tmp_path_factory.mktemp(f"two-{model}")
    run_ranks("engine_worker.py", 2, folder, model, "fp32", "torch", "0", "1", "2", "3")
    return folder


@pytest.mark.parametrize("engine", ["torch", "0", "1", "2", "3"])
def test_two_ranks_agree_with_the_plain_engine_on_one(
    oracle: tuple[str, Path], two_ranks: Path, engine: str
) -> None:
    assert_same(seen(two_ranks, engine), seen(oracle[1], "torch"))


def test_the_norm_is_clipped_and_large_enough_to_matter(oracle: tuple[str, Path]) -> None:
    assert min(seen(oracle[1], "torch")["norms"]) > 0.4


@pytest.mark.parametrize(
    ("num_ranks", "engines"), [(1, ("torch", "0", "1", "2", "3")), (2, ("0", "1", "2", "3"))]
)
def test_a_checkpoint_of_any_stage_continues_under_any_other(
    oracle: tuple[str, Path],
    two_ranks: Path,
    tmp_path: Path,
    run_ranks: Any,
    num_ranks: int,
    engines: tuple[str, ...],
) -> None:
    """Saved under ZeRO 3 on two ranks, read by each stage on one and two."""
    model, _ = oracle
    saved = two_ranks / "3" / checkpoint_name(STEPS)
    run_ranks("engine_worker.py", num_ranks, tmp_path, model, "fp32", *engines, "--from", saved)
    results = {engine: seen(tmp_path, engine) for engine in engines}
    reference = results[engines[0]]
    for result in results.values():
        assert_same(result, reference)


@pytest.mark.slow
def test_three_ranks_with_padding_agree_too(tmp_path: Path, run_ranks: Any) -> None:
    # 8 sequences do not divide by 3 ranks, so the state is only moved: saved on three ranks, read on one
    run_ranks("engine_worker.py", 1, tmp_path / "one", "dense", "fp32", "torch", "3")
    saved = tmp_path / "one" / "3" / checkpoint_name(STEPS)
    run_ranks("move_worker.py", 3, saved, tmp_path / "three")
    moved = tmp_path / "three"
    for stage in ("1", "2", "3"):
        for name in ("weight", "exp_avg", "exp_avg_sq"):
            file = f"{name}-00000.safetensors"
            assert (moved / stage / checkpoint_name(STEPS) / file).read_bytes() == (saved / file).read_bytes()


@pytest.mark.parametrize("model", ["dense", "moe"])
def test_bf16_keeps_masters_moments_and_accumulation_in_fp32(
    model: str, tmp_path: Path, run_ranks: Any
) -> None:
    run_ranks("engine_worker.py", 2, tmp_path, model, "bf16", "torch", "1", "2", "3")
    plain = seen(tmp_path, "torch")
    for stage in ("1", "2", "3"):
        sharded = seen(tmp_path, stage)
        worst, where = difference(sharded["after_first"], plain["after_first"], "exp_avg")
        assert worst < 1e-5, where  # an accumulator in bf16 would differ by 4e-3
        assert sharded["losses"][:2] == pytest.approx(plain["losses"][:2], rel=1e-6)
        assert sharded["losses"] == pytest.approx(plain["losses"], rel=1e-4)
        master = sharded["after_last"]["weight embedding"]
        assert not torch.equal(master, master.bfloat16().float())


@pytest.mark.parametrize(
    ("num_ranks", "engines"),
    [
        (1, STAGES),
        (2, STAGES),
        pytest.param(3, ("0", "1", "3", *OFFLOADED), marks=pytest.mark.slow),
        pytest.param(4, ("1", "2", "3", "3-offload"), marks=pytest.mark.slow),
    ],
)
def test_each_parameter_moves_by_its_own_rate_and_shrinks_by_its_own_decay(
    tmp_path: Path, run_ranks: Any, num_ranks: int, engines: tuple[str, ...]
) -> None:
    """One AdamW step from zero moments: lr x ratio with a gradient, lr x ratio x decay without."""
    run_ranks("engine_worker.py", num_ranks, tmp_path, "moe", "fp32", *engines, "--behave")
    width_ratio = 60 / 30
    hidden = (".mixer.qkv", ".mixer.output", ".router", ".experts")
    for engine in engines:
        moved = seen(tmp_path, engine)
        for key, before in moved["before"].items():
            if not key.startswith("weight "):
                continue
            is_hidden = any(part in key for part in hidden)
            ratio = 1 / width_ratio if is_hidden else 1.0
            decay = 0.0 if "norm" in key else 0.1 * width_ratio if is_hidden else 0.1
            rate = LR * ratio
            shrunk = before * (1 - rate * decay)
            torch.testing.assert_close(moved["without"][key], shrunk, rtol=1e-6, atol=1e-8)
            if decay:  # to 1e-3 of the shrinking itself
                lost = (before - moved["without"][key]).norm() / before.norm()
                assert float(lost) == pytest.approx(rate * decay, rel=1e-3), (engine, key)
            gradient = moved["with_gradient"][key.replace("weight", "exp_avg", 1)].abs()
            step = (moved["with_gradient"][key] - shrunk).abs()
            clear = gradient > 1e-4 * gradient.max()  # far above eps
            assert clear.float().mean() > 0.2, key
            assert float(step[clear].mean()) == pytest.approx(rate, rel=1e-3), (engine, key)
