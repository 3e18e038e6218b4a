"""What each module of a decoder takes and gives on some tokens, seen through hooks: the model as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import Documents


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One forward pass: the first input and the first output of each module by its name, and the logits."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    logits_TV: Tensor


def observe(decoder: Decoder, tokens_T: Tensor, documents: Documents) -> Observation:
    """Run the decoder once without gradients and keep what passes between its modules."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
            inputs[name] = arguments[0]
            outputs[name] = result[0] if isinstance(result, tuple) else result

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in decoder.named_modules() if name]
    try:
        with torch.no_grad():
            logits_TV = decoder.logits(tokens_T, documents)
    finally:
        for handle in handles:
            handle.remove()
    return Observation(inputs=inputs, outputs=outputs, logits_TV=logits_TV)
