"""Warnings of the machine: memory, precision, what is sent, and what a failure costs."""

from __future__ import annotations

from collections.abc import Iterator
from math import lcm

from pretrain.memory import readable
from pretrain.monitor.words import duration, size
from pretrain.planning.failures import lost_share, seconds_between_failures
from pretrain.planning.fits import ONE_MACHINE, link_bytes
from pretrain.planning.rules.subject import Subject

LONG_INTERVAL = 12 * 3600.0  # seconds of work that a failure may take
LOST_SHARE = 0.005
BUSY_DISK = 1e9  # bytes of checkpoints a second, around the clock
BUSY_LINK = 0.6  # of what links carry
HIGH_MFU = 0.7


def memory_of_a_rank(run: Subject) -> Iterator[str]:
    """More than there is."""
    own = run.own
    if own.fits is not False:
        return
    best = next((row for row in run.rows if row.best), None)
    needs = f"memory: a rank needs about {readable(own.memory_bytes)}"
    there = f"there are {run.machine.room}"
    if best is None:
        yield f"{needs}, and {there}; no way to cut it fits either: use more ranks or a smaller model"
    else:
        yield f"{needs}, and {there}; {' '.join(best.overrides)} would fit"


def precision(run: Subject) -> Iterator[str]:
    """A GPU that computes in fp32."""
    gpu = run.machine.gpu
    if gpu is not None and run.config.run.precision == "fp32":
        yield (
            f"run.precision: fp32 on a GPU; a {gpu.name} does {gpu.fp32_flops / 1e12:.3g} TFLOP/s in it, and "
            f"{gpu.bf16_flops / 1e12:.3g} in bf16 (run.precision=bf16 keeps master weights and sums in fp32)"
        )


def stated_speed(run: Subject) -> Iterator[str]:
    """An MFU that no published training reaches."""
    if run.machine.mfu is not None and run.machine.mfu > HIGH_MFU:
        yield (
            f"--mfu {run.machine.mfu:g}: published trainings of dense models reach 0.3 to 0.6, mixtures of "
            "experts less"
        )


def repeated_sums(run: Subject) -> Iterator[str]:
    """ZeRO 2, which sums all gradients at every forward pass, where ZeRO 1 would fit."""
    own = run.own
    if (
        run.config.run.engine != "deepspeed"
        or own.zero_stage != 2
        or own.micro_steps < 2
        or run.num_ranks < 2
    ):
        return
    like = (own.checkpointing, own.micro_sequences)
    for row in run.rows:
        if row.zero_stage == 1 and (row.checkpointing, row.micro_sequences) == like and row.fits:
            yield (
                f"deepspeed.zero_optimization.stage: 2 sums the gradients at each of {own.micro_steps} "
                f"forward passes, and a rank sends {size(own.sent_bytes)} an update; stage 1 fits as well, "
                f"and sends {size(row.sent_bytes)}"
            )


def odd_ranks(run: Subject) -> Iterator[str]:
    """Ranks by whose number DeepSpeed's ZeRO 3 cannot divide exactly (docs/sharding.md)."""
    stage_3 = run.config.run.engine == "deepspeed" and run.own.zero_stage == 3
    if stage_3 and run.config.run.precision == "bf16" and run.num_ranks & (run.num_ranks - 1):
        yield (
            f"--ranks {run.num_ranks}: no power of two, and under ZeRO 3 in bf16 gradients then round "
            "otherwise than on any other number of ranks; take a power of two, or stage 1 or 2"
        )


def network(run: Subject) -> Iterator[str]:
    """More to send than links carry while a rank computes."""
    if run.time is None or not run.own.sent_bytes:
        return
    rate = run.own.sent_bytes / run.time.seconds_per_update
    carried = link_bytes(run.machine, run.num_ranks)
    link = "a 400 Gb/s adapter" if run.num_ranks > ONE_MACHINE else "the links of one machine"
    if rate > BUSY_LINK * carried:
        yield (
            f"--ranks {run.num_ranks}: each rank would send {size(run.own.sent_bytes)} in an update of "
            f"{run.time.seconds_per_update:.2g} s, {size(rate)} a second, and {link} "
            f"should carry about {size(carried)}; it will take longer than planned"
        )


def interval(run: Subject) -> Iterator[str]:
    """Checkpoints too far apart for the failures to expect, or too close for a disk."""
    between = run.checkpoints.seconds_between
    if run.checkpoints.written == 1 < run.steps_ahead:
        yield (
            f"checkpoint.every_steps: {run.checkpoints.every_steps}, and the run makes {run.steps_ahead} "
            "updates; the only checkpoint is the last"
        )
        return
    if between is None:
        return
    lost = lost_share(between, run.num_ranks)
    if lost > LOST_SHARE or between > LONG_INTERVAL:
        often = duration(seconds_between_failures(run.num_ranks))
        yield (
            f"checkpoint.every_steps: {duration(between)} between checkpoints, and half of that is lost with "
            f"each failure, which on {run.num_ranks} GPU(s) comes every {often} (as in Llama 3's training: "
            f"{lost:.1%} of the time)"
        )
    rate = run.checkpoints.one_bytes / between
    if rate > BUSY_DISK:
        yield (
            f"checkpoint.every_steps: a checkpoint of {size(run.checkpoints.one_bytes)} every "
            f"{between:.2g} s is {size(rate)} a second for the disk"
        )


def kept_for_ever(run: Subject) -> Iterator[str]:
    """A `keep_every` that meets fewer checkpoints than it seems to."""
    options = run.config.checkpoint
    if options.keep_every and options.keep_every % options.every_steps:
        period = lcm(options.keep_every, options.every_steps)
        near = max(1, round(options.keep_every / options.every_steps)) * options.every_steps
        yield (
            f"checkpoint.keep_every: {options.keep_every} is not a multiple of checkpoint.every_steps="
            f"{options.every_steps}, so that only every {period:,} updates a checkpoint is kept for ever; "
            f"checkpoint.keep_every={near} would be one"
        )


RULES = (
    memory_of_a_rank,
    precision,
    stated_speed,
    repeated_sums,
    odd_ranks,
    network,
    interval,
    kept_for_ever,
)
