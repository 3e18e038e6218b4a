"""What is said and recorded when a run begins: anew, from other weights, as a branch, or again."""

from __future__ import annotations

import platform
from typing import Any

import torch

from pretrain.advice import advice
from pretrain.checkpoint.branch import parent_of, say_branch
from pretrain.data.outlook import data_advice, packing_report
from pretrain.exchange.source import begun_with
from pretrain.loop.folder import RunFolder
from pretrain.loop.run import Run
from pretrain.monitor.console import Console
from pretrain.monitor.provenance import provenance
from pretrain.monitor.record import Record


def announce(run: Run, claimed: RunFolder, record: Record, console: Console, *, setup_seconds: float) -> None:
    """Tell the console and the record how this start of the run began, and what is worth a second look.

    `setup_seconds`: since the process began.
    """
    kind, facts = _beginning(run, claimed, console)
    where = {"ranks": run.ranks.size, "setup_seconds": round(setup_seconds, 3)}
    record.event(kind, step=run.position.step, **where, **facts, **provenance(_words(run.device)))
    for source, epochs in run.training.epochs().items():
        if epochs > 1:
            console.say(f"{source} is read {epochs:.3g} times: it has less text than the run trains on.")
    for line in packing_report(run.training):
        console.say(line)
    of_data = data_advice(run.training, run.config.data, run.derived)
    for warning in (*advice(run.config, run.derived), *of_data):
        console.say(f"Warning: {warning}.")


def _words(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads a rank)"


def _beginning(run: Run, claimed: RunFolder, console: Console) -> tuple[str, dict[str, Any]]:
    config, done = run.config, run.position.step
    if claimed.checkpoint:
        console.say(f"Continuing {config.run.name} after step {done} of {run.derived.steps}.")
        return "resume", {}
    if claimed.origin:
        say_branch(claimed.origin, config, run.derived, console.say)
        return "branch", {"parent": parent_of(claimed.origin)}
    if config.run.init_from:
        return "start", {"init_from": begun_with(config.run.init_from, run.shape, say=console.say)}
    return "start", {}
