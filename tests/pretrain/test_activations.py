"""The estimate of activations against the storages that are alive, its constants against the kernel's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from megatron_lite.kernels import cross_entropy
from megatron_lite.kernels.choice import Kernels
from megatron_lite.kernels.options import Checkpointing
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents
from megatron_lite.model.shape import ModelShape
from pretrain import activations
from pretrain.config.derive import model_shape
from pretrain.config.load import load

CASES = [
    pytest.param(name, dtype, checkpointing, id=f"{name}-{checkpointing}-{str(dtype)[6:]}")
    for name in ("tiny_moe", "tiny_dense")
    for dtype in (torch.float32, torch.bfloat16)
    for checkpointing in ("none", "selective", "full")
]


class Alive(TorchDispatchMode):
    """Every storage that an operator makes until nothing refers to it, be it held by autograd or a cache."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        held = [tensor for weight in model.parameters() for tensor in (weight, weight.grad)]
        self.apart = {tensor.untyped_storage()._cdata for tensor in held if tensor is not None}
        self.made: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.apart:
                    self.made.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
        self.peak = max(self.peak, self.bytes())
        return results

    def bytes(self) -> int:
        """What is alive now."""
        self.made = {key: entry for key, entry in self.made.items() if not entry[0].expired()}
        return sum(num_bytes for _, num_bytes in self.made.values())


def passes(
    name: str, dtype: torch.dtype, checkpointing: Checkpointing, *overrides: str
) -> tuple[ModelShape, int, int, int]:
    """A shape, its tokens, the bytes kept between the two passes, and those at the peak of both."""
    shape = model_shape(load(name, list(overrides)))
    model = Decoder(shape, Kernels(activation_checkpointing=checkpointing)).to(dtype)
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.02)
        weight.grad = torch.zeros_like(weight)
    tokens_BS = torch.randint(0, shape.vocab_size, (4, 256))  # two chunks of the loss
    where, tokens_T = documents(tokens_BS, None), tokens_BS.flatten()
    with Alive(model) as alive:
        out = model(tokens_T, tokens_T, where)
        between = alive.bytes()
        sum(tensor.sum() for tensor in out.values()).backward()
    head = shape.vocab_size * shape.hidden_size
    from_loss = activations.FP32 * head + dtype.itemsize * tokens_BS.numel() * shape.hidden_size
    return shape, tokens_BS.numel(), between - from_loss, alive.peak


@pytest.mark.parametrize(("name", "dtype", "checkpointing"), CASES)
def test_what_is_kept_between_the_passes(name: str, dtype: torch.dtype, checkpointing: Checkpointing) -> None:
    shape, tokens, between, _ = passes(name, dtype, checkpointing, "model.num_hidden_layers=3")
    estimate = activations.kept(shape, tokens, dtype.itemsize, checkpointing)
    assert estimate == pytest.approx(between, rel=0.03)


@pytest.mark.parametrize("layers", [1, 6], ids=["loss", "blocks"])
@pytest.mark.parametrize(("name", "dtype", "checkpointing"), CASES)
def test_the_peak_of_both_passes(
    name: str, dtype: torch.dtype, checkpointing: Checkpointing, layers: int
) -> None:
    """With one layer it stands in the loss, with six and few words in a block that is computed again."""
    words = 4096 if layers == 1 else 64
    depth = (f"model.num_hidden_layers={layers}", f"model.vocab_size={words}")
    shape, tokens, _, peak = passes(name, dtype, checkpointing, *depth)
    estimate = activations.activations(shape, tokens, dtype.itemsize, checkpointing)
    assert estimate == pytest.approx(peak, rel=0.08)


def test_constants_are_the_kernels() -> None:
    assert activations.LOSS_CHUNK_BYTES == cross_entropy.MAX_CHUNK_BYTES
    assert activations.LOSS_CHUNK_ROWS == cross_entropy.MAX_CHUNK_ROWS
    assert activations.LOSS_BLOCK_BYTES == cross_entropy.MAX_BLOCK_BYTES
