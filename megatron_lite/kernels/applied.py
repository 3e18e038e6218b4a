"""Functions with a backward pass of their own, without autograd's bookkeeping where nobody asks for it."""

from __future__ import annotations

from typing import Any

import torch


def applied(function: type[torch.autograd.Function], *inputs: Any) -> Any:
    """`function.apply(*inputs)`; where gradients are off its forward pass alone.

    A token that is generated is little work in many calls, and `apply` costs as much as a small product.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function.apply(*inputs)
    return function.forward(_Forgetful(), *inputs)


class _Forgetful:
    """A context that keeps nothing."""

    def save_for_backward(self, *tensors: Any) -> None:
        """Nothing will ask for them."""
