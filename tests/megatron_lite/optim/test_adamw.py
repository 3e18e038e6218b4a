"""One step of AdamW moves every parameter by its own learning rate and decay."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.groups import Group, groups
from megatron_lite.mup.options import MupOptions
from megatron_lite.optim.adamw import adamw
from megatron_lite.optim.options import AdamWOptions

LR = 0.01
OPTIONS = AdamWOptions()


@pytest.fixture
def model(make_shape: Callable[..., ModelShape], make_decoder: Callable[..., Decoder]) -> Decoder:
    """A sparse decoder, untied, so that all groups exist."""
    return make_decoder(make_shape(num_experts=4, tied=False))


def optimizer_of(model: Decoder) -> tuple[torch.optim.AdamW, tuple[Group, ...]]:
    """Our groups over the model, every group's LR set."""
    found = groups(model.shape, MupOptions(), OPTIONS.weight_decay)
    optimizer = adamw(OPTIONS, found, dict(model.named_parameters()))
    for group in optimizer.param_groups:
        group["lr"] = LR * group["lr_ratio"]
    return optimizer, found


def test_groups_keep_name_ratio_and_decay(model: Decoder) -> None:
    """torch's groups are ours, in order, and the LR is nothing until it is set."""
    found = groups(model.shape, MupOptions(), OPTIONS.weight_decay)
    tensors = dict(model.named_parameters())
    optimizer = adamw(OPTIONS, found, tensors)
    for ours, torchs in zip(found, optimizer.param_groups, strict=True):
        assert (ours.name, ours.lr_ratio, ours.weight_decay) == (
            torchs["name"],
            torchs["lr_ratio"],
            torchs["weight_decay"],
        )
        assert [id(tensors[name]) for name in ours.parameters] == [id(tensor) for tensor in torchs["params"]]
        assert (torchs["lr"], torchs["betas"], torchs["eps"]) == (0.0, (0.9, 0.95), 1e-10)


def test_first_step(model: Decoder) -> None:
    """From zero state Adam moves by lr x sign(gradient), after the decay by 1 - lr x decay."""
    optimizer, found = optimizer_of(model)
    group_of = {name: group for group in found for name in group.parameters}
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.where(torch.rand_like(weight) < 0.5, -1.0, 1.0) * (0.1 + torch.rand_like(weight))
    optimizer.step()
    for name, weight in model.named_parameters():
        lr, decay = LR * group_of[name].lr_ratio, group_of[name].weight_decay
        expected = before[name] * (1 - lr * decay) - lr * weight.grad.sign()
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-6, msg=name)


def test_zero_gradient_shrinks_by_decay(model: Decoder) -> None:
    """Nothing but the decay, and none at all for gains."""
    optimizer, found = optimizer_of(model)
    group_of = {name: group for group in found for name in group.parameters}
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        factor = 1 - LR * group_of[name].lr_ratio * group_of[name].weight_decay
        torch.testing.assert_close(weight.detach(), before[name] * factor, msg=name)
        assert (factor == 1) == name.endswith("norm.weight")
