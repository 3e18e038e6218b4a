"""The rows that a run trains and is evaluated on, once its data is there and is enough."""

from __future__ import annotations

from pretrain.config.derive import Derived
from pretrain.config.schema import Config
from pretrain.data.corpus import Corpus
from pretrain.data.epochs import check_epochs
from pretrain.data.held_out import ValidationData
from pretrain.data.training import TrainingData
from pretrain.evaluate.sets import open_sets


def open_rows(config: Config, derived: Derived, corpus: Corpus) -> tuple[TrainingData, ValidationData]:
    """UserError where there is too little text, or a source would be read more often than it may."""
    first = derived.past.here.sequence
    training = TrainingData(corpus, derived.stages, config.run.seed, first=first, packing=config.data.packing)
    check_epochs(training, config.data.max_epochs, derived)
    length = config.batch.sequence_length
    sets = open_sets(
        config.evaluate.sets, corpus.tokenizer, sequence_length=length, sequences=config.evaluate.sequences
    )
    return training, ValidationData(corpus, length, sets)
