"""How the budgets of one setting share their training: stretches of a trunk, and a branch at each budget.

The trunk is a chain of stretches, each going on from the one before to the next branch point, so that its
checkpoints stand at exactly those updates. Budgets that cannot share are a whole run each.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pretrain.sweep.options import Part


@dataclass(frozen=True, kw_only=True)
class Length:
    """A budget in whole batches."""

    budget: int
    end: int  # tokens of the run
    decay: int  # tokens at its end


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A run of one setting."""

    budget: int | None  # None: its loss is nobody's result
    parent: Piece | None  # goes on from its end
    end: int  # tokens, those of the parents included
    decay: int  # of these, the last; 0 in the trunk
    is_trunk: bool

    @property
    def name(self) -> str:
        """Within its setting."""
        return f"trunk{self.end}" if self.budget is None else f"d{self.end}"

    @property
    def own_tokens(self) -> int:
        """Trained by this run itself."""
        return self.end - (self.parent.end if self.parent else 0)


def lengths(budgets: Sequence[int], batch_tokens: int, decay: Part) -> list[Length]:
    """All budgets in whole batches, shortest first; ValueError where one has no run of its own."""
    found = [_length(budget, batch_tokens, decay) for budget in sorted(budgets)]
    for i in range(1, len(found)):
        if found[i].end == found[i - 1].end:
            raise ValueError(
                f"budgets: {found[i - 1].budget} and {found[i].budget} tokens are both "
                f"{found[i].end // batch_tokens} batches of {batch_tokens}"
            )
    return found


def _length(budget: int, batch_tokens: int, decay: Part) -> Length:
    steps = math.ceil(budget / batch_tokens)
    tail = max(1, round(decay.of(budget) / batch_tokens)) if decay.of(budget) else 0
    if tail >= steps:
        raise ValueError(
            f"budgets: {budget} tokens are {steps} batches of {batch_tokens}, and {tail} of them would be "
            "decay: nothing is left before it"
        )
    return Length(budget=budget, end=steps * batch_tokens, decay=tail * batch_tokens)


def shared(lengths: Sequence[Length], wanted: Collection[int]) -> Iterator[Piece]:
    """A trunk that stops at every branch point, and the branches of the budgets that are wanted."""
    parent: Piece | None = None
    for length in lengths:
        bend = length.end - length.decay
        result = length.budget if length.budget in wanted else None
        if parent is None or parent.end < bend:
            parent = Piece(
                budget=None if length.decay else result, parent=parent, end=bend, decay=0, is_trunk=True
            )
            yield parent
        if length.decay and result is not None:
            yield Piece(budget=result, parent=parent, end=length.end, decay=length.decay, is_trunk=False)


def whole(lengths: Sequence[Length], wanted: Collection[int]) -> Iterator[Piece]:
    """A run from the start for each budget that is wanted."""
    for length in lengths:
        if length.budget in wanted:
            yield Piece(budget=length.budget, parent=None, end=length.end, decay=length.decay, is_trunk=False)
