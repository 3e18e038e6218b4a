"""What may change when a run is continued, decided key by key; nothing is run."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pretrain.checkpoint import compatibility
from pretrain.checkpoint.compatibility import check_compatible, check_rates
from pretrain.checkpoint.position import Position
from pretrain.config.derive import derive
from pretrain.config.load import load
from pretrain.config.schema import Config
from pretrain.errors import UserError

BATCH = 8 * 512
# 100 updates and 50; warm-up over 10, the cap of 0.02 until update 57, no decay
BASE = (
    "batch.sequences=8",
    f"stages.0.tokens={100 * BATCH}",
    f"stages.1.tokens={50 * BATCH}",
    f"schedule.warmup_tokens={10 * BATCH}",
    "schedule.decay_tokens=0",
    "schedule.lr_max=0.006",
)


def config(*overrides: str) -> Config:
    return load("tiny_moe", [*BASE, *overrides])


def after(step: int) -> Position:
    return Position(step=step, tokens=step * BATCH, sequence=step * 8)


def problems(step: int, *overrides: str) -> str:
    try:
        check_compatible(config(), config(*overrides), after(step))
    except UserError as error:
        return str(error)
    return ""


ALLOWED = {
    "nothing": (120, ()),
    "a longer last stage": (120, ("stages.1.tokens=1M",)),
    "a shorter last stage": (120, (f"stages.1.tokens={20 * BATCH}",)),
    "a last stage that ends now": (120, (f"stages.1.tokens={20 * BATCH}",)),
    "a stage more": (
        120,
        (
            f"stages=[{{name: a, tokens: {100 * BATCH}, mix: {{python: 1}}}}, "
            f"{{name: b, tokens: {50 * BATCH}, mix: {{python: 1}}}}, "
            "{name: c, tokens: 1M, mix: {python: 1}}]",
        ),
    ),
    "a finished run that goes on": (150, ("stages.1.tokens=1M",)),
    "a stage that is not begun": (80, ("stages.1.mix={python: 3}", "stages.1.tokens=9M")),
    "a begun stage, longer": (80, ("stages.0.tokens=1M",)),
    "weights of the same mixture not begun": (100, ("stages.1.mix={python: 7}",)),
    "a decay ahead": (120, (f"schedule.decay_tokens={30 * BATCH}",)),
    "another shape of a decay ahead": (120, (f"schedule.decay_tokens={20 * BATCH}", "schedule.decay=linear")),
    "another schedule with the same rates so far": (
        50,
        (f"schedule={{name: constant, lr_max: 0.006, warmup_tokens: {10 * BATCH}}}",),
    ),
    "engine": (120, ("run.engine=torch",)),
    "ZeRO stage": (120, ("deepspeed.zero_optimization.stage=3",)),
    "DeepSpeed's buckets": (120, ("deepspeed.zero_optimization.reduce_bucket_size=1000",)),
    "kernels": (120, ("kernels.compile=blocks", "kernels.activation_checkpointing=full")),
    "micro_sequences": (120, ("batch.micro_sequences=2",)),
    "checkpoints": (120, ("checkpoint.every_steps=7", "checkpoint.keep_last=5", "checkpoint.keep_every=2")),
    "evaluation": (120, ("evaluate.every_steps=7", "evaluate.sequences=3")),
    "logging": (
        120,
        ("trackers.tensorboard=false", "trackers.wandb=offline", "trackers.console_every_steps=1"),
    ),
    "guard": (120, ("guard.max_seconds=5", "guard.stop_file=HALT")),
    "places": (120, ("run.name=moved", "run.root=elsewhere", "data.root=elsewhere")),
    "a batch that grows from now on": (
        120,
        (f"batch.schedule={{name: doubling, at_tokens: [{120 * BATCH}]}}",),
    ),
    "the batch and length of a stage ahead": (80, ("stages.1.sequences=16", "stages.1.sequence_length=256")),
    "checks": (120, ("run.debug=true",)),
    "anything before the first update": (0, ("stages.0.tokens=1M", "schedule.lr_max=0.01")),
}


@pytest.mark.parametrize("change", ALLOWED)
def test_what_leaves_the_past_as_it_was_may_change(change: str) -> None:
    step, overrides = ALLOWED[change]
    assert problems(step, *overrides) == ""


REFUSED = {
    "seed": (120, "run.seed=1", "run.seed: was 0, is 1"),
    "precision": (120, "run.precision=bf16", "run.precision: was 'fp32', is 'bf16'"),
    "model": (120, "model.num_hidden_layers=5", "model.num_hidden_layers: was 4, is 5"),
    "experts": (120, "model.num_experts_per_tok=1", "model.num_experts_per_tok: was 2, is 1"),
    "multiplier": (120, "model.embedding_multiplier=12", "model.embedding_multiplier: was None, is 12.0"),
    "balance": (
        120,
        "model.balance_scope=micro_batch",
        "model.balance_scope: was 'lagged', is 'micro_batch'",
    ),
    "vocabulary": (120, "model.vocab_size=5000", "model.vocab_size: was None, is 5000"),
    "mup": (120, "mup.enabled=false", "mup.enabled: was True, is False"),
    "optimizer": (120, "optimizer.betas=[0.9, 0.99]", "optimizer.betas.1: was 0.95, is 0.99"),
    "clip": (120, "optimizer.clip=null", "optimizer.clip: was 1.0, is None"),
    "batch": (120, "batch.sequences=16", "batch.sequences: was 8, is 16"),
    "sequence": (120, "batch.sequence_length=256", "batch.sequence_length: was 512, is 256"),
    "masks": (120, "data.document_mask=false", "data.document_mask: was True, is False"),
    "held out": (120, "data.validation_share=0.1", "data.validation_share: was 0.02, is 0.1"),
    "lr_max": (1 + 10, "schedule.lr_max=0.01", "schedule: update 2 was made at lr"),
    "lr_max, behind its cap": (120, "schedule.lr_max=0.005", "schedule: update 2 was made at lr"),
    "warm-up": (5, "schedule.warmup_tokens=100K", "schedule: update 2 was made at lr"),
    "amplitude": (120, "schedule.amplitude=3", "schedule: update "),
    "a decay that had begun": (
        120,
        f"schedule.decay_tokens={40 * BATCH}",
        "schedule: update 112 was made at lr",
    ),
    "a last stage that is over": (
        120,
        f"stages.1.tokens={19 * BATCH}",
        "stages.1.tokens: was 204800, is 77824",
    ),
    "a finished stage, longer": (
        120,
        f"stages.0.tokens={101 * BATCH}",
        "stages.0.tokens: was 409600, is 413696",
    ),
    "a finished stage, shorter": (
        120,
        f"stages.0.tokens={99 * BATCH}",
        "stages.0.tokens: was 409600, is 405504",
    ),
    "a begun mixture": (
        120,
        "stages.1.mix={python: 3}",
        "stages.1.mix: was {'python': 1.0}, is {'python': 3.0}",
    ),
    "a batch that had grown": (
        120,
        f"batch.schedule={{name: doubling, at_tokens: [{60 * BATCH}]}}",
        "batch: update 61 had 8 sequences of 512 tokens, and would now have 16 of 512",
    ),
    "a begun stage's own batch": (
        80,
        "stages.0.sequences=16",
        "batch: update 1 had 8 sequences of 512 tokens, and would now have 16 of 512",
    ),
    "a begun stage's own length": (
        80,
        "stages.0.sequence_length=256",
        "batch: update 1 had 8 sequences of 512 tokens, and would now have 8 of 256",
    ),
    "what it branched from": (0, "run.branch_from=runs/other", "run.branch_from: was None, is 'runs/other'"),
    "the window of the second moment": (
        120,
        "optimizer.adam_beta2={half_life_tokens: 7M}",
        "optimizer.adam_beta2",
    ),
    "a begun stage, gone": (
        120,
        f"stages=[{{name: a, tokens: {100 * BATCH}, mix: {{python: 1}}}}]",
        "stages.1: 'decay' was begun, and is gone",
    ),
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_would_have_trained_otherwise_may_not(change: str) -> None:
    step, override, words = REFUSED[change]
    message = problems(step, override)
    assert words in message
    assert "new run with another run.name" in message


def test_every_difference_is_in_the_one_message() -> None:
    message = problems(
        120, "run.seed=1", "model.rope_theta=500", "schedule.lr_max=0.001", "stages.0.tokens=1M"
    )
    for key in ("run.seed", "model.rope_theta", "schedule: update", "stages.0.tokens"):
        assert key in message


FREE = {
    "run.name",
    "run.root",
    "run.engine",
    "run.debug",
    "batch.micro_sequences",
    "data.root",
    "data.strict",
    "data.max_epochs",
}
FREE_SECTIONS = (
    "checkpoint.",
    "evaluate.",
    "guard.",
    "trackers.",
    "deepspeed.",
    "kernels.",
    "data.tokenizer.",
    "data.sources.",
)
COMPARED_OTHERWISE = ("stages.", "schedule.", "batch.schedule.")  # by what they derive, tested above


def test_every_key_is_decided_and_a_key_that_is_added_is_refused_until_it_is() -> None:
    plain = config().model_dump(mode="json")
    leaves = dict(compatibility._leaves(plain | {"section": {"added": 1}}))
    assert len(leaves) > 50
    for path in leaves:
        if path == "schema_version":
            continue
        changed = copy.deepcopy(plain | {"section": {"added": 1}})
        put(changed, path.split("."), "something else")
        names = [
            line.split(":")[0]
            for line in compatibility._changed_keys(
                dumped(plain | {"section": {"added": 1}}), dumped(changed)
            )
        ]
        free = path in FREE or path.startswith((*FREE_SECTIONS, *COMPARED_OTHERWISE))
        assert names == ([] if free else [path]), path


def dumped(values: dict[str, Any]) -> Config:
    return cast(Config, SimpleNamespace(model_dump=lambda mode: values))


def put(values: Any, keys: list[str], value: str) -> None:
    *parents, last = [int(key) if key.isdigit() else key for key in keys]
    for key in parents:
        values = values[key]
    values[last] = value


def test_rates_that_were_recorded_are_those_that_the_schedule_gives(tmp_path: Path) -> None:
    """A schedule of one's own may have changed in its file, where no config shows it."""
    run = config(f"run.root={tmp_path}")
    derived, lines = derive(run), []
    for step in range(5):
        n = step * BATCH
        place = {"kind": "train", "step": step + 1, "tokens": n + BATCH, "batch_tokens": BATCH}
        lines.append(place | {"lr": derived.lr(n)})
    lines[3]["lr"] *= 1.001
    run.run.folder.mkdir()
    (run.run.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    check_rates(run, 3)
    with pytest.raises(UserError, match=r"update 4 was made at lr .* schedule 'power' would now make it at"):
        check_rates(run, 5)
