"""The runs of a sweep, each as the overrides that make it from the base.

A branch is the whole run that its config describes, the part that is shared left out: without
`run.branch_from` it trains the same from the start.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from megatron_lite.model.parameters import count, flops_per_token
from pretrain.config.derive import model_shape
from pretrain.config.load import load
from pretrain.config.schema import Config
from pretrain.errors import UserError
from pretrain.sweep.load import Sweep
from pretrain.sweep.peak import highest_lr
from pretrain.sweep.pieces import Piece, lengths, shared, whole
from pretrain.sweep.planned import Planned
from pretrain.sweep.settings import Setting, as_overrides

# What nobody looks at in one of many runs is not made. And a run that spikes is to be seen, not repaired: its
# loss would speak of the guard. `set` may say otherwise.
LEAN = {"trackers.tensorboard": False, "trackers.report": False, "guard.spike": None}
BRANCHED = ("power", "wsd", "constant", "inverse_sqrt", "infinite", "from_file")  # need no length of the run


class Planner:
    """Makes the runs of one setting after the other."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.root = sweep.folder / "runs"

    def runs(self, setting: Setting, budgets: Iterable[int]) -> list[Planned]:
        """The runs that train `setting` to these budgets, parents first."""
        return _Family(self, setting).runs(set(budgets))

    def config(self, setting: Setting) -> Config:
        """The base with the values of the setting."""
        try:
            return load(self.sweep.base, self.overrides(setting))
        except UserError as error:
            raise UserError(f"{self.sweep.options.name}, {setting.label}: {error}") from None

    def overrides(self, setting: Setting) -> list[str]:
        """Of the base, for every run of a setting."""
        return as_overrides(LEAN | self.sweep.options.set) + setting.overrides()

    @cached_property
    def warmup_tokens(self) -> int | None:
        """Of every run; None: the base says it."""
        warmup = self.sweep.options.warmup
        return None if warmup is None else round(warmup.of(min(self.sweep.options.budgets)))


class _Family:
    """The runs of one setting."""

    def __init__(self, planner: Planner, setting: Setting) -> None:
        self.planner = planner
        self.setting = setting
        self.options = planner.sweep.options
        self.plain = planner.config(setting)
        self.mixes = [dict(stage.mix) for stage in self.plain.stages]
        shape = model_shape(self.plain)
        self.parameters = count(shape).active_non_embedding
        self.flops_per_token = flops_per_token(shape, self.plain.batch.sequence_length)
        self._check()

    def _check(self) -> None:
        own = [stage for stage in self.plain.stages if stage.sequences or stage.sequence_length]
        if self.plain.batch.schedule.name != "constant" or own:
            raise self._wrong(
                "the batch of a run in a sweep does not change: give no batch.schedule, nor stages with "
                "sequences of their own"
            )
        if any(mix != self.mixes[0] for mix in self.mixes[1:-1]):
            raise self._wrong("the base may have two mixtures, one before the decay and one in it")

    def _wrong(self, what: object) -> UserError:
        return UserError(f"{self.options.name}, {self.setting.label}: {what}")

    def runs(self, budgets: set[int]) -> list[Planned]:
        """To these budgets, parents first."""
        until = [budget for budget in self.options.budgets if budget <= max(budgets)]
        make = shared if self.plain.schedule.name in BRANCHED else whole
        try:
            found = lengths(until, self.plain.batch.tokens, self.options.decay)
            return [self._planned(piece) for piece in make(found, budgets)]
        except ValueError as error:
            raise self._wrong(error) from None

    def _planned(self, piece: Piece) -> Planned:
        schedule, stages = self._schedule(piece), self._stages(piece)
        changes = {f"schedule.{key}": value for key, value in schedule.items()} | {"stages": stages}
        return Planned(
            name=self._name(piece),
            setting=self.setting,
            budget=piece.budget,
            is_trunk=piece.is_trunk,
            parent=self._name(piece.parent) if piece.parent else None,
            tokens=piece.end,
            own_tokens=piece.own_tokens,
            flops=piece.own_tokens * self.flops_per_token,
            overrides=(
                *self.planner.overrides(self.setting),
                *as_overrides(changes | self._place(piece)),
            ),
            parameters=self.parameters,
            batch_tokens=self.plain.batch.tokens,
            lr=highest_lr(self.plain, schedule, stages),
            seed=self.plain.run.seed,
        )

    def _name(self, piece: Piece) -> str:
        return f"{self.setting.label}.{piece.name}"

    def _schedule(self, piece: Piece) -> dict[str, Any]:
        """The keys that a sweep decides. A whole run's schedule needs no decay: it falls by itself."""
        schedule: dict[str, Any] = {"decay_tokens": piece.decay if piece.parent else 0}
        if self.planner.warmup_tokens is not None:
            schedule["warmup_tokens"] = self.planner.warmup_tokens
        if schedule["decay_tokens"] and self.options.decay.shape:
            schedule["decay"] = self.options.decay.shape
        return schedule

    def _stages(self, piece: Piece) -> list[dict[str, Any]]:
        """The first mixture, and from where the decay begins the last one."""
        first, last = self.mixes[0], self.mixes[-1]
        if not piece.decay or (first == last and not piece.parent):
            return [{"name": "trunk", "tokens": piece.end, "mix": first}]
        return [
            {"name": "trunk", "tokens": piece.end - piece.decay, "mix": first},
            {"name": "decay", "tokens": piece.decay, "mix": last},
        ]

    def _place(self, piece: Piece) -> dict[str, Any]:
        """Where the run lies, what it goes on from, and that a trunk's losses are nobody's results."""
        place = {"run.name": self._name(piece), "run.root": str(self.planner.root), "checkpoint.keep_last": 1}
        if piece.budget is None:
            place |= {"evaluate.every_steps": None, "evaluate.sequences": 1}
        if piece.parent:
            place["run.branch_from"] = str(self.planner.root / self._name(piece.parent))
        return place
