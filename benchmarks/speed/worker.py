"""One contender in a process of its own: it prepares once and then makes steps when it is told to.

Started with a JSON of its job; answers every line on standard input with a JSON line on standard output.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch

from megatron_lite.kernels.choice import choose, multiplies_bf16
from megatron_lite.kernels.options import KernelOptions
from megatron_lite.model.parameters import flops_per_token
from pretrain.machine import use_cores
from pretrain.monitor.peak import peak_flops
from pretrain.ranks import Ranks
from speed.bare import Step
from speed.cases import CASES, SMALL, Setup
from speed.contenders import CONTENDERS, UnavailableError
from speed.resident import Memory, keep_freed_memory

FIRST_LINES = 3  # of an error
ALONE = Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0)


class Worker:
    """A contender's training step and what is measured of it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.device = torch.device(job["device"])
        use_cores(ALONE, self.device)
        keep_freed_memory()
        if job["threads"]:
            torch.set_num_threads(job["threads"])
        self.memory = Memory(self.device)
        self.contender = CONTENDERS[job["contender"]]

    def prepare(self, warmup_steps: int) -> dict[str, Any]:
        """Build, and make the first steps; what they saw is what the contenders are compared by."""
        self._rehearse()
        self.held_before = self.memory.now()
        self.setup = self._setup(self.job["shape"], compiled=self.contender.compiled)
        self.step = self._build(self.setup)
        begin = time.perf_counter()
        updates = [self.step() for _ in range(warmup_steps)]
        self.memory.release()
        return {
            "losses": [float(update.loss) for update in updates],
            "norm": float(updates[0].norm),
            "warmup_seconds": time.perf_counter() - begin,
            "tokens": self.setup.config.batch.tokens,
            "flops_per_token": flops_per_token(self.setup.shape, self.setup.case.sequence_length),
            "threads": torch.get_num_threads(),
            "kernels": choose(KernelOptions(), self.device, self.setup.dtype).reasons,
            "device": torch.cuda.get_device_name(self.device) if self.memory.on_gpu else "cpu",
        }

    def round(self, steps: int) -> dict[str, Any]:
        """A few steps after one that is not timed, and then the matrix-product peak.

        The untimed one takes memory back from the system and refills the caches after the others' turns.
        """
        self.memory.reset_peak()
        self.step()
        seconds = [self._timed_step() for _ in range(steps)]
        peak_bytes = self.memory.peak() - self.held_before
        flops = peak_flops(self.device, self._peak_dtype())
        self.memory.release()
        return {"seconds": median(seconds), "peak_bytes": peak_bytes, "peak_flops": flops}

    def _peak_dtype(self) -> torch.dtype:
        """What the device multiplies fastest without losing precision: fp32 where bf16 is emulated."""
        emulated = not self.memory.on_gpu and not multiplies_bf16()
        return torch.float32 if emulated else self.setup.dtype

    def _timed_step(self) -> float:
        self._wait_for_device()
        begin = time.perf_counter()
        self.step()
        self._wait_for_device()
        return time.perf_counter() - begin

    def _wait_for_device(self) -> None:
        if self.memory.on_gpu:
            torch.cuda.synchronize(self.device)

    def _rehearse(self) -> None:
        """Load every library before memory counts: two steps of a small model, and a small compilation."""
        step = self._build(self._setup(SMALL[self.job["shape"]], compiled=False))
        for _ in range(2):
            step()
        if self.contender.compiled:
            torch.compile(torch.sin, dynamic=False)(torch.ones(64, device=self.device))
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()  # or the small sizes would make those of the benchmark dynamic
        del step
        gc.collect()

    def _setup(self, shape: str, *, compiled: bool) -> Setup:
        return Setup(
            case=CASES[shape], precision=self.job["precision"], device=self.device, compiled=compiled
        )

    def _build(self, setup: Setup) -> Step:
        module, function = self.contender.build.split(":")
        return getattr(importlib.import_module(module), function)(setup, **self.contender.options)


def answer(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `act` gives, or why there is nothing."""
    try:
        return act()
    except UnavailableError as error:
        return {"unavailable": str(error)}
    except Exception as error:  # one contender that fails must not end the others
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return {"failed": " | ".join([type(error).__name__, *lines[:FIRST_LINES]])}


def main() -> None:
    # libraries print; the answers go another way
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(json.loads(sys.argv[1]))
    for line in sys.stdin:
        order, number = line.split()
        act = worker.prepare if order == "prepare" else worker.round
        answers.write(json.dumps(answer(partial(act, int(number)))) + "\n")
        answers.flush()
    sys.stderr.flush()
    os._exit(0)  # some libraries abort while the interpreter shuts down


if __name__ == "__main__":
    main()
