"""The published laws' answers for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from megatron_lite.options import format_count
from pretrain.laws.advise import Advices
from pretrain.laws.advisers import Advice
from pretrain.laws.plain import plain

WHOSE = {"mup": "group with ratio 1", "standard": "every parameter", "other": "Scion, not AdamW"}
SHORT = {"mup": "µP", "standard": "all", "other": "Scion"}


def to_json(advices: Advices) -> dict[str, Any]:
    """One object a law."""
    return plain(
        {
            "params": advices.question.N,
            "tokens": advices.question.D,
            "batch_tokens": advices.batch_tokens,
            "loss": advices.loss,
            "width_ratio": advices.question.width_ratio,
            "laws": [_law(law) for law in advices.laws],
            "notes": advices.notes,
        }
    )


def table(advices: Advices) -> Table:
    """One line a law."""
    columns = Table("law")
    for name in ("lr", "of", "hidden", "batch", "decay", "window", "in range"):
        columns.add_column(name, no_wrap=True)
    for law in advices.laws:
        columns.add_row(
            law.source.name,
            _number(law.lr),
            SHORT[law.source.kind] if law.lr is not None else "",
            _number(law.hidden_lr),
            "" if law.batch_tokens is None else format_count(round(law.batch_tokens)),
            _number(law.weight_decay),
            _number(law.window_weight_decay),
            "no" if law.outside else "yes" if law.source.ranges else "unknown",
        )
    return columns


def words(advices: Advices) -> Iterator[str]:
    """Source, setting and trap of every law, then where they disagree."""
    for law in advices.laws:
        yield f"{law.source.name} ({law.source.paper}): {law.source.setting}. Trap: {law.source.trap}."
        yield from (f"  outside of its range: {place}" for place in law.outside)
        yield from (f"  {remark}" for remark in law.remarks)
    yield (
        "window: the weight decay of hidden matrices by which AdamW's average has the window of Power "
        "Lines at that hidden rate; under µP with weight_decay_rule: scaled, divide it by the width ratio"
    )
    yield "lr of µP: of the group with ratio 1; of all: of every parameter; hidden: of hidden matrices"
    yield from advices.notes


def _law(law: Advice) -> dict[str, Any]:
    return {
        "law": law.source.name,
        "source": law.source.paper,
        "lr": law.lr,
        "lr_of": WHOSE[law.source.kind],
        "hidden_lr": law.hidden_lr,
        "batch_tokens": law.batch_tokens,
        "weight_decay": law.weight_decay,
        "window_weight_decay": law.window_weight_decay,
        "setting": law.source.setting,
        "trap": law.source.trap,
        "range": {name: [low, high] for name, low, high in law.source.ranges},
        "outside": law.outside,
        "remarks": law.remarks,
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
