"""`pretrain export`: a folder that transformers loads by itself, written tensor by tensor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from megatron_lite.model.parameters import Counts, count
from pretrain.checkpoint.load import Checkpoint
from pretrain.data.progress import Progress
from pretrain.data.tokenizer import Tokenizer
from pretrain.exchange.aside import check_free, written_aside
from pretrain.exchange.card import card
from pretrain.exchange.config_json import config_json, generation_config_json
from pretrain.exchange.from_transformers import SPARE_BYTES, TOKENIZER_FOLDER
from pretrain.exchange.hub_folder import INDEX, ONE_FILE
from pretrain.exchange.names import Link, links
from pretrain.exchange.run_tokenizer import run_tokenizer
from pretrain.exchange.source import Source, find_source
from pretrain.exchange.tensors import DTYPES, Planned, shards, write_shards
from pretrain.exchange.tokenizer_json import write_tokenizer
from pretrain.files import replace, sync

MAX_SHARD_BYTES = 5 * 10**9  # as save_pretrained did for years, and hubs expect


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written."""

    out: Path
    counts: Counts
    dtype: str
    step: int
    tokens: int
    weight_files: tuple[str, ...]
    weight_bytes: int

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return {
            "out": str(self.out),
            "parameters": self.counts.total,
            "dtype": self.dtype,
            "step": self.step,
            "tokens": self.tokens,
            "weight_files": list(self.weight_files),
            "weight_bytes": self.weight_bytes,
        }


def export_model(
    path: Path,
    out: Path,
    *,
    progress: Progress,
    dtype: str = "fp32",
    tokenizer_folder: Path | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> Exported:
    """Write the newest weights at `path` to the folder `out`, whole or not at all."""
    check_free(out)
    source = find_source(path)
    tokenizer = run_tokenizer(source, tokenizer_folder)
    token_ids = _token_ids(source, tokenizer)
    wanted = links(source.shape)
    planned = [
        Planned(name=part.name, shape=part.shape, dtype=DTYPES[dtype])
        for link in wanted
        for part in link.parts
    ]
    total = sum(tensor.bytes for tensor in planned)
    with written_aside(out, total + SPARE_BYTES) as aside:
        replace(aside / "config.json", config_json(source.shape, token_ids, dtype))
        replace(aside / "generation_config.json", generation_config_json(token_ids))
        replace(aside / "README.md", card(source, tokenizer, dtype))
        if tokenizer:
            write_tokenizer(tokenizer, aside, max_positions=source.shape.max_positions)
        else:
            _copy_tokenizer(source, aside)
        for file in aside.iterdir():
            sync(file)
        names = _write_weights(aside, source, planned, progress, max_shard_bytes)
    position = source.checkpoint.position
    return Exported(
        out=out,
        counts=count(source.shape),
        dtype=dtype,
        step=position.step,
        tokens=position.tokens,
        weight_files=names,
        weight_bytes=total,
    )


def their_tensors(checkpoint: Checkpoint, wanted: tuple[Link, ...]) -> Iterator[tuple[str, Tensor]]:
    """Their tensors in fp32, with one of ours in memory at a time."""
    for link in wanted:
        whole = checkpoint.tensor("weight", link.name)
        for part, tensor in zip(link.parts, whole.split(link.rows), strict=True):
            yield part.name, tensor
        del whole


def _write_weights(
    aside: Path, source: Source, planned: list[Planned], progress: Progress, max_shard_bytes: int
) -> tuple[str, ...]:
    parts = shards(planned, max_shard_bytes)
    names = [f"model-{number:05d}-of-{len(parts):05d}.safetensors" for number in range(1, len(parts) + 1)]
    if len(parts) == 1:
        names = [ONE_FILE]
    else:
        places = {tensor.name: name for name, part in zip(names, parts, strict=True) for tensor in part}
        index = {"metadata": {"total_size": sum(tensor.bytes for tensor in planned)}, "weight_map": places}
        replace(aside / INDEX, json.dumps(index, indent=2) + "\n")
    with progress.task("writing weights", sum(tensor.bytes for tensor in planned), "B") as task:
        tensors = their_tensors(source.checkpoint, links(source.shape))
        write_shards(
            [(aside / name, part) for name, part in zip(names, parts, strict=True)], tensors, task.advance
        )
    return tuple(names)


def _token_ids(source: Source, tokenizer: Tokenizer | None) -> dict[str, Any]:
    if tokenizer:
        return {"eos_token_id": tokenizer.end_id}
    return source.checkpoint.state.get("imported", {}).get("token_ids", {})


def _copy_tokenizer(source: Source, aside: Path) -> None:
    """The files that came with imported weights, which replace what was written here of the same name."""
    for file in sorted((source.checkpoint.folder / TOKENIZER_FOLDER).glob("*")):
        shutil.copyfile(file, aside / file.name)
