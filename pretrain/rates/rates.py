"""The learning rate of a run together with what it is shown beside: other schedules, parameter groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from megatron_lite.mup.groups import groups
from megatron_lite.schedules.timeline import Segment
from pretrain.advice import rises
from pretrain.config.derive import Derived, model_shape
from pretrain.config.past import derived_of
from pretrain.rates.compare import under
from pretrain.rates.points import NUM_POINTS, Point, evenly

if TYPE_CHECKING:
    from pretrain.config.schema import Config

Rise = tuple[
    Segment, float, float
]  # updates from which the rate is higher, the rate before and from there on


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve over tokens and what people call it."""

    label: str
    value: Callable[[int], float]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """A config's learning rate, bound to its run."""

    config: Config
    derived: Derived
    ratios: Mapping[str, float]  # of parameter groups; empty where they are not asked for
    others: Mapping[str, Derived]  # the same run under other schedules, by the words that ask for them

    @property
    def name(self) -> str:
        """The run's."""
        return self.config.run.name

    @property
    def first(self) -> int:
        """Tokens at which the run begins."""
        return self.derived.first_tokens

    @property
    def last(self) -> int:
        """Tokens at which it ends."""
        return self.derived.tokens

    @cached_property
    def rises(self) -> tuple[Rise, ...]:
        """Where its batch makes it rise; what else rises does so by itself."""
        schedule, batch = self.config.schedule, self.config.batch.schedule
        follows = schedule.follows_batch or batch.name == "seesaw"
        return tuple(rises(self.derived, schedule.warmup_tokens)) if follows else ()

    def at(self, tokens: int) -> Point:
        """Everything at one token count."""
        lr = self.derived.lr(tokens)
        return Point(
            tokens=tokens,
            batch_tokens=self.derived.batch.tokens_at(tokens),
            lr=lr,
            groups={name: ratio * lr for name, ratio in self.ratios.items()},
            compare={words: other.lr(tokens) for words, other in self.others.items()},
        )

    def evenly(self, num_points: int = NUM_POINTS) -> tuple[Point, ...]:
        """Everything at evenly spaced token counts from the beginning to the end."""
        return tuple(self.at(tokens) for tokens in evenly(self.first, self.last, num_points))

    def lines(self) -> tuple[Line, ...]:
        """What is drawn: the run's own rate, then groups with another ratio, then other schedules."""
        own = self.config.schedule.name
        lines = [Line(label=f"{own}, this run" if self.others else own, value=self.derived.lr)]
        by_ratio = sorted((ratio, name) for name, ratio in self.ratios.items() if ratio != 1)
        for ratio, named in groupby(by_ratio, key=lambda pair: pair[0]):
            label = ", ".join(name for _, name in named)
            lines.append(Line(label=f"{label} (x {ratio:.4g})", value=_scaled(self.derived.lr, ratio)))
        return (*lines, *(Line(label=words, value=other.lr) for words, other in self.others.items()))

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Consecutive updates with one batch, without those that a run branched behind."""
        return self.derived.segments_ahead

    @property
    def batch_changes(self) -> bool:
        """Whether the batch is not the same throughout."""
        return len({segment.batch_tokens for segment in self.segments}) > 1


def rates_of(config: Config, *, with_groups: bool = False, compare: Sequence[str] = ()) -> Rates:
    """The rates of a config; UserError where one of the schedules to compare with is none."""
    return Rates(
        config=config,
        derived=derived_of(config),
        ratios=_ratios(config) if with_groups else {},
        others={words: derived_of(other) for words, other in under(config, compare).items()},
    )


def _ratios(config: Config) -> dict[str, float]:
    made = groups(model_shape(config), config.mup, config.optimizer.weight_decay)
    return {group.name: group.lr_ratio for group in made}


def _scaled(lr: Callable[[int], float], ratio: float) -> Callable[[int], float]:
    return lambda tokens: ratio * lr(tokens)
