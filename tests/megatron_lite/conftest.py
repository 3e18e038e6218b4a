"""Small decoders for the tests: any shape, random weights, no training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.shape import ModelShape


def _shape(**changes: object) -> ModelShape:
    """A small shape with no multiplier at 1; `num_experts` makes it sparse, two experts a token."""
    fields: dict[str, object] = {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "num_kv_heads": 2,
        "intermediate_size": 48,
        "num_experts": None,
        "experts_per_token": 2 if changes.get("num_experts") else None,
        "vocab_size": 96,
        "max_positions": 64,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-6,
        "tied": True,
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.4,
        "attention_multiplier": 0.2,
        "logits_scaling": 1.5,
    }
    return ModelShape(**{**fields, **changes})  # type: ignore[arg-type]


def _decoder(shape: ModelShape, dtype: torch.dtype = torch.float32, seed: int = 0) -> Decoder:
    """A decoder with random weights, its gains near 1."""
    generator = torch.Generator().manual_seed(seed)
    decoder = Decoder(shape)
    with torch.no_grad():
        for weight in decoder.parameters():
            gain = weight.ndim == 1
            weight.normal_(1.0 if gain else 0.0, 0.1 if gain else 0.3, generator=generator)
    return decoder.to(dtype)


@pytest.fixture(scope="session")
def make_shape() -> Callable[..., ModelShape]:
    """Builds a small shape, with changes by keyword."""
    return _shape


@pytest.fixture(scope="session")
def make_decoder() -> Callable[..., Decoder]:
    """Builds a decoder of a shape, in a dtype, from a seed."""
    return _decoder
