"""A coordinate check as tables for people and as one JSON value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from megatron_lite.mup.coordinates.check import Verdict
from megatron_lite.mup.coordinates.places import Kind

TITLES = {
    Kind.INITIAL: "activations before the first update",
    Kind.CHANGE: "changes of activations since then",
    Kind.UPDATE: "what each parameter's change makes of its input",
    Kind.GRADIENT: "gradients by parameter",
}
WORDS = {
    Kind.INITIAL: "first size",
    Kind.CHANGE: "change",
    Kind.UPDATE: "own part",
    Kind.GRADIENT: "gradient",
}


def tables(setting: dict[str, Any], verdicts: Sequence[Verdict]) -> RenderableType:
    """What was fixed and what grows, and a line a quantity."""
    by_kind = (_quantities(kind, verdicts) for kind in Kind)
    return Group(_setting(setting), *by_kind)


def outcome(verdicts: Sequence[Verdict]) -> str:
    """A sentence, and a line for the worst place of every quantity that has left its band."""
    left = [f"  {_words(verdict)}" for verdict in worst_by_quantity(verdicts) if verdict.left]
    if not left:
        judged = sum(verdict.band is not None for verdict in verdicts)
        return f"ok: all {judged} slopes that are judged are those of µP"
    return "LEFT: with these, sizes do not go with the width as in µP\n" + "\n".join(left)


def worst_by_quantity(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Of each quantity the layer and update that lies farthest out; what is not judged comes at its first."""
    worst: dict[tuple[Kind, str], Verdict] = {}
    for verdict in verdicts:
        key = verdict.place.kind, verdict.place.quantity
        worst[key] = max(worst.get(key, verdict), verdict, key=lambda one: one.excess)
    return list(worst.values())


def to_json(setting: dict[str, Any], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "ok": not any(verdict.left for verdict in verdicts),
        "setting": setting,
        "slopes": [_entry(verdict) for verdict in verdicts],
    }


def _entry(verdict: Verdict) -> dict[str, Any]:
    place, value = verdict.place, verdict.slope.value
    return {
        **place._asdict(),
        "slope": value if value == value else None,
        "standard_error": verdict.slope.error,
        "band": verdict.band and list(verdict.band),
        "left": verdict.left,
        "sizes": list(verdict.sizes),
    }


def _setting(setting: dict[str, Any]) -> Table:
    table = _table("coordinate check", "", "")
    for name, value in setting.items():
        table.add_row(
            name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        )
    return table


def _quantities(kind: Kind, verdicts: Iterable[Verdict]) -> Table:
    columns = ("quantity", "slope", "worst at", "band", "")
    table = _table(f"{TITLES[kind]}: slope of log2 size against log2 width", *columns)
    for worst in worst_by_quantity(verdict for verdict in verdicts if verdict.place.kind is kind):
        table.add_row(worst.place.quantity, _slope(worst), _at(worst), _band(worst), _mark(worst))
    return table


def _words(verdict: Verdict) -> str:
    place = verdict.place
    update = f" at update {place.update}" if place.update else ""
    return (
        f"{place.where}: {WORDS[place.kind]}{update} has slope {_slope(verdict)}, right is {_band(verdict)}"
    )


def _mark(verdict: Verdict) -> Text:
    if verdict.band is None:
        return Text("–")
    return Text("LEFT", style="bold red") if verdict.left else Text("ok", style="green")


def _slope(verdict: Verdict) -> str:
    return f"{verdict.slope.value:+.2f} ± {verdict.slope.error:.2f}"


def _at(verdict: Verdict) -> str:
    layer, update = verdict.place.layer, verdict.place.update
    words = ([] if layer is None else [f"layer {layer}"]) + ([f"update {update}"] if update else [])
    return ", ".join(words)


def _band(verdict: Verdict) -> str:
    return f"{verdict.band.low:+.2f} to {verdict.band.high:+.2f}" if verdict.band else ""


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=f"\n{title}", title_justify="left", box=None, pad_edge=False, show_header=any(columns)
    )
    for column in columns:
        table.add_column(column, justify="right" if column in ("slope", "band") else "left")
    return table
