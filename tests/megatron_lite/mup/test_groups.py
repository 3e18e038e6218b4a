"""Groups hold every parameter once, and the audit sees whatever went wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.model.parameters import parameters
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.audit import AuditError, audit
from megatron_lite.mup.groups import Group, groups
from megatron_lite.mup.options import MupOptions
from megatron_lite.mup.rules import rule

DECAY = 0.1


@given(
    experts=st.none() | st.integers(1, 4),
    tied=st.booleans(),
    layers=st.integers(1, 3),
    width=st.sampled_from([32, 256, 1024]),
    mup=st.builds(
        MupOptions,
        enabled=st.booleans(),
        weight_decay_rule=st.sampled_from(["constant", "scaled"]),
        router=st.sampled_from(["hidden", "output"]),
    ),
)
def test_every_parameter_once_under_its_rule(
    make_shape: Callable[..., ModelShape],
    experts: int | None,
    tied: bool,
    layers: int,
    width: int,
    mup: MupOptions,
) -> None:
    """A partition; no group is empty; each parameter has the ratio and decay of its own role."""
    shape = make_shape(num_experts=experts, tied=tied, num_layers=layers, hidden_size=width)
    found = groups(shape, mup, DECAY)
    names = [name for group in found for name in group.parameters]
    assert sorted(names) == sorted(parameter.name for parameter in parameters(shape))
    assert all(group.parameters for group in found)
    group_of = {name: group for group in found for name in group.parameters}
    for parameter in parameters(shape):
        wanted = rule(parameter.role, mup=mup, shape=shape, weight_decay=DECAY)
        group = group_of[parameter.name]
        assert (group.lr_ratio, group.weight_decay) == (wanted.lr_ratio, wanted.weight_decay)


def test_names(make_shape: Callable[..., ModelShape]) -> None:
    """Named by role; a role that the model lacks has no group."""
    dense = [group.name for group in groups(make_shape(), MupOptions(), DECAY)]
    sparse = [group.name for group in groups(make_shape(num_experts=4, tied=False), MupOptions(), DECAY)]
    assert dense == ["embedding", "norm", "hidden"]
    assert sparse == ["embedding", "head", "norm", "hidden", "router"]


Change = Callable[[list[Group]], list[Group]]


def without_router(built: list[Group]) -> list[Group]:
    """An engine that lost a group."""
    return [group for group in built if group.name != "router"]


def router_twice(built: list[Group]) -> list[Group]:
    """A parameter in two groups."""
    (router,) = (group for group in built if group.name == "router")
    return [*built, replace(router, name="again")]


def stranger(built: list[Group]) -> list[Group]:
    """A parameter that the model does not have."""
    return [replace(built[0], parameters=(*built[0].parameters, "adapter")), *built[1:]]


def one_ratio(built: list[Group]) -> list[Group]:
    """Every group with the first one's LR, as a scheduler that knows one LR leaves them."""
    return [replace(group, lr_ratio=built[0].lr_ratio) for group in built]


def one_decay(built: list[Group]) -> list[Group]:
    """Every group with the first one's decay."""
    return [replace(group, weight_decay=built[0].weight_decay) for group in built]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            without_router,
            ["layers.0.channel.router.weight is in no group", "layers.1.channel.router.weight is"],
        ),
        (router_twice, ["layers.1.channel.router.weight is in 2 groups: router, again"]),
        (stranger, ["adapter is not a parameter of the model"]),
        (one_ratio, ["layers.0.mixer.qkv.weight (group hidden) has lr_ratio 1, not 8"]),
        (one_decay, ["norm.weight (group norm) has weight_decay 0.1, not 0"]),
    ],
)
def test_audit_names_what_is_wrong(
    make_shape: Callable[..., ModelShape], change: Change, told: list[str]
) -> None:
    """Each fault by the name of the parameter."""
    expected = list(groups(make_shape(num_experts=4), MupOptions(), DECAY))
    with pytest.raises(AuditError) as failure:
        audit(expected, change(expected))
    for line in told:
        assert line in str(failure.value)
    assert str(failure.value).count("\n") >= len(told)


def test_audit_reports_everything_at_once(make_shape: Callable[..., ModelShape]) -> None:
    """One line a parameter and fault."""
    expected = list(groups(make_shape(num_experts=4), MupOptions(), DECAY))
    with pytest.raises(AuditError) as failure:
        audit(expected, one_decay(stranger(expected)))
    num_norms = sum(name.endswith("norm.weight") for group in expected for name in group.parameters)
    assert str(failure.value).count("\n") == num_norms + 1


def test_audit_passes_what_is_right(make_shape: Callable[..., ModelShape]) -> None:
    """Also split, renamed, reordered, and with a ratio that went through a division."""
    expected = groups(make_shape(num_experts=4), MupOptions(), DECAY)
    split = [
        replace(group, name="part", parameters=(name,), lr_ratio=group.lr_ratio * 0.3 / 0.3)
        for group in reversed(expected)
        for name in group.parameters
    ]
    audit(expected, expected)
    audit(expected, split)
