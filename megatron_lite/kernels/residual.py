"""The residual stream takes in a branch, scaled."""

from __future__ import annotations

import torch
from torch import Tensor


def add_branch(h_TH: Tensor, branch_TH: Tensor, multiplier: float) -> Tensor:
    """h + multiplier · branch."""
    if torch.compiler.is_compiling():
        # not torch.add: the compiler of torch 2.13 folds it into the matrix product before, without alpha
        return h_TH + multiplier * branch_TH
    return torch.add(h_TH, branch_TH, alpha=multiplier)  # one pass, rounded once
