"""The order in which a sweep's runs start, in sweeps whose runs take as long as their FLOPs."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest

from pretrain.sweep.load import load_sweep
from pretrain.sweep.order import in_order
from pretrain.sweep.plan import Plan
from pretrain.sweep.planned import Planned


@dataclass
class Course:
    """How a sweep went."""

    seconds: float = 0.0
    ended: list[Planned] = field(default_factory=list)
    most_kept: int = 0  # trunks that runs go on from, at any time


def course(plan: Plan, jobs: int) -> Course:
    """Start what comes first in the order whenever one of `jobs` is free."""
    children, own = plan.children(), plan.own()
    left = {run.name: run for run in reversed(list(own.values()))}
    went, running = Course(), []
    while left:
        busy = {name for _, name in running}
        for name in in_order(left, children, jobs):
            if len(running) < jobs and name not in busy and own[name].parent not in left:
                heapq.heappush(running, (went.seconds + own[name].flops, name))
        went.seconds, name = heapq.heappop(running)
        went.ended.append(left.pop(name))
        kept = [run for run in went.ended if any(child in left for child in children[run.name])]
        went.most_kept = max(went.most_kept, len(kept))
    return went


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(load_sweep("tiny_wsd"), (1, 1))


def test_small_budgets_come_first_and_a_setting_keeps_one_checkpoint(plan: Plan) -> None:
    went, settings = course(plan, 2), len(plan.settings)
    budgets = [run.budget for run in went.ended if run.budget is not None]
    assert len(budgets) == len(plan.points()) == 5 * settings
    assert budgets[:settings] == [min(budgets)] * settings
    assert went.most_kept <= settings + 2
    total = sum(run.flops for run in went.ended)
    assert went.seconds <= 1.01 * total / 2


def test_what_the_end_waits_for_comes_first(plan: Plan) -> None:
    """With more jobs than settings, but not two for each, trunks do not wait for branches."""
    went = course(plan, len(plan.settings) * 3 // 2)

    def way(run: Planned) -> int:
        return run.flops + (way(plan.runs[run.parent]) if run.parent else 0)

    assert went.seconds == max(way(run) for run in went.ended)
