"""What may change when a run is continued: everything that leaves its past as it was.

A run may go on with another config if that config would have trained the same updates so far: the same
model, data, order and learning rates. How the work is spread and watched is free; so is the future.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from megatron_lite.schedules.timeline import Timeline, joined
from pretrain.checkpoint.position import Position
from pretrain.config.derive import Derived, derive
from pretrain.config.history import Past
from pretrain.config.past import derived_of
from pretrain.config.schema import Config
from pretrain.errors import UserError
from pretrain.monitor.record import METRICS, read

MAY_CHANGE: Mapping[str, str] = {
    "run.name": "the run folder may be renamed",
    "run.root": "the run folder may be moved",
    "run.engine": "both engines train the same",
    "kernels.*": "what computes it, equal but for rounding",
    "run.debug": "whether updates are checked",
    "batch.micro_sequences": "how the global batch is cut",
    "batch.schedule*": "what is ahead may change; batches so far are compared below",
    "stages*": "stages may be extended, and those not begun changed; compared below",
    "schedule*": "what is ahead may change; learning rates so far are compared below",
    "data.strict": "whether every byte is read at the start",
    "data.root": "tokenizer and shards are compared by their hashes",
    "data.sources.*": "likewise",
    "data.tokenizer*": "likewise",
    "data.max_epochs*": "how often what is ahead may read a source",
    "checkpoint.*": "when state is saved",
    "evaluate.*": "when it is evaluated",
    "guard.*": "when it stops",
    "trackers.*": "where numbers are sent",
    "deepspeed*": "how state is sharded",
}
LR_SAMPLES = 4096
RATE_TOLERANCE = 1e-9  # of a rate that another machine's mathematics library computed


def check_compatible(old: Config, new: Config, position: Position, past: Past | None = None) -> None:
    """Raises UserError that lists every difference which would change the run's past.

    `past`: what the run branched from.
    """
    problems = list(_changed_keys(old, new))
    before = derive(old, past)
    try:
        after = derive(new, past)
    except ValueError as error:
        problems.append(str(error))
    else:
        problems += _changed_stages(before, after, position, len(before.stages) - len(old.stages))
        problems += _changed_batches(before, after, position)
        problems += _changed_rates(before, after, position)
    if problems:
        raise UserError(
            "This run cannot be continued with the changed config:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\nRestore these values, or start a new run with another run.name."
        )


def check_rates(config: Config, step: int) -> None:
    """UserError where metrics.jsonl holds, up to `step`, an update at a rate that the schedule does not give.

    A schedule of one's own or a table may have changed in its file, where configs cannot show it.
    """
    derived, metrics = derived_of(config), config.run.folder / METRICS
    for line in read(metrics):
        if line["kind"] != "train" or line["step"] > step:
            continue
        due = derived.lr(line["tokens"] - line["batch_tokens"])
        if not math.isclose(line["lr"], due, rel_tol=RATE_TOLERANCE):
            raise UserError(
                f"{metrics}: update {line['step']} was made at lr {line['lr']:.6g}, and schedule "
                f"'{config.schedule.name}' would now make it at {due:.6g}. Restore it, or start a new run."
            )


def _changed_keys(old: Config, new: Config) -> Iterator[str]:
    before, after = (dict(_leaves(config.model_dump(mode="json"))) for config in (old, new))
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path) and not any(fnmatch(path, pattern) for pattern in MAY_CHANGE):
            yield f"{path}: was {before.get(path)!r}, is {after.get(path)!r}"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested mappings and lists, with its dotted path."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{index}")
    else:
        yield path, value


def _changed_stages(before: Derived, after: Derived, position: Position, num_behind: int) -> Iterator[str]:
    """`num_behind`: stages of the run that this one branched from, which its config does not list."""
    for index, stage in enumerate(before.stages):
        if stage.first_step >= position.step:
            break
        end, key = min(stage.end.step, position.step), f"stages.{index - num_behind}"
        if index >= len(after.stages):
            yield f"{key}: '{stage.name}' was begun, and is gone"
            continue
        other = after.stages[index]
        finished = stage.end.step <= position.step and index + 1 < len(before.stages)
        if dict(stage.mix) != dict(other.mix):
            yield f"{key}.mix: was {dict(stage.mix)}, is {dict(other.mix)}, and the stage was begun"
        if other.end.step < end or (finished and other.steps != stage.steps):
            yield f"{key}.tokens: was {stage.tokens}, is {other.tokens}, and {end} updates lie behind"


def _changed_batches(before: Derived, after: Derived, position: Position) -> Iterator[str]:
    was, now = (joined(derived.timeline.before(position.step)) for derived in (before, after))
    for old, new in zip(was, now, strict=False):
        if old != new:
            alike = (old.sequences, old.sequence_length) == (new.sequences, new.sequence_length)
            step = min(old.end.step, new.end.step) if alike else old.first_step
            if step < min(position.step, after.steps):
                yield _changed_batch(before.timeline, after.timeline, step)
            return


def _changed_batch(was: Timeline, now: Timeline, step: int) -> str:
    old, new = was.update(step), now.update(step)
    return (
        f"batch: update {step + 1} had {old.sequences} sequences of {old.sequence_length} tokens, "
        f"and would now have {new.sequences} of {new.sequence_length}"
    )


def _changed_rates(before: Derived, after: Derived, position: Position) -> Iterator[str]:
    stride = max(1, (position.step - before.first_step) // LR_SAMPLES)
    for step in range(before.first_step, position.step, stride):
        tokens = before.timeline.update(step).tokens
        if before.lr(tokens) != after.lr(tokens):
            yield (
                f"schedule: update {step + 1} was made at lr {before.lr(tokens):.6g}, "
                f"this config would have made it at {after.lr(tokens):.6g}"
            )
            return
