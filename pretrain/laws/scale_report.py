"""Laws of size and data from a table: L(N, D) through its runs, or the best size at every shared budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pretrain.errors import UserError
from pretrain.laws import readers
from pretrain.laws.isoflop import IsoFlop, Method, fit_isoflop, left_out
from pretrain.laws.plain import plain
from pretrain.laws.scale import ScaleLaw, fit_scale
from pretrain.laws.table import Table


@dataclass(frozen=True, kw_only=True)
class Named:
    """One group of rows and its fit, or why it has none."""

    group: str
    law: ScaleLaw | IsoFlop | None
    refused: str | None = None


def isoflop_groups(table: Table, by: Sequence[str], loss_column: str, method: Method) -> tuple[Named, ...]:
    """The compute-optimal sizes of every group."""
    flops = table.positive(table.need(*readers.COMPUTE))
    N, D, loss = _columns(table, loss_column)
    found = []
    for group, rows in readers.groups(table, by).items():
        try:
            fit = fit_isoflop(flops[rows], N[rows], D[rows], loss[rows], method=method)
            found.append(Named(group=group, law=fit))
        except UserError as error:
            found.append(Named(group=group, law=None, refused=str(error)))
    return tuple(found)


def scale_groups(table: Table, by: Sequence[str], loss_column: str, refits: int) -> tuple[Named, ...]:
    """L(N, D) of every group."""
    N, D, loss = _columns(table, loss_column)
    found = []
    for group, rows in readers.groups(table, by).items():
        try:
            law = fit_scale(N[rows], D[rows], loss[rows], refits=refits)
            found.append(Named(group=group, law=law))
        except UserError as error:
            found.append(Named(group=group, law=None, refused=str(error)))
    return tuple(found)


def to_json(found: Sequence[Named], at: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    """One object a group; refits are told as intervals."""
    return [plain({"group": one.group, **_object(one, at)}) for one in found]


def words(found: Sequence[Named], at: Sequence[tuple[float, float]]) -> Iterator[str]:
    """A few lines a group."""
    for one in found:
        name = f"{one.group}: " if one.group else ""
        if isinstance(one.law, ScaleLaw):
            yield from (name + line for line in _law_words(one.law, at))
        elif isinstance(one.law, IsoFlop):
            yield from (name + line for line in _isoflop_words(one.law))
        else:
            yield f"{name}no law: {one.refused}"


def _columns(table: Table, loss_column: str) -> tuple[Any, Any, Any]:
    N = readers.sizes(table)
    if N is None:
        raise UserError(f"{table.path}: no column of sizes ({', '.join(readers.SIZE)})")
    return N, table.positive(table.need(*readers.TOKENS)), readers.losses(table, loss_column)


def _object(one: Named, at: Sequence[tuple[float, float]]) -> dict[str, Any]:
    if isinstance(one.law, IsoFlop):
        return vars(one.law)
    if one.law is None:
        return {"missing": [one.refused]}
    kept = {name: value for name, value in vars(one.law).items() if name != "refits"}
    guesses = [{"N": N, "D": D, "loss": float(one.law.loss(N, D)), "band": one.law.band(N, D)} for N, D in at]
    return {
        **kept,
        "intervals": one.law.intervals(),
        "cautions": one.law.cautions(),
        "size_exponent": one.law.size_exponent,
        "predicted": guesses,
    }


def _law_words(law: ScaleLaw, at: Sequence[tuple[float, float]]) -> Iterator[str]:
    yield (
        f"L = {law.E:.4f} + {law.A:.4g} / N^{law.alpha:.4f} + {law.B:.4g} / D^{law.beta:.4f} through "
        f"{law.runs} runs, mean error {law.error:.2%}, Huber sum {law.objective:.4g}"
    )
    for name, pair in law.intervals().items():
        yield f"  {name}: {'unknown' if pair is None else f'{pair[0]:.4g} to {pair[1]:.4g}'} (95 % of refits)"
    yield from (f"  note: {caution}" for caution in law.cautions())
    yield f"  compute-optimal N ~ C^{law.size_exponent:.3f}"
    for N, D in at:
        band = law.band(N, D)
        told = "" if band is None else f" ({band[0]:.4f} to {band[1]:.4f})"
        yield f"  N {N:.4g}, D {D:.4g}: {float(law.loss(N, D)):.4f}{told}"


def _isoflop_words(fit: IsoFlop) -> Iterator[str]:
    if fit.size_exponent is None or fit.size_coefficient is None:
        yield from (f"no law: {lack}" for lack in fit.missing)
    else:
        pair = fit.size_interval
        told = "unknown" if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}"
        used = sum(not one.flag for one in fit.minima)
        yield (
            f"N* = {fit.size_coefficient:.4g} C^{fit.size_exponent:.4f} (95 %: {told}), "
            f"D* ~ C^{fit.tokens_exponent:.4f}, from {used} of {len(fit.minima)} budgets"
        )
    yield from (f"  {sentence}" for sentence in left_out(fit))
