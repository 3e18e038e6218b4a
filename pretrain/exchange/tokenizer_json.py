"""Our sentencepiece model as a tokenizer of transformers that gives the same ids for every string.

BPE: both begin with characters and merge neighbours. sentencepiece merges whichever two make the best piece,
the tokenizers library a listed pair, so the list needs, for each piece, the pair that makes it. There is one:
until a piece stands, nothing was merged across its ends, so inside it all went as it goes when the piece is
encoded alone, and the pair is that encoding's last.

Unigram: both take the pieces with the best sum of scores, of equals the one whose last piece is longest; the
scores are such that their sums are exact. The library would also find the names of bytes and of special
tokens in a text, so they get the score of what is never best.

A space is a space there. sentencepiece writes U+2581 for it, and the character itself goes by its bytes.
A tokenizer that came from transformers goes back as it came.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pretrain.data.tokenizer import SPACE, STRETCH, SentencePieceTokenizer, Tokenizer
from pretrain.data.tokenizers.fast import TransformersTokenizer
from pretrain.data.tokenizers.making import copy_files
from pretrain.errors import UserError

TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "clean_up_tokenization_spaces": False,
    "split_special_tokens": True,  # text that spells a special token is text, as in training
}
NEVER = -1e9  # a score that loses against any other way to cut a text, and adds up exactly


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What a sentencepiece model is made of."""

    texts: tuple[str, ...]  # by id; `<0x41>` for a byte, the name of a special token
    normal: dict[str, float]  # text -> score
    special: tuple[int, ...]  # ids that no text has: unknown, then control
    is_unigram: bool = False


def write_tokenizer(tokenizer: Tokenizer, folder: Path, *, max_positions: int) -> None:
    """Write tokenizer.json, tokenizer_config.json and special_tokens_map.json, or copy what came.

    UserError where the result would not encode as `tokenizer` does.
    """
    if isinstance(tokenizer, TransformersTokenizer):
        copy_files(tokenizer.definition.folder, folder)
        return
    assert isinstance(tokenizer, SentencePieceTokenizer)
    pieces = _pieces(tokenizer)
    made = _build(pieces)
    _check(made, tokenizer, pieces)
    names = {"unk_token": pieces.texts[0], "eos_token": pieces.texts[tokenizer.end_id]}
    made.save(str(folder / "tokenizer.json"))
    config = TOKENIZER_CONFIG | names | {"model_max_length": max_positions}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n")


def _pieces(tokenizer: SentencePieceTokenizer) -> Pieces:
    texts, normal, special = [], {}, []
    for token in range(tokenizer.vocab_size):
        text, score, kind = tokenizer.piece(token)
        if kind == "special":
            special.append(token)
        elif kind == "normal":
            text = text.replace(SPACE, " ")
            normal[text] = score
        texts.append(text)
    return Pieces(texts=tuple(texts), normal=normal, special=tuple(special), is_unigram=tokenizer.is_unigram)


def _build(pieces: Pieces) -> Any:
    from tokenizers import AddedToken, Regex
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers.decoders import ByteFallback, Fuse, Sequence
    from tokenizers.pre_tokenizers import Split

    made = FastTokenizer(_unigram(pieces) if pieces.is_unigram else _bpe(pieces))
    made.pre_tokenizer = Split(Regex(STRETCH.pattern), "isolated")
    made.decoder = Sequence([ByteFallback(), Fuse()])
    made.add_special_tokens([AddedToken(pieces.texts[token], normalized=False) for token in pieces.special])
    made.encode_special_tokens = True
    return made


def _bpe(pieces: Pieces) -> Any:
    from tokenizers.models import BPE

    return BPE(
        vocab={text: token for token, text in enumerate(pieces.texts)},
        merges=merges(pieces.normal),
        unk_token=pieces.texts[0],
        byte_fallback=True,
        fuse_unk=False,
    )


def _unigram(pieces: Pieces) -> Any:
    from tokenizers.models import Unigram

    scored = [(text, pieces.normal.get(text, NEVER)) for text in pieces.texts]
    return Unigram(scored, unk_id=0, byte_fallback=True)


def merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """For every piece that text can become, the pair that makes it; the best first."""
    long = sorted((text for text in scores if len(text) > 1), key=lambda text: -scores[text])
    if len({scores[text] for text in long}) < len(long):
        raise UserError("the tokenizer has pieces of equal score, whose order transformers cannot keep.")
    strange = {char for text in long for char in text} - scores.keys()
    if strange:
        raise UserError(
            f"the tokenizer has pieces with characters that are no pieces: {sorted(strange)!r:.80}"
        )
    pairs = (_last_merge(text, scores) for text in long)
    return [pair for pair in pairs if pair]


def _last_merge(text: str, scores: dict[str, float]) -> tuple[str, str] | None:
    """The two symbols that become `text` when it is encoded alone; None where it ends in several."""
    symbols = list(text)
    while len(symbols) > 2:
        joined = (one + other for one, other in pairwise(symbols))
        found = [(-scores[pair], at) for at, pair in enumerate(joined) if pair in scores]
        if not found:
            return None
        _, at = min(found)  # the best score, the leftmost of equals
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    return symbols[0], symbols[1]


def _check(made: Any, tokenizer: SentencePieceTokenizer, pieces: Pieces) -> None:
    """Encode every piece, alone and between neighbours, both ways."""
    texts = pieces.texts
    together = ["".join(texts[at : at + 50]) for at in range(0, len(texts), 50)]
    for text in [*texts, *together, f"a {SPACE} b\r\n\0", " " * 9999]:
        if made.encode(text, add_special_tokens=False).ids != tokenizer.encode(text):
            raise UserError(
                f"the tokenizer cannot be written for transformers: it encodes {text!r:.80} otherwise."
            )
