"""Which trials the proof makes, the most telling first, and which of them cannot fit."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from megatron_lite.model.parameters import flops_per_token
from megatron_lite.model.shape import ModelShape
from pretrain.config.derive import model_shape
from pretrain.config.load import load
from pretrain.config.schema import Config
from pretrain.memory import memory

MICRO_STEPS = 4  # of an update
MICRO = (2, 4, 1)  # sequences of a forward pass
LARGE = ("3b_moe", "3b_dense")
SMALLER = ("1b_moe", "1b_dense")
TINY = ("tiny_moe", "tiny_dense")
SMALL_BYTES = 75e9  # a GPU with less is not tried with what cannot fit
VARIANTS = (
    ("compile none", "kernels.compile=none"),
    ("engine torch", "run.engine=torch"),
    ("attention varlen", "kernels.attention=varlen"),
    ("attention flash_attn", "kernels.attention=flash_attn"),
    ("attention by_document", "kernels.attention=by_document"),
    ("checkpointing selective", "kernels.activation_checkpointing=selective"),
    ("checkpointing full", "kernels.activation_checkpointing=full"),
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A config, with what is changed of it."""

    config: str
    variant: str  # "as shipped" but for the batch, or what else is changed
    micro_sequences: int
    overrides: tuple[str, ...]

    @property
    def planned_bytes(self) -> int:
        """What `pretrain plan` says of its memory on one GPU."""
        config, shape = _loaded(self.config, self.overrides)
        return memory(config, shape, 1).total

    @property
    def flops_per_token(self) -> int:
        """As MFU counts them."""
        config, shape = _loaded(self.config, self.overrides)
        return flops_per_token(shape, config.batch.sequence_length)


@functools.cache
def _loaded(name: str, overrides: tuple[str, ...]) -> tuple[Config, ModelShape]:
    config = load(name, overrides)
    return config, model_shape(config)


def trial(config: str, micro_sequences: int, variant: str = "as shipped", *changes: str) -> Trial:
    """A trial of four micro-steps an update."""
    batch = (f"batch.micro_sequences={micro_sequences}", f"batch.sequences={MICRO_STEPS * micro_sequences}")
    chosen = ("run.precision=bf16", "run.engine=deepspeed")  # what comes later counts
    return Trial(
        config=config,
        variant=variant,
        micro_sequences=micro_sequences,
        overrides=(*batch, *chosen, *changes),
    )


def trials(memory_bytes: int, *, quick: bool = False) -> list[Trial]:
    """All of them, in the order in which they are made; `quick`: the tiny configs alone."""
    if quick:
        return list(_of(TINY, memory_bytes))
    smaller = list(_of(SMALLER, memory_bytes)) if memory_bytes < SMALL_BYTES else []
    return [*_of(LARGE, memory_bytes), *smaller]


def _of(configs: tuple[str, ...], memory_bytes: int) -> Iterator[Trial]:
    for micro in MICRO:
        yield from (trial(config, micro) for config in configs)
    usual = {config: _largest(config, memory_bytes) for config in configs}
    for name, change in VARIANTS:
        yield from (trial(config, micro, name, change) for config, micro in usual.items())


def _largest(config: str, memory_bytes: int) -> int:
    """The largest micro-batch that fits by plan; 1 where none does."""
    return max((m for m in MICRO if trial(config, m).planned_bytes <= memory_bytes), default=1)


def why_not(candidate: Trial, memory_bytes: int) -> str | None:
    """Why it is not even tried on a GPU of this memory; None: it is."""
    planned = candidate.planned_bytes
    if memory_bytes >= SMALL_BYTES or planned <= memory_bytes:
        return None
    return f"by plan {planned / 1e9:.1f} GB, and the GPU has {memory_bytes / 1e9:.1f} GB"
