"""The names of one tensor on both sides: ours is theirs, one above the other.

q, k and v lie in one matrix here and in three there, gate and up in one and two. Their names are those on
disk, the same in all versions; transformers 5 renames a router and its experts while they are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from megatron_lite.model.parameters import parameters
from megatron_lite.model.shape import ModelShape

RENAMED_IN_MEMORY = {
    "block_sparse_moe.experts.gate_up_proj": "block_sparse_moe.input_linear.weight",
    "block_sparse_moe.experts.down_proj": "block_sparse_moe.output_linear.weight",
    "block_sparse_moe.router.weight": "block_sparse_moe.router.layer.weight",
}
ALONE = {
    "embedding": "model.embed_tokens.weight",
    "head": "lm_head.weight",
    "norm.weight": "model.norm.weight",
}
IN_A_LAYER = {
    "mixer_norm.weight": "input_layernorm.weight",
    "mixer.output.weight": "self_attn.o_proj.weight",
    "channel_norm.weight": "post_attention_layernorm.weight",
    "channel.down.weight": "mlp.down_proj.weight",
    "channel.router.weight": "block_sparse_moe.router.layer.weight",
    "channel.experts.gate_up": "block_sparse_moe.input_linear.weight",
    "channel.experts.down": "block_sparse_moe.output_linear.weight",
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of their tensors."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Link:
    """One of our tensors, and those of theirs that are its rows in order."""

    name: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...]

    @property
    def rows(self) -> list[int]:
        """The rows of each part."""
        return [part.shape[0] for part in self.parts]


def links(shape: ModelShape) -> tuple[Link, ...]:
    """Every tensor of a model of this shape, in the order of the modules."""
    return tuple(
        Link(
            name=parameter.name,
            shape=parameter.shape,
            parts=tuple(_parts(parameter.name, shape, parameter.shape)),
        )
        for parameter in parameters(shape)
    )


def on_disk(name: str) -> str:
    """Their name of a tensor as files have it, whichever version wrote it."""
    for in_memory, stored in RENAMED_IN_MEMORY.items():
        if name.endswith(in_memory):
            return name.removesuffix(in_memory) + stored
    return name


def _parts(name: str, shape: ModelShape, size: tuple[int, ...]) -> Iterator[Part]:
    if name in ALONE:
        yield Part(name=ALONE[name], shape=size)
        return
    _, layer, inside = name.split(".", 2)
    prefix = f"model.layers.{layer}."
    if inside == "mixer.qkv.weight":
        for letter, heads in zip(
            "qkv", (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads), strict=True
        ):
            yield Part(
                name=f"{prefix}self_attn.{letter}_proj.weight", shape=(heads * shape.head_dim, size[1])
            )
    elif inside == "channel.gate_up.weight":
        for half in ("gate", "up"):
            yield Part(name=f"{prefix}mlp.{half}_proj.weight", shape=(shape.intermediate_size, size[1]))
    else:
        yield Part(name=prefix + IN_A_LAYER[inside], shape=size)
