"""Learning a tokenizer's pieces from a sample of text: the same sample gives the same file, bit for bit."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pretrain.data.tokenizer_options import SentencePieceOptions
from pretrain.data.tokenizers.sentencepiece import END_PIECE, MODEL_FILE
from pretrain.errors import UserError

NUM_THREADS = 4  # written into the model file, and with it into its hash: not to follow the machine
BLOCK_BYTES = 8192
UNKNOWN_PIECE = "<|unknown|>"
# Names of bytes and special tokens can then always be spelled in a unigram model; where one could not, a
# library that finds pieces by name in text, as transformers' does, would take the name for the token.
NAME_CHARACTERS = "".join(sorted(set(f"{END_PIECE}{UNKNOWN_PIECE}<0x0123456789ABCDEF>")))
SCORE_STEP = 2**-8  # 4096 pieces, as many as a stretch can have, then add up exactly in 24 bits
LINE = re.compile(r"[^\n]{1,1000}")  # sentencepiece passes over lines of more than 4192 bytes


class Texts(Protocol):
    """Documents by number, such as a spool."""

    lengths: np.ndarray  # in bytes

    def read(self, number: int, start: int = 0, size: int | None = None) -> bytes:
        """A document's bytes, or `size` of them from `start`."""

    def texts(self, numbers: np.ndarray) -> Iterator[str]:
        """The texts of these documents."""


def train_tokenizer(texts: Iterable[str], options: SentencePieceOptions, folder: Path) -> None:
    """Train on `texts` and write the model to `folder`."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    # left out, not empty: whatever is given is written into the model file, and so into its hash
    only_unigram: dict[str, Any] = {"required_chars": NAME_CHARACTERS} if options.model == "unigram" else {}
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_lines(texts),
            model_writer=model,
            model_type=options.model,
            vocab_size=options.vocab_size,
            byte_fallback=True,
            **only_unigram,
            split_digits=True,
            # Lossless: text is taken as it stands, and runs of spaces are pieces of their own.
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            unk_id=0,  # demanded by sentencepiece; byte fallback never emits it
            unk_piece=UNKNOWN_PIECE,
            eos_id=1,
            eos_piece=END_PIECE,
            bos_id=-1,
            pad_id=-1,
            num_threads=NUM_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explained(str(error), options.vocab_size) from error
    trained = model.getvalue()
    (folder / MODEL_FILE).write_bytes(_rounded(trained) if options.model == "unigram" else trained)


def sample(spool: Texts, documents: np.ndarray, num_bytes: int) -> Iterator[str]:
    """At most `num_bytes` of the text of these documents, in blocks evenly spaced over all of it."""
    lengths = spool.lengths[documents]
    ends = np.cumsum(lengths)
    if not len(ends) or ends[-1] <= num_bytes:
        yield from spool.texts(documents)
        return
    num_blocks = max(1, num_bytes // BLOCK_BYTES)
    for at in (int(ends[-1]) * block // num_blocks for block in range(num_blocks)):
        which = int(np.searchsorted(ends, at, side="right"))
        start = at - int(ends[which] - lengths[which])
        yield spool.read(int(documents[which]), start, BLOCK_BYTES).decode(errors="ignore")


def _rounded(model: bytes) -> bytes:
    """The model with scores in steps of SCORE_STEP, so that sums of them are exact in any precision.

    Else the best of two ways to cut a text that score alike would hang on who adds them up.
    """
    from sentencepiece import sentencepiece_model_pb2

    protos: Any = sentencepiece_model_pb2  # whose classes are made while it loads
    proto = protos.ModelProto.FromString(model)
    for piece in proto.pieces:
        piece.score = round(piece.score / SCORE_STEP) * SCORE_STEP
    return bytes(proto.SerializeToString(deterministic=True))


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Lines without their newline, which is then always its byte piece and a safe place to cut."""
    for text in texts:
        yield from LINE.findall(text)


def _explained(message: str, vocab_size: int) -> UserError:
    """sentencepiece's refusals, with the key and the numbers that would do."""
    key = "data.tokenizer.vocab_size"
    if at_most := re.search(r"value <= (\d+)", message):
        return UserError(
            f"{key}: the text is too little for {vocab_size} pieces; the most it gives is {at_most[1]}."
            " Lower it or add text."
        )
    if at_least := re.search(r"required_chars.*?(\d+) vs (\d+)", message, re.DOTALL):
        return UserError(
            f"{key}: {vocab_size} pieces are too few for the characters of this text;"
            f" it needs more than {at_least[2]}."
        )
    return UserError(f"{key}: sentencepiece could not train {vocab_size} pieces: {message}")
