"""Where in a run a rank is killed: inside a named phase, at a moment drawn from how long the phase takes."""

from __future__ import annotations

import functools
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

PHASES = ("start", "load", "read", "forward-backward", "update", "evaluate", "save", "anywhere")


def arm(phase: str, occurrence: int, seed: int) -> None:
    """Have this process die by SIGKILL in the `occurrence`-th entry into `phase`, counted from 0."""
    draw = random.Random(seed)
    if phase in ("start", "anywhere"):
        longest = 0.6 if phase == "start" else 4.0
        _die_after(draw.uniform(0.0, longest))
        return
    for owner, name in _functions(phase):
        setattr(owner, name, _fatal(getattr(owner, name), occurrence, draw))


def _functions(phase: str) -> list[tuple[Any, str]]:
    """What a process is in while it is in the phase."""
    from pretrain.checkpoint.load import Checkpoint
    from pretrain.checkpoint.saver import Saver
    from pretrain.engine.deepspeed_engine import DeepSpeedEngine
    from pretrain.engine.torch_engine import TorchEngine
    from pretrain.loop.run import Run

    engines = (DeepSpeedEngine, TorchEngine)
    return {
        "load": [(Checkpoint, "tensor")],
        "read": [(Run, "micro_batches")],
        "forward-backward": [(engine, "backward") for engine in engines],
        "update": [(engine, "step") for engine in engines],
        "evaluate": [(Run, "evaluate")],
        "save": [(Saver, "save")],
    }[phase]


def _fatal(function: Callable[..., Any], occurrence: int, draw: random.Random) -> Callable[..., Any]:
    calls, longest = 0, 0.002

    @functools.wraps(function)
    def wrapped(*args: Any, **how: Any) -> Any:
        nonlocal calls, longest
        if calls == occurrence:
            _die_after(draw.uniform(0.0, 1.5 * longest))
        calls += 1
        began = time.monotonic()
        try:
            return function(*args, **how)
        finally:
            longest = max(longest, time.monotonic() - began)

    return wrapped


def _die_after(seconds: float) -> None:
    def die() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    if seconds < 1e-4:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=die, daemon=True).start()
