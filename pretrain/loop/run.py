"""Everything that a running run holds, and the few things it does between updates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from megatron_lite.model.shape import ModelShape
from megatron_lite.schedules.timeline import Update
from pretrain.checkpoint.format import checkpoint_name
from pretrain.checkpoint.keep import REGULAR
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.save import save_checkpoint
from pretrain.checkpoint.saver import Saved, Saver
from pretrain.config.derive import Derived, passes
from pretrain.config.past import PAST, as_json
from pretrain.config.schema import Config
from pretrain.data.batch import Batch, batch_of
from pretrain.data.corpus import Corpus
from pretrain.data.held_out import ValidationData
from pretrain.data.training import TrainingData
from pretrain.engine.base import Engine
from pretrain.evaluate.loss import held_out_loss
from pretrain.guard.spikes import History, Rejected, not_a_number, outlier, remember
from pretrain.loop.step import StepResult
from pretrain.monitor.profiling import Inspector
from pretrain.monitor.record import METRICS, read
from pretrain.monitor.summary import Score
from pretrain.ranks import Ranks, any_rank

if TYPE_CHECKING:
    from pretrain.evaluate.harness.tasks import Tasks

OWED = "owed"  # the key of state.json that says whether a save that was due was still to come


@dataclass(kw_only=True)
class Run:
    """One process's view of a run. What changes: position, what `training` leaves out, the last scores."""

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
    saver: Saver
    inspector: Inspector
    position: Position = field(default_factory=Position)
    scores: Mapping[str, Score] = field(default_factory=dict)  # of the last evaluation, by source
    save_owed: bool = False  # when it was stopped a save that was due waited for an accepted update
    last_facts: Mapping[str, Any] = field(default_factory=dict)  # of the last save, beside its position
    scored_step: int | None = None  # the update behind which that was made
    tasks: Tasks | None = None  # benchmarks, loaded; on the first rank, where there are any

    def __post_init__(self) -> None:
        self.training = self.training.without(self.position.jumps)

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

    @property
    def history(self) -> History:
        """What the next update is compared with: others of its stage, since each has losses of its own."""
        begins = self.derived.stage_at(self.position.step).first_step == self.position.step
        return History() if begins else self.position.history

    def judge(self, loss: float, grad_norm: float) -> Rejected | None:
        """Why the next update, of this loss and gradient norm, is to be left out; the same on every rank."""
        spike, warmup_tokens = self.config.guard.spike, self.config.schedule.warmup_tokens
        wrong = not_a_number(loss, grad_norm)
        if wrong or spike is None or self.position.tokens < warmup_tokens:
            return wrong
        return outlier(self.history, spike, loss=loss, grad_norm=grad_norm)

    def advance(self, result: StepResult) -> None:
        """One update is made, or left out: the timeline goes on either way."""
        made, before, rejected = self.next, self.position, result.rejected is not None
        lagged = self.config.model.balance_scope == "lagged"
        counts = before.expert_counts if rejected else result.expert_counts
        self.position = replace(
            before,
            **asdict(made.after),
            expert_counts=counts if lagged else None,
            skipped_updates=before.skipped_updates + rejected,
            skipped_tokens=before.skipped_tokens + (made.batch_tokens if rejected else 0),
            history=self._remembered(result),
        )

    def _remembered(self, result: StepResult) -> History:
        spike = self.config.guard.spike
        if spike is None:
            return History()
        return remember(
            self.history,
            spike,
            step=self.next.after.step,
            loss=result.loss,
            grad_norm=result.grad_norm,
            rejected=result.rejected is not None,
        )

    def evaluate(self, given_up: Callable[[], bool]) -> Mapping[str, Score] | None:
        """Loss on the text of every source that holds some out; None where it was given up. Collective."""
        scores: dict[str, Score] = {}
        for source in self.validation.sources:
            score = held_out_loss(
                self.engine,
                self.validation.rows(source, self.config.evaluate.sequences),
                micro_sequences=self.config.batch.micro_sequences,
                end_id=self.corpus.tokenizer.end_id,
                document_mask=self.config.data.document_mask,
                token_bytes=self.corpus.tokenizer.token_bytes(),
                ranks=self.ranks,
                device=self.device,
                given_up=given_up,
            )
            if score is None:
                return None
            scores[source] = score
        self.scores, self.scored_step = scores, self.position.step
        return scores

    def validated(self) -> set[str]:
        """Sources whose loss at this step is in the record already."""
        return {
            line["source"]
            for line in read(self.folder / METRICS)
            if line["kind"] == "validation" and line["step"] == self.position.step
        }

    def save(self, *, regular: bool, owed: bool) -> None:
        """Copy the state of now out of the model; the saver writes it behind the training. Collective.

        `regular`: it was due, not made to stop. `owed`: one that was due waits for the next accepted update.
        """
        self.last_facts = {
            "config": self.config.model_dump(mode="json"),
            "fingerprint": self.corpus.fingerprint(),
            PAST: as_json(self.derived.past),
            REGULAR: regular,
            OWED: owed,
        }
        self.saver.save(self.engine, self.position, self.last_facts, self._score())

    def save_gathered(self) -> Saved:
        """The last save again, in line, gathered on the first rank; how it ended. Collective."""
        began, error = time.monotonic(), None
        path = self.checkpoints / checkpoint_name(self.position.step)
        try:
            save_checkpoint(
                self.checkpoints, self.engine, self.position, self.last_facts, first_rank=self.ranks.first
            )
        except OSError as problem:
            error = f"{problem.strerror}".rstrip(".") + "."
        if any_rank(error is not None, self.device) and error is None:
            error = "the first rank could not write it."
        seconds = time.monotonic() - began
        return Saved(step=self.position.step, path=path, seconds=seconds, bytes=0, error=error)

    def _score(self) -> float | None:
        """The mean validation loss of the weights of now, where it is known."""
        if self.scored_step != self.position.step or not self.scores:
            return None
        return sum(score.loss for score in self.scores.values()) / len(self.scores)
