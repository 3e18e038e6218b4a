"""What happened to a run, marked on its curves: each kind has a sign of its own beside its colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.page import text
from pretrain.report.axis import Axis

NEAREST = 3.0  # marks of one kind that would stand closer are one

# by kind: the sign's path around (0, 0), whether it is filled, and what it means
SIGNS: Mapping[str, tuple[str, bool, str]] = {
    "skip": ("M-3.2,-3.2l6.4,6.4M3.2,-3.2l-6.4,6.4", False, "update left out"),
    "rewind": ("M3.5,-4v8l-7,-4z", True, "rewind"),
    "resume": ("M-3.5,-4v8l7,-4z", True, "restart"),
    "branch": ("M0,-4.5l4.5,4.5l-4.5,4.5l-4.5,-4.5z", True, "branch"),
    "stage": ("M-3,-3h6v6h-6z", False, "stage begins"),
}


@dataclass(frozen=True, kw_only=True)
class Mark:
    """An event of a kind in SIGNS at a place on the x axis."""

    kind: str
    x: float
    says: str


def draw_marks(marks: Sequence[Mark], x: Axis, top: float, bottom: float) -> Iterator[str]:
    """Upright lines with their signs on top; those at one place are one, and say how many."""
    for kind, (path, filled, _) in SIGNS.items():
        for at, group in _groups([mark for mark in marks if mark.kind == kind], x):
            more = f" (and {len(group) - 1} more beside it)" if len(group) > 1 else ""
            yield (
                f'<g class="mark {kind}" transform="translate({at:.1f},{top - 7:.0f})"><title>'
                f'{text(group[0].says + more)}</title><path class="rod" d="M0,5V{bottom - top + 7:.0f}"/>'
                f'<path class="sign{"" if filled else " open"}" d="{path}"/>'
                '<rect class="hand" x="-7" y="-8" width="14" height="16"/></g>'
            )


def marks_legend(marks: Sequence[Mark]) -> str:
    """What the signs mean that are used; nothing without any."""
    keys = []
    for kind, (path, filled, means) in SIGNS.items():
        if number := sum(mark.kind == kind for mark in marks):
            sign = f'<path class="sign{"" if filled else " open"}" transform="translate(8,7)" d="{path}"/>'
            keys.append(
                f'<li><svg class="mark {kind}" viewBox="0 0 16 14" width="16" height="14" '
                f'aria-hidden="true">{sign}</svg>{text(means)}{f" × {number:,}" if number > 1 else ""}</li>'
            )
    return f'<ul class="legend">{"".join(keys)}</ul>' if keys else ""


def _groups(marks: Sequence[Mark], x: Axis) -> Iterator[tuple[float, list[Mark]]]:
    """Marks that would lie on each other, together, with the place of the first."""
    placed = [(x.at(mark.x), mark) for mark in marks]
    placed = sorted((pair for pair in placed if np.isfinite(pair[0])), key=lambda pair: pair[0])
    group: list[Mark] = []
    start = 0.0
    for at, mark in placed:
        if group and at - start < NEAREST:
            group.append(mark)
            continue
        if group:
            yield start, group
        start, group = at, [mark]
    if group:
        yield start, group
