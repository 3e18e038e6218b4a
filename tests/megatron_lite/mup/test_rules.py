"""The rules of µP, written out for every role at two widths."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.options import MupOptions
from megatron_lite.mup.roles import Role
from megatron_lite.mup.rules import Rule, rule

DECAY = 0.1

# 8 layers, base width 256, init 0.1: std, LR ratio, decay. Width 256 is the base, width 1024 has m = 4.
TABLE = {
    (Role.EMBEDDING, 256): (0.1, 1.0, DECAY),
    (Role.EMBEDDING, 1024): (0.1, 1.0, DECAY),
    (Role.HEAD, 256): (0.1, 1.0, DECAY),
    (Role.HEAD, 1024): (0.1, 1.0, DECAY),
    (Role.NORM, 256): (None, 1.0, 0.0),
    (Role.NORM, 1024): (None, 1.0, 0.0),
    (Role.HIDDEN, 256): (0.1, 1.0, DECAY),
    (Role.HIDDEN, 1024): (0.05, 0.25, DECAY),
    (Role.OUTPUT, 256): (0.025, 1.0, DECAY),
    (Role.OUTPUT, 1024): (0.0125, 0.25, DECAY),
    (Role.ROUTER, 256): (0.1, 1.0, DECAY),
    (Role.ROUTER, 1024): (0.05, 0.25, DECAY),
}


def rule_of(role: Role, shape: ModelShape, **mup: object) -> Rule:
    """The rule under the default µP, with changes."""
    return rule(role, mup=MupOptions.model_validate(mup), shape=shape, weight_decay=DECAY)


def assert_rule(found: Rule, init_std: float | None, lr_ratio: float, weight_decay: float) -> None:
    """Equal to rounding."""
    assert (found.init_std is None) == (init_std is None)
    assert found.init_std is None or math.isclose(found.init_std, init_std)
    assert math.isclose(found.lr_ratio, lr_ratio)
    assert math.isclose(found.weight_decay, weight_decay)


def test_the_table_is_whole() -> None:
    """A new role needs new lines."""
    assert {role for role, _ in TABLE} == set(Role)


@pytest.mark.parametrize(("role", "width"), TABLE, ids=str)
def test_table(make_shape: Callable[..., ModelShape], role: Role, width: int) -> None:
    """The default rules."""
    assert_rule(rule_of(role, make_shape(hidden_size=width, num_layers=8)), *TABLE[role, width])


def test_router_as_output(make_shape: Callable[..., ModelShape]) -> None:
    """Std and LR of an output of µP; the other roles keep theirs."""
    shape = make_shape(hidden_size=1024, num_layers=8)
    assert_rule(rule_of(Role.ROUTER, shape, router="output"), 0.025, 0.25, DECAY)
    assert rule_of(Role.HIDDEN, shape, router="output") == rule_of(Role.HIDDEN, shape)
    assert rule_of(Role.OUTPUT, shape, router="output") == rule_of(Role.OUTPUT, shape)


@pytest.mark.parametrize("width", [128, 256, 1024])
@pytest.mark.parametrize("role", Role)
def test_scaled_decay(make_shape: Callable[..., ModelShape], role: Role, width: int) -> None:
    """The decay of an update, lr x decay, is then free of the width in every role."""
    shape = make_shape(hidden_size=width)
    found = rule_of(role, shape, weight_decay_rule="scaled")
    plain = rule_of(role, shape)
    assert math.isclose(found.lr_ratio * found.weight_decay, 0.0 if role is Role.NORM else DECAY)
    assert (found.init_std, found.lr_ratio) == (plain.init_std, plain.lr_ratio)


@pytest.mark.parametrize("changes", [{}, {"weight_decay_rule": "scaled"}, {"router": "output"}], ids=str)
@pytest.mark.parametrize("width", [64, 1024])
def test_standard_parametrisation(
    make_shape: Callable[..., ModelShape], width: int, changes: dict[str, object]
) -> None:
    """One LR, one std but for the last matrices of branches, at any width."""
    shape = make_shape(hidden_size=width, num_layers=8)
    for role in Role:
        found = rule_of(role, shape, enabled=False, init_std=0.02, **changes)
        std = {Role.NORM: None, Role.OUTPUT: 0.005}.get(role, 0.02)
        assert_rule(found, std, 1.0, 0.0 if role is Role.NORM else DECAY)
