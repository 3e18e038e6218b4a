"""The two losses of a router, from sums over tokens; the language-model loss is the decoder's own.

Shapes: L layers, E experts.
"""

from __future__ import annotations

from torch import Tensor

IGNORE = -100  # a target that is not predicted


def balance_loss(fractions_LE: Tensor, probability_sums_LE: Tensor, tokens: int | Tensor) -> Tensor:
    """E · Σ f_i P_i, summed over layers; f and P each add up to 1 a layer (arXiv 2101.03961, eq. 4).

    It is 1 a layer where one of them is uniform. The gradient reaches the router through P alone.
    """
    num_experts = fractions_LE.shape[-1]
    return num_experts * (fractions_LE * probability_sums_LE).sum() / tokens


def z_loss(z_sums_L: Tensor, tokens: int | Tensor) -> Tensor:
    """The mean of logsumexp(router logits)², summed over layers (arXiv 2202.08906, eq. 5)."""
    return z_sums_L.sum() / tokens
