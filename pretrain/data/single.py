"""A source of a single document, which is cut so that some of it is held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pretrain.data.split import cut_in_two
from pretrain.data.spool import Spool
from pretrain.data.volumes import Omissions, Volume, volume_name


def cut_if_single(
    volumes: Sequence[Volume], share: float, drop_duplicates: bool, folder: Path
) -> list[Volume]:
    """The volumes; if no more than one document is left of them, a volume in `folder` of its two halves."""
    spool = Spool(volumes)
    is_single = (spool.digests == spool.digests[0]).all() if drop_duplicates else len(spool) == 1
    if not share or not is_single:
        return list(volumes)
    halves = cut_in_two(spool.read(0), share)
    table = np.repeat(volumes[0].documents()[:1], len(halves))
    table["length"] = [len(half) for half in halves]
    for names in (table["group"], table["digest"]):
        names[1:] ^= np.uint64(1)
    cut = Volume(folder=folder, name=volume_name(0, 0))
    cut.write(b"".join(halves), table, Omissions(), None, last=True)
    return [cut]
