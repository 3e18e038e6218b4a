"""Ranks that hold the same weights compare a checksum of their bits: memory that went wrong is named.

The sum of the bits as integers is exact in any order, so equal weights give equal sums on any device. Each
tensor's sum is mixed with its place, so that two tensors that changed places differ as well.

What can be seen depends on the sharding. The plain engine and ZeRO 0 update every replica on its own: a
flipped bit stays and is found at the next check. ZeRO 1 and 2 gather the weights anew after every update: a
bit that flips on one rank is found if the check comes before the next update (a bad copy always is). Under
ZeRO 3 no rank holds what another does, and there is nothing to compare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of an element
MIX = 0x9E3779B97F4A7C15 - 2**64  # odd, so that no bit is lost; int64 wraps


class Corrupt(Exception):
    """Ranks that should hold the same weights do not."""


def check_replicas(weights: Mapping[str, Tensor], step: int) -> None:
    """Raises Corrupt on every rank where some rank's `weights` differ from the others'. Collective."""
    if dist.get_world_size() == 1 or not weights:
        return
    sums_P = torch.stack([_sum(tensor) for tensor in weights.values()])
    checksums = [int(checksum) for checksum in _gathered(_mixed(sums_P))]
    if len(set(checksums)) > 1:
        sums_RP = [sums_P.tolist() for sums_P in _gathered(sums_P)]
        raise Corrupt(describe(checksums, sums_RP, list(weights), step))


def describe(checksums: list[int], sums_RP: list[list[int]], names: list[str], step: int) -> str:
    """Which ranks differ from the majority, and in which parameters; all of them where there is none."""
    common, votes = Counter(checksums).most_common(1)[0]
    majority = votes > len(checksums) / 2
    differing = [name for index, name in enumerate(names) if len({sums_P[index] for sums_P in sums_RP}) > 1]
    where = ", ".join(differing[:3]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
    if majority:
        odd = [str(rank) for rank, checksum in enumerate(checksums) if checksum != common]
        ranks, differ = ("ranks", "differ") if len(odd) > 1 else ("rank", "differs")
        who = f"{ranks} {', '.join(odd)} of {len(checksums)} {differ} from the others"
    else:
        who = f"ranks 0 to {len(checksums) - 1} disagree, with no majority to tell who is right"
    return f"weights after update {step}: {who}, in {where}"


def _gathered(own: Tensor) -> list[Tensor]:
    of_ranks = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(of_ranks, own)
    return of_ranks


def _sum(tensor: Tensor) -> Tensor:
    bits = tensor.detach().contiguous().view(BITS[tensor.element_size()])
    return bits.sum(dtype=torch.int64)


def _mixed(sums_P: Tensor) -> Tensor:
    places_P = torch.arange(1, len(sums_P) + 1, device=sums_P.device, dtype=torch.int64) * 2 - 1
    return (sums_P * places_P * MIX).sum().reshape(1)
