"""A forward and backward pass of a config's model on fake CUDA tensors: which operators wait for the device.

    python step.py LIBRARY < cases.json

LIBRARY is device.cpp compiled, or empty where torch has CUDA. Fake tensors have a device, a type and a shape
but no numbers, so an operator that needs a number on the host has no answer; it is written down before. What
a kernel does inside itself is not seen. Prints, for every case, the operators that wait, copies to the host
included, and how often some operators were called.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

if sys.argv[1]:
    ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)  # before torch looks for accelerators

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from megatron_lite.kernels import attention as attention_module
from megatron_lite.kernels.choice import Kernels
from megatron_lite.model.documents import documents
from megatron_lite.model.loss import balance_loss, z_loss
from pretrain.config.derive import model_shape
from pretrain.config.load import load
from pretrain.loop.build import build_model

WAITS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
PLANTED: dict[str, Callable[[Tensor], Any]] = {
    "item": lambda h_TH: h_TH.sum().item(),
    "to the host": lambda h_TH: h_TH.cpu(),
    "nonzero": lambda h_TH: h_TH.nonzero(),
    "mask": lambda h_TH: h_TH[h_TH > 0],
    "copied into the host": lambda h_TH: torch.empty(h_TH.shape).copy_(h_TH),
}
NAMED = ("_varlen_attn", "flash_stand_in", "_grouped_mm", "scaled_dot_product")


class Waits(TorchDispatchMode):
    """Writes down operators after which the host must know numbers of the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.called: Counter[str] = Counter()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.called.update(name for name in NAMED if name in str(operator))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(tensor.is_cuda for tensor in tensors) and self._waits(operator, args, kwargs):
            self.found.append(str(operator))
        return operator(*args, **kwargs)

    def _waits(self, operator: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
        name = operator.name()
        if name.startswith(("aten::index.", "aten::index_put", "aten::_index_put", "aten::_unsafe_index")):
            return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        if name == "aten::_to_copy":
            to = kwargs.get("device")
            return to is not None and torch.device(to).type == "cpu"
        if name == "aten::copy_":
            return args[0].device.type == "cpu" and args[1].is_cuda
        return bool(WAITS & set(operator.tags))


@torch.library.custom_op("tests::flash_stand_in", mutates_args=())
def flash_stand_in(q: Tensor, k: Tensor, v: Tensor, cu_lengths: Tensor, longest: int) -> Tensor:
    """In the place of flash-attn, which is not here: shapes only."""
    raise AssertionError("fake tensors only")


@flash_stand_in.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, cu_lengths: Tensor, longest: int) -> Tensor:
    assert cu_lengths.dtype == torch.int32
    assert q.dtype == k.dtype == v.dtype == torch.bfloat16
    assert all(tensor.is_cuda and tensor.stride(-1) == 1 for tensor in (q, k, v, cu_lengths))
    return torch.empty_like(q, memory_format=torch.contiguous_format)


flash_stand_in.register_autograd(
    lambda ctx, grad: (*(torch.empty_like(x) for x in ctx.saved_tensors), None, None),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs[:3]),
)


def flash_attention(q: Tensor, k: Tensor, v: Tensor, **how: Any) -> Tensor:
    """Called as flash-attn is."""
    assert how["causal"]
    return flash_stand_in(q, k, v, how["cu_seqlens_q"], how["max_seqlen_q"])


def waits(case: dict[str, Any]) -> dict[str, Any]:
    """What waited in one forward and backward pass, router losses included."""
    shape = model_shape(load(case["config"], ["model.num_hidden_layers=2"]))
    row_T = torch.arange(2 * 1024) % case["document_tokens"]  # 0 ends a document
    real = documents(row_T.view(2, -1), 0)  # their boundaries are known to the host
    with FakeTensorMode() as fake:
        model = build_model(shape, "bf16", torch.device("cuda"), Kernels(**case["kernels"]))
        tokens_T = fake.from_tensor(row_T).to("cuda")
        positions_T, cu_lengths = fake.from_tensor(real.positions_T), fake.from_tensor(real.cu_lengths)
        where = replace(real, positions_T=positions_T, cu_lengths=cu_lengths).to("cuda")
        if "planted" in case:
            plant(model.norm, PLANTED[case["planted"]])
        with torch.autograd.set_multithreading_enabled(False), Waits() as seen:  # the backward pass too
            try:
                objective(model(tokens_T, tokens_T, where), len(row_T)).backward()
            except (DataDependentOutputException, DynamicOutputShapeException):
                assert seen.found  # the operator that has no answer was written down
                return {"waits": seen.found, "called": seen.called}
        assert all(weight.grad.is_cuda for weight in model.parameters())
    return {"waits": seen.found, "called": seen.called}


def plant(module: torch.nn.Module, act: Callable[[Tensor], Any]) -> None:
    """Do something with what goes into the module, beside it."""

    def hook(_: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        act(*inputs)

    module.register_forward_pre_hook(hook)


def objective(out: dict[str, Tensor], tokens: int) -> Tensor:
    """The loss, and a router's where there is one."""
    loss = out["loss_sum"] / tokens
    if "z_sums_L" not in out:
        return loss
    counts_LE = out["expert_counts_LE"]
    fractions_LE = counts_LE / counts_LE.sum(1, keepdim=True)
    return (
        loss
        + balance_loss(fractions_LE, out["probability_sums_LE"], tokens)
        + z_loss(out["z_sums_L"], tokens)
    )


if __name__ == "__main__":
    attention_module.flash_attention = lambda: flash_attention  # type: ignore[assignment]
    print(json.dumps([waits(case) for case in json.load(sys.stdin)]))
