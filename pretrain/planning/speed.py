"""Hours and cost of a run: FLOPs over peak x MFU. The MFU is stated, or the one that was measured.

Measured on one H200 with torch 2.11 (docs/gpu.md): the 3B models, sequences of 4096 tokens, updates of four
forward passes, nothing recomputed. Everywhere else it is an assumption, and said to be one: smaller models
and ranks that wait for a network reach less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from megatron_lite.kernels.options import Checkpointing
from megatron_lite.model.shape import ModelShape
from pretrain.planning.machine import Machine

if TYPE_CHECKING:
    from pretrain.config.schema import Config

# MFU by tokens of a forward pass
DENSE = ((4096, 0.439), (8192, 0.490), (16384, 0.520))
MIXTURE = ((4096, 0.197), (8192, 0.260), (16384, 0.308))
SOURCE = "measured on one H200, {model} (docs/gpu.md)"
SMALL = 5e8  # parameters that a token uses, below which a GPU waits for launches and memory
# A block's forward pass again, of three passes' work; selective repeats no matrix product: a guess.
KEPT_SPEED: dict[Checkpointing, float] = {"none": 1.0, "selective": 0.95, "full": 0.75}
NOT_COMPILED = 24.9 / 30.8  # of the speed of compiled blocks: 3b_moe, four sequences (docs/gpu.md)


@dataclass(frozen=True, kw_only=True)
class Time:
    """How long a run takes at an assumed speed, failures and evaluations left out."""

    mfu: float
    mfu_source: str
    peak_flops: float  # of one GPU, a second
    tokens_per_second: float  # of all ranks
    seconds: float
    seconds_per_update: float  # the mean
    gpu_hours: float
    price: float | None
    cost: float | None  # in whatever the price is in


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What the speed of a pass depends on."""

    tokens: int  # of a forward pass
    mixture: bool
    compiled: bool
    checkpointing: Checkpointing

    @property
    def factor(self) -> float:
        """Of the measured speed."""
        return KEPT_SPEED[self.checkpointing] * (1.0 if self.compiled else NOT_COMPILED)

    @property
    def mfu(self) -> float:
        """To be expected, between the numbers of tokens that were measured."""
        return _between(MIXTURE if self.mixture else DENSE, self.tokens) * self.factor


def pace_of(config: Config, shape: ModelShape, pass_tokens: int) -> Pace:
    """Of forward passes over so many tokens. Under ZeRO 3, which fetches weights, blocks are not compiled."""
    sharded = config.run.engine == "deepspeed" and config.deepspeed.zero_optimization.stage == 3
    return Pace(
        tokens=pass_tokens,
        mixture=shape.num_experts is not None,
        compiled=config.kernels.compile != "none" and not sharded,
        checkpointing=config.kernels.activation_checkpointing,
    )


def time_of(
    machine: Machine,
    *,
    precision: str,
    flops: int,
    tokens: int,
    steps: int,
    num_ranks: int,
    pace: Pace,
    active: int,
) -> Time | None:
    """The time that `flops` take; None without a GPU, or in fp32 without an MFU: nothing was measured."""
    if machine.gpu is None or (machine.mfu is None and precision != "bf16"):
        return None
    mfu, source = machine.mfu, "as stated"
    if mfu is None:
        mfu, source = pace.mfu, _source(pace, small=active < SMALL)
    peak = machine.gpu.peak(precision)
    seconds = flops / (num_ranks * peak * mfu)
    gpu_hours = seconds * num_ranks / 3600
    return Time(
        mfu=mfu,
        mfu_source=source,
        peak_flops=peak,
        tokens_per_second=tokens / seconds,
        seconds=seconds,
        seconds_per_update=seconds / steps,
        gpu_hours=gpu_hours,
        price=machine.price,
        cost=None if machine.price is None else gpu_hours * machine.price,
    )


def _source(pace: Pace, *, small: bool) -> str:
    words = SOURCE.format(model="3b_moe" if pace.mixture else "3b_dense")
    if pace.factor != 1:
        words += f", x {pace.factor:.2g} for what is computed again or not compiled"
    if small:
        return f"{words}; a model as small as this reaches much less: state --mfu"
    return f"{words}; an assumption for other GPUs and models and for several ranks"


def _between(points: tuple[tuple[int, float], ...], tokens: int) -> float:
    """Linear in the logarithm of tokens; the ends hold beyond them."""
    for (low, before), (high, after) in pairwise(points):
        if tokens <= high:
            share = max(0.0, math.log(tokens / low) / math.log(high / low))
            return before + share * (after - before)
    return points[-1][1]
