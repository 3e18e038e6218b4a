"""Sizes by layer of one update, as statistics.jsonl and the trackers have them.

Every size is a root mean square:

activation_rms  of the residual stream behind the block, over the positions of the update's whole global batch
                whose target counts in the loss; by the weights before the update
weight_rms      of all fp32 weights of the layer (norms and router included) after the update
update_rms      of the change that the update made to them, decay included; null where it was left out
gradient_rms    of their gradient over the global batch, before clipping
router_entropy  mean over all tokens of the batch of the entropy in nats of the softmax over all experts: ln E
                where the router does not know, 0 where it is sure
expert_load     each expert's share of the layer's assignments in the batch; the shares add up to 1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

ENDS = ("embedding", "head")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Of some of a model's parameters."""

    weight_rms: float
    update_rms: float | None
    gradient_rms: float


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Of one block."""

    activation_rms: float
    sizes: Sizes
    router_entropy: float | None = None  # None: no experts
    expert_load: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of one update."""

    layers: tuple[Layer, ...]
    embedding: Sizes
    head: Sizes | None  # None: tied to the embedding


def statistics_line(statistics: Statistics, *, step: int, tokens: int) -> dict[str, Any]:
    """The line of statistics.jsonl."""
    line: dict[str, Any] = {"step": step, "tokens": tokens}
    line["layers"] = [_layer(layer) for layer in statistics.layers]
    line["embedding"] = asdict(statistics.embedding)
    if statistics.head is not None:
        line["head"] = asdict(statistics.head)
    return line


def tracked_statistics(line: Mapping[str, Any]) -> dict[str, float]:
    """A line of statistics.jsonl by name: layers/00/activation_rms; of a load its largest and least share."""
    return {name: value for name, value in _named(line) if value is not None}


def _layer(layer: Layer) -> dict[str, Any]:
    values = {"activation_rms": layer.activation_rms, **asdict(layer.sizes)}
    if layer.expert_load is not None:
        values |= {"router_entropy": layer.router_entropy, "expert_load": list(layer.expert_load)}
    return values


def _named(line: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    width = max(2, len(str(len(line["layers"]) - 1)))  # so that they stand in their order
    for number, layer in enumerate(line["layers"]):
        for key, value in layer.items():
            name = f"layers/{number:0{width}}/{key}"
            if key == "expert_load":
                yield f"{name}_max", max(value)
                yield f"{name}_min", min(value)
            else:
                yield name, value
    for end in ENDS:
        for key, value in line.get(end, {}).items():
            yield f"{end}/{key}", value
