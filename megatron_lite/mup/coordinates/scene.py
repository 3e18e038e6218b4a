"""A decoder at one moment, on the tokens that every measurement uses: what the numbers are read from.

Shapes: T tokens, E experts, R rows of experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from megatron_lite.model.documents import Documents
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.coordinates.observe import Observation

Named = tuple[str, Tensor]  # `layers.N.` before the name of what is in a layer


class Assignment(NamedTuple):
    """Which expert sees which token. It stays the first one: rows could not be compared otherwise."""

    rows_R: Tensor  # the token of each row, rows sorted by expert
    ends_E: Tensor


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The decoder's weights, and one forward pass with them."""

    shape: ModelShape
    weights: dict[str, Tensor]
    seen: Observation
    tokens_T: Tensor
    targets_T: Tensor
    documents: Documents  # all of one length
    assignments: dict[str, Assignment]  # by layer, filled in when first needed

    def layers(self) -> list[str]:
        """The prefix of the names in each layer."""
        return [f"layers.{layer}" for layer in range(self.shape.num_layers)]
