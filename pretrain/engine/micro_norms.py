"""The squared norm of every micro-batch's own gradient, seen on its way into the accumulated one.

A tensor hook on a parameter is handed the gradient of this backward pass alone, whole, before anything is
added to `.grad`, reduced over ranks, sharded or moved away: so it sees the same under every engine and stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MicroNorms:
    """What the micro-steps of one update on one rank add up to."""

    def __init__(self, parameters: Iterable[nn.Parameter], device: torch.device) -> None:
        self._parameters = list(parameters)
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)
        """Squared norms of the micro-steps' shares of the gradient; squared counts of their targets."""

    @contextmanager
    def watching(self, objective: Tensor, num_valid: int) -> Iterator[None]:
        """Around the backward pass of a micro-step: its share of the update's objective, and its targets."""
        square = torch.zeros((), dtype=torch.float64, device=self.sums.device)
        scales: list[Tensor] = []
        seen: set[int] = set()
        # an engine may scale what it is given; the derivative by the objective says how much
        handles = [objective.register_hook(lambda gradient: scales.append(gradient.double()))]
        handles += [
            parameter.register_hook(_add(square, index, seen))
            for index, parameter in enumerate(self._parameters)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self.sums[0] += square / scales[0] ** 2
        self.sums[1] += num_valid**2


def _add(square: Tensor, index: int, seen: set[int]) -> Callable[[Tensor], None]:
    def add(gradient: Tensor) -> None:
        if index in seen:
            raise RuntimeError("a gradient came in pieces: the norm of a micro-batch cannot be measured")
        seen.add(index)
        square.add_(torch.linalg.vector_norm(gradient, dtype=torch.float32).double() ** 2)

    return add
