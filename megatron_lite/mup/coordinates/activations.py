"""The activations of a decoder by name, comparable over updates: the same tokens, the same experts.

Shapes: T tokens, H hidden width, N query heads, K key and value heads, D head width, B documents, S their
length, V vocabulary, E experts, R rows of experts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from megatron_lite.kernels.grouped import grouped_linear
from megatron_lite.kernels.swiglu import swiglu
from megatron_lite.model.rope import rotate, rotation
from megatron_lite.mup.coordinates.scene import Assignment, Named, Scene


def activations(scene: Scene) -> Iterator[Named]:
    """Every activation of the forward pass, in its order."""
    seen = scene.seen
    yield "embedding", seen.inputs["layers.0.mixer_norm"]
    for layer, following in pairwise([*scene.layers(), ""]):
        yield from _stream(scene, layer, f"{following}.mixer_norm" if following else "norm")
        yield from _mixer(scene, layer)
        if scene.shape.num_experts is None:
            yield f"{layer}.gate_up", seen.outputs[f"{layer}.channel.gate_up"]
        else:
            yield from _experts(scene, layer)
        yield f"{layer}.channel", seen.outputs[f"{layer}.channel"]
    yield "norm", seen.outputs["norm"]
    yield "logits", seen.logits_TV
    yield "target logits", seen.logits_TV.gather(1, scene.targets_T[:, None])


def expert_inner(scene: Scene, layer: str) -> Tensor:
    """Gate and up of the assigned experts."""
    rows_R, ends_E = scene.assignments[layer]
    x_RH = scene.seen.inputs[f"{layer}.channel"][rows_R]
    return grouped_linear(x_RH, scene.weights[f"{layer}.channel.experts.gate_up"], ends_E)


def _stream(scene: Scene, layer: str, following: str) -> Iterator[Named]:
    """The residual stream, what each branch adds to it, and both norms."""
    inputs, outputs = scene.seen.inputs, scene.seen.outputs
    before, between, after = (
        inputs[name] for name in (f"{layer}.mixer_norm", f"{layer}.channel_norm", following)
    )
    yield f"{layer}.mixer norm", outputs[f"{layer}.mixer_norm"]
    yield f"{layer}.mixer branch", between - before
    yield f"{layer}.channel norm", outputs[f"{layer}.channel_norm"]
    yield f"{layer}.channel branch", after - between
    yield f"{layer}.stream", after


def _mixer(scene: Scene, layer: str) -> Iterator[Named]:
    """Queries, keys, values, the attention logits of all earlier tokens, and the output."""
    shape, documents = scene.shape, scene.documents
    widths = [num * shape.head_dim for num in (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)]
    q_TH, k_TH, v_TH = scene.seen.outputs[f"{layer}.mixer.qkv"].split(widths, dim=-1)
    turn = rotation(documents.positions_T, shape.head_dim, shape.rope_theta)
    q_BSND, k_BSKD = (
        rotate(heads_TH.unflatten(-1, (-1, shape.head_dim)), turn).unflatten(0, (-1, documents.max_length))
        for heads_TH in (q_TH, k_TH)
    )
    k_BSND = k_BSKD.repeat_interleave(shape.num_heads // shape.num_kv_heads, dim=2)
    logits_BNSS = torch.einsum("bsnd,btnd->bnst", q_BSND, k_BSND) * shape.attention_multiplier
    earlier_SS = torch.ones_like(logits_BNSS[0, 0], dtype=torch.bool).tril()
    yield f"{layer}.queries", q_TH
    yield f"{layer}.keys", k_TH
    yield f"{layer}.values", v_TH
    yield f"{layer}.attention logits", logits_BNSS[:, :, earlier_SS]
    yield f"{layer}.mixer", scene.seen.outputs[f"{layer}.mixer"]


def _experts(scene: Scene, layer: str) -> Iterator[Named]:
    """The router's logits, and what the experts that were chosen at first compute now."""
    router = f"{layer}.channel.router"
    logits_TE = F.linear(scene.seen.inputs[router], scene.weights[f"{router}.weight"])
    if layer not in scene.assignments:
        assert scene.shape.experts_per_token is not None
        scene.assignments[layer] = _assign(logits_TE, scene.shape.experts_per_token)
    inner_R = expert_inner(scene, layer)
    down = scene.weights[f"{layer}.channel.experts.down"]
    yield f"{layer}.router logits", logits_TE
    yield f"{layer}.expert gate_up", inner_R
    yield f"{layer}.expert output", grouped_linear(swiglu(inner_R), down, scene.assignments[layer].ends_E)


def _assign(logits_TE: Tensor, num_chosen: int) -> Assignment:
    experts_R = logits_TE.topk(num_chosen, dim=-1).indices.flatten()
    order_R = experts_R.argsort(stable=True)
    ends_E = torch.bincount(experts_R, minlength=logits_TE.shape[-1]).cumsum(0)
    return Assignment(order_R // num_chosen, ends_E.to(torch.int32))
