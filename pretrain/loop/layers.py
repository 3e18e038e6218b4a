"""Sizes by layer, seen inside one update on all ranks; looking changes no bit of it.

Every rank adds up squares of its own micro-batches and of its own part of weights and gradients, so that the
whole is known after one sum over ranks, however the state is sharded.

Shapes: T tokens, H hidden width, P places: the layers, then embedding and head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from megatron_lite.model.loss import IGNORE
from megatron_lite.model.parameters import parameters
from megatron_lite.model.router import RouterStatistics
from megatron_lite.model.shape import ModelShape
from pretrain.data.batch import Batch
from pretrain.engine.base import Engine
from pretrain.monitor.statistics import ENDS, Layer, Sizes, Statistics
from pretrain.ranks import total

SPARE = 2  # times what is copied that must be free on a device for the copy to stay there


class Layers:
    """What one update adds up to on one rank. Its calls are made by all ranks alike."""

    def __init__(self, engine: Engine, shape: ModelShape, device: torch.device) -> None:
        self.engine = engine
        self.shape = shape
        self.device = device
        num_places = shape.num_layers + len(ENDS)
        self._activations = self._zeros(shape.num_layers)  # squares, as all of these
        self._entropies = self._zeros(shape.num_layers)
        self._weights, self._updates, self._gradients = (self._zeros(num_places) for _ in range(3))
        self._tokens = self._zeros(2)  # that count in the loss; all but padding

    @contextmanager
    def forward(self, batch: Batch) -> Iterator[None]:
        """Around the forward pass of a micro-step."""
        counts_T = batch.targets_T != IGNORE
        self._tokens[0] += counts_T.sum()
        self._tokens[1] += batch.num_real

        def see(layer: int, h_TH: Tensor, router: RouterStatistics | None) -> None:
            squares_T = torch.linalg.vector_norm(h_TH, dim=-1, dtype=torch.float32).double().square()
            self._activations[layer] += torch.where(counts_T, squares_T, 0.0).sum()
            if router is not None:
                self._entropies[layer] += router.entropy_sum

        with self.engine.watched(see):
            yield

    @contextmanager
    def update(self) -> Iterator[None]:
        """Around the end of an update, after the gradient norm was asked for."""
        self._add(self._gradients, self.engine.parts("gradient"))
        before = self._copies()
        yield
        after = dict(self.engine.parts("weight"))
        self._add(self._weights, after.items())
        changes = ((name, part - before.pop(name).to(part.device)) for name, part in after.items())
        self._add(self._updates, changes)

    def statistics(self, expert_counts: list[list[int]] | None, *, made: bool) -> Statistics:
        """Of all ranks; `made`: the update was not left out. Collective."""
        kinds = (self._activations, self._entropies, self._weights, self._updates, self._gradients)
        sums = total(torch.cat([*kinds, self._tokens])).cpu()
        activations, entropies, *squares, tokens = sums.split([len(kind) for kind in (*kinds, self._tokens)])
        num_valid, num_tokens = tokens.tolist()
        sizes = [self._sizes(place, *squares, made=made) for place in range(len(self._weights))]
        width = max(1.0, num_valid) * self.shape.hidden_size
        layers = [
            Layer(
                activation_rms=math.sqrt(float(activations[layer]) / width),
                sizes=sizes[layer],
                router_entropy=float(entropies[layer]) / num_tokens if expert_counts else None,
                expert_load=_shares(expert_counts[layer]) if expert_counts else None,
            )
            for layer in range(self.shape.num_layers)
        ]
        embedding, head = sizes[self.shape.num_layers :]
        return Statistics(layers=tuple(layers), embedding=embedding, head=None if self.shape.tied else head)

    def _sizes(self, place: int, weights: Tensor, updates: Tensor, gradients: Tensor, *, made: bool) -> Sizes:
        count = max(1, _counts(self.shape)[place])
        weight, update, gradient = (
            math.sqrt(float(kind[place]) / count) for kind in (weights, updates, gradients)
        )
        return Sizes(weight_rms=weight, update_rms=update if made else None, gradient_rms=gradient)

    def _add(self, sums_P: Tensor, parts: Iterable[tuple[str, Tensor]]) -> None:
        for name, part in parts:
            place = _place(name, self.shape)
            if place is not None:
                norm = torch.linalg.vector_norm(part, dtype=torch.float32)
                sums_P[place] += norm.double().to(self.device) ** 2

    def _copies(self) -> dict[str, Tensor]:
        """The weights of now: where they are if there is room, else on the host."""
        parts = dict(self.engine.parts("weight"))
        num_bytes = sum(part.numel() * part.element_size() for part in parts.values())
        room = self.device.type != "cuda" or torch.cuda.mem_get_info(self.device)[0] > SPARE * num_bytes
        return {name: part.clone() if room else part.to("cpu", copy=True) for name, part in parts.items()}

    def _zeros(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64, device=self.device)


def _place(name: str, shape: ModelShape) -> int | None:
    """Where a parameter belongs; the last norm stands alone and is left out."""
    if name in ENDS:
        return shape.num_layers + ENDS.index(name)
    return int(name.split(".")[1]) if name.startswith("layers.") else None


def _counts(shape: ModelShape) -> list[int]:
    """How many numbers are learned in each place."""
    counts_P = [0] * (shape.num_layers + len(ENDS))
    for parameter in parameters(shape):
        place = _place(parameter.name, shape)
        if place is not None:
            counts_P[place] += parameter.size
    return counts_P


def _shares(counts: list[int]) -> tuple[float, ...]:
    whole = max(1, sum(counts))
    return tuple(count / whole for count in counts)
