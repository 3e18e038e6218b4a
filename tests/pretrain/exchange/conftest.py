"""Random models of transformers, folders of them, and a checkpoint of ours that no run had to train."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from megatron_lite.model.decoder import Decoder
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.save import save_checkpoint
from pretrain.data.progress import SilentProgress
from pretrain.exchange.from_transformers import Imported, import_model
from pretrain.exchange.keys import model_section
from pretrain.exchange.source import find_source
from pretrain.exchange.to_transformers import Exported, export_model

ARCHITECTURES = ("granite", "granitemoe")


def random_fields(seed: int, architecture: str) -> dict[str, Any]:
    """Fields of a small config, every one drawn: odd sizes that suit no kernel, no multiplier at 1."""
    rng = random.Random(f"{architecture} {seed}")
    heads = rng.choice([1, 2, 4, 6])
    fields: dict[str, Any] = {
        "vocab_size": rng.randint(40, 120),
        "hidden_size": heads * rng.choice([2, 6, 8, 10, 16, 24]),
        "intermediate_size": rng.randint(1, 56),
        "num_hidden_layers": rng.randint(1, 3),
        "num_attention_heads": heads,
        "num_key_value_heads": rng.choice([n for n in range(1, heads + 1) if heads % n == 0]),
        "max_position_embeddings": rng.choice([32, 64, 4096]),
        "rms_norm_eps": rng.choice([1e-6, 1e-5, 1e-3]),
        "rope_parameters": {"rope_type": "default", "rope_theta": rng.choice([500.0, 10000.0, 5e6])},
        "tie_word_embeddings": rng.random() < 0.5,
        "embedding_multiplier": rng.uniform(0.5, 14),
        "residual_multiplier": rng.uniform(0.1, 0.9),
        "attention_multiplier": rng.uniform(0.01, 0.4),
        "logits_scaling": rng.uniform(0.3, 9),
        "bos_token_id": rng.choice([None, 0]),
        "eos_token_id": rng.choice([0, 2, [2, 3]]),
        "pad_token_id": rng.choice([None, 0]),
    }
    if architecture == "granitemoe":
        experts = rng.randint(2, 9)
        fields |= {"num_local_experts": experts, "num_experts_per_tok": rng.randint(1, min(experts, 4))}
    return fields


def their_random_model(seed: int, architecture: str, **changes: Any) -> Any:
    """A model of theirs with random weights, its gains near 1."""
    from transformers import AutoModelForCausalLM, GraniteConfig, GraniteMoeConfig

    classes = {"granite": GraniteConfig, "granitemoe": GraniteMoeConfig}
    config = classes[architecture](**{**random_fields(seed, architecture), **changes})
    model = AutoModelForCausalLM.from_config(config)
    if architecture == "granitemoe":
        model.set_experts_implementation("eager")  # the only one of theirs that takes odd sizes
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            gain = weight.ndim == 1
            weight.normal_(1.0 if gain else 0.0, 0.1 if gain else 0.3, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def their_model() -> Callable[..., Any]:
    """Builds a model of transformers from a seed."""
    return their_random_model


@pytest.fixture(scope="session")
def run_import() -> Callable[..., Imported]:
    """`pretrain import` as a function."""

    def call(folder: Path, out: Path, **options: Any) -> Imported:
        return import_model(folder, out, progress=SilentProgress(), **options)

    return call


@pytest.fixture(scope="session")
def run_export() -> Callable[..., Exported]:
    """`pretrain export` as a function."""

    def call(path: Path, out: Path, **options: Any) -> Exported:
        return export_model(path, out, progress=SilentProgress(), **options)

    return call


@pytest.fixture(scope="session")
def our_decoder() -> Callable[..., Decoder]:
    """The decoder with the weights of a checkpoint."""

    def build(folder: Path, dtype: torch.dtype = torch.float32) -> Decoder:
        source = find_source(folder)
        decoder = Decoder(source.shape)
        names = dict(decoder.named_parameters())
        decoder.load_state_dict({name: source.checkpoint.tensor("weight", name) for name in names})
        return decoder.to(dtype)

    return build


@pytest.fixture(scope="session")
def save_decoder() -> Callable[..., Path]:
    """Writes a decoder's weights as the checkpoint of a run."""

    class Weights:
        def __init__(self, tensors: Mapping[str, Tensor]) -> None:
            self.tensors = tensors

        def state(self) -> Any:
            for kind in ("weight", "exp_avg", "exp_avg_sq"):
                for name, tensor in self.tensors.items():
                    yield kind, name, tensor if kind == "weight" else torch.ones_like(tensor)

    def save(decoder: Decoder, run_folder: Path, step: int = 7) -> Path:
        tensors = {name: weight.detach() for name, weight in decoder.named_parameters()}
        facts = {"config": {"model": model_section(decoder.shape)}}
        position = Position(step=step, tokens=step * 1000)
        engine: Any = Weights(tensors)
        return save_checkpoint(run_folder / "checkpoints", engine, position, facts, first_rank=True)

    return save
