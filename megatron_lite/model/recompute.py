"""How a block is run: compiled or not, and what of it is kept for the backward pass.

none        everything that the backward pass reads
selective   results of matrix products and of attention; what lies between them is computed again
full        the block's input alone; its whole forward pass is computed again
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from megatron_lite.kernels.choice import Kernels

KEPT = ("mm", "addmm", "_grouped_mm", "grouped_mm_fp32")  # attention has one of many names
Runner = Callable[..., Any]  # (block, *its arguments) -> its result


def runner(kernels: Kernels) -> Runner:
    """Runs one block after another as `kernels` says. Compiled code is shared by blocks of one shape."""
    run: Runner = _plain
    if kernels.activation_checkpointing == "selective":
        contexts = functools.partial(create_selective_checkpoint_contexts, _policy)
        run = functools.partial(_checkpointed, context_fn=contexts)
    if kernels.compile_blocks:
        run = torch.compile(run, fullgraph=True)
    if kernels.activation_checkpointing == "full":
        run = functools.partial(_checkpointed_around, run)
    return run


def _plain(block: Callable[..., Any], *inputs: Any) -> Any:
    return block(*inputs)


def _checkpointed(block: Callable[..., Any], *inputs: Any, **how: Any) -> Any:
    return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False, **how)


def _checkpointed_around(run: Runner, block: Callable[..., Any], *inputs: Any) -> Any:
    return _checkpointed(functools.partial(run, block), *inputs)


def _policy(_: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    name = operator.name() if hasattr(operator, "name") else str(operator)
    kept = "attention" in name or "attn" in name or name.split("::")[-1].split(".")[0] in KEPT
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE
