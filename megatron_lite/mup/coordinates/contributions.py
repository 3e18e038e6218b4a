"""What the change of each parameter alone makes of its input: the learning rate's own share of a change.

An activation W x changes by W₀ Δx + ΔW x. The first part comes from the layers below; the second is the
parameter's own, and under µP it is as large at every width.

Shapes: T tokens, H hidden width, R rows of experts.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from megatron_lite.kernels.grouped import grouped_linear
from megatron_lite.kernels.swiglu import swiglu
from megatron_lite.mup.coordinates.activations import expert_inner
from megatron_lite.mup.coordinates.scene import Named, Scene

Weights = dict[str, Tensor]


def contributions(scene: Scene, first: Weights) -> Iterator[Named]:
    """One for every parameter, by its name, and `head` as the output side of a tied embedding too.

    The head's is that of the token that comes next: at first most other rows of the vocabulary only move with
    the noise of the hidden state.
    """
    shape, seen = scene.shape, scene.seen
    change = {name: weight - first[name] for name, weight in scene.weights.items()}
    yield "embedding", F.embedding(scene.tokens_T, change["embedding"]) * shape.embedding_multiplier
    for layer in scene.layers():
        for norm in (f"{layer}.mixer_norm", f"{layer}.channel_norm"):
            yield f"{norm}.weight", _gain(scene, norm, change)
        for matrix in _matrices(scene, layer):
            yield f"{matrix}.weight", F.linear(seen.inputs[matrix], change[f"{matrix}.weight"])
        if shape.num_experts is not None:
            yield from _experts(scene, layer, change)
    yield "norm.weight", _gain(scene, "norm", change)
    rows_TH = F.embedding(scene.targets_T, change["embedding" if shape.tied else "head"])
    yield "head", (rows_TH * seen.outputs["norm"]).sum(-1) / shape.logits_scaling


def _matrices(scene: Scene, layer: str) -> list[str]:
    """The linear maps of a layer."""
    channel = ("gate_up", "down") if scene.shape.num_experts is None else ("router",)
    return [f"{layer}.mixer.qkv", f"{layer}.mixer.output", *(f"{layer}.channel.{name}" for name in channel)]


def _gain(scene: Scene, norm: str, change: Weights) -> Tensor:
    """The normed input times the change of the gain."""
    name = f"{norm}.weight"
    return scene.seen.outputs[norm] / scene.weights[name] * change[name]


def _experts(scene: Scene, layer: str, change: Weights) -> Iterator[Named]:
    rows_R, ends_E = scene.assignments[layer]
    gate_up, down = f"{layer}.channel.experts.gate_up", f"{layer}.channel.experts.down"
    x_RH = scene.seen.inputs[f"{layer}.channel"][rows_R]
    yield gate_up, grouped_linear(x_RH, change[gate_up], ends_E)
    yield down, grouped_linear(swiglu(expert_inner(scene, layer)), change[down], ends_E)
