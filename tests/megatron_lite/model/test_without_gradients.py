"""A decoder says the same, bit for bit, whether or not a gradient will be asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from megatron_lite.kernels.choice import Kernels
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import in_a_row


@pytest.mark.parametrize("experts", [None, 8], ids=["dense", "moe"])
@pytest.mark.parametrize(("dtype", "wide"), [(torch.float32, False), (torch.bfloat16, True)])
def test_same_logits(
    dtype: torch.dtype, wide: bool, experts: int | None, make_decoder: Callable, make_shape: Callable
) -> None:
    plain = make_decoder(make_shape(num_experts=experts), dtype)
    model = Decoder(plain.shape, replace(Kernels(), wide_products=wide)).to(dtype)
    model.load_state_dict(plain.state_dict())
    tokens_T, row = torch.arange(30) * 7 % 96, in_a_row([13, 1, 16])
    with_T = model.logits(tokens_T, row)
    assert with_T.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(model.logits(tokens_T, row), with_T.detach())
