"""The machine that a plan is made for: what the user says of it, and what is assumed and said to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from megatron_lite.options import parse_count
from pretrain.errors import UserError
from pretrain.memory import readable
from pretrain.planning.gpus import GIB, GPUS, Gpu, find

if TYPE_CHECKING:
    from pretrain.config.schema import Config

ASSUMED = "h100"
# Of a GPU's memory, what a run cannot plan with: CUDA's and NCCL's own.
RESERVED_BYTES = GIB
# The peak that was measured, over the plan's (docs/gpu.md: 1.02 to 1.04 on an H200).
PEAK_OVER_PLAN = 1.04


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The GPUs of a run, all alike. No GPU: a CPU, of which neither memory nor speed is known here."""

    gpu: Gpu | None
    assumed: bool  # nobody named the GPU
    memory_bytes: int | None  # of one GPU; None: not known, nothing is said to fit
    mfu: float | None  # stated; None: the measured one
    price: float | None  # of one GPU and hour

    @property
    def usable_bytes(self) -> int | None:
        """What a plan may come to so that the run fits."""
        if self.memory_bytes is None:
            return None
        return int((self.memory_bytes - RESERVED_BYTES) / PEAK_OVER_PLAN)

    @property
    def room(self) -> str | None:
        """The memory that a plan is held against, in words."""
        if self.memory_bytes is None or self.usable_bytes is None:
            return None
        return f"{readable(self.usable_bytes)} to plan with (a GPU's {readable(self.memory_bytes)})"


def machine_for(
    config: Config,
    *,
    gpu: str | None = None,
    memory: str | None = None,
    mfu: float | None = None,
    price: float | None = None,
) -> Machine:
    """The machine that is asked for; an H100 is assumed for a bf16 run of which nothing is said."""
    named = find(gpu) if gpu else None
    assumed = named is None and config.run.precision == "bf16"
    if assumed:
        named = GPUS[ASSUMED]
    if mfu is not None and not 0 < mfu <= 1:
        raise UserError(f"--mfu {mfu:g}: should be a share of the peak, above 0 and at most 1, such as 0.4")
    if price is not None and price < 0:
        raise UserError(f"--price {price:g}: should not be negative")
    size = _bytes(memory) if memory else (named.memory_bytes if named else None)
    return Machine(gpu=named, assumed=assumed, memory_bytes=size, mfu=mfu, price=price)


def _bytes(text: str) -> int:
    """Bytes from `80G` or `80GB` as on a GPU's box, which counts in powers of 1024."""
    plain = text.strip().upper().removesuffix("B").removesuffix("I")
    digits, unit = (plain[:-1], plain[-1:]) if plain[-1:] in ("G", "M", "T") else (plain, "")
    try:
        size = int(float(digits) * {"G": GIB, "M": 2**20, "T": 2**40}[unit]) if unit else parse_count(plain)
    except (ValueError, OverflowError):
        size = 0
    if size < 2**20:
        raise UserError(f"--gpu-memory {text}: should be a size such as 80G, 40G or 24000M")
    return size
