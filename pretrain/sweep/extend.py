"""Values beyond the grid, where the best one found lies at its edge: an optimum is between two worse ones.

What is added follows from the results alone, so that a sweep that is killed and started again, or that is
looked at by somebody else, comes to the same runs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from pretrain.sweep.options import Extension
from pretrain.sweep.settings import Setting

DIGITS = 6
DEFAULT_FACTOR = 2.0
Cell = tuple[str, int]  # settings that differ in the extended key alone, and a budget
Losses = Mapping[tuple[str, int], float | None]  # (label, budget) -> loss; infinite: diverged; None: failed


def cells(settings: Iterable[Setting], budgets: Iterable[int], key: str) -> dict[Cell, dict[float, Setting]]:
    """The first values of each cell."""
    found: dict[Cell, dict[float, Setting]] = defaultdict(dict)
    for setting in settings:
        for budget in budgets:
            if key in setting.values:
                found[setting.without(key), budget][float(setting.values[key])] = setting
    return dict(found)


def extended(
    first: Mapping[Cell, Mapping[float, Setting]], losses: Losses, options: Extension
) -> list[tuple[Setting, int]]:
    """What is wanted beyond the first values, as far as results decide it: settings and budgets."""
    wanted = []
    for (_, budget), values in first.items():
        values = dict(values)
        rounds = {-1: 0, 1: 0}
        while (side := _edge(values, budget, losses)) and rounds[side] < options.rounds:
            rounds[side] += 1
            value = _beyond(sorted(values), side, options.factor)
            some = next(iter(values.values()))
            values[value] = some.replaced(options.key, value)
            wanted.append((values[value], budget))
    return wanted


def _edge(values: Mapping[float, Setting], budget: int, losses: Losses) -> int:
    """-1 or 1 where the best value is the lowest or the highest; 0 where it is inside, or not known yet."""
    ordered = sorted(values)
    places = [(values[value].label, budget) for value in ordered]
    if not all(place in losses for place in places):
        return 0
    known = {value: losses[place] for value, place in zip(ordered, places, strict=True)}
    numbers = {value: loss for value, loss in known.items() if loss is not None}
    if not numbers:
        return 0
    if all(math.isinf(loss) for loss in numbers.values()):
        return -1  # whatever diverged, less may not
    best = min(numbers, key=lambda value: numbers[value])
    return -1 if best == ordered[0] else int(best == ordered[-1])


def _beyond(ordered: list[float], side: int, factor: float | None) -> float:
    """The next value, a factor away, in few digits."""
    if factor is None:
        near = ordered[:2] if side < 0 else ordered[-2:]
        factor = near[-1] / near[0] if len(near) == 2 else DEFAULT_FACTOR
    return float(f"{ordered[0] / factor if side < 0 else ordered[-1] * factor:.{DIGITS}g}")
