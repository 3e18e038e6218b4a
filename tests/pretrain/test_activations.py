"""The estimate of activations against what autograd really keeps, and its constants against the kernel's."""

from __future__ import annotations

import pytest
import torch

from megatron_lite.kernels import cross_entropy
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents
from pretrain import activations
from pretrain.config.derive import model_shape
from pretrain.config.load import load


@pytest.mark.parametrize("name", ["tiny_moe", "tiny_dense"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_autograd_keeps(name, dtype):
    shape = model_shape(load(name, ["model.num_hidden_layers=2"]))
    model = Decoder(shape).to(dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    tokens_BS = torch.randint(0, shape.vocab_size, (2, 128))
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = model(tokens_BS.flatten(), tokens_BS.flatten(), documents(tokens_BS, None))
    assert outputs["loss_sum"].isfinite()
    estimate = activations.kept(shape, tokens_BS.numel(), dtype.itemsize)
    assert estimate == pytest.approx(sum(kept.values()), rel=0.08)


def test_chunk_is_the_kernels():
    assert activations.LOSS_CHUNK_ROWS == cross_entropy.MAX_CHUNK_ROWS
