"""What a sweep file may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from megatron_lite.options import Count, Options, PositiveCount, PositiveReal, Share
from megatron_lite.schedules.tails import TailName


class Part(Options):
    """A part of a run: a share of its budget, or a number of tokens."""

    share: Share | None = Field(None, description="of the budget")
    tokens: Count | None = Field(None, description="whatever the budget")

    @model_validator(mode="after")
    def _one(self) -> Part:
        if (self.share is None) == (self.tokens is None):
            raise ValueError("should have one of share and tokens")
        return self

    def of(self, tokens: int) -> float:
        """Tokens of a budget of `tokens`."""
        return self.share * tokens if self.share is not None else float(self.tokens or 0)


class Decay(Part):
    """The tail of every run under a schedule that can be branched."""

    shape: TailName | None = Field(None, description="shape of the decay; absent: that of the schedule")


class Extension(Options):
    """Values that are added where the best one found lies at the edge."""

    key: str = Field("schedule.lr_max", description="which key of the grid or the list is extended")
    rounds: PositiveCount = Field(3, description="values added at most on either side of a cell")
    factor: PositiveReal | None = Field(
        None, gt=1, description="between two values; absent: that of the two at the edge"
    )


def _extension(value: Any) -> Any:
    return {"key": value} if isinstance(value, str) else value


Values = Annotated[tuple[Any, ...], Field(min_length=1)]


class SweepOptions(Options):
    """Runs that differ from a base in some keys; each setting is trained to every budget."""

    schema_version: Literal[1] = Field(1, description="version of these names")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="the folder of the sweep is root/name"
    )
    root: str = Field("sweeps", description="folder that holds sweeps")
    base: str = Field(
        description="config that all runs begin with: a name, or a path from here or from this file"
    )
    set: dict[str, Any] = Field({}, description="section.key -> value, for all runs")
    grid: dict[str, Values] = Field({}, description="section.key -> values; every combination is a setting")
    list: tuple[dict[str, Any], ...] = Field(
        (), description="mappings of section.key -> value; each is combined with the grid"
    )
    budgets: tuple[PositiveCount, ...] = Field(
        min_length=1, description="tokens of a run, rounded up to whole batches, its decay included"
    )
    warmup: Part | None = Field(
        None, description="warm-up of every run, a share being of the smallest budget; absent: the base's"
    )
    decay: Decay = Field(
        Decay(share=0.1), description="decay of runs whose schedule can be branched; share 0: none"
    )
    extend: Annotated[Extension | None, BeforeValidator(_extension)] = Field(
        None, description="key, or {key, rounds, factor}: go on beyond the grid where the best is at its edge"
    )

    @model_validator(mode="after")
    def _consistent(self) -> SweepOptions:
        if problem := _problem(self):
            raise ValueError(problem)
        return self


def _problem(sweep: SweepOptions) -> str | None:
    """What no single key shows to be wrong."""
    both = [key for key in sweep.grid if key in sweep.set or any(key in item for item in sweep.list)]
    if both:
        return f"grid.{both[0]}: also in set or list; a key has one place"
    if len(set(sweep.budgets)) < len(sweep.budgets):
        return "budgets: one of them appears twice"
    for key, values in sweep.grid.items():
        if any(values.count(value) > 1 for value in values):
            return f"grid.{key}: a value appears twice"
    reserved = {"run.name", "run.root", "run.branch_from", "stages", "schedule.decay_tokens"}
    varied = {*sweep.set, *sweep.grid, *(key for item in sweep.list for key in item)}
    if taken := sorted(reserved & varied):
        return f"{taken[0]}: a sweep decides it itself, from its name, budgets and decay"
    if sweep.extend:
        return _extension_problem(sweep, sweep.extend.key)
    return None


def _extension_problem(sweep: SweepOptions, key: str) -> str | None:
    values = list(sweep.grid.get(key, ())) + [item[key] for item in sweep.list if key in item]
    if not values:
        return f"extend: {key} is not a key of grid or list, which vary {', '.join(sweep.grid) or 'nothing'}"
    wrong = [value for value in values if isinstance(value, bool) or not isinstance(value, (int, float))]
    if wrong or min(values) <= 0:
        return f"extend: the values of {key} should be numbers above 0"
    return None
