"""Write one checkpoint, here and now, by the first rank alone: for tools that have no run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pretrain.checkpoint.aside import Aside
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.share_files import write_share
from pretrain.checkpoint.sharing import MAX_FILE_BYTES
from pretrain.checkpoint.space import needed_bytes
from pretrain.checkpoint.staging import Staging, Stateful


def save_checkpoint(
    root: Path, engine: Stateful, position: Position, facts: Mapping[str, Any], *, first_rank: bool
) -> Path:
    """Gather the state from all ranks and write it on the first. Collective.

    `facts` are JSON values kept beside the position (config, hashes).
    Raises OSError on the first rank where the disk refuses; what was there before is untouched.
    """
    aside = Aside(root, position.step)
    share = Staging(MAX_FILE_BYTES).copy(engine, num_ranks=1, rank=0 if first_rank else None)
    if not first_rank:
        return aside.target
    try:
        aside.begin(needed_bytes(share.bytes))
        return aside.commit({"position": asdict(position), **facts}, write_share(aside.folder, share))
    except BaseException:
        aside.abandon()
        raise
