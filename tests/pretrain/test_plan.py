"""The plan: closed forms for memory and FLOPs, groups that add up, points that can be checked by hand."""

from __future__ import annotations

import json

import pytest

from pretrain.config.derive import model_shape
from pretrain.config.load import load
from pretrain.errors import UserError
from pretrain.memory import check_fit, memory, readable
from pretrain.plan import plan

P = 36_716_800  # parameters of proxy_36m
FP32, BF16 = 4, 2


def memory_of(*overrides: str, num_ranks: int = 1):
    config = load("proxy_36m", overrides)
    return memory(config, model_shape(config), num_ranks)


def test_groups_partition_the_parameters():
    made = plan(load("3b_moe"))
    names = [name for group in made.groups for name in group.tensors]
    assert len(names) == len(set(names)) == 2 + 32 * 7
    assert sum(group.parameters for group in made.groups) == made.parameters.total
    assert {group.name: group.weight_decay for group in made.groups} == {
        "embedding": 0.1,
        "norm": 0.0,
        "hidden": 0.1,
        "router": 0.1,
    }


def test_flops_in_closed_form():
    layer = 4 * 256 * 256 + 3 * 256 * 640
    products = 32 * layer + 49152 * 256
    assert plan(load("proxy_36m")).flops_per_token == 6 * products + 6 * 32 * 256 * 4096


def test_learning_rate_at_20_points():
    made = plan(load("3b_dense"))
    assert len(made.lr) == 20
    assert (made.lr[0], made.lr[-1]) == ((0, 0.0), (made.tokens, 0.0))
    tokens, lr = made.lr[10]
    assert tokens == 10 * made.tokens // 19
    assert lr == pytest.approx(1024 * 4.0 * tokens**-0.51, rel=1e-12)


@pytest.mark.parametrize(
    ("stage", "weights", "master", "moments", "gradients", "buckets"),
    [
        (1, BF16 * P, FP32 * P / 4, 8 * P / 4, FP32 * P, 8 * P),
        (2, BF16 * P, FP32 * P / 4, 8 * P / 4, FP32 * P / 4, 9 * P),
    ],
)
def test_memory_of_zero_stages_in_bf16(stage, weights, master, moments, gradients, buckets):
    parts = memory_of(f"deepspeed.zero_optimization.stage={stage}", num_ranks=4)
    assert (parts.weights, parts.master_weights, parts.moments, parts.gradients, parts.buckets) == (
        weights,
        master,
        moments,
        gradients,
        buckets,
    )


def test_a_bucket_of_gradients_is_as_large_as_deepspeed_is_told():
    assert memory_of("deepspeed.zero_optimization.reduce_bucket_size=1000000").buckets == 8 * 10**6
    assert memory_of("deepspeed.zero_optimization.stage=3").buckets == 14 * P


def test_memory_of_zero_3_shards_all_but_what_is_gathered():
    zero_3 = "deepspeed.zero_optimization.stage=3"
    assert memory_of(zero_3, num_ranks=4).weights == BF16 * (P // 4 + P)  # all is used again soon, and kept
    nothing_kept = "deepspeed.zero_optimization.stage3_max_reuse_distance=0"
    parts = memory_of(zero_3, nothing_kept, num_ranks=4)
    layer = 4 * 256 * 256 + 3 * 256 * 640 + 2 * 256
    assert parts.weights == BF16 * (P // 4 + 49152 * 256 + 2 * layer + 256)


def test_a_save_holds_its_share_of_the_state_where_training_is_on_the_host():
    config = load("proxy_36m")
    shape = model_shape(config)
    on_host, on_gpu = memory(config, shape, 4, on_host=True), memory(config, shape, 4)
    assert on_host.checkpoint_copy == 12 * P // 4
    assert on_host.total - on_gpu.total == 12 * P // 4


def test_memory_in_fp32_and_without_sharding():
    replicated = memory_of("run.precision=fp32", "run.engine=torch", num_ranks=4)
    assert (replicated.weights, replicated.master_weights) == (FP32 * P, 0)
    assert (replicated.moments, replicated.gradients) == (8 * P, FP32 * P)
    mixed = memory_of("run.engine=torch")
    assert (mixed.weights, mixed.master_weights) == (BF16 * P, FP32 * P)
    zero_0 = memory_of("run.precision=fp32", "deepspeed.zero_optimization.stage=0", num_ranks=4)
    assert (zero_0.buckets, replicated.buckets) == (4 * P, 0)
    assert zero_0.total - zero_0.buckets == replicated.total


def test_activations_follow_the_micro_batch_and_sum_is_total():
    one, two = (memory_of(f"batch.micro_sequences={size}") for size in (1, 2))
    fixed = 2 * one.activations - two.activations  # logits of one chunk, and the gradient of the head
    chunk_rows = 64 * 2**20 // (FP32 * 49152)
    assert fixed == chunk_rows * 49152 * FP32 + 24 * 2**20 + FP32 * 49152 * 256
    state = one.weights + one.master_weights + one.moments
    assert one.total == state + one.gradients + one.buckets + one.activations


def test_activations_follow_what_is_checkpointed():
    sizes = {
        how: memory_of(f"kernels.activation_checkpointing={how}") for how in ("none", "selective", "full")
    }
    none, selective, full = (sizes[how].activations for how in ("none", "selective", "full"))
    inputs = 4096 * 32 * BF16 * 256 * load("proxy_36m").batch.micro_sequences
    assert none > selective > full > inputs
    assert none - full == sizes["none"].total - sizes["full"].total


def test_json_is_plain_and_has_the_names_that_stay():
    made = plan(load("3b_moe"), num_ranks=8)
    value = json.loads(json.dumps(made.to_json()))
    assert {"parameters", "groups", "tokens", "steps", "flops_per_token", "lr", "memory"} <= set(value)
    assert value["parameters"] == {
        "total": 3_298_788_864,
        "active": 882_869_760,
        "active_non_embedding": 807_372_288,
        "embedding": 75_497_472,
    }
    assert {"name", "lr_ratio", "weight_decay", "parameters"} <= set(value["groups"][0])
    assert value["lr"][3] == list(made.lr[3])
    parts = {name: size for name, size in value["memory"].items() if name not in ("num_ranks", "total_bytes")}
    assert sum(parts.values()) == value["memory"]["total_bytes"]


def test_ranks_that_do_not_divide_the_batch():
    with pytest.raises(UserError, match="1008 or 1056 would be"):
        plan(load("3b_moe"), num_ranks=24)


def test_what_does_not_fit_is_refused_with_what_to_change():
    check_fit(2**30, 2**30, "3b_moe")
    with pytest.raises(
        UserError, match=r"3b_moe needs about 48\.9 GiB.*3\.0 GiB.*ranks.*stage.*micro_sequences"
    ) as caught:
        check_fit(int(48.9 * 2**30), 3 * 2**30, "3b_moe")
    assert "smaller config" in str(caught.value)


def test_bytes_for_people():
    assert [readable(size) for size in (2**20, 1.5 * 2**30, 0)] == ["1.0 MiB", "1.5 GiB", "0.0 MiB"]
