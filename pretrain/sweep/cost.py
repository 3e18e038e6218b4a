"""What a sweep would be: its runs, their tokens with and without a shared trunk, and their FLOPs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from megatron_lite.options import format_count
from pretrain.sweep.plan import Plan

if TYPE_CHECKING:
    from rich.table import Table


def cost(plan: Plan) -> dict[str, Any]:
    """Plain values."""
    runs = list(plan.own().values())
    points = [run for run in runs if run.budget is not None]
    settings = {run.setting.label for run in runs}
    return {
        "name": plan.options.name,
        "folder": str(plan.sweep.folder),
        "settings": len(settings),
        "points": len(points),
        "runs": len(runs),
        "tokens": sum(run.own_tokens for run in runs),
        "tokens_without_sharing": sum(run.tokens for run in points),
        "flops": sum(run.flops for run in runs),
        "by_budget": {
            str(budget): number for budget, number in sorted(Counter(r.budget for r in points).items())
        },
    }


def cost_table(plan: Plan) -> Table:
    """For people: a row for each setting, and the sums."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found = cost(plan)
    title = f"{found['settings']} settings, {found['points']} points, {found['runs']} runs"
    saved = 1 - found["tokens"] / found["tokens_without_sharing"]
    table = Table(
        title=f"{plan.options.name}: {title}",
        caption=(
            f"{format_count(found['tokens'])} tokens ({format_count(found['tokens_without_sharing'])} if "
            f"nothing were shared: {saved:.0%} saved), {found['flops']:.3g} FLOPs"
        ),
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("setting", overflow="fold", min_width=24)
    for column in ("points", "runs", "tokens", "N", "batch", "lr"):
        table.add_column(column, justify="right")
    by_label: dict[str, list] = {}
    for run in plan.own().values():
        by_label.setdefault(run.setting.label, []).append(run)
    for label, runs in by_label.items():
        table.add_row(
            label,
            str(sum(run.budget is not None for run in runs)),
            str(len(runs)),
            format_count(sum(run.own_tokens for run in runs)),
            format_count(runs[0].parameters),
            format_count(runs[0].batch_tokens),
            f"{max(run.lr for run in runs):.4g}",
        )
    return table
