"""A training step without an engine: forward, backward, clip, AdamW, the same for everybody's model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import NamedTuple

import torch
from torch import Tensor, nn

from speed.cases import LEARNING_RATE, Setup

Loss = Callable[[Tensor], Tensor]  # tokens BS -> the mean over all targets
CLIP, BETAS, EPS, WEIGHT_DECAY = 1.0, (0.9, 0.95), 1e-10, 0.1


class Update(NamedTuple):
    """What a step saw before it changed the weights."""

    loss: Tensor | float
    norm: Tensor | float  # of the whole gradient, before clipping


Step = Callable[[], Update]


def bare_step(model: nn.Module, loss_of: Loss, setup: Setup) -> Step:
    """AdamW on the weights themselves, in whatever precision they are held."""
    parameters = list(model.parameters())
    optimizer = adamw(parameters)
    batches: Iterator[Tensor] = cycle(setup.batches())

    def step() -> Update:
        loss = loss_of(next(batches))
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return Update(loss.detach(), norm)

    return step


def step_with_masters(model: nn.Module, loss_of: Loss, setup: Setup) -> Step:
    """AdamW on fp32 copies of the weights, as a mixed-precision engine does."""
    working = list(model.parameters())
    masters = [nn.Parameter(parameter.detach().float()) for parameter in working]
    optimizer = adamw(masters)
    batches: Iterator[Tensor] = cycle(setup.batches())

    def step() -> Update:
        loss = loss_of(next(batches))
        loss.backward()
        for parameter, master in zip(working, masters, strict=True):
            assert parameter.grad is not None
            master.grad, parameter.grad = parameter.grad.float(), None
        norm = nn.utils.clip_grad_norm_(masters, CLIP)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for parameter, master in zip(working, masters, strict=True):
                parameter.copy_(master)
        return Update(loss.detach(), norm)

    return step


def adamw(parameters: list[nn.Parameter]) -> torch.optim.AdamW:
    """torch's fused AdamW; gains of norms do not decay."""
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    gains = [parameter for parameter in parameters if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPS, fused=True)
