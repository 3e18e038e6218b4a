"""Back to the last good checkpoint, and on behind the data that led away from it.

Everything here follows from the checkpoint and from values that all ranks share, so that a run that is killed
after a rewind meets the same trouble again, rewinds to the same place and goes on with the same data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch.distributed as dist

from megatron_lite.schedules.timeline import Update
from pretrain.checkpoint.good import newest_good
from pretrain.checkpoint.keep import drop_newer, is_regular
from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.position import Position
from pretrain.data.jumps import joined
from pretrain.errors import UserError
from pretrain.guard.spikes import lasting
from pretrain.loop.build import set_state
from pretrain.loop.folder import find_origin
from pretrain.loop.run import Run
from pretrain.loop.step import StepResult

WHAT_TO_TRY = (
    "A lower schedule.lr_max, a longer schedule.warmup_tokens or optimizer.clip may help; "
    "the same command goes on from the last checkpoint, and from the one before where that is moved away."
)


class Diverged(Exception):
    """The run cannot go on by itself."""


@dataclass(frozen=True, kw_only=True)
class Rewound:
    """One rewind: where from, where to, and what is read from there on."""

    reason: str
    from_step: int  # updates made before it, the last of them the one that was too many
    to_step: int
    checkpoint: str | None  # None: the run had none, and begins again
    jumped_sequences: int  # left out of the order by this rewind
    skipped_sequences: int  # by all
    rewinds: int  # so far
    damaged: tuple[str, ...]  # newer checkpoints that could not be used

    def describe(self) -> str:
        """For people."""
        where = self.checkpoint or "the beginning, since it has no checkpoint yet"
        return (
            f"{self.reason}. Going on from {where} with other data: {self.jumped_sequences:,} sequences are "
            f"jumped over (rewind {self.rewinds})."
        )


def trouble(run: Run, result: StepResult, *, saving: bool) -> str | None:
    """Why the run has to go back behind the update that was just made or left out. Collective."""
    step, spike = run.position.step, run.config.guard.spike
    if result.rejected and not result.rejected.finite:
        return f"{result.rejected} at step {step}"
    if result.rejected and spike and lasting(run.position.history, spike):
        skips = f"{len(run.position.history.skips)} of the last {spike.window} updates were left out"
        return f"{skips}, the last since its {result.rejected} at step {step}"
    if saving and not run.engine.finite():
        return f"a weight is not a number after step {step}"
    return None


def check_rewinds(run: Run, reason: str) -> None:
    """Raises Diverged where the run may not rewind, or not once more."""
    spike, intact = run.config.guard.spike, "The last checkpoint is intact."
    if spike is None:
        raise Diverged(f"{reason}, and guard.spike is off. {intact} {WHAT_TO_TRY}")
    if run.position.rewinds >= spike.max_rewinds:
        raise Diverged(
            f"{reason}, after {run.position.rewinds} rewinds (guard.spike.max_rewinds) and "
            f"{run.position.skipped_sequences} sequences jumped over. {intact} {WHAT_TO_TRY} "
            "With more rewinds it would look for better data further on."
        )


def rewind(run: Run, bad: Update, reason: str) -> Rewound:
    """Take on the state of the last good checkpoint, and leave out what was read since and some more.

    `bad`: the last update before this. Collective.
    """
    spike, left = run.config.guard.spike, run.position
    assert spike is not None, "a run without a rule about spikes does not rewind"
    own, damages = last_good(run)
    origin = own or find_origin(run.config)
    set_state(run.engine, run.config, run.shape, origin)
    back = origin.position if origin else Position(tokens=run.derived.first_tokens)
    more = spike.rewind_skip * bad.sequences
    jumps = run.training.jumps_over(back.sequence, bad.after.sequence, more)
    run.position = replace(back, jumps=joined([*left.jumps, *jumps]), rewinds=left.rewinds + 1)
    run.training = run.training.without(run.position.jumps)
    return Rewound(
        reason=reason,
        from_step=left.step,
        to_step=back.step,
        checkpoint=own.folder.name if own else None,
        jumped_sequences=sum(count for _, count in jumps),
        skipped_sequences=run.position.skipped_sequences,
        rewinds=run.position.rewinds,
        damaged=tuple(damages),
    )


def last_good(run: Run) -> tuple[Checkpoint | None, list[str]]:
    """The run's newest checkpoint that verifies, and what was found damaged; the first rank looks for all."""
    told: list[Any] = [None, [], None]  # name, damages, why there is none
    if run.ranks.first:
        try:
            found = newest_good(run.checkpoints, told[1].append, use=is_regular)
            told[0] = found.folder.name if found else None
            drop_newer(run.checkpoints, found.position.step if found else -1)
        except UserError as error:
            told[2] = str(error)
    if run.ranks.size > 1:
        dist.broadcast_object_list(told)
    name, damages, mistake = told
    if mistake:
        raise Diverged(f"The run has to rewind and cannot: {mistake}")
    return (Checkpoint(run.checkpoints / name) if name else None), damages
