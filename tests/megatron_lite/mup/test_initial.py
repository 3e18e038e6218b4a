"""Initial weights: their size, and that nothing but seed and name decides them."""

from __future__ import annotations

import math

import pytest
import torch

from megatron_lite.model.parameters import Parameter
from megatron_lite.mup.initial import initial_weight
from megatron_lite.mup.roles import Role
from megatron_lite.mup.rules import Rule

RULE = Rule(init_std=0.05, lr_ratio=1.0, weight_decay=0.1)


def parameter(name: str = "layers.0.mixer.qkv.weight", shape: tuple[int, ...] = (200, 300)) -> Parameter:
    """A hidden matrix."""
    return Parameter(name=name, shape=shape, role=Role.HIDDEN)


def test_size() -> None:
    """Normal, with the rule's std: moments within five standard errors of 60 000 draws."""
    weight = initial_weight(parameter(), RULE, seed=1)
    assert weight.shape == (200, 300)
    assert weight.dtype == torch.float32
    error = 5 / math.sqrt(weight.numel())
    scaled = weight / 0.05
    assert abs(scaled.mean()) < error
    assert abs(scaled.square().mean() - 1) < math.sqrt(2) * error
    assert abs(scaled.pow(4).mean() - 3) < math.sqrt(96) * error


def test_ones() -> None:
    """Gains start at one."""
    weight = initial_weight(parameter(shape=(7,)), Rule(init_std=None, lr_ratio=1, weight_decay=0), seed=1)
    assert torch.equal(weight, torch.ones(7))


def test_seed_and_name_alone_decide() -> None:
    """Other draws, another order, another default type: the same weight."""
    first = initial_weight(parameter(), RULE, seed=1)
    state = torch.get_rng_state()
    initial_weight(parameter("norm.weight"), RULE, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    with torch.device("meta"):
        assert torch.equal(initial_weight(parameter(), RULE, seed=1), first)


@pytest.mark.parametrize(
    ("name", "seed"), [("layers.0.mixer.qkv.weight", 2), ("layers.1.mixer.qkv.weight", 1)]
)
def test_other_seed_or_name_other_weight(name: str, seed: int) -> None:
    """Unrelated, not shifted or scaled."""
    first, other = initial_weight(parameter(), RULE, 1), initial_weight(parameter(name), RULE, seed)
    assert abs(torch.corrcoef(torch.stack([first.flatten(), other.flatten()]))[0, 1]) < 0.02


def test_std_scales_the_same_draw() -> None:
    """A rule that doubles the std doubles every weight."""
    twice = initial_weight(parameter(), Rule(init_std=0.1, lr_ratio=1, weight_decay=0), 1)
    torch.testing.assert_close(twice, 2 * initial_weight(parameter(), RULE, 1))


def test_golden() -> None:
    """The weights of a seed are part of what a run is: they stay the same over versions."""
    weight = initial_weight(parameter("embedding", (4, 8)), RULE, seed=1234)
    golden = torch.tensor([-0.012073225, -0.063504837, -0.021571291])
    torch.testing.assert_close(weight[0, :3], golden, atol=1e-6, rtol=0)
