"""A decoder over the memory of another, for reading with its weights while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from megatron_lite.model.decoder import Decoder


def twin(model: Decoder) -> Decoder:
    """The same function of the same weights, in eval mode, without gradients, hooks or compiled code.

    Whatever hangs on the modules of `model` (hooks that gather and release weights, a graph that is compiled
    for the lengths of training) stays with them. The weights have to be whole, and are not copied.
    """
    kernels = replace(model.kernels, compile_blocks=False, activation_checkpointing="none")
    with torch.device("meta"):
        made = Decoder(model.shape, kernels)
    for name, parameter in model.named_parameters():
        owner, _, own_name = name.rpartition(".")
        weight = nn.Parameter(parameter.data, requires_grad=False)
        setattr(made.get_submodule(owner), own_name, weight)
    return made.eval()


@contextmanager
def lent(model: nn.Module) -> Iterator[Decoder]:
    """A twin that lets go of the weights at the end, whoever still holds it."""
    assert isinstance(model, Decoder), "only a decoder reads texts"
    made = twin(model)
    try:
        yield made
    finally:
        for parameter in made.parameters():
            parameter.data = parameter.new_empty(0)
