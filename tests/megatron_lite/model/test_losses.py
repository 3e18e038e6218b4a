"""Closed forms of the router's losses."""

from __future__ import annotations

import torch

from megatron_lite.model.loss import balance_loss, z_loss


def test_balance_loss_is_one_a_layer_when_uniform() -> None:
    """Uniform use and uniform probability: 1 a layer, summed over layers."""
    fractions_LE, sums_LE = torch.full((3, 4), 0.25), torch.full((3, 4), 0.25 * 10)
    torch.testing.assert_close(balance_loss(fractions_LE, sums_LE, 10), torch.tensor(3.0))


def test_balance_loss_is_the_number_of_experts_when_collapsed() -> None:
    """All tokens on one expert with probability 1: E."""
    one_LE = torch.tensor([[1.0, 0, 0, 0, 0]])
    torch.testing.assert_close(balance_loss(one_LE, 7 * one_LE, 7), torch.tensor(5.0))


def test_z_loss_is_a_mean_over_tokens_and_a_sum_over_layers() -> None:
    """Sums over 4 tokens in 2 layers."""
    torch.testing.assert_close(z_loss(torch.tensor([8.0, 4.0]), 4), torch.tensor(3.0))
