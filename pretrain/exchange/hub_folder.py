"""The tensors in a folder of transformers, in one safetensors file or in many, read one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain.errors import UserError
from pretrain.exchange.fields import read_json
from pretrain.exchange.names import Link, on_disk

ONE_FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
CODES = ("F32", "BF16", "F16")  # all of which fp32 holds exactly
MOST_PROBLEMS = 12
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where a tensor is, and what it is."""

    path: Path
    key: str  # its name in the file
    shape: tuple[int, ...]
    code: str  # its type in safetensors' words


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor of the folder by its name on disk, without reading any."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, Stored] = {}
    for path, wanted in _files(folder).items():
        try:
            with safe_open(path, framework="pt") as file:
                for key in file.keys() if wanted is None else wanted & set(file.keys()):
                    piece = file.get_slice(key)
                    found[on_disk(key)] = Stored(
                        path=path, key=key, shape=tuple(piece.get_shape()), code=piece.get_dtype()
                    )
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: cannot be read as safetensors ({error}).") from None
    return found


def check_tensors(folder: Path, found: Mapping[str, Stored], wanted: tuple[Link, ...]) -> None:
    """UserError that names what is missing, what is too many and what has another shape or type."""
    parts = {part.name: part.shape for link in wanted for part in link.parts}
    problems = [f"{name}: missing" for name in parts if name not in found]
    problems += [
        f"{name}: unexpected" for name in sorted(found.keys() - parts.keys()) if not _copy(name, parts)
    ]
    for name, shape in parts.items():
        stored = found.get(name)
        if stored and stored.shape != shape:
            problems.append(f"{name}: is {_size(stored.shape)}, config.json asks for {_size(shape)}")
        if stored and stored.code not in CODES:
            problems.append(f"{name}: is {stored.code}, one of {', '.join(CODES)} is read")
    if problems:
        rest = len(problems) - MOST_PROBLEMS
        more = f"\n  and {rest} more" if rest > 0 else ""
        raise UserError(
            f"{folder}: its tensors are not this model's:\n  " + "\n  ".join(problems[:MOST_PROBLEMS]) + more
        )


def check_tied_copy(folder: Path, found: Mapping[str, Stored], wanted: tuple[Link, ...]) -> None:
    """UserError where a tied head is stored beside the embedding and differs from it."""
    if HEAD in found and not any(link.name == "head" for link in wanted):
        same = found[HEAD].shape == found[EMBEDDING].shape
        if not (same and torch.equal(read(found[HEAD]), read(found[EMBEDDING]))):
            raise UserError(
                f"{folder}: tie_word_embeddings is true, and {HEAD} differs from {EMBEDDING};"
                " which one is meant?"
            )


def our_tensors(found: Mapping[str, Stored], wanted: tuple[Link, ...]) -> Iterator[tuple[str, Tensor]]:
    """Our tensors in fp32, one at a time."""
    for link in wanted:
        parts = [read(found[part.name]) for part in link.parts]
        yield link.name, parts[0] if len(parts) == 1 else torch.cat(parts)
        del parts


def read(stored: Stored) -> Tensor:
    """One tensor in fp32."""
    from safetensors import safe_open

    with safe_open(stored.path, framework="pt") as file:
        return file.get_tensor(stored.key).float()


def _files(folder: Path) -> dict[Path, set[str] | None]:
    """Each file, and which of its tensors count: None for all."""
    if (folder / ONE_FILE).is_file():
        return {folder / ONE_FILE: None}
    if not (folder / INDEX).is_file():
        raise UserError(_without_safetensors(folder))
    names: Any = read_json(folder / INDEX).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(file, str) for file in names.values()):
        raise UserError(f"{folder / INDEX}: has no weight_map of tensors to files.")
    files: dict[Path, set[str] | None] = {}
    for file in sorted(set(names.values())):
        if Path(file).name != file or not (folder / file).is_file():
            raise UserError(f"{folder / INDEX}: names {file!r}, and there is no such file in the folder.")
        files[folder / file] = {name for name, place in names.items() if place == file}
    return files


def _without_safetensors(folder: Path) -> str:
    if list(folder.glob("*.bin")) or list(folder.glob("*.pt")) or list(folder.glob("*.pth")):
        return (
            f"{folder}: holds pickled weights, which can run code when they are read. Where you trust them: "
            "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(OTHER), and import OTHER."
        )
    return f"{folder}: holds neither {ONE_FILE} nor {INDEX}."


def _copy(name: str, parts: Mapping[str, object]) -> bool:
    """A tied head stored all the same, and the rotary frequencies that old versions kept."""
    return (name == HEAD and HEAD not in parts) or name.endswith("rotary_emb.inv_freq")


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
