"""One trial: everything that a training run of this comparison depends on, as one value and one key."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from megatron_lite.model.options import ModelOptions
from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.mup.options import MupOptions

Architecture = Literal["dense", "moe"]
Parametrisation = Literal["mup", "standard"]

ARCHITECTURES: tuple[Architecture, ...] = ("dense", "moe")
PARAMETRISATIONS: tuple[Parametrisation, ...] = ("mup", "standard")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all trials share. Heads, inner width and nothing else grow with the width."""

    data: str  # hash of the tokens
    vocab_size: int
    sequence_length: int
    layers: int
    head_dim: int
    sequences: int  # a batch
    updates: int
    warmup_updates: int  # linear, then a straight fall to 0 at the last update
    base_width: int  # of µP
    init_std: float  # of µP
    standard_init_std: float  # of all matrices, whatever their width
    validation_sequences: int


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training run."""

    recipe: Recipe
    architecture: Architecture
    parametrisation: Parametrisation
    width: int
    log2_lr: int  # a whole number, so that keys are exact
    seed: int  # of the initial weights and of the order of the text

    @property
    def key(self) -> str:
        """The same for the same settings, and for no others."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def lr(self) -> float:
        """The peak learning rate of the groups with ratio 1."""
        return 2.0**self.log2_lr

    def mup(self) -> MupOptions:
        """The parametrisation, as a config would choose it."""
        recipe = self.recipe
        if self.parametrisation == "mup":
            return MupOptions(enabled=True, base_width=recipe.base_width, init_std=recipe.init_std)
        return MupOptions(enabled=False, init_std=recipe.standard_init_std)

    def model(self) -> ModelOptions:
        """The decoder; two of eight experts of width H do the work of the dense inner width 2H."""
        sparse: dict[str, Any] = {"num_local_experts": 8, "num_experts_per_tok": 2}
        return ModelOptions(
            architecture="granitemoe" if self.architecture == "moe" else "granite",
            hidden_size=self.width,
            num_hidden_layers=self.recipe.layers,
            num_attention_heads=self.width // self.recipe.head_dim,
            intermediate_size=self.width if self.architecture == "moe" else 2 * self.width,
            max_position_embeddings=self.recipe.sequence_length,
            **(sparse if self.architecture == "moe" else {}),
        )

    def shape(self) -> ModelShape:
        """The decoder with every multiplier resolved."""
        return resolve_shape(self.model(), self.mup(), self.recipe.vocab_size)


def trial_of(fields: dict[str, Any]) -> Trial:
    """The trial whose fields were written as JSON."""
    return Trial(**{**fields, "recipe": Recipe(**fields["recipe"])})
