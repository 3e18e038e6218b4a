"""`pretrain import`: a checkpoint of ours from a folder of transformers, weights only, at position zero."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from megatron_lite.model.parameters import Counts, count
from megatron_lite.model.shape import ModelShape
from pretrain.checkpoint.aside import write_state
from pretrain.checkpoint.format import file_sha256
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.sharing import MAX_FILE_BYTES
from pretrain.data.progress import Progress
from pretrain.errors import UserError
from pretrain.exchange.aside import check_free, written_aside
from pretrain.exchange.config_json import TOKEN_IDS
from pretrain.exchange.fields import read_json, shape_of_config
from pretrain.exchange.hub_folder import Stored, check_tensors, check_tied_copy, our_tensors, stored_tensors
from pretrain.exchange.keys import model_section
from pretrain.exchange.names import Link, links
from pretrain.exchange.tensors import Planned, shards, write_shards
from pretrain.files import sync

TOKENIZER_FOLDER = "tokenizer"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
SPARE_BYTES = 2**20  # for everything that is not a tensor


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What was read and written."""

    out: Path
    shape: ModelShape
    counts: Counts
    tokenizer_files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return {
            "out": str(self.out),
            "parameters": asdict(self.counts),
            "model": model_section(self.shape),
            "tokenizer_files": list(self.tokenizer_files),
        }


def import_model(folder: Path, out: Path, *, progress: Progress, ignored: Collection[str] = ()) -> Imported:
    """Write the checkpoint `out`; UserError names whatever cannot be reproduced, and nothing is written."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. A model of the hub has to be downloaded first.")
    check_free(out)
    shape = shape_of_config(folder / "config.json", ignored)
    found, wanted = stored_tensors(folder), links(shape)
    check_tensors(folder, found, wanted)
    check_tied_copy(folder, found, wanted)
    counts = count(shape)
    with written_aside(out, 4 * counts.total + SPARE_BYTES) as aside:
        files = _write_weights(aside, found, wanted, progress)
        tokenizer_files = _copy_tokenizer(folder, aside / TOKENIZER_FOLDER)
        raw = read_json(folder / "config.json")
        facts = {
            "config": {"model": model_section(shape)},
            "imported": {
                "from": folder.absolute().name,
                "config_sha256": file_sha256(folder / "config.json"),
                "token_ids": {key: raw.get(key) for key in TOKEN_IDS},
                "ignored": sorted(ignored),
            },
        }
        files |= _of_tokenizer(aside, tokenizer_files)
        write_state(aside, {"position": asdict(Position()), **facts, "files": files})
    return Imported(out=out, shape=shape, counts=counts, tokenizer_files=tokenizer_files)


def _write_weights(
    aside: Path, found: dict[str, Stored], wanted: tuple[Link, ...], progress: Progress
) -> dict[str, dict[str, Any]]:
    """The weights in files of a checkpoint; what state.json says of them."""
    planned = [Planned(name=link.name, shape=link.shape, dtype=torch.float32) for link in wanted]
    parts = shards(planned, MAX_FILE_BYTES)
    files = [(aside / f"weight-{index:05d}.safetensors", part) for index, part in enumerate(parts)]
    with progress.task("reading weights", sum(tensor.bytes for tensor in planned), "B") as task:
        write_shards(files, our_tensors(found, wanted), task.advance)
    return {
        path.name: {
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
            "tensors": sorted(tensor.name for tensor in part),
        }
        for path, part in files
    }


def _copy_tokenizer(folder: Path, target: Path) -> tuple[str, ...]:
    names = tuple(name for name in TOKENIZER_FILES if (folder / name).is_file())
    if names:
        target.mkdir()
    for name in names:
        shutil.copyfile(folder / name, target / name)
        sync(target / name)
    return names


def _of_tokenizer(aside: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What state.json says of the tokenizer's files, which `verify` compares as it does the weights."""
    paths = {f"{TOKENIZER_FOLDER}/{name}": aside / TOKENIZER_FOLDER / name for name in names}
    return {
        name: {"bytes": path.stat().st_size, "sha256": file_sha256(path), "tensors": []}
        for name, path in paths.items()
    }
