"""All runs of a sweep as far as they are known: those of the file, and those that its results call for."""

from __future__ import annotations

import math
from collections import defaultdict

from pretrain.errors import UserError
from pretrain.sweep.extend import cells, extended
from pretrain.sweep.load import Sweep
from pretrain.sweep.outcome import Outcome, Outcomes
from pretrain.sweep.planned import Planned
from pretrain.sweep.runs import Planner
from pretrain.sweep.settings import Setting, settings_of


class Plan:
    """The runs by name, parents before children; it grows as results come in."""

    def __init__(self, sweep: Sweep, part: tuple[int, int] = (1, 1)) -> None:
        """`part`: the i-th of n shares, counted from 1; what belongs together is in one of them."""
        self.sweep = sweep
        self.options = sweep.options
        self.planner = Planner(sweep)
        self.part = part
        self.settings = settings_of(self.options)
        self.runs: dict[str, Planned] = {}
        self.wanted: dict[str, tuple[Setting, set[int]]] = {}
        for setting in self.settings:
            self._want(setting, set(self.options.budgets))
        self._check_names()

    def grow(self, outcomes: Outcomes) -> bool:
        """Add what the results call for; whether anything was."""
        if self.options.extend is None:
            return False
        losses = {
            (run.setting.label, run.budget): _loss(outcome)
            for run in self.points()
            if run.budget is not None and (outcome := outcomes.get(run.name))
        }
        before = len(self.runs)
        first = cells(self.settings, self.options.budgets, self.options.extend.key)
        more: dict[str, tuple[Setting, set[int]]] = {}
        for setting, budget in extended(first, losses, self.options.extend):
            more.setdefault(setting.label, (setting, set()))[1].add(budget)
        for setting, budgets in more.values():
            self._want(setting, budgets)
        return len(self.runs) > before

    def points(self) -> list[Planned]:
        """The runs whose loss is a result."""
        return [run for run in self.runs.values() if run.budget is not None]

    def own(self) -> dict[str, Planned]:
        """The runs of this part."""
        index, parts = self.part
        units = {unit: number for number, unit in enumerate(self._units())}
        return {
            name: run
            for name, run in self.runs.items()
            if units[self._unit(run.setting)] % parts == index - 1
        }

    def children(self) -> dict[str, list[str]]:
        """By parent."""
        found: dict[str, list[str]] = defaultdict(list)
        for run in self.runs.values():
            if run.parent:
                found[run.parent].append(run.name)
        return found

    @property
    def num_units(self) -> int:
        """The most parts that each have something to do."""
        return len(self._units())

    def _want(self, setting: Setting, budgets: set[int]) -> None:
        _, known = self.wanted.setdefault(setting.label, (setting, set()))
        if not budgets <= known:
            known |= budgets
            self.runs |= {run.name: run for run in self.planner.runs(setting, known)}

    def _units(self) -> list[str]:
        return list(dict.fromkeys(self._unit(setting) for setting in self.settings))

    def _unit(self, setting: Setting) -> str:
        """Settings that are decided about together."""
        extend = self.options.extend
        return setting.without(extend.key) if extend else setting.label

    def _check_names(self) -> None:
        seen: dict[str, Setting] = {}
        for setting in self.settings:
            if seen.setdefault(setting.label, setting).values != setting.values:
                raise UserError(f"{self.options.name}: two settings would both be called '{setting.label}'")


def _loss(outcome: Outcome) -> float | None:
    if outcome.status == "diverged":
        return math.inf
    return outcome.loss if outcome.status == "finished" else None
