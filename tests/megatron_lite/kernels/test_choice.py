"""Which kernels are chosen where, with what reason, and what is refused by the name of its key."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from megatron_lite.kernels import choice
from megatron_lite.kernels.choice import Kernels, choose
from megatron_lite.kernels.options import KernelOptions

BF16, FP32 = torch.bfloat16, torch.float32
AMPERE, TURING = (8, 0), (7, 5)


@pytest.fixture
def choosing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """choose() on a machine of our making."""

    def chosen(
        device: str = "cuda",
        dtype: torch.dtype = BF16,
        *,
        flash: bool = True,
        varlen: bool = True,
        capability: tuple[int, int] = AMPERE,
        native_bf16: bool = True,
        sharded: bool = False,
        **options: str | bool,
    ) -> choice.Choice:
        monkeypatch.setattr(choice, "flash_attention", lambda: print if flash else None)
        monkeypatch.setattr(choice, "varlen_attention", lambda: print if varlen else None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(choice, "multiplies_bf16", lambda: native_bf16)
        asked = KernelOptions(**options)
        return choose(asked, torch.device(device), dtype, weights_sharded=sharded)

    return chosen


@pytest.mark.parametrize(
    ("machine", "attention", "why"),
    [
        ({}, "flash_attn", "the package is installed"),
        ({"flash": False}, "varlen", "the package flash-attn is not installed"),
        ({"flash": False, "varlen": False}, "by_document", "neither"),
        ({"dtype": FP32}, "by_document", "need bf16 on a GPU"),
        ({"capability": TURING}, "by_document", "need bf16 on a GPU"),
        ({"device": "cpu"}, "by_document", "need bf16 on a GPU"),
        ({"dtype": torch.float64}, "by_document", "need bf16 on a GPU"),
        ({"attention": "varlen"}, "varlen", "as configured"),
        ({"attention": "by_document"}, "by_document", "as configured"),
        ({"device": "cpu", "attention": "reference"}, "reference", "as configured"),
        ({"capability": (9, 0), "attention": "flash_attn"}, "flash_attn", "as configured"),
    ],
)
def test_attention(machine: dict[str, Any], attention: str, why: str, choosing: Any) -> None:
    chosen = choosing(**machine)
    assert chosen.kernels.attention == attention
    assert chosen.reasons[0].startswith(f"attention {attention} (")
    assert why in chosen.reasons[0]


@pytest.mark.parametrize(
    ("machine", "wide", "why"),
    [
        ({}, False, "fast as they are"),
        ({"native_bf16": False}, False, "fast as they are"),  # the CPU's instructions do not matter to a GPU
        ({"device": "cpu"}, False, "this CPU multiplies bf16"),
        ({"device": "cpu", "native_bf16": False}, True, "no instructions for bf16"),
        ({"device": "cpu", "native_bf16": False, "dtype": FP32}, False, "fast as they are"),
        ({"device": "cpu", "products": "fp32"}, True, "as configured"),
        ({"device": "cpu", "products": "fp32", "dtype": FP32}, False, "as configured"),  # nothing to widen
        ({"device": "cpu", "native_bf16": False, "products": "given"}, False, "as configured"),
    ],
)
def test_products(machine: dict[str, Any], wide: bool, why: str, choosing: Any) -> None:
    chosen = choosing(**machine)
    assert chosen.kernels.wide_products == wide
    assert chosen.reasons[2].startswith(f"products {'fp32' if wide else 'given'} (")
    assert why in chosen.reasons[2]


@pytest.mark.parametrize(
    ("machine", "compiled", "why"),
    [
        ({}, True, "fuses"),
        ({"compile": "none"}, False, "as configured"),
        ({"sharded": True}, False, "ZeRO-3"),
        ({"sharded": True, "compile": "none"}, False, "ZeRO-3"),
        ({"device": "cpu"}, False, "pays only in long runs"),
        ({"device": "cpu", "compile": "blocks"}, True, "as configured"),
    ],
)
def test_compile(machine: dict[str, Any], compiled: bool, why: str, choosing: Any) -> None:
    chosen = choosing(**machine)
    assert chosen.kernels.compile_blocks == compiled
    assert chosen.reasons[3].startswith(f"compile {'blocks' if compiled else 'none'} (")
    assert why in chosen.reasons[3]


@pytest.mark.parametrize(
    ("machine", "key", "way_out"),
    [
        ({"device": "cpu", "attention": "flash_attn"}, "kernels.attention", "by_document runs everywhere"),
        ({"device": "cpu", "attention": "varlen"}, "kernels.attention", "by_document runs everywhere"),
        ({"dtype": FP32, "attention": "flash_attn"}, "kernels.attention", "run.precision bf16"),
        ({"capability": TURING, "attention": "varlen"}, "kernels.attention", "capability 8.0"),
        ({"flash": False, "attention": "flash_attn"}, "kernels.attention", "is not installed here"),
        ({"varlen": False, "attention": "varlen"}, "kernels.attention", "auto takes what there is"),
        ({"sharded": True, "compile": "blocks"}, "kernels.compile", "zero_optimization.stage 3"),
    ],
)
def test_what_cannot_be_is_refused(machine: dict[str, Any], key: str, way_out: str, choosing: Any) -> None:
    with pytest.raises(ValueError, match="^" + key.replace(".", r"\.") + ": ") as refused:
        choosing(**machine)
    assert way_out in str(refused.value)


def test_the_rest_is_as_configured(choosing: Any) -> None:
    """And the choice for a CPU in fp32 is what a decoder has by itself."""
    assert choosing("cpu", FP32).kernels == Kernels()
    chosen = choosing(experts="loop", activation_checkpointing="selective")
    assert not chosen.kernels.grouped_experts
    assert chosen.kernels.activation_checkpointing == "selective"
    assert chosen.reasons[1] == "experts loop"
    assert chosen.reasons[4] == "activation checkpointing selective"


def test_the_same_bits_are_asked_for_and_said(choosing: Any) -> None:
    assert choosing(deterministic=True).kernels.deterministic
    assert "the same bits in every run" in choosing(deterministic=True).reasons
    assert not choosing().kernels.deterministic
