"""A plan for people: the answers, then the tables that they follow from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from megatron_lite.options import format_count
from pretrain.data.mixture import describe_mix
from pretrain.memory import readable
from pretrain.planning.answers import answers
from pretrain.planning.fits_view import fits_tables
from pretrain.rates.rates import Rates
from pretrain.rates.view import sketches

if TYPE_CHECKING:
    from pretrain.plan import Plan


def plan_tables(plan: Plan, rates: Rates) -> RenderableType:
    """The whole plan."""
    tables: list[RenderableType] = [answers(plan), fits_tables(plan), _overview(plan), _stages(plan)]
    if len(plan.batches) > 1:
        tables.append(_batches(plan))
    tables += [_groups(plan), _memory(plan)]
    if plan.num_ranks > 1:
        tables.append(_communication(plan))
    return Group(*tables, *sketches(rates))


def _overview(plan: Plan) -> Table:
    table = _table("the run", "", "", "")
    for name, value in _facts(plan):
        table.add_row(name, f"{value:,}", format_count(value))
    table.add_row("FLOPs in all", "", f"{plan.flops:.4g}")
    return table


def _facts(plan: Plan) -> Iterator[tuple[str, int]]:
    for name, value in asdict(plan.parameters).items():
        yield f"parameters, {name.replace('_', ' ')}", value
    if plan.first_tokens:
        yield "tokens before the first update", plan.first_tokens
    yield "tokens", plan.tokens
    yield "steps", plan.steps
    yield "tokens in a batch", plan.batch_tokens
    yield "micro-steps an update", plan.micro_steps
    yield "FLOPs per token", plan.flops_per_token


def _stages(plan: Plan) -> Table:
    table = _table("stages", "name", "tokens", "rounded up by", "steps", "mix")
    for stage, asked in zip(plan.stages, plan.asked_tokens, strict=True):
        numbers = (f"{number:,}" for number in (stage.tokens, stage.tokens - asked, stage.steps))
        table.add_row(stage.name, *numbers, describe_mix(stage.mix))
    return table


def _batches(plan: Plan) -> Table:
    table = _table("global batch", "from tokens", "", "sequences", "of tokens", "batch in tokens", "updates")
    for part in plan.batches:
        numbers = (part.sequences, part.sequence_length, part.batch_tokens, part.steps)
        start = (f"{part.first_tokens:,}", format_count(part.first_tokens))
        table.add_row(*start, *(f"{number:,}" for number in numbers))
    return table


def _groups(plan: Plan) -> Table:
    table = _table("optimizer groups", "name", "lr ratio", "weight decay", "parameters", "tensors")
    for group in plan.groups:
        numbers = f"{group.lr_ratio:.6g}", f"{group.weight_decay:g}", f"{group.parameters:,}"
        table.add_row(group.name, *numbers, f"{len(group.tensors)}")
    return table


def _memory(plan: Plan) -> Table:
    table = _table(f"memory per rank, {plan.num_ranks} rank(s)", "part", "bytes", "")
    for name, value in (asdict(plan.memory) | {"total": plan.memory.total}).items():
        table.add_row(name.replace("_", " "), f"{value:,}", readable(value))
    return table


def _communication(plan: Plan) -> Table:
    table = _table("communication in an update", "what", "collective", "dtype", "payload", "sent by a rank")
    for exchange in plan.communication:
        sent = readable(exchange.sent_bytes(plan.num_ranks))
        table.add_row(
            exchange.what, exchange.collective, exchange.dtype, readable(exchange.payload_bytes), sent
        )
    return table


def _table(title: str, first: str, *others: str) -> Table:
    """A plain table: one column of names, then numbers."""
    has_header = bool(first or any(others))
    table = Table(title=f"\n{title}", title_justify="left", box=None, pad_edge=False, show_header=has_header)
    table.add_column(first)
    for other in others:
        table.add_column(other, justify="left" if other == "mix" else "right")
    return table
