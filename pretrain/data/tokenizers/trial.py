"""Whether a tokenizer gives every text back: tried on awkward and random strings before anything is trained.

Ids that lose something teach a model a language that nobody writes, and scores per byte go wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrain.data.tokenizers.byte_level import is_byte_level
from pretrain.data.tokenizers.probes import AWKWARD, random_texts
from pretrain.errors import UserError

if TYPE_CHECKING:
    from pretrain.data.tokenizer import Tokenizer

SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A text on which a tokenizer cannot be relied."""

    of: str  # what the text is an example of
    text: str
    what: str  # what became of it
    why: str

    def __str__(self) -> str:
        return f"{shown(self.text)} ({self.of}) {self.what}. {self.why}"


def first_failure(tokenizer: Tokenizer) -> Failure | None:
    """The first text that does not come back, that makes a control token or whose bytes do not add up."""
    lengths, control = tokenizer.token_bytes(), set(tokenizer.control.values())
    for of, text in _texts(tokenizer):
        ids = tokenizer.encode(text)
        back = tokenizer.decode(ids)
        if control & set(ids):
            made = next(name for name, token in tokenizer.control.items() if token in ids)
            what, why = f"makes the control token {made}", "Only the end of a document may be one."
        elif back != text:
            what, why = f"comes back as {shown(back)}", culprit(tokenizer, text)
        elif (counted := int(lengths[np.array(ids, dtype=np.int64)].sum())) != len(text.encode()):
            what = f"has {len(text.encode())} bytes, and its tokens stand for {counted}"
            why = "Bits per byte could not be told."
        else:
            continue
        return Failure(of=of, text=text, what=what, why=why)
    return None


def check_lossless(tokenizer: Tokenizer, name: str) -> None:
    """UserError with the text that broke, and with what in the tokenizer does it."""
    if failure := first_failure(tokenizer):
        raise UserError(f"{name}: this tokenizer cannot be used for pretraining: {failure}")


def shown(text: str) -> str:
    """A text in ASCII, with escapes for all else."""
    escaped = ascii(text)
    return escaped if len(escaped) <= SHOWN else f"{escaped[:SHOWN]}... ({len(text)} characters)"


def culprit(tokenizer: Tokenizer, text: str) -> str:
    """The part of a transformers tokenizer that loses something of `text`."""
    library = getattr(tokenizer, "library", None)
    if library is None:
        return "It was trained otherwise than `pretrain tokenizer train` does."
    content = tokenizer.definition.content  # type: ignore[attr-defined]
    if library.normalizer and library.normalizer.normalize_str(text) != text:
        return (
            f"Its normalizer, {_types(content['normalizer'])}, changes text. Without it "
            '(`"normalizer": null` in a copy of its tokenizer.json) it may do.'
        )
    model = content["model"]
    if model.get("unk_token") and not model.get("byte_fallback") and not is_byte_level(content):
        return f"Its model, {model['type']}, knows no bytes: what else is not in it is {model['unk_token']}."
    parts = (f"{part} {_types(content[part])}" for part in ("pre_tokenizer", "decoder") if content.get(part))
    return f"Its {' and '.join(parts) or 'model'} do not keep it."


def _types(part: Mapping[str, Any]) -> str:
    """`Sequence(NFC, Lowercase)`: what a part of tokenizer.json consists of."""
    inner: Iterable[Any] = next((value for value in part.values() if isinstance(value, list)), ())
    names = [_types(item) for item in inner if isinstance(item, dict) and "type" in item]
    flags = ["add_prefix_space"] if part.get("add_prefix_space") else []
    arguments = ", ".join([*names, *flags])
    return f"{part['type']}({arguments})" if arguments else str(part["type"])


def _texts(tokenizer: Tokenizer) -> Iterator[tuple[str, str]]:
    yield from AWKWARD.items()
    for name in tokenizer.control:
        yield "the name of a control token", name
        yield "the name of a control token between letters", f"a{name}b {name} {name}{name}\n"
    for text in random_texts():
        yield "random characters", text
