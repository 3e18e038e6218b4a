"""GPUs that a plan knows by name: memory, and peaks of products and links from the makers' data sheets."""

from __future__ import annotations

from dataclasses import dataclass

from pretrain.errors import UserError, nearest

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One kind of GPU."""

    name: str
    title: str  # as its driver calls it, nearly
    memory_bytes: int  # that programs see: a little less than on the box
    bf16_flops: float  # a second, dense: half of the headline numbers
    fp32_flops: float  # without TF32, as fp32 is computed here
    link_bytes: float  # a second, to the other GPUs of its machine, one way

    def peak(self, precision: str) -> float:
        """FLOP/s of matrix products in a run's precision."""
        return self.bf16_flops if precision == "bf16" else self.fp32_flops


def _gpu(
    name: str, title: str, memory_gib: float, bf16_tera: float, fp32_tera: float, link_giga: float
) -> Gpu:
    return Gpu(
        name=name,
        title=title,
        memory_bytes=int(memory_gib * GIB),
        bf16_flops=bf16_tera * 1e12,
        fp32_flops=fp32_tera * 1e12,
        link_bytes=link_giga * 1e9,
    )


GPUS = {
    gpu.name: gpu
    for gpu in (
        _gpu("h100", "NVIDIA H100 80GB HBM3", 79.1, 989, 67, 450),
        _gpu("h100-pcie", "NVIDIA H100 PCIe", 79.1, 756, 51, 64),
        _gpu("h100-nvl", "NVIDIA H100 NVL", 93.1, 835, 60, 300),
        _gpu("h200", "NVIDIA H200", 139.8, 989, 67, 450),
        _gpu("gh200", "NVIDIA GH200 480GB", 94.5, 989, 67, 450),
        _gpu("b200", "NVIDIA B200", 178.3, 2250, 75, 900),
        _gpu("a100-80", "NVIDIA A100-SXM4-80GB", 79.1, 312, 19.5, 300),
        _gpu("a100-40", "NVIDIA A100-SXM4-40GB", 39.4, 312, 19.5, 300),
        _gpu("l40s", "NVIDIA L40S", 44.4, 362, 91.6, 32),
        _gpu("rtx-4090", "NVIDIA GeForce RTX 4090", 23.5, 165, 82.6, 32),
    )
}


def find(name: str) -> Gpu:
    """The GPU of this name; UserError with those that are known."""
    key = name.strip().lower().replace("_", "-").replace(" ", "-")
    if key not in GPUS:
        raise UserError(
            f"--gpu {name}: no such GPU; {', '.join(GPUS)} are known.{nearest(key, GPUS)} For another, give "
            "the nearest of them and --gpu-memory and --mfu besides"
        )
    return GPUS[key]
