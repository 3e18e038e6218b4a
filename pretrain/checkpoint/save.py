"""Write a checkpoint: aside, flushed and hashed, then renamed, so that it is whole or not there.

step_00000100/
    weight-00000.safetensors ...       fp32, by parameter name
    exp_avg-00000.safetensors ...      first moments
    exp_avg_sq-00000.safetensors ...   second moments
    state.json                         position, config, hashes of data, tokenizer, files and itself
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from pretrain.checkpoint.format import FORMAT, SEAL, STATE_FILE, checkpoint_name, file_sha256, state_sha256
from pretrain.checkpoint.position import Position
from pretrain.engine.base import Engine
from pretrain.files import replace, sync

MAX_FILE_BYTES = 2**30


def save_checkpoint(
    root: Path, engine: Engine, position: Position, facts: Mapping[str, Any], *, first_rank: bool
) -> Path:
    """Gather the state from all ranks and write it on the first. Collective.

    `facts` are JSON values kept beside the position (config, hashes).
    Raises OSError on the first rank where the disk refuses; what was there before is untouched.
    """
    target = root / checkpoint_name(position.step)
    if not first_rank:
        for _ in engine.state():
            pass
        return target
    aside = root / f".{target.name}.partial"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    files = _write_tensors(aside, engine)
    state = {"format": FORMAT, "position": asdict(position), **facts, "files": files}
    state = json.loads(json.dumps(state))  # what a reader will see, and hash
    replace(aside / STATE_FILE, json.dumps(state | {SEAL: state_sha256(state)}, indent=1))
    sync(aside)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    sync(root)
    return target


def _write_tensors(folder: Path, engine: Engine) -> dict[str, dict[str, Any]]:
    """Files of at most MAX_FILE_BYTES (or one tensor), so that memory holds one file at a time."""
    files: dict[str, dict[str, Any]] = {}
    pending: dict[str, Tensor] = {}
    kind_pending, size, index = "", 0, 0

    def flush() -> None:
        nonlocal pending, size, index
        if pending:
            name = f"{kind_pending}-{index:05d}.safetensors"
            files[name] = _write_file(folder / name, pending)
            pending, size, index = {}, 0, index + 1

    for kind, name, tensor in engine.state():
        bytes_of_tensor = tensor.numel() * tensor.element_size()
        if kind != kind_pending or size + bytes_of_tensor > MAX_FILE_BYTES:
            flush()
            index = index if kind == kind_pending else 0
        kind_pending = kind
        pending[name] = tensor.contiguous()
        size += bytes_of_tensor
    flush()
    return files


def _write_file(path: Path, tensors: dict[str, Tensor]) -> dict[str, Any]:
    from safetensors.torch import save_file

    save_file(tensors, path)
    sync(path)
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path), "tensors": sorted(tensors)}
