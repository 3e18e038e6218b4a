"""One figure of a study: its name, what it lacks, how it is drawn, and what it says in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pretrain.laws.figures.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`lacks` gives the reason why a study cannot be drawn, or None; only then may the others be called."""

    name: str  # of its files
    title: str
    lacks: Callable[[Study], str | None]
    draw: Callable[[Study], Figure]
    says: Callable[[Study], str]
