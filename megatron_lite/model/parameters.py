"""Every parameter of a decoder by name, shape and role, without allocating any of them.

The modules declare the same names and shapes; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.roles import Role

VOCABULARY_ROLES = (Role.EMBEDDING, Role.HEAD)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One tensor that is learned."""

    name: str
    shape: tuple[int, ...]
    role: Role

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How large a model is, in numbers that are learned."""

    total: int
    active: int  # all that one token uses: its experts only, a tied embedding once
    active_non_embedding: int  # what the papers on mixtures of experts call active
    embedding: int  # the embedding, and the head where it is not tied


def parameters(shape: ModelShape) -> tuple[Parameter, ...]:
    """All parameters in the order of the modules."""
    return tuple(_parameters(shape))


def count(shape: ModelShape) -> Counts:
    """The size of a model of this shape."""
    everything = parameters(shape)
    embedding = sum(parameter.size for parameter in everything if parameter.role in VOCABULARY_ROLES)
    active = sum(_active_size(parameter, shape) for parameter in everything)
    return Counts(
        total=sum(parameter.size for parameter in everything),
        active=active,
        active_non_embedding=active - embedding,
        embedding=embedding,
    )


def flops_per_token(shape: ModelShape, sequence_length: int) -> int:
    """Floating-point operations of a forward and backward pass, per token.

    Two a weight forward and four backward for every matrix product (the head is one, the look-up of the
    embedding is none), and causal attention over half of the sequence on average.
    """
    in_layers = sum(
        _active_size(parameter, shape)
        for parameter in parameters(shape)
        if parameter.role is not Role.NORM and parameter.role not in VOCABULARY_ROLES
    )
    head = shape.vocab_size * shape.hidden_size
    attention = shape.num_layers * shape.num_heads * shape.head_dim * sequence_length
    return 6 * (in_layers + head) + 6 * attention


def _active_size(parameter: Parameter, shape: ModelShape) -> int:
    """The part of a parameter that one token uses."""
    if ".experts." in parameter.name and shape.num_experts and shape.experts_per_token:
        return parameter.size // shape.num_experts * shape.experts_per_token
    return parameter.size


def _parameters(shape: ModelShape) -> Iterator[Parameter]:
    vocabulary = (shape.vocab_size, shape.hidden_size)
    yield Parameter(name="embedding", shape=vocabulary, role=Role.EMBEDDING)
    if not shape.tied:
        yield Parameter(name="head", shape=vocabulary, role=Role.HEAD)
    for layer in range(shape.num_layers):
        for name, size, role in _layer(shape):
            yield Parameter(name=f"layers.{layer}.{name}", shape=size, role=role)
    yield Parameter(name="norm.weight", shape=(shape.hidden_size,), role=Role.NORM)


def _layer(shape: ModelShape) -> Iterator[tuple[str, tuple[int, ...], Role]]:
    hidden = shape.hidden_size
    attention = shape.num_heads * shape.head_dim
    qkv = attention + 2 * shape.num_kv_heads * shape.head_dim
    yield "mixer_norm.weight", (hidden,), Role.NORM
    yield "mixer.qkv.weight", (qkv, hidden), Role.HIDDEN  # q, then k, then v
    yield "mixer.output.weight", (hidden, attention), Role.OUTPUT
    yield "channel_norm.weight", (hidden,), Role.NORM
    yield from _dense(shape) if shape.num_experts is None else _experts(shape, shape.num_experts)


def _dense(shape: ModelShape) -> Iterator[tuple[str, tuple[int, ...], Role]]:
    hidden, inner = shape.hidden_size, shape.intermediate_size
    yield "channel.gate_up.weight", (2 * inner, hidden), Role.HIDDEN  # gate, then up
    yield "channel.down.weight", (hidden, inner), Role.OUTPUT


def _experts(shape: ModelShape, num_experts: int) -> Iterator[tuple[str, tuple[int, ...], Role]]:
    hidden, inner = shape.hidden_size, shape.intermediate_size
    yield "channel.router.weight", (num_experts, hidden), Role.ROUTER
    yield "channel.experts.gate_up", (num_experts, 2 * inner, hidden), Role.HIDDEN  # gate, then up
    yield "channel.experts.down", (num_experts, hidden, inner), Role.OUTPUT
