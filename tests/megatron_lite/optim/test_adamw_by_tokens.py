"""AdamW whose beta2 follows the batch, against AdamW written out with every update's own beta2, in fp64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from megatron_lite.mup.audit import audit
from megatron_lite.mup.groups import Group
from megatron_lite.optim.adamw import adamw, built_group, rates, set_rates
from megatron_lite.optim.options import AdamWOptions, Beta2Options
from megatron_lite.optim.second_moment import SecondMoment, second_moment

HALF_LIFE = 10_000
# eps near the size of the gradients' second moment, so that a wrong scale of it shows
OPTIONS = AdamWOptions(eps=0.3, adam_beta2=Beta2Options(half_life_tokens=HALF_LIFE))
GROUPS = (
    Group(name="embedding", lr_ratio=1.0, weight_decay=0.1, parameters=("a",)),
    Group(name="norm", lr_ratio=1.0, weight_decay=0.0, parameters=("b",)),
    Group(name="hidden", lr_ratio=0.125, weight_decay=0.8, parameters=("c", "d")),
)
SIZES = {"a": 7, "b": 3, "c": 5, "d": 2}
CHANGING = [512] * 5 + [4096] * 7 + [64] * 10 + [16384, 256, 8192, 128] * 2
CONSTANT = [512] * 30


def moments_of(sizes: Sequence[int]) -> list[SecondMoment | None]:
    """The second moment of every update of these batches."""
    return [
        second_moment(OPTIONS, step=step, tokens_before=sum(sizes[: step - 1]), batch_tokens=size)
        for step, size in enumerate(sizes, 1)
    ]


def lr_of(step: int) -> float:
    return 0.05 * (1 + math.cos(step / 10))


def first_weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(size, generator=generator, dtype=torch.float64) for name, size in SIZES.items()}


def gradients(num_updates: int) -> list[dict[str, Tensor]]:
    """Of very different sizes from update to update, so that the weights of the average matter."""
    generator = torch.Generator().manual_seed(1)
    return [
        {
            name: 10 ** float(torch.randn((), generator=generator))
            * torch.randn(size, generator=generator, dtype=torch.float64)
            for name, size in SIZES.items()
        }
        for _ in range(num_updates)
    ]


def written_out(sizes: Sequence[int]) -> list[dict[str, Tensor]]:
    """The weights after each update of AdamW, each with its own beta2, corrected by their product."""
    weights = first_weights()
    m = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    v = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    kept, after = 1.0, []
    for step, (size, gradient) in enumerate(zip(sizes, gradients(len(sizes)), strict=True), 1):
        beta2 = 2 ** (-size / HALF_LIFE)
        kept *= beta2
        for group in GROUPS:
            lr = lr_of(step) * group.lr_ratio
            for name in group.parameters:
                m[name] = 0.9 * m[name] + 0.1 * gradient[name]
                v[name] = beta2 * v[name] + (1 - beta2) * gradient[name] ** 2
                direction = m[name] / (1 - 0.9**step) / ((v[name] / (1 - kept)).sqrt() + OPTIONS.eps)
                weights[name] = weights[name] - lr * group.weight_decay * weights[name] - lr * direction
        after.append(dict(weights))
    return after


def built(optimizer: torch.optim.Optimizer) -> list[Group]:
    return [
        built_group(group, ours.parameters)
        for group, ours in zip(optimizer.param_groups, GROUPS, strict=True)
    ]


def trained(
    options: AdamWOptions, moments: Sequence[SecondMoment | None], dtype: torch.dtype
) -> list[dict[str, Tensor]]:
    """The same by torch's fused AdamW."""
    tensors = {name: torch.nn.Parameter(weight.to(dtype)) for name, weight in first_weights().items()}
    optimizer, after = adamw(options, GROUPS, tensors), []
    for step, (moment, gradient) in enumerate(zip(moments, gradients(len(moments)), strict=True), 1):
        for name, tensor in tensors.items():
            tensor.grad = gradient[name].to(dtype)
        set_rates(optimizer, lr_of(step), moment)
        optimizer.step()
        audit(GROUPS, built(optimizer))
        assert rates(optimizer) == pytest.approx(
            {group.name: lr_of(step) * group.lr_ratio for group in GROUPS}
        )
        after.append({name: tensor.detach().to(torch.float64, copy=True) for name, tensor in tensors.items()})
    return after


def worst(some: Sequence[dict[str, Tensor]], others: Sequence[dict[str, Tensor]]) -> float:
    return max(
        float((one[name] - other[name]).abs().max())
        for one, other in zip(some, others, strict=True)
        for name in SIZES
    )


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("sizes", [CHANGING, CONSTANT, CHANGING[::-1]])
def test_every_update_is_that_of_adamw_written_out(
    sizes: list[int], dtype: torch.dtype, within: float
) -> None:
    assert worst(trained(OPTIONS, moments_of(sizes), dtype), written_out(sizes)) < within


def test_what_torch_would_do_alone_is_far_away() -> None:
    """The correction is worth the trouble, and the test above could fail."""
    naive = [replace(moment, scale=1.0) for moment in moments_of(CHANGING) if moment]
    assert worst(trained(OPTIONS, naive, torch.float64), written_out(CHANGING)) > 0.01


def test_a_constant_batch_is_plain_adamw() -> None:
    plain = AdamWOptions(eps=OPTIONS.eps, betas=(0.9, 2 ** (-CONSTANT[0] / HALF_LIFE)))
    by_tokens = trained(OPTIONS, moments_of(CONSTANT), torch.float64)
    assert worst(by_tokens, trained(plain, [None] * len(CONSTANT), torch.float64)) < 1e-13


def test_without_the_option_only_the_rate_is_written() -> None:
    assert second_moment(AdamWOptions(), step=1, tokens_before=0, batch_tokens=512) is None
    optimizer = adamw(AdamWOptions(), GROUPS, {name: torch.zeros(size) for name, size in SIZES.items()})
    before = [dict(group) for group in optimizer.param_groups]
    set_rates(optimizer, 0.3)
    for group, was, ours in zip(optimizer.param_groups, before, GROUPS, strict=True):
        assert group.pop("lr") == 0.3 * ours.lr_ratio
        assert was.pop("lr") == 0.0
        assert group.keys() == was.keys()
        assert all(group[key] is was[key] for key in was)
