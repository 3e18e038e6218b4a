"""The same model at other widths: heads, KV heads and inner width grow with it, all else stays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from megatron_lite.model.options import ModelOptions
from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.mup.options import MupOptions
from pretrain.errors import UserError

SMALLEST_HEAD_DIM = 8
NUM_DOUBLINGS = 3
SMALLEST_WIDTH = 64  # of those chosen here: below it, random sums are not yet much smaller than aligned ones


@dataclass(frozen=True, kw_only=True)
class Family:
    """One model at every width that its ratios allow, which are the multiples of `unit`."""

    model: ModelOptions
    head_dim: int

    @property
    def unit(self) -> int:
        """The smallest width with whole heads, KV heads and inner width."""
        inner, width = self.model.intermediate_size, self.model.hidden_size
        return math.lcm(self.head_dim * self._queries_per_key, width // math.gcd(width, inner))

    def shape(self, width: int, mup: MupOptions, vocab_size: int) -> ModelShape:
        """The decoder at this width. Multipliers that the config gives are the same at every width."""
        num_heads = width // self.head_dim
        changes = {
            "hidden_size": width,
            "num_attention_heads": num_heads,
            "num_key_value_heads": num_heads // self._queries_per_key,
            "intermediate_size": self.model.intermediate_size * width // self.model.hidden_size,
            "vocab_size": vocab_size,
        }
        return resolve_shape(self.model.model_copy(update=changes), mup, vocab_size)

    @property
    def _queries_per_key(self) -> int:
        heads = self.model.num_attention_heads
        return heads // (self.model.num_key_value_heads or heads)


def family(model: ModelOptions, widths: Sequence[int] | None, head_dim: int | None) -> Family:
    """The config's head_dim, or the one asked for; where neither is asked for and needed, a smaller one."""
    configured = Family(model=model, head_dim=model.hidden_size // model.num_attention_heads)
    if head_dim is not None and head_dim % 2:
        raise UserError(f"--head-dim: {head_dim} is odd; rotary embeddings need an even one")
    if head_dim is not None:
        return Family(model=model, head_dim=head_dim)
    if widths is None:
        return configured
    candidates = (
        Family(model=model, head_dim=smaller)
        for smaller in range(configured.head_dim, SMALLEST_HEAD_DIM - 1, -2)
        if configured.head_dim % smaller == 0
    )
    return next((one for one in candidates if all(width % one.unit == 0 for width in widths)), configured)


def choose_widths(of: Family, asked: Sequence[int] | None) -> tuple[int, ...]:
    """The widths asked for, or four doublings; UserError where the model does not exist."""
    if asked is None:
        first = of.unit * -(-SMALLEST_WIDTH // of.unit)
        return tuple(first * 2**doubling for doubling in range(NUM_DOUBLINGS + 1))
    widths = tuple(sorted(set(asked)))
    if len(widths) < 2:
        raise UserError(f"--widths: {', '.join(map(str, asked))} is one width; a slope needs two or more")
    wrong = [width for width in widths if width % of.unit]
    if wrong:
        nearest = ", ".join(f"{width}: {_nearest(width, of.unit)}" for width in wrong)
        raise UserError(
            f"--widths: with head_dim {of.head_dim} and the ratios of the config, heads, KV heads and "
            f"intermediate_size are whole numbers at multiples of {of.unit}; nearest to {nearest}"
        )
    return widths


def _nearest(width: int, unit: int) -> str:
    below = width // unit * unit
    return f"{below} or {below + unit}" if below else f"{unit}"
