"""Options of how the decoder is computed: they change speed and memory, and no result but by rounding."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from megatron_lite.options import Options

Attention = Literal["auto", "flash_attn", "varlen", "by_document", "reference"]
Checkpointing = Literal["none", "selective", "full"]


class KernelOptions(Options):
    """Which kernels compute the decoder, and what is kept for the backward pass."""

    attention: Attention = Field(
        "auto",
        description="flash_attn (the package), varlen (torch's own), by_document (a call each), reference",
    )
    experts: Literal["auto", "grouped", "loop"] = Field(
        "auto", description="grouped: one matrix product for all experts; loop: one each"
    )
    products: Literal["auto", "given", "fp32"] = Field(
        "auto",
        description="given: matrices are multiplied as they are; fp32: widened first, for CPUs without bf16",
    )
    compile: Literal["auto", "none", "blocks"] = Field(
        "auto", description="blocks: torch.compile of a block, once for all layers; auto: on GPUs"
    )
    activation_checkpointing: Checkpointing = Field(
        "none",
        description="kept for the backward pass: none: everything; selective: matrix products and attention;"
        " full: a block's input",
    )
    deterministic: bool = Field(
        False,
        description="on GPUs: the same bits in every run on the same machine, by slower kernels if needed",
    )
