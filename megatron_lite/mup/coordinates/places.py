"""Where and when a size is measured, in names that people and JSON can read."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What is measured at a place."""

    INITIAL = "initial"  # an activation before the first update
    CHANGE = "change"  # an activation now less the same before the first update
    UPDATE = "update"  # what the change of one parameter makes of its own input now
    GRADIENT = "gradient"  # the gradient that an update is made from, before clipping


class Place(NamedTuple):
    """One number of a trial."""

    kind: Kind
    quantity: str  # an activation, or a parameter without its layer
    layer: int | None  # None: outside of the layers
    update: int  # 0: before the first

    @property
    def where(self) -> str:
        """The quantity with its layer."""
        return self.quantity if self.layer is None else f"layer {self.layer}: {self.quantity}"


def split(name: str) -> tuple[str, int | None]:
    """`layers.3.mixer.qkv.weight` as (`mixer.qkv.weight`, 3)."""
    if not name.startswith("layers."):
        return name, None
    _, layer, quantity = name.split(".", 2)
    return quantity, int(layer)
