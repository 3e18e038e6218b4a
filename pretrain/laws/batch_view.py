"""Critical batches for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pretrain.laws.batch_report import BatchReport
from pretrain.laws.noise_run import NoiseRun
from pretrain.laws.plain import plain


def to_json(
    report: BatchReport | None,
    loss: float | None,
    by_loss: Mapping[str, float],
    noise: NoiseRun | None = None,
) -> dict[str, Any]:
    """The measurement (null without a table), the published laws at a loss, a run's noise scale."""
    found = {"measured": plain(report), "loss": loss, "by_loss": dict(by_loss)}
    return found | ({} if noise is None else {"noise_scale": plain(noise)})


def words(
    report: BatchReport | None,
    loss: float | None,
    by_loss: Mapping[str, float],
    noise: NoiseRun | None = None,
) -> Iterator[str]:
    """One fact a line."""
    if report is not None:
        yield from report.definition
        yield from (_result(result) for result in report.results)
        if report.growth is not None:
            pair = report.growth.interval
            told = "unknown" if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}"
            yield (
                f"critical batch = {report.growth.coefficient:.4g} {report.growth_of}"
                f"^{report.growth.exponent:.4f} tokens (95 %: {told}; {report.growth.points} points)"
            )
        yield from report.warm_up
        yield from (f"note: {note}" for note in report.notes)
    if noise is not None:
        yield from _noise(noise)
    for name, batch in by_loss.items():
        yield f"at loss {loss:g}, {name}: {batch:.4g} tokens"


def _noise(noise: NoiseRun) -> Iterator[str]:
    yield "gradient noise scale: tr(Sigma) / |G|^2, means over updates before the ratio (McCandlish et al.)"
    for one in noise.windows:
        told = "no batch" if one.batch is None else f"{one.batch:.4g} tokens"
        pair = "" if one.interval is None else f" (95 %: {one.interval[0]:.3g} to {one.interval[1]:.3g})"
        span = f"{one.first_tokens:.4g} to {one.last_tokens:.4g} tokens"
        yield f"{span}: {told}{pair}, from {one.updates} updates"
    if noise.growth is not None:
        ends = noise.growth.interval
        known = "unknown" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
        yield f"it grows as T^{noise.growth.exponent:.3f} (95 %: {known})"
    yield from (f"note: {note}" for note in noise.notes)


def _result(result: Mapping[str, Any]) -> str:
    if "batch" in result:
        return f"at {result['tokens']:.4g} tokens: critical batch {result['batch']:g} tokens"
    of = ", ".join(f"{name} {value}" for name, value in result["of"].items())
    fit = f"updates = {result['a']:.5g} + {result['b']:.5g} / batch, within × {result['factor']:.3f}"
    if result["overhead"] is None:
        return f"{of}: {fit}; no critical batch"
    both = f"half_efficiency {result['half_efficiency']:.4g}, overhead {result['overhead']:.4g} tokens"
    return f"{of}: {fit}; {both}"
