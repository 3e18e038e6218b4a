"""Which experts the tokens of an update went to, over all ranks, and where two runs first chose otherwise."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from megatron_lite.model.router import Router
from pretrain.ranks import Ranks

Choices = list[dict[str, Tensor]]  # of every micro-batch of an update: router's name -> experts [T, K]


class Routes:
    """Watches the routers of an engine's model."""

    def __init__(self, engine: Any) -> None:
        model: nn.Module = engine.model if hasattr(engine, "model") else engine.engine.module
        self.seen: Choices = []
        self.names = {module: name for name, module in model.named_modules() if isinstance(module, Router)}
        self.hooks = [module.register_forward_hook(self._note) for module in self.names]

    def _note(self, module: nn.Module, inputs: Any, output: Any) -> None:
        name = self.names[module]
        if not self.seen or name in self.seen[-1]:  # the first router of another micro-batch
            self.seen.append({})
        self.seen[-1][name] = output[0].experts_TK.sort(-1).values.to(torch.int8)

    def take(self, ranks: Ranks) -> Choices:
        """The choices since the last call, in the order of the global batch. Collective."""
        parts: list[Any] = [None] * ranks.size
        dist.all_gather_object(parts, self.seen)
        self.seen = []
        return [choices for micro_step in zip(*parts, strict=True) for choices in micro_step]

    def close(self) -> None:
        for hook in self.hooks:
            hook.remove()


def first_flip(routes: list[Choices], expected: list[Choices]) -> str | None:
    """The first token in the order of training that goes to other experts, by name; None: there is none."""
    for update, (ours, theirs) in enumerate(zip(routes, expected, strict=False)):
        for micro, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            for name in one:
                apart = (one[name] != other[name]).any(-1).nonzero()
                if len(apart):
                    token = int(apart[0])
                    chosen = f"{other[name][token].tolist()} -> {one[name][token].tolist()}"
                    return f"update {update + 1}, micro-batch {micro}, {name}, token {token}: {chosen}"
    return None
