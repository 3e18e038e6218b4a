"""What transformers puts around a text before a model reads it, and so what the harness expects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.data.tokenizer import Tokenizer
from pretrain.data.tokenizers.definition import CONFIG_FILE, SPECIAL_FILE

if TYPE_CHECKING:
    from pretrain.data.tokenizers.fast import TransformersTokenizer


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """Of one tokenizer."""

    beginning: tuple[int, ...]  # tokens in front of every text
    prefix_id: int  # what a text follows that has no context
    prefix_text: str  # a text that begins with it gets no tokens in front
    end_text: str  # how the end token is spelled


def conventions(tokenizer: Tokenizer) -> Conventions:
    """As transformers has them for what `pretrain export` writes of this tokenizer."""
    from pretrain.data.tokenizers.fast import TransformersTokenizer

    names = {token: name for name, token in tokenizer.control.items()}
    beginning: tuple[int, ...] = ()
    prefix_id = tokenizer.end_id
    if isinstance(tokenizer, TransformersTokenizer):
        beginning = _beginning(tokenizer)
        prefix_id = tokenizer.control.get(_first_name(tokenizer.definition.folder), tokenizer.end_id)
    return Conventions(
        beginning=beginning,
        prefix_id=prefix_id,
        prefix_text=names[prefix_id],
        end_text=names[tokenizer.end_id],
    )


def _beginning(tokenizer: TransformersTokenizer) -> tuple[int, ...]:
    library = tokenizer.library
    plain = library.encode("a", add_special_tokens=False).ids
    whole = library.encode("a", add_special_tokens=True).ids
    at = next(at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)
    return tuple(whole[:at])


def _first_name(folder: Path) -> str:
    """The name of the token that begins a text; empty where there is none."""
    for file in (folder / CONFIG_FILE, folder / SPECIAL_FILE):
        named = json.loads(file.read_text(encoding="utf-8")).get("bos_token") if file.is_file() else None
        if named:
            return str(named["content"] if isinstance(named, dict) else named)
    return ""
