"""Widening: sums are taken in fp32 at least, whatever the weights are held in."""

from __future__ import annotations

import torch
from torch import Tensor

NARROW = (torch.bfloat16, torch.float16)


def widened(dtype: torch.dtype) -> torch.dtype:
    """The type to sum in: fp32 for 16-bit types, any other type as it is."""
    return torch.float32 if dtype in NARROW else dtype


def widen(tensor: Tensor) -> Tensor:
    """The tensor in the type to sum in; no copy where it has that type already."""
    return cast(tensor, widened(tensor.dtype))


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in `dtype`, itself where it is: compilers have taken an idle .to() for a second use."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)
