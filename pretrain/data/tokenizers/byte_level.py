"""Which byte-level BPE the tiktoken engine can compute, and with which ranks.

The tokenizers library merges listed pairs, tiktoken any two neighbours whose bytes together are a token, the
lowest rank first. Both give the same ids where the listed pairs alone make every token out of its own bytes:
until a token stands, nothing is merged across its ends, so inside it all goes as it goes when it is encoded
alone. Tokens that no merge reaches are met only as whole pieces, where `ignore_merges` says so; then every
pair that would make one must be listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pretrain.data.tokenizers.definition import Definition

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # GPT-2's
# The same inside what lies between digits, each of which is a piece: space before one is at an end.
WORDS_AND_DIGITS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"


class Unsuited(Exception):
    """What tiktoken cannot represent; the message says why."""


@dataclass(frozen=True, kw_only=True)
class BytePairs:
    """A byte-level BPE in tiktoken's terms."""

    pattern: str  # of pieces, inside which merges stay
    ranks: Mapping[bytes, int]  # tokens of bytes in the order of their merges
    ids: Sequence[int]  # by rank


def byte_alphabet() -> dict[str, int]:
    """What stands for a byte in a vocabulary: the character itself, or where none shows, another."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + at): byte for at, byte in enumerate(hidden)}


def is_byte_level(content: Mapping[str, Any]) -> bool:
    """Whether tokens are bytes, written in that alphabet."""
    return (content.get("decoder") or {}).get("type") == "ByteLevel" and content["model"]["type"] == "BPE"


def byte_pairs(definition: Definition, library: Library) -> BytePairs:
    """Pattern and ranks; Unsuited if tiktoken would not do the same."""
    content, model = definition.content, definition.model
    if not is_byte_level(content):
        raise Unsuited("it is no byte-level BPE")
    if content.get("normalizer"):
        raise Unsuited("it has a normalizer")
    if any(model.get(key) for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")):
        raise Unsuited("its merges depend on more than bytes")
    pattern = _pattern(content.get("pre_tokenizer") or {})
    tokens = _tokens(model)
    _check_merges(tokens, model, library)
    alphabet = byte_alphabet()
    ranks = {bytes(alphabet[char] for char in token): rank for rank, token in enumerate(tokens)}
    return BytePairs(pattern=pattern, ranks=ranks, ids=[model["vocab"][token] for token in tokens])


def _pattern(pre_tokenizer: Mapping[str, Any]) -> str:
    steps = pre_tokenizer.get("pretokenizers") or [pre_tokenizer]
    *splits, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space", True) or len(splits) > 1:
        raise Unsuited("its pieces are not cut by one pattern")
    own = last.get("use_regex", True)
    if not splits and own:
        return WORDS
    if splits and own and splits[0] == {"type": "Digits", "individual_digits": True}:
        return WORDS_AND_DIGITS
    if splits and not own and splits[0].get("type") == "Split":
        kept = (splits[0]["behavior"], splits[0]["invert"]) in (("Isolated", False), ("Removed", True))
        if kept and "Regex" in splits[0]["pattern"]:
            return str(splits[0]["pattern"]["Regex"])
    raise Unsuited("its pieces are not cut by one pattern")


def _tokens(model: Mapping[str, Any]) -> list[str]:
    """Tokens that pieces of text can become, in the order of their merges."""
    vocabulary, alphabet = model["vocab"], byte_alphabet()
    if not alphabet.keys() <= vocabulary.keys():
        raise Unsuited("not every byte is a token")
    order = dict.fromkeys(alphabet)
    last = ""
    for first, second in map(_pair, model["merges"]):
        made = first + second
        if made != last and made in order:
            raise Unsuited("the merges that make a token do not follow each other")
        order[made], last = None, made
    if model.get("ignore_merges"):
        order |= dict.fromkeys(token for token in vocabulary if set(token) <= alphabet.keys())
    return list(order)


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _check_merges(tokens: Sequence[str], model: Mapping[str, Any], library: Library) -> None:
    """Whether listed pairs do all that neighbouring bytes would do."""
    bpe, known = library.model, set(tokens)
    listed = set(map(_pair, model["merges"]))
    whole_first = bool(model.get("ignore_merges"))
    bpe.ignore_merges = False
    try:
        unreached = [token for token in tokens if len(bpe.tokenize(token)) > 1]
    finally:
        bpe.ignore_merges = whole_first
    if unreached and not whole_first:
        raise Unsuited("there are merges that no text reaches")
    for token in unreached:
        pairs = {(token[:at], token[at:]) for at in range(1, len(token))}
        if any(pair[0] in known and pair[1] in known for pair in pairs - listed):
            raise Unsuited("there are tokens that other pairs would make than those that are listed")
