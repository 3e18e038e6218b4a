"""DeepSpeed's gradient norm, known before its step: asked of its own function, answered for inside the step.

DeepSpeed computes the norm inside its step, and drops an update whose norm is no number. Told the norm that
was found, the step does not compute it again and clips by the very value that was reported. Told infinity, it
clears all that it holds of the gradients, in its own way, and changes nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class NormSource:
    """The function that DeepSpeed's step gets its norm from."""

    owner: Any  # the object or module that holds it
    function: str
    arguments: Callable[[], dict[str, Any]] = dict
    total: Callable[[Any], Tensor] = lambda found: found  # the global norm from what it returns
    infinite: Any = float("inf")  # what it would return for gradients that are not finite

    def ask(self) -> Any:
        """What it returns now. Collective."""
        return getattr(self.owner, self.function)(**self.arguments())

    @contextmanager
    def answered(self, found: Any) -> Iterator[None]:
        """Meanwhile it returns `found` at once."""
        original = getattr(self.owner, self.function)
        setattr(self.owner, self.function, lambda *_, **__: found)
        try:
            yield
        finally:
            setattr(self.owner, self.function, original)


def norm_source(engine: Any, parameters: Mapping[str, nn.Parameter]) -> NormSource:
    """That of a DeepSpeed engine; under ZeRO 0, whose step knows no norm, torch's."""
    from deepspeed.runtime import bf16_optimizer
    from deepspeed.runtime.utils import combine_grad_norm_groups

    optimizer, stage = engine.optimizer, engine.zero_optimization_stage()
    infinite = torch.tensor(float("inf"))
    if stage == 0:

        def reduced() -> dict[str, Any]:
            return {"tensors": [weight.grad for weight in parameters.values() if weight.grad is not None]}

        torchs = SimpleNamespace(norm=nn.utils.get_total_norm)  # nothing of DeepSpeed's asks for it
        return NormSource(owner=torchs, function="norm", arguments=reduced)
    if stage == 3:
        total = combine_grad_norm_groups
        return NormSource(owner=optimizer, function="_get_norm_groups", total=total, infinite=[infinite])
    if not isinstance(optimizer, bf16_optimizer.BF16_Optimizer):
        return NormSource(owner=optimizer, function="scaled_global_norm", infinite=infinite)

    def accumulated() -> dict[str, Any]:
        gradients = optimizer.get_grads_for_norm()[0]
        return {"input_tensors": gradients, "mpu": optimizer.mpu, "norm_type": optimizer.norm_type}

    name = "get_global_norm_of_tensors"
    return NormSource(
        owner=bf16_optimizer, function=name, arguments=accumulated, total=unmasked, infinite=infinite
    )


def unmasked(norm: Tensor) -> Tensor:
    """A norm of which DeepSpeed says -1 where it is not finite."""
    return torch.where(norm < 0, torch.full_like(norm, float("inf")), norm)


def drop_update(engine: Any, norms: NormSource) -> None:
    """End an update of ZeRO 1, 2 or 3 without making it."""
    optimizer = engine.optimizer
    logger = logging.getLogger("DeepSpeed")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it would call the gradients not finite, whatever the reason is
    optimizer.check_grad_overflow = True  # in bf16 an infinite norm would be taken as it is
    with norms.answered(norms.infinite):
        engine.step()
    optimizer.check_grad_overflow = False
    for group in getattr(optimizer, "averaged_gradients", {}):
        optimizer.averaged_gradients[group] = None  # left standing in bf16 where the optimizer is offloaded
    logger.setLevel(level)
