"""What the files of a transformers tokenizer say: its ids, its control tokens, and which one ends a text.

Read as JSON alone, so that a plan knows the vocabulary without any library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from pretrain.errors import UserError, nearest

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_FILE = "special_tokens_map.json"  # older folders name their control tokens there
FILES = (TOKENIZER_FILE, CONFIG_FILE, SPECIAL_FILE)
NAMED = ("eos_token", "bos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
LISTED = ("additional_special_tokens", "extra_special_tokens")
END_NAMES = ("<|endoftext|>", "<|end_of_text|>", "<|end|>", "</s>", "<eos>", "<|eos|>")
SAVING = "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers writes it."


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A transformers tokenizer as data."""

    folder: Path
    content: Mapping[str, Any]  # tokenizer.json
    special: Mapping[str, int]  # control tokens, which no text may become
    unmarked: tuple[str, ...]  # those of them that tokenizer.json itself does not mark as special
    end: str
    sha256: str
    vocab_size: int  # the highest id and one

    @property
    def model(self) -> Mapping[str, Any]:
        """The part that turns pieces of text into tokens."""
        model: Mapping[str, Any] = self.content["model"]
        return model

    @property
    def plain_added(self) -> list[Mapping[str, Any]]:
        """Added tokens that are text: found in a document before the model sees it."""
        return [token for token in self.content["added_tokens"] if token["content"] not in self.special]


def read_definition(folder: Path) -> Definition:
    """Read the files in `folder`; UserError if they are not there or not to be used."""
    try:
        return _read(folder, tuple(map(_state, (folder / name for name in FILES))))
    except OSError as error:
        raise _missing(folder, error) from error


def _state(file: Path) -> tuple[int, int]:
    """What tells that a file was changed."""
    stat = file.stat() if file.name == TOKENIZER_FILE or file.is_file() else None
    return (stat.st_mtime_ns, stat.st_size) if stat else (0, 0)


@lru_cache(maxsize=2)  # asked for more than once while a run is set up, and tens of megabytes at times
def _read(folder: Path, _states: tuple[tuple[int, int], ...]) -> Definition:
    data = (folder / TOKENIZER_FILE).read_bytes()
    content = _parsed(folder / TOKENIZER_FILE, data)
    added = content.get("added_tokens") or []
    try:
        ids = _model_ids(content["model"]) | {token["content"]: token["id"] for token in added}
        marked = {token["content"] for token in added if token.get("special")}
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{folder / TOKENIZER_FILE} is not what the tokenizers library writes.") from error
    config = _optional(folder / SPECIAL_FILE) | _optional(folder / CONFIG_FILE)
    named = dict.fromkeys(_named(config))
    listed = [token["content"] for token in (config.get("added_tokens_decoder") or {}).values()]
    unknown = [name for name in (*named, *listed) if name not in ids]
    if unknown:
        raise UserError(
            f"{folder}: {CONFIG_FILE} has tokens that {TOKENIZER_FILE} has not: {', '.join(unknown[:5])}."
            f" {SAVING}"
        )
    special = {name: ids[name] for name in sorted(marked | set(named), key=lambda name: ids[name])}
    end = _end(folder, config, special)
    decided = json.dumps([ids[end], sorted(special)])
    return Definition(
        folder=folder,
        content={**content, "added_tokens": added},
        special=special,
        unmarked=tuple(name for name in special if name not in marked),
        end=end,
        sha256=sha256(data + b"\0" + decided.encode()).hexdigest(),
        vocab_size=max(ids.values()) + 1,
    )


def _model_ids(model: Mapping[str, Any]) -> dict[str, int]:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):  # Unigram: pieces with their scores
        return {piece: token for token, (piece, _) in enumerate(vocabulary)}
    return dict(vocabulary)


def _named(config: Mapping[str, Any]) -> Iterator[str]:
    """Control tokens that the config names, as text or as an object with flags."""
    for key in NAMED:
        yield from _names_in(config.get(key))
    for key in LISTED:
        value = config.get(key) or ()
        for token in value.values() if isinstance(value, dict) else value:
            yield from _names_in(token)


def _names_in(token: Any) -> Iterator[str]:
    name = token.get("content") if isinstance(token, dict) else token
    if name:
        yield str(name)


def _end(folder: Path, config: Mapping[str, Any], special: Mapping[str, int]) -> str:
    """The token that ends a document: `eos_token`, or the one control token that can only mean that."""
    for name in _names_in(config.get("eos_token")):
        return name
    candidates = [name for name in special if name in END_NAMES] or list(special)
    if len(candidates) == 1:
        return candidates[0]
    there = f"one of its control tokens ({', '.join(list(special)[:8])})" if special else "a control token"
    raise UserError(
        f"{folder}: nothing says which token ends a document. Set eos_token in {CONFIG_FILE} to {there}."
    )


def _optional(file: Path) -> dict[str, Any]:
    return _parsed(file, file.read_bytes()) if file.is_file() else {}


def _parsed(file: Path, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{file} should hold a JSON object.")
    return value


def _missing(folder: Path, error: OSError) -> UserError:
    if folder.is_dir():
        return UserError(f"{folder}: there is no readable {TOKENIZER_FILE} ({error.strerror}). {SAVING}")
    parent = folder.absolute().parent
    siblings = [path.name for path in parent.iterdir()] if parent.is_dir() else []
    return UserError(f"'{folder}' is not a folder (looked in {parent}).{nearest(folder.name, siblings)}")
