"""The shapes that training steps are timed at, and the config and data of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from megatron_lite.model.shape import ModelShape
    from pretrain.config.schema import Config

LEARNING_RATE = 1e-3
NUM_BATCHES = 4  # used in turn, so that experts are chosen differently from step to step
GIVEN = {  # to every shape: heads of 64, multipliers other than 1
    "vocab_size": 8192,
    "logits_scaling": 2.0,
    "max_position_embeddings": 512,
    # the losses of the router are computed and weigh nothing, so that all contenders train on the same loss
    "router_aux_loss_coef": 0.0,
    "router_z_loss_coef": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One shape and the batch that it is trained on."""

    base: str  # the shipped config that gives the rest
    model: dict[str, int]
    sequences: int
    sequence_length: int = 512


def _dense(hidden: int, layers: int) -> dict[str, int]:
    heads = hidden // 64
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "intermediate_size": 4 * hidden,  # as the paper's dense 3B
    }


def _moe(hidden: int, layers: int, experts: int, used: int) -> dict[str, int]:
    sizes = {"intermediate_size": hidden // 2, "num_local_experts": experts, "num_experts_per_tok": used}
    return _dense(hidden, layers) | sizes


CASES = {
    "dense": Case(base="tiny_dense", model=_dense(512, 8), sequences=4),
    "moe": Case(base="tiny_moe", model=_moe(256, 8, experts=32, used=8), sequences=4),
    # for rehearsals and for tests of the benchmark itself
    "small_dense": Case(base="tiny_dense", model=_dense(64, 1), sequences=2, sequence_length=64),
    "small_moe": Case(base="tiny_moe", model=_moe(64, 1, experts=4, used=2), sequences=2, sequence_length=64),
}
TIMED = ("dense", "moe")  # what `all` means
SMALL = {"dense": "small_dense", "moe": "small_moe", "small_dense": "small_dense", "small_moe": "small_moe"}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A case in one precision on one device: what every contender is built from."""

    case: Case
    precision: str  # bf16 | fp32
    device: torch.device
    compiled: bool = False

    @cached_property
    def config(self) -> Config:
        """The config under which our loop trains this case; every group has learning-rate ratio 1."""
        from pretrain.config.load import load

        case = self.case
        sections: dict[str, dict[str, Any]] = {
            "model": case.model | GIVEN,
            "mup": {"base_width": case.model["hidden_size"]},
            "run": {"precision": self.precision},
            "batch": {
                "sequences": case.sequences,
                "micro_sequences": case.sequences,
                "sequence_length": case.sequence_length,
            },
        }
        given = [f"{name}.{key}={value}" for name, keys in sections.items() for key, value in keys.items()]
        return load(case.base, given)

    @property
    def shape(self) -> ModelShape:
        """The decoder's shape."""
        from pretrain.config.derive import model_shape

        return model_shape(self.config)

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and activations."""
        from pretrain.loop.build import DTYPES

        return DTYPES[self.precision]

    def weights(self) -> dict[str, Tensor]:
        """The first weights of every contender, fp32 on the host."""
        from megatron_lite.model.parameters import parameters
        from pretrain.loop.build import initial_state

        read = initial_state(self.shape, self.config.mup, seed=0)
        return {parameter.name: read("weight", parameter.name) for parameter in parameters(self.shape)}

    def batches(self) -> list[Tensor]:
        """Random tokens BS on the device; the last token of a sequence predicts nothing."""
        import torch

        generator = torch.Generator().manual_seed(0)
        size = (NUM_BATCHES, self.case.sequences, self.case.sequence_length)
        return list(torch.randint(self.shape.vocab_size, size, generator=generator).to(self.device))
