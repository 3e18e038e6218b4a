"""A fit of learning rates for people and for programs: tables, words, the block to paste, JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from megatron_lite.options import format_count
from pretrain.laws.fit_lr import LrFit
from pretrain.laws.optimum import WHY, Optimum
from pretrain.laws.plain import plain
from pretrain.laws.power_fit import PowerLaw
from pretrain.laws.regression import Interval

INTERVAL = "95 %"


def to_json(fit: LrFit) -> dict[str, Any]:
    """Everything, with the schedule as keys of a config."""
    return {
        "optima": [_optimum(one) for one in fit.optima],
        "points": plain(fit.points),
        "together": plain(fit.together),
        "by_size": [{"N": N, **plain(law)} for N, law in fit.by_size.items()],
        "general": plain(fit.general),
        "verdict": plain(fit.verdict),
        "schedule": _keys(fit),
        "highest_lr": plain(fit.highest_lr),
        "noise": plain(fit.noise),
        "noise_source": fit.noise_source,
        "missing": list(fit.missing),
        "cautions": list(fit.cautions),
        "notes": list(fit.notes),
    }


def optima_table(fit: LrFit) -> Table:
    """One line a (size, budget, batch); below it why some have no optimum."""
    table = _table("N", "T", "batch", "beta", "best lr", "±", "gamma", "loss")
    marks = {
        flag: chr(ord("a") + i) for i, flag in enumerate(dict.fromkeys(o.flag for o in fit.optima if o.flag))
    }
    for one in fit.optima:
        cell = one.cell
        where = [_count(cell.N), _count(cell.T), _count(cell.batch_tokens), f"{cell.beta:.4g}"]
        if one.flag:
            table.add_row(*where, f"({marks[one.flag]})", "", "", "")
        else:
            error = f"{100 * one.log_lr_se:.0f} %" if one.log_lr_se == one.log_lr_se else "?"
            table.add_row(*where, f"{one.lr:.3g}", error, f"{one.gamma:.3g}", f"{one.loss:.4f}")
    table.caption = "\n".join(f"({mark}) {WHY[flag]}" for flag, mark in marks.items()) or None
    return table


def laws_table(fit: LrFit) -> Table:
    """The power law gamma = a T^b of every size and of all together."""
    table = _table("sizes", "a", INTERVAL, "b", INTERVAL, "points", "scatter")
    rows = [(_count(N), law) for N, law in fit.by_size.items()]
    if fit.together is not None:
        rows.append(("together", fit.together))
    for name, law in rows:
        table.add_row(name, *_law(law))
    table.caption = "gamma = a T^b"
    return table


def _table(*columns: str) -> Table:
    """Columns for 80 characters; where an interval is too wide for that it takes two lines."""
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, caption_justify="left")
    for column in table.columns:
        column.no_wrap = column.header != INTERVAL
    return table


def words(fit: LrFit) -> Iterator[str]:
    """The general law, the verdict, what is missing and the block to paste, a line each."""
    if fit.general is not None:
        exponents = {"T": fit.general.tokens, "batch": fit.general.batch, "N": fit.general.size}
        told = [f"{x}^{e.value:.3f} ({_interval(e.interval)})" for x, e in exponents.items() if e is not None]
        yield f"lr ~ {' '.join(told)}: the general law through {fit.general.points} optima"
    yield f"one law for all sizes: {fit.verdict.one_law.words}"
    yield f"lr in proportion to the batch: {fit.verdict.batch_linear.words}"
    yield f"lr independent of the size: {fit.verdict.size_free.words}"
    yield (
        f"noise of a run: {fit.noise:.2g} nats, from {fit.noise_source}"
        if fit.noise == fit.noise
        else (f"noise of a run: from {fit.noise_source}")
    )
    yield from (f"note: {note}" for note in fit.notes)
    yield from (f"missing: {lack}" for lack in fit.missing)
    if fit.schedule is None:
        yield "no schedule to paste, for what is missing"


def block(fit: LrFit) -> str | None:
    """The `schedule:` section of a config."""
    if (keys := _keys(fit)) is None:
        return None
    comments = "".join(f"  # {caution}\n" for caution in fit.cautions)
    lines = "".join(f"  {key}: {value}\n" for key, value in keys.items())
    last = f"  # lr_max is yours to set; the highest optimum here is {fit.highest_lr:.3g}"
    return f"schedule:\n{comments}{lines}{last}"


def _keys(fit: LrFit) -> dict[str, Any] | None:
    if fit.schedule is None:
        return None
    return {
        "name": "power",
        "amplitude": fit.schedule.amplitude,
        "exponent": fit.schedule.exponent,
    }


def _optimum(one: Optimum) -> dict[str, Any]:
    cell = one.cell
    found = not one.flag
    return plain(
        {
            "N": cell.N,
            "T": cell.T,
            "batch_tokens": cell.batch_tokens,
            "beta": cell.beta,
            "lr": one.lr if found else None,
            "log_lr_se": one.log_lr_se if found else None,
            "gamma": one.gamma if found else None,
            "loss": one.loss if found else None,
            "left_out": WHY[one.flag] if one.flag else None,
        }
    )


def _law(law: PowerLaw) -> tuple[str, ...]:
    return (
        f"{law.amplitude:.4g}",
        _interval(law.amplitude_interval, ".3g"),
        f"{law.exponent:.4f}",
        _interval(law.exponent_interval),
        str(law.points),
        f"× {law.factor:.3f}" if law.factor == law.factor else "?",
    )


def _interval(pair: Interval | None, form: str = ".3f") -> str:
    return f"{pair[0]:{form}} to {pair[1]:{form}}" if pair else "unknown"


def _count(value: float) -> str:
    return format_count(round(value)) if value >= 1 else f"{value:.3g}"
