"""The text of the comparison: one small file of token rows, made once, carried to where it is read."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

VALIDATION_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class Text:
    """Rows of S + 1 tokens, and what the model must know of them."""

    train: np.ndarray  # uint16 [rows, S + 1], in the order in which a run would read them
    validation: np.ndarray
    vocab_size: int

    @property
    def sequence_length(self) -> int:
        """Tokens of a row that are inputs."""
        return self.train.shape[1] - 1

    @property
    def sha256(self) -> str:
        """Of all tokens: results of another text are other results."""
        digest = hashlib.sha256(np.ascontiguousarray(self.train).tobytes())
        digest.update(np.ascontiguousarray(self.validation).tobytes())
        return digest.hexdigest()[:16]


def load_text(file: Path) -> Text:
    """The text in a file that `prepare_text` wrote."""
    with np.load(file) as arrays:
        return Text(
            train=arrays["train"], validation=arrays["validation"], vocab_size=int(arrays["vocab_size"])
        )


@functools.cache
def rows_on_device(file: Path, device: str) -> tuple[Tensor, Tensor]:
    """Training and held-out rows on the device, int64; a process loads them once."""
    text = load_text(file)
    train, validation = (torch.from_numpy(rows.astype(np.int64)) for rows in (text.train, text.validation))
    return train.to(device), validation.to(device)


def prepare_text(file: Path, *, data_root: str, tokens: int, sequence_length: int, vocab_size: int) -> Text:
    """Write `tokens` tokens of the default corpus, tokenized by a small tokenizer of its own, to `file`."""
    from pretrain.config.derive import derive
    from pretrain.config.load import load
    from pretrain.data.held_out import ValidationData
    from pretrain.data.prepare import prepare
    from pretrain.data.progress import SilentProgress
    from pretrain.data.training import TrainingData

    rows = tokens // sequence_length
    overrides = [
        f"data.root={data_root}",
        f"data.tokenizer.vocab_size={vocab_size}",
        f"batch.sequence_length={sequence_length}",
        "batch.sequences=1",
        "batch.micro_sequences=1",
        f"stages.0.tokens={rows * sequence_length}",
    ]
    config = load("tiny_dense", overrides)
    corpus = prepare(config.data, say=print, progress=SilentProgress())
    training = TrainingData(corpus, derive(config).stages[:1], config.run.seed)
    held_out = ValidationData(corpus, sequence_length)
    text = Text(
        train=training.rows(0, rows).astype(np.uint16),
        validation=held_out.rows(held_out.sources[0], VALIDATION_ROWS).astype(np.uint16),
        vocab_size=vocab_size,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        file, train=text.train, validation=text.validation, vocab_size=np.int64(text.vocab_size)
    )
    return text
