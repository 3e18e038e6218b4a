"""Compiled and checkpointed blocks give the losses and gradients of plain ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from megatron_lite.kernels.choice import Kernels
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents

GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
DEVICES = ["cpu", GPU]


def results(
    kernels: Kernels,
    make_decoder: Callable[..., Decoder],
    make_shape: Callable,
    experts: int | None,
    device: str,
) -> list[dict[str, Tensor]]:
    """Loss, router statistics and gradients of two batches whose documents differ."""
    plain = make_decoder(make_shape(num_experts=experts, num_layers=3))
    model = Decoder(plain.shape, kernels)
    model.load_state_dict(plain.state_dict())
    model.to(device)
    found = []
    for seed in range(2):
        tokens_BS = torch.randint(96, (2, 33), generator=torch.Generator().manual_seed(seed))
        inputs = tokens_BS[:, :-1].contiguous()
        where = documents(inputs, 5 + seed).to(device)
        out = model(inputs.flatten().to(device), tokens_BS[:, 1:].flatten().to(device), where)
        objective = out["loss_sum"] + sum(out[name].sum() for name in out if name in ("z_sums_L",))
        objective.backward()
        grads = {name: weight.grad.clone() for name, weight in model.named_parameters()}
        model.zero_grad()
        found.append({name: tensor.detach() for name, tensor in out.items()} | grads)
    return found


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("experts", [None, 5], ids=["dense", "moe"])
@pytest.mark.parametrize(
    ("compiled", "checkpointing"),
    [
        (False, "none"),
        (False, "selective"),
        (False, "full"),
        (True, "none"),
        pytest.param(True, "selective", marks=pytest.mark.slow),
        pytest.param(True, "full", marks=pytest.mark.slow),
    ],
)
def test_same_numbers(
    compiled: bool,
    checkpointing: str,
    experts: int | None,
    device: str,
    make_decoder: Callable[..., Decoder],
    make_shape: Callable,
) -> None:
    """Expert counts included: a layer that is computed twice is counted once. No graph break either."""
    torch.compiler.reset()
    kernels = Kernels(compile_blocks=compiled, activation_checkpointing=checkpointing)  # type: ignore[arg-type]
    ours = results(kernels, make_decoder, make_shape, experts, device)
    plain = results(Kernels(), make_decoder, make_shape, experts, device)
    for mine, wanted in zip(ours, plain, strict=True):
        for name, tensor in wanted.items():
            limit = 2e-5 * float(tensor.abs().max())
            torch.testing.assert_close(
                mine[name], tensor, rtol=0, atol=limit, msg=lambda m, n=name: f"{n}: {m}"
            )
