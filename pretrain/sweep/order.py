"""Which run of a sweep starts next: what its end waits for, else a result, else the trunk furthest behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pretrain.sweep.planned import Planned


def in_order(left: Mapping[str, Planned], children: Mapping[str, Sequence[str]], jobs: int) -> list[str]:
    """The names of all runs of `left` (children before parents), the first to start first.

    Trunks advance together: the smallest budgets of all settings are known early, and a checkpoint goes as
    soon as its branches are done. Before them comes only a way to the end as long as all the rest takes.
    """
    way: dict[str, int] = {}  # FLOPs from here to the end of what needs this run, the longest
    for name, run in left.items():
        way[name] = run.flops + max((way[child] for child in children[name] if child in way), default=0)
    rest = sum(run.flops for run in left.values()) / jobs

    def place(name: str) -> tuple[bool, bool, int]:
        return way[name] < rest, left[name].budget is None, -way[name]

    return sorted(left, key=place)
