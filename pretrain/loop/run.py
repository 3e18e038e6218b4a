"""Everything that a running run holds, and the few things it does between updates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from megatron_lite.model.shape import ModelShape
from megatron_lite.schedules.timeline import Update
from pretrain.checkpoint.keep import prune
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.save import save_checkpoint
from pretrain.config.derive import Derived, passes
from pretrain.config.past import PAST, as_json
from pretrain.config.schema import Config
from pretrain.data.batch import Batch, batch_of
from pretrain.data.corpus import Corpus
from pretrain.data.held_out import ValidationData
from pretrain.data.training import TrainingData
from pretrain.engine.base import Engine
from pretrain.evaluate.loss import held_out_loss
from pretrain.loop.step import StepResult
from pretrain.monitor.summary import Score
from pretrain.ranks import Ranks


@dataclass(kw_only=True)
class Run:
    """One process's view of a run; only `position` changes."""

    config: Config
    shape: ModelShape
    derived: Derived
    ranks: Ranks
    device: torch.device
    folder: Path
    corpus: Corpus
    training: TrainingData
    validation: ValidationData
    engine: Engine
    position: Position = field(default_factory=Position)

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether every update is made."""
        return self.position.step >= self.derived.steps

    @property
    def next(self) -> Update:
        """The update that is to be made."""
        return self.derived.timeline.update(self.position.step)

    def micro_batches(self) -> list[Batch]:
        """This rank's part of the next global batch.

        Micro-step m of all ranks together is the m-th stretch of the global batch, so what is counted
        over a micro-step does not depend on how ranks are numbered.
        """
        micro_sequences = self.derived.stage_at(self.position.step).micro_sequences
        per_pass = micro_sequences * self.ranks.size
        first = self.position.sequence + self.ranks.rank * micro_sequences
        return [
            self._batch(self.training.rows(first + micro * per_pass, micro_sequences))
            for micro in range(passes(self.next.sequences, micro_sequences, self.ranks.size))
        ]

    def _batch(self, rows: Any) -> Batch:
        return batch_of(rows, self.corpus.tokenizer.end_id, document_mask=self.config.data.document_mask)

    def advance(self, result: StepResult) -> None:
        """One update is made."""
        made = self.next
        self.position = Position(
            step=self.position.step + 1,
            tokens=self.position.tokens + made.batch_tokens,
            sequence=self.position.sequence + made.sequences,
            expert_counts=result.expert_counts if self.config.model.balance_scope == "lagged" else None,
        )

    def evaluate(self) -> Mapping[str, Score]:
        """Loss on the text of every source that holds some out. Collective."""
        return {
            source: held_out_loss(
                self.engine,
                self.validation.rows(source, self.config.evaluate.sequences),
                micro_sequences=self.config.batch.micro_sequences,
                end_id=self.corpus.tokenizer.end_id,
                document_mask=self.config.data.document_mask,
                token_bytes=self.corpus.tokenizer.token_bytes(),
                ranks=self.ranks,
                device=self.device,
            )
            for source in self.validation.sources
        }

    def save(self) -> Path:
        """Write a checkpoint of now, and let go of old ones. Collective."""
        facts = {
            "config": self.config.model_dump(mode="json"),
            "fingerprint": self.corpus.fingerprint(),
            PAST: as_json(self.derived.past),
        }
        path = save_checkpoint(
            self.checkpoints, self.engine, self.position, facts, first_rank=self.ranks.first
        )
        if self.ranks.first:
            prune(self.checkpoints, self.config.checkpoint)
        return path
