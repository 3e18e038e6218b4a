"""The training loop.

until every update is made
    take the next global batch, and the learning rate at the tokens trained so far
    update
    record; evaluate, save and stop where it is time
"""

from __future__ import annotations

import math
import time

from megatron_lite.optim.second_moment import SecondMoment, second_moment
from pretrain.guard.stop import StopWatch
from pretrain.loop.check import check_update
from pretrain.loop.journal import Journal
from pretrain.loop.run import Run
from pretrain.loop.step import StepResult, train_step


class Diverged(Exception):
    """The loss or the gradient is no longer a number."""


def train(run: Run, journal: Journal, stop_watch: StopWatch) -> bool:
    """Train to the end, or until some rank asks to stop; whether the end was reached.

    The state is saved either way. Raises Diverged at the first loss or gradient norm that is not finite,
    with the last checkpoint as it was.
    """
    while not run.finished:
        started = time.perf_counter()
        made, lr = run.next, run.derived.lr(run.position.tokens)
        result = _update(run, lr, stop=stop_watch.reason() is not None)
        if run.config.run.debug:
            check_update(run, lr)
        run.advance(result)
        _check_finite(run, result)
        journal.update(made, lr, result, seconds=time.perf_counter() - started)
        step = run.position.step
        if _due(step, run.config.evaluate.every_steps) or run.finished:
            journal.validation(run.position, run.evaluate())
        if _due(step, run.config.checkpoint.every_steps) or run.finished or result.stop:
            journal.saving()
            journal.saved(run.position, run.save())
        if result.stop and not run.finished:
            journal.stopped(run.position, stop_watch.reason() or "another rank asked to stop")
            return False
    return True


def _update(run: Run, lr: float, *, stop: bool) -> StepResult:
    return train_step(
        run.engine,
        run.micro_batches(),
        lr=lr,
        second_moment=_second_moment(run),
        batch_tokens=run.next.batch_tokens,
        model=run.config.model,
        previous_counts=run.position.expert_counts,
        device=run.device,
        stop=stop,
    )


def _second_moment(run: Run) -> SecondMoment | None:
    return second_moment(
        run.config.optimizer,
        step=run.position.step + 1,
        tokens_before=run.position.tokens,
        batch_tokens=run.next.batch_tokens,
        moments_from=run.derived.past.moments_from,
    )


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _check_finite(run: Run, result: StepResult) -> None:
    for name, value in (("loss", result.loss), ("grad_norm", result.grad_norm)):
        if not math.isfinite(value):
            raise Diverged(
                f"{name} is {value} at step {run.position.step}. The last checkpoint is intact; "
                "a lower schedule.lr_max, a longer schedule.warmup_tokens or another data order may help."
            )
