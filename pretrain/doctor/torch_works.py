"""Whether torch loads, sees the GPUs that the driver sees, and whether flash-attn loads."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pretrain.doctor.finding import Finding, note, ok, problem
from pretrain.doctor.limits import Failed, output_of

CHECK, FLASH = "torch", "flash-attn"
SECONDS = 90
SLOW_IMPORT = 30.0  # seconds
NO_FLASH = "attention takes torch's own kernels, which are slower; pip install 'flash-attn>=2.6'"
IMPORTED = "from flash_attn import flash_attn_varlen_func, __version__; print(__version__)"


def torch_works(num_gpus: int, environ: Mapping[str, str]) -> Iterator[Finding]:
    """`num_gpus`: that the driver sees."""
    start = time.perf_counter()
    try:
        told = output_of(
            [sys.executable, "-m", "pretrain.doctor.torch_facts"], seconds=SECONDS, environment=environ
        )
    except Failed as error:
        yield problem(
            CHECK, f"import torch: {error}", "install the wheel for this CUDA; try it alone: python -c"
        )
        return
    yield from judge(json.loads(told.strip().splitlines()[-1]), num_gpus, time.perf_counter() - start)


def judge(facts: Mapping[str, Any], num_gpus: int, seconds: float) -> Iterator[Finding]:
    """`facts`: of `pretrain.doctor.torch_facts`; `seconds`: that loading took."""
    built = f"CUDA {facts['cuda']}" if facts["cuda"] else "no CUDA"
    text = f"{facts['torch']}, {built}, {facts['gpus']} GPU(s)"
    text += f", NCCL {facts['nccl']}" if facts["nccl"] else ""
    if num_gpus and not facts["cuda"]:
        yield problem(
            CHECK, f"{text}: built without CUDA, and the driver has {num_gpus}", "install a CUDA wheel"
        )
    elif num_gpus and facts["gpus"] < num_gpus:
        yield problem(
            CHECK,
            f"{text}, and the driver has {num_gpus}",
            "CUDA_VISIBLE_DEVICES, a driver older than this CUDA, or a container without all of them",
        )
    elif facts["gpus"] > 1 and not facts["nccl"]:
        yield problem(CHECK, f"{text}, and no NCCL between them", "install torch's own wheel for Linux")
    elif seconds > SLOW_IMPORT:
        yield note(CHECK, f"{text}; loading it took {seconds:.0f} s", "put Python's packages on a local disk")
    else:
        yield ok(CHECK, text)


def flash_attention(
    num_gpus: int, installed: str | None, environ: Mapping[str, str], *, quick: bool
) -> Iterator[Finding]:
    """Imported where it is installed and a GPU could use it; `quick`: not even then."""
    error = None
    if installed and num_gpus and not quick:
        try:
            output_of([sys.executable, "-c", IMPORTED], seconds=SECONDS, environment=environ)
        except Failed as failed:
            error = str(failed)
    yield judge_flash(installed, num_gpus, error, tried=not quick)


def judge_flash(installed: str | None, num_gpus: int, error: str | None, *, tried: bool = True) -> Finding:
    """`error`: of the import, where it was tried."""
    if not num_gpus:
        return ok(FLASH, f"{installed or 'not installed'}; it is for GPUs, and none is here")
    if installed is None:
        return note(FLASH, "not installed", NO_FLASH)
    if error:
        return problem(FLASH, f"{installed} does not load: {error}", "build it again for this torch and CUDA")
    return ok(FLASH, f"{installed} loads" if tried else installed)
