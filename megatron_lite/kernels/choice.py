"""The choice of kernels: one function of the options and the device, which says what it chose and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from megatron_lite.kernels.attention import flash_attention, varlen_attention
from megatron_lite.kernels.options import Checkpointing, KernelOptions
from megatron_lite.kernels.precision import NARROW

FLASH_CAPABILITY = (8, 0)  # the oldest GPUs that flash attention and grouped products run on


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """Kernels with every choice made. The defaults compute on any device, in any precision."""

    attention: Literal["flash_attn", "varlen", "by_document", "reference"] = "by_document"
    grouped_experts: bool = True
    wide_products: bool = False
    compile_blocks: bool = False
    activation_checkpointing: Checkpointing = "none"
    deterministic: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Kernels, and a reason for each of them."""

    kernels: Kernels
    reasons: tuple[str, ...]


def choose(
    options: KernelOptions, device: torch.device, dtype: torch.dtype, *, weights_sharded: bool = False
) -> Choice:
    """The kernels for weights of `dtype` on `device`; ValueError where the options ask for what cannot be.

    `weights_sharded`: ZeRO-3 gathers weights by hooks inside a block, which no compiler looks through.
    """
    attention, why_attention = _attention(options, device, dtype)
    wide, why_wide = _products(options, device, dtype)
    compiled, why_compiled = _compile(options, device, weights_sharded)
    kernels = Kernels(
        attention=attention,  # type: ignore[arg-type]
        grouped_experts=options.experts != "loop",
        wide_products=wide,
        compile_blocks=compiled,
        activation_checkpointing=options.activation_checkpointing,
        deterministic=options.deterministic,
    )
    reasons = (
        f"attention {attention} ({why_attention})",
        f"experts {'grouped' if kernels.grouped_experts else 'loop'}",
        f"products {'fp32' if wide else 'given'} ({why_wide})",
        f"compile {'blocks' if compiled else 'none'} ({why_compiled})",
        f"activation checkpointing {options.activation_checkpointing}",
        *(["the same bits in every run"] if options.deterministic else []),
    )
    return Choice(kernels=kernels, reasons=reasons)


def _attention(options: KernelOptions, device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    able = device.type == "cuda" and dtype in NARROW and _capable(device)
    present = {"flash_attn": flash_attention() is not None, "varlen": varlen_attention() is not None}
    if options.attention in present:
        if not able:
            raise ValueError(
                f"kernels.attention: {options.attention} needs run.precision bf16 on a GPU of compute "
                "capability 8.0 or newer; by_document runs everywhere"
            )
        if not present[options.attention]:
            raise ValueError(
                f"kernels.attention: {options.attention} is not installed here; auto takes what there is"
            )
    if options.attention != "auto":
        return options.attention, "as configured"
    if not able:
        return "by_document", "variable lengths in one call need bf16 on a GPU"
    if present["flash_attn"]:
        return "flash_attn", "the package is installed"
    if present["varlen"]:
        return "varlen", "torch's own; the package flash-attn is not installed"
    return "by_document", "neither flash-attn nor torch's variable-length attention is here"


def _capable(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= FLASH_CAPABILITY


def _products(options: KernelOptions, device: torch.device, dtype: torch.dtype) -> tuple[bool, str]:
    if options.products != "auto":
        return options.products == "fp32" and dtype in NARROW, "as configured"
    if device.type != "cpu" or dtype not in NARROW:
        return False, "multiplied fast as they are"
    if multiplies_bf16():
        return False, "this CPU multiplies bf16"
    return True, "this CPU has no instructions for bf16, and emulates them slowly"


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for products of bf16; levels that are not x86's are taken to have."""
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512", "DEFAULT"):
        return True
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _compile(options: KernelOptions, device: torch.device, weights_sharded: bool) -> tuple[bool, str]:
    if weights_sharded:
        if options.compile == "blocks":
            raise ValueError(
                "kernels.compile: blocks cannot be under deepspeed.zero_optimization.stage 3, whose hooks "
                "gather weights inside a block; use stage 1 or 2, or compile: none"
            )
        return False, "ZeRO-3 gathers weights inside a block"
    if options.compile != "auto":
        return options.compile == "blocks", "as configured"
    if device.type == "cuda":
        return True, "fuses what lies between matrix products"
    return False, "on a CPU a minute of compiling pays only in long runs"
