"""From rounds to figures: medians, ratios of the same round, and whether all trained the same thing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from speed.contenders import BARE, CONTENDERS
from speed.rounds import Measured

# Relative differences of the first loss, the first gradient norm and the loss after the last warm-up step.
TOLERANCES = {"fp32": (1e-5, 1e-3, 1e-4), "bf16": (1e-2, 5e-2, 2e-2)}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender's figures; None where there is nothing to say."""

    shape: str
    precision: str
    contender: str
    note: str
    missing: str | None
    tokens_per_second: float | None = None
    share_of_peak: float | None = None  # of the matrix-product peak that the same process measured
    peak_bytes: int | None = None  # beyond what the process held before the model was built
    loss: float | None = None  # of the first step
    norm: float | None = None
    losses: tuple[float, ...] = ()
    kernels: tuple[str, ...] = ()  # that our decoder chooses by itself on this device
    differs: str | None = None  # from the first contender, by more than rounding explains
    over_eager: float | None = None  # tokens per second, by those of the fastest eager baseline
    over_compiled: float | None = None
    over_bare: float | None = None  # seconds, by those of the same work without an engine
    round_seconds: tuple[float, ...] = ()
    round_peak_flops: tuple[float | None, ...] = ()


def rows(group: Sequence[Measured]) -> list[Row]:
    """The figures of contenders that ran in alternation."""
    eager, compiled = (_fastest(group, role) for role in ("eager", "compiled"))
    bare = next((one for one in group if one.contender == BARE), None)
    reference = next((one for one in group if one.rounds), None)
    return [_row(one, reference, eager, compiled, bare) for one in group]


def as_json(all_rows: Iterable[Row]) -> list[dict[str, object]]:
    """The rows as plain values."""
    return [asdict(row) for row in all_rows]


def _row(
    one: Measured,
    reference: Measured | None,
    eager: Measured | None,
    compiled: Measured | None,
    bare: Measured | None,
) -> Row:
    contender = CONTENDERS[one.contender]
    if not one.rounds or reference is None:
        return Row(
            shape=one.shape,
            precision=one.precision,
            contender=one.contender,
            note=contender.note,
            missing=one.missing,
        )
    seconds = tuple(answer["seconds"] for answer in one.rounds)
    peaks = tuple(answer["peak_flops"] for answer in one.rounds)
    losses = tuple(one.first["losses"])
    return Row(
        shape=one.shape,
        precision=one.precision,
        contender=one.contender,
        note=contender.note,
        missing=one.missing,
        tokens_per_second=one.first["tokens"] / median(seconds),
        share_of_peak=_share(one),
        peak_bytes=one.rounds[0]["peak_bytes"],  # before the buffers of the first peak measurement
        loss=losses[0],
        norm=one.first["norm"],
        losses=losses,
        kernels=tuple(one.first["kernels"]),
        differs=_difference(one, reference),
        over_eager=_seconds_ratio(eager, one),
        over_compiled=_seconds_ratio(compiled, one),
        over_bare=_seconds_ratio(one, bare) if contender.role == "engine" else None,
        round_seconds=seconds,
        round_peak_flops=peaks,
    )


def _share(one: Measured) -> float | None:
    """Model FLOPs by our formula, over seconds, over the peak of the same round."""
    flops = one.first["tokens"] * one.first["flops_per_token"]
    shares = [
        flops / answer["seconds"] / answer["peak_flops"] for answer in one.rounds if answer["peak_flops"]
    ]
    return median(shares) if shares else None


def _fastest(group: Sequence[Measured], role: str) -> Measured | None:
    of_role = [one for one in group if one.rounds and CONTENDERS[one.contender].role == role]
    return min(of_role, key=lambda one: median(answer["seconds"] for answer in one.rounds), default=None)


def _seconds_ratio(above: Measured | None, below: Measured | None) -> float | None:
    """The median over rounds of the ratio within the round."""
    if above is None or below is None or not above.rounds or not below.rounds:
        return None
    return median(a["seconds"] / b["seconds"] for a, b in zip(above.rounds, below.rounds, strict=False))


def _difference(one: Measured, reference: Measured) -> str | None:
    loss_tolerance, norm_tolerance, later_tolerance = TOLERANCES[one.precision]
    figures = [("first loss", one.first["losses"][0], reference.first["losses"][0], loss_tolerance)]
    if CONTENDERS[one.contender].same_updates:
        figures.append(("gradient norm", one.first["norm"], reference.first["norm"], norm_tolerance))
        later = (one.first["losses"][-1], reference.first["losses"][-1])
        figures.append(("loss after warm-up", *later, later_tolerance))
    found = [
        f"{name} {own:.6g} against {other:.6g}"
        for name, own, other, tolerance in figures
        if not abs(own - other) <= tolerance * abs(other)
    ]
    return "; ".join(found) or None
