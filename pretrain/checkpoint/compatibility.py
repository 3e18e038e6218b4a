"""What may change when a run is continued: everything that leaves its past as it was.

A run may go on with another config if that config would have trained the same updates so far: the same
model, data, order and learning rates. How the work is spread and watched is free; so is the future.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

from pretrain.checkpoint.position import Position
from pretrain.config.derive import derive
from pretrain.config.schema import Config
from pretrain.errors import UserError

MAY_CHANGE: Mapping[str, str] = {
    "run.name": "the run folder may be renamed",
    "run.root": "the run folder may be moved",
    "run.engine": "both engines train the same",
    "kernels.*": "what computes it, equal but for rounding",
    "batch.micro_sequences": "how the global batch is cut",
    "stages*": "stages may be extended, and those not begun changed; compared below",
    "schedule*": "what is ahead may change; learning rates so far are compared below",
    "data.root": "tokenizer and shards are compared by their hashes",
    "data.sources.*": "likewise",
    "data.tokenizer*": "likewise",
    "checkpoint.*": "when state is saved",
    "evaluate.*": "when it is evaluated",
    "guard.*": "when it stops",
    "trackers.*": "where numbers are sent",
    "deepspeed*": "how state is sharded",
}
LR_SAMPLES = 4096


def check_compatible(old: Config, new: Config, position: Position) -> None:
    """Raises UserError that lists every difference which would change the run's past."""
    problems = [
        *_changed_keys(old, new),
        *_changed_stages(old, new, position),
        *_changed_rates(old, new, position),
    ]
    if problems:
        raise UserError(
            "This run cannot be continued with the changed config:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + "\nRestore these values, or start a new run with another run.name."
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


def _changed_stages(old: Config, new: Config, position: Position) -> Iterator[str]:
    before, after = derive(old).stages, derive(new).stages
    for index, stage in enumerate(before):
        if stage.first_step >= position.step:
            break
        end = min(stage.first_step + stage.steps, position.step)
        if index >= len(after):
            yield f"stages.{index}: '{stage.name}' was begun, and is gone"
            continue
        other = after[index]
        finished = stage.first_step + stage.steps <= position.step and index + 1 < len(before)
        if dict(stage.mix) != dict(other.mix):
            yield f"stages.{index}.mix: was {dict(stage.mix)}, is {dict(other.mix)}, and the stage was begun"
        if other.first_step + other.steps < end or (finished and other.steps != stage.steps):
            changed = f"was {stage.tokens}, is {other.tokens}"
            yield f"stages.{index}.tokens: {changed}, and {end} updates lie behind"


def _changed_rates(old: Config, new: Config, position: Position) -> Iterator[str]:
    before, after = derive(old), derive(new)
    stride = max(1, position.step // LR_SAMPLES)
    for step in range(0, position.step, stride):
        tokens = step * before.batch.batch_tokens
        if before.lr(tokens) != after.lr(tokens):
            yield (
                f"schedule: update {step + 1} was made at lr {before.lr(tokens):.6g}, "
                f"this config would have made it at {after.lr(tokens):.6g}"
            )
            return
