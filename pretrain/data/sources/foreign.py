"""A pair `.bin` and `.idx` of another program as a source: does it fit, what is held out, what it is told by.

A pair says nothing of its tokenizer, so a sample of it has to agree with ours.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import sha256
from pathlib import Path

import numpy as np

from pretrain.data.checksums import hash_sample
from pretrain.data.corpus import SourceShards
from pretrain.data.manifest import Counts, FileRecord, Manifest
from pretrain.data.shard_index import pair_file
from pretrain.data.shards import TokenShard
from pretrain.data.tokenizer import Tokenizer
from pretrain.errors import UserError

SAMPLES = 256  # documents, and stretches of SAMPLE_TOKENS, that are looked at when a pair is opened
SAMPLE_TOKENS = 1024


class ForeignPair:
    """A pair that is to be source `name` of a config with this tokenizer."""

    def __init__(self, name: str, prefix: Path, tokenizer: Tokenizer) -> None:
        self._name, self._prefix, self._tokenizer = name, prefix, tokenizer
        self._said = f"data.sources.{name}.path: '{prefix}'"
        self._shard = TokenShard(prefix)

    def open(self, validation_share: float) -> SourceShards:
        """Both sides of it."""
        sampled = TokenShard(self._prefix, sampled=True)  # what it maps goes back with it
        bytes_per_token = self._check_tokens(sampled.tokens)
        self._check_ends(sampled)
        del sampled
        cut = self._cut(validation_share)
        sides = {
            "train": self._shard.view(0, cut),
            "validation": self._shard.view(cut, self._shard.num_documents),
        }
        return SourceShards(
            train=sides["train"],
            validation=sides["validation"],
            manifest=self._manifest(sides, cut, validation_share, bytes_per_token),
        )

    def _check_tokens(self, tokens: np.ndarray) -> float:
        """All sampled ids are in the vocabulary; returns their bytes of text per token."""
        if not len(tokens):
            raise UserError(f"{self._said} holds no tokens.")
        last = max(0, len(tokens) - SAMPLE_TOKENS)
        starts = sorted({last * sample // (SAMPLES - 1) for sample in range(SAMPLES)})
        taken = np.concatenate([tokens[start : start + SAMPLE_TOKENS] for start in starts]).astype(np.int64)
        vocab_size = self._tokenizer.vocab_size
        wrong = taken[(taken < 0) | (taken >= vocab_size)]
        if len(wrong):
            raise UserError(
                f"{self._said} holds token {wrong[0]:,}, and this config's tokenizer has {vocab_size:,}"
                f" ({vocab_size - 1:,} is the last): it was encoded with another. Choose that one in"
                " data.tokenizer."
            )
        return float(self._tokenizer.token_bytes()[taken].mean())

    def _check_ends(self, shard: TokenShard) -> None:
        end_id = self._tokenizer.end_id
        last = shard.num_documents - 1
        chosen = sorted({last * sample // (SAMPLES - 1) for sample in range(SAMPLES)})
        ends = [document[-1] for document in map(shard.document, chosen) if len(document)]
        num_open = sum(int(end) != end_id for end in ends)
        if num_open:
            raise UserError(
                f"{self._said}: {num_open} of {len(ends)} sampled documents do not end with the end token"
                f" ({end_id}): documents would run into each other, unseen by data.document_mask, and the"
                " model would never learn to end one. Encode them again with it (Megatron-LM:"
                " preprocess_data.py --append-eod; its id is the tokenizer's), or build from text."
            )

    def _cut(self, validation_share: float) -> int:
        """The first document that is held out: the last ones of at most the share, at least one with text."""
        shard = self._shard
        if not validation_share:
            return shard.num_documents
        documents = range(shard.num_documents + 1)
        wanted = shard.num_tokens - int(validation_share * shard.num_tokens)
        within = bisect_left(documents, wanted, key=shard.start)
        last_filled = bisect_left(documents, shard.num_tokens, key=shard.start) - 1
        cut = min(within, last_filled)
        if not shard.start(cut):
            raise UserError(
                f"{self._said} has {shard.num_documents:,} documents, and holding out whole ones leaves none"
                " to train on. Set data.validation_share to 0, or add documents."
            )
        return cut

    def _manifest(
        self, sides: dict[str, TokenShard], cut: int, validation_share: float, bytes_per_token: float
    ) -> Manifest:
        """What a folder would say of it; `bytes` is an estimate, and a hash that of a sample and the cut."""
        samples = [hash_sample(pair_file(self._prefix, suffix)) for suffix in ("idx", "bin")]
        counts, files = {}, {}
        for side, shard in sides.items():
            size = round(shard.num_tokens * bytes_per_token)
            counts[side] = Counts(documents=shard.num_documents, tokens=shard.num_tokens, bytes=size)
            digest = sha256(" ".join([*samples, side, str(cut)]).encode()).hexdigest()
            files[f"{side}.bin"] = FileRecord(bytes=shard.tokens.nbytes, sha256=digest)
        return Manifest(
            source={"name": self._name, "kind": "shards", "path": str(self._prefix)},
            validation_share=validation_share,
            tokenizer_sha256=self._tokenizer.sha256,
            vocab_size=self._tokenizer.vocab_size,
            train=counts["train"],
            validation=counts["validation"],
            skipped={},
            files=files,
        )
