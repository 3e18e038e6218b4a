"""What an update sends, against the sums that can be done by hand."""

from __future__ import annotations

import pytest

from megatron_lite.model.parameters import parameters
from pretrain.communication import Exchange, communication
from pretrain.config.derive import model_shape
from pretrain.config.load import load

NUM_RANKS = 4
PASSES = 3


def sent(precision: str, *overrides: str) -> dict[str, float]:
    """Of each kind of tensor, what a rank sends, in parts of what all gradients or all weights are."""
    config = load("tiny_dense", [f"run.precision={precision}", *overrides])
    shape = model_shape(config)
    total = sum(parameter.size for parameter in parameters(shape))
    bytes_each = {"gradients": 4, "weights": {"fp32": 4, "bf16": 2}[precision]}
    share = (NUM_RANKS - 1) / NUM_RANKS
    return {
        exchange.what: exchange.sent_bytes(NUM_RANKS) / (bytes_each[exchange.what] * total * share)
        for exchange in communication(config, shape, NUM_RANKS, PASSES)
    }


def zero(stage: int, **keys: float) -> str:
    listed = ", ".join(f"{key}: {value}" for key, value in ({"stage": stage} | keys).items())
    return f"deepspeed={{zero_optimization: {{{listed}}}}}"


NOTHING_KEPT = {"stage3_param_persistence_threshold": 0, "stage3_max_reuse_distance": 0}
SOME = "deepspeed={zero_optimization: {stage: 2, use_multi_rank_bucket_allreduce: false}}"


@pytest.mark.parametrize(
    ("precision", "override", "expected"),
    [
        ("fp32", "run.engine=torch", {"gradients": 2}),
        ("fp32", zero(0), {"gradients": 2}),
        ("bf16", zero(1), {"gradients": 2, "weights": 1}),
        ("bf16", zero(2), {"gradients": 2 * PASSES, "weights": 1}),
        ("bf16", SOME, {"gradients": PASSES, "weights": 1}),
        ("bf16", zero(3, **NOTHING_KEPT), {"gradients": PASSES, "weights": 2 * PASSES}),
        ("fp32", zero(3, stage3_param_persistence_threshold=0), {"gradients": PASSES, "weights": PASSES}),
        ("fp32", zero(3, stage3_param_persistence_threshold=10**9), {"gradients": PASSES, "weights": 1}),
    ],
)
def test_each_stage_sends_its_multiple(precision: str, override: str, expected: dict[str, float]) -> None:
    assert sent(precision, override) == pytest.approx(expected, rel=1e-3)  # padding


def test_one_rank_sends_nothing() -> None:
    config = load("tiny_dense")
    assert communication(config, model_shape(config), 1, PASSES) == ()


def test_a_ring_sends_each_rank_s_share_to_all_others() -> None:
    tensor = {"what": "weights", "dtype": "bf16", "elements": 80}
    assert Exchange(collective="all_gather", **tensor).sent_bytes(8) == 140
    assert Exchange(collective="all_reduce", **tensor).sent_bytes(8) == 280
    assert Exchange(collective="all_gather", **tensor).payload_bytes == 160
