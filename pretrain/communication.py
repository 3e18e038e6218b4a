"""What the ranks send each other in one update: gradients and weights, by collective, type and bytes.

    P  parameters, M  forward passes of a rank and update, w  bytes of a weight; gradients are fp32

    engine           gradients                    weights
    torch, ZeRO 0    all-reduce, 4P               -
    ZeRO 1           all-reduce, 4P               all-gather, wP
    ZeRO 2           all-reduce, 4P, M times      all-gather, wP
    ZeRO 3           reduce-scatter, 4P, M times  all-gather, wP, once or twice M times

In a ring of N ranks a rank sends (N - 1) / N of a gathered or scattered tensor, and twice that of a reduced
one. Each group of the optimizer (ZeRO 1, 2) or parameter (ZeRO 3) is padded to equal shares. Under ZeRO 3
parameters up to the persistence threshold are gathered once an update; the others again in the backward
pass, but for those that are used again soon enough to be kept: here all of them or none.
Loss, norms and counts of tokens are left out: a few numbers an update, and layers x experts of a MoE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from megatron_lite.model.parameters import parameters
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.groups import groups

if TYPE_CHECKING:
    from pretrain.config.schema import Config

BYTES = {"bf16": 2, "fp32": 4}
ALIGNMENT = 2  # elements of a rank's share that DeepSpeed rounds a group up to
PERSISTENT_ELEMENTS = 100_000  # the default of stage3_param_persistence_threshold
REUSE_ELEMENTS = 1_000_000_000  # the default of stage3_max_reuse_distance
RING = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1, "reduce": 1}


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One kind of collective, as often as an update makes it."""

    what: Literal["gradients", "weights"]
    collective: Literal["all_reduce", "all_gather", "reduce_scatter", "reduce"]
    dtype: str
    elements: int  # of the whole tensors, over all times

    @property
    def payload_bytes(self) -> int:
        """Of the whole tensors."""
        return self.elements * BYTES[self.dtype]

    def sent_bytes(self, num_ranks: int) -> int:
        """What one rank sends in a ring."""
        return RING[self.collective] * self.payload_bytes * (num_ranks - 1) // num_ranks


def communication(config: Config, shape: ModelShape, num_ranks: int, passes: int) -> tuple[Exchange, ...]:
    """What an update of `passes` forward passes a rank exchanges; nothing where there is one rank."""
    if num_ranks == 1:
        return ()
    zero = config.deepspeed.zero_optimization
    stage = zero.stage if config.run.engine == "deepspeed" else 0
    keys = zero.model_extra or {}
    sizes = [parameter.size for parameter in parameters(shape)]
    if stage == 3:
        return tuple(_stage_3(sizes, config.run.precision, keys, num_ranks, passes))
    return tuple(_replicated_weights(config, shape, stage, num_ranks, passes))


def _replicated_weights(
    config: Config, shape: ModelShape, stage: int, num_ranks: int, passes: int
) -> Iterator[Exchange]:
    sizes = {parameter.name: parameter.size for parameter in parameters(shape)}
    of_groups = [
        sum(sizes[name] for name in group.parameters)
        for group in groups(shape, config.mup, config.optimizer.weight_decay)
    ]
    padded = _padded(of_groups, ALIGNMENT * num_ranks)
    keys = config.deepspeed.zero_optimization.model_extra or {}
    # in bf16 ZeRO 1 accumulates in padded groups, unless the optimizer is on the host
    flat = stage == 1 and config.run.precision == "bf16" and "offload_optimizer" not in keys
    size = padded if flat else sum(of_groups)
    to_owners = stage == 2 and keys.get("use_multi_rank_bucket_allreduce") is False
    yield Exchange(
        what="gradients",
        collective="reduce" if to_owners else "all_reduce",
        dtype="fp32",
        elements=size * (passes if stage == 2 else 1),
    )
    if stage:
        yield Exchange(what="weights", collective="all_gather", dtype=config.run.precision, elements=padded)


def _stage_3(
    sizes: list[int], precision: str, keys: Mapping[str, Any], num_ranks: int, passes: int
) -> Iterator[Exchange]:
    threshold = number(keys, "stage3_param_persistence_threshold", PERSISTENT_ELEMENTS)
    reuse = number(keys, "stage3_max_reuse_distance", REUSE_ELEMENTS)
    small = _padded((size for size in sizes if size <= threshold), num_ranks)
    large = _padded((size for size in sizes if size > threshold), num_ranks)
    gathered = passes if 2 * sum(sizes) <= reuse else 2 * passes
    yield Exchange(
        what="gradients", collective="reduce_scatter", dtype="fp32", elements=passes * (small + large)
    )
    yield Exchange(
        what="weights", collective="all_gather", dtype=precision, elements=small + gathered * large
    )


def _padded(sizes: Iterable[int], multiple: int) -> int:
    return sum(-(-size // multiple) * multiple for size in sizes)


def number(keys: Mapping[str, Any], name: str, default: int) -> int:
    """A key of DeepSpeed's section, or what DeepSpeed takes where it is absent."""
    value = keys.get(name)
    return int(value) if isinstance(value, (int, float)) else default
