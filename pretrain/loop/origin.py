"""What a run goes on from and what it reads, checked against each other before memory is spent."""

from __future__ import annotations

from megatron_lite.model.shape import ModelShape
from pretrain.checkpoint.branch import check_branch
from pretrain.checkpoint.load import Checkpoint
from pretrain.config.derive import Derived, model_shape
from pretrain.config.schema import Config
from pretrain.data.corpus import Corpus
from pretrain.data.prepare import open_corpus
from pretrain.errors import UserError
from pretrain.loop.build import first_state
from pretrain.loop.folder import check_fingerprint, find_checkpoint, find_origin


def open_origin(config: Config, derived: Derived) -> tuple[Checkpoint | None, Corpus]:
    """The checkpoint that the run goes on from, if any, and its corpus; UserError where they differ."""
    origin, corpus = find_origin(config), open_corpus(config.data)
    if find_checkpoint(config):
        assert origin is not None, "a run's own checkpoint is what it goes on from"
        check_fingerprint(origin, corpus.fingerprint())
    elif origin:
        check_branch(origin, derived, shape_for(config, corpus), corpus.fingerprint())
    else:
        first_state(config, shape_for(config, corpus))  # refuses another model's
    return origin, corpus


def shape_for(config: Config, corpus: Corpus) -> ModelShape:
    """The model's shape, with a vocabulary that holds the tokenizer's."""
    shape = model_shape(config, corpus.tokenizer.vocab_size)
    if shape.vocab_size < corpus.tokenizer.vocab_size:
        raise UserError(
            f"model.vocab_size: {shape.vocab_size} is less than the tokenizer's "
            f"{corpus.tokenizer.vocab_size}; leave it out, or raise it."
        )
    return shape
