"""What the figures were taken on: processor, cores, libraries; no names of hosts or folders."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NATIVE_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # as /proc/cpuinfo calls it on x86 and on Arm
LIBRARIES = ("torch", "transformers", "deepspeed", "litgpt")


def machine() -> dict[str, str]:
    """Facts, in the order in which they are printed."""
    facts = _cpuinfo()
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    return {
        "processor": facts.get("model name", platform.machine()),
        "cores": str(len(os.sched_getaffinity(0))),
        "bf16 in hardware": ", ".join(sorted(flags & NATIVE_BF16)) or "no",
        "python": platform.python_version(),
        **{name: _version(name) for name in LIBRARIES},
    }


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
