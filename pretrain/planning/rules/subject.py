"""What a rule may look at: the config, and what the plan has found of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from megatron_lite.model.parameters import Counts
from megatron_lite.model.shape import ModelShape
from pretrain.config.derive import Derived
from pretrain.planning.disk import Checkpoints
from pretrain.planning.fits import Row
from pretrain.planning.machine import Machine
from pretrain.planning.speed import Time

if TYPE_CHECKING:
    from pretrain.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A planned run."""

    config: Config
    derived: Derived
    shape: ModelShape
    counts: Counts
    num_ranks: int
    machine: Machine
    time: Time | None
    rows: tuple[Row, ...]
    checkpoints: Checkpoints

    @property
    def own(self) -> Row:
        """The run as the config cuts it."""
        return next(row for row in self.rows if row.own)

    @property
    def begins_with_random_weights(self) -> bool:
        """Whether the run is neither a branch nor starts from other weights."""
        return self.config.run.branch_from is None and self.config.run.init_from is None

    @property
    def largest_batch_tokens(self) -> int:
        """Of the updates ahead."""
        return max(segment.batch_tokens for segment in self.derived.segments_ahead)

    @property
    def steps_ahead(self) -> int:
        """Updates that this run makes itself."""
        return self.derived.steps - self.derived.first_step
