"""The first screen of a plan: will it fit, how long, how much, what it needs, and the warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from megatron_lite.options import format_count
from pretrain.memory import readable
from pretrain.monitor.words import duration, short, size

if TYPE_CHECKING:
    from pretrain.plan import Plan
    from pretrain.planning.fits import Row
    from pretrain.planning.text import Need

MANY_SOURCES = 6
UNKNOWN_MEMORY = "give --gpu or --gpu-memory to see whether that fits"


def answers(plan: Plan) -> RenderableType:
    """What a person wants to know first."""
    return Group(Text(f"\n{_title(plan)}", style="bold"), _grid(_lines(plan)), *_warnings(plan))


def _title(plan: Plan) -> str:
    gpu = plan.machine.gpu
    if gpu is None:
        return f"{plan.name} on {plan.num_ranks} rank(s)"
    assumed = " (assumed: --gpu names another)" if plan.machine.assumed else ""
    return f"{plan.name} on {plan.num_ranks} x {gpu.name}{assumed}"


def _lines(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "fits", _fit(plan)
    yield from _best(plan)
    yield from _time(plan)
    sources = [_need(need) for need in plan.data[:MANY_SOURCES]]
    more = f", and {len(plan.data) - MANY_SOURCES} more" if len(plan.data) > MANY_SOURCES else ""
    yield "text", "; ".join(sources) + more
    yield "disk", _disk(plan)


def _fit(plan: Plan) -> str:
    own, machine = plan.own, plan.machine
    needed = f"{readable(own.memory_bytes)} on each rank ({_way(own)})"
    if machine.room is None:
        return f"{needed}; {UNKNOWN_MEMORY}"
    verdict = "yes" if own.fits else "NO"
    return f"{verdict}: {needed}, of {machine.room}"


def _way(row: Row) -> str:
    """How a rank computes, in a few words."""
    cut = f"ZeRO {row.zero_stage}" if row.engine == "deepspeed" else "torch engine"
    kept = "" if row.checkpointing == "none" else f", checkpointing {row.checkpointing}"
    return f"{cut}, {row.micro_sequences} sequence(s) at a time{kept}"


def _best(plan: Plan) -> Iterator[tuple[str, str]]:
    best = plan.best
    if best is not None and not best.own:
        speed = plan.own.seconds / best.seconds
        why = f"by this estimate {speed:.3g} x as fast" if plan.own.fits else "fits"
        yield "try", f"{' '.join(best.overrides)}  ({readable(best.memory_bytes)}, {why})"


def _time(plan: Plan) -> Iterator[tuple[str, str]]:
    time = plan.time
    if time is None:
        yield "time", "not known: no speed was measured in fp32; give --mfu"
        return
    speed = (
        f"{short(time.tokens_per_second)} tokens/s, {short(time.tokens_per_second / plan.num_ranks)} a GPU"
    )
    fitted = "" if plan.own.fits else "if it fitted: "
    yield "time", f"{fitted}{duration(time.seconds)}; {speed}"
    yield "speed", f"{time.mfu:.0%} MFU of {time.peak_flops / 1e12:.4g} TFLOP/s, {time.mfu_source}"
    price = "--price says what that costs"
    if time.cost is not None and time.price is not None:
        price = f"{round(time.cost):,} at {time.price:g} a GPU hour"
    yield "cost", f"{short(time.gpu_hours)} GPU hours; {price}"


def _need(need: Need) -> str:
    text = f"{need.source} {format_count(int(float(f'{need.tokens:.4g}')))} tokens"
    if need.epochs is None:
        return f"{text} (not built yet; {size(need.shard_bytes)} of shards)"
    return f"{text} ({need.epochs:.3g} times its {format_count(need.has_tokens or 0)})"


def _disk(plan: Plan) -> str:
    found = plan.checkpoints
    words = f"{size(found.one_bytes)} a checkpoint"
    if found.seconds_between is not None:
        words += f" every {duration(found.seconds_between)}"
    return f"{words}; {found.kept} kept at the end, {size(found.kept_bytes)} (up to {size(found.peak_bytes)})"


def _warnings(plan: Plan) -> Iterator[RenderableType]:
    if plan.warnings:
        yield Text(f"\n{len(plan.warnings)} warning(s)", style="bold")
        yield _grid((f"{number}.", f"{text}.") for number, text in enumerate(plan.warnings, start=1))


def _grid(lines: Iterator[tuple[str, str]]) -> Table:
    """Names, and texts that fold beside them."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines:
        table.add_row(name, Text(text))
    return table
