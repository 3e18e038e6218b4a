"""What a run needs and costs: against measurements, and against what a run itself does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.checkpoint.keep import expendable
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.config.derive import model_shape
from pretrain.config.load import load
from pretrain.config.past import derived_of
from pretrain.data.mixture import Mixture
from pretrain.errors import UserError
from pretrain.memory import memory
from pretrain.monitor.peak import gpu_flops
from pretrain.plan import plan
from pretrain.planning.disk import checkpoints, kept_at_end, written
from pretrain.planning.gpus import GPUS
from pretrain.planning.machine import Machine, machine_for
from pretrain.planning.speed import DENSE, MIXTURE, NOT_COMPILED, pace_of
from pretrain.planning.text import needs

ROOT = Path(__file__).parents[3]
LENGTH = 4096


def measured() -> dict[tuple[str, str, int], float]:
    """MFU by config, variant and sequences of a forward pass, as `make gpu-proof` wrote it."""
    trials = json.loads((ROOT / "docs" / "gpu.json").read_text(encoding="utf-8"))["trials"]
    return {
        (trial["config"], trial["variant"], trial["micro_sequences"]): trial["result"]["mfu"]
        for trial in trials
        if trial["state"] == "ran"
    }


def test_the_speed_is_what_was_measured() -> None:
    found = measured()
    for config, points in (("3b_dense", DENSE), ("3b_moe", MIXTURE)):
        for tokens, mfu in points:
            assert mfu == pytest.approx(found[config, "as shipped", tokens // LENGTH], abs=1e-3)
    slower = found["3b_moe", "compile none", 4] / found["3b_moe", "as shipped", 4]
    assert pytest.approx(slower, abs=0.01) == NOT_COMPILED


def test_speed_between_and_beyond_what_was_measured() -> None:
    config = load("3b_dense")
    paces = [pace_of(config, model_shape(config), size * LENGTH) for size in (1, 2, 4, 8)]
    assert [pace.mfu for pace in paces] == [0.439, 0.490, 0.520, 0.520]
    half = pace_of(config, model_shape(config), 5793)  # sqrt(2) x 4096
    assert half.mfu == pytest.approx((0.439 + 0.490) / 2, abs=1e-4)
    again = load("3b_dense", ["kernels.activation_checkpointing=full", "deepspeed.zero_optimization.stage=3"])
    assert pace_of(again, model_shape(config), LENGTH).mfu == pytest.approx(0.439 * 0.75 * NOT_COMPILED)


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_peaks_are_those_that_a_run_measures_itself_by(gpu) -> None:
    assert gpu_flops(gpu.title) in (gpu.bf16_flops, None)
    assert gpu.bf16_flops > gpu.fp32_flops
    assert gpu_flops(GPUS["h100"].title) == 989e12


def test_hours_and_cost_in_closed_form() -> None:
    config = load("3b_moe")
    made = plan(config, 64, machine_for(config, gpu="a100-80", mfu=0.4, price=1.5))
    assert made.time is not None
    assert made.time.seconds == pytest.approx(made.flops / (64 * 312e12 * 0.4))
    assert made.time.gpu_hours == pytest.approx(made.time.seconds * 64 / 3600)
    assert made.time.cost == pytest.approx(1.5 * made.time.gpu_hours)
    assert made.time.tokens_per_second == pytest.approx(made.tokens / made.time.seconds)


def test_what_is_assumed_is_said() -> None:
    moe, tiny = load("3b_moe"), load("tiny_moe")
    assert machine_for(moe) == Machine(
        gpu=GPUS["h100"], assumed=True, memory_bytes=GPUS["h100"].memory_bytes, mfu=None, price=None
    )
    cpu = plan(tiny)
    assert (cpu.machine.gpu, cpu.time, cpu.best) == (None, None, None)
    assert {row.fits for row in cpu.fits} == {None}
    fp32 = machine_for(tiny, gpu="h100")
    assert plan(tiny, 1, fp32).time is None  # nobody measured it
    assert plan(tiny, 1, machine_for(tiny, gpu="h100", mfu=0.1)).time is not None


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gpu": "h10"}, "--gpu h10: no such GPU.*Did you mean 'h100'"),
        ({"memory": "eighty"}, "--gpu-memory eighty: should be a size such as 80G"),
        ({"memory": "80"}, "--gpu-memory 80"),
        ({"mfu": 40.0}, "--mfu 40: should be a share"),
        ({"price": -1.0}, "--price -1"),
    ],
)
def test_mistakes_name_the_option(asked, words) -> None:
    with pytest.raises(UserError, match=words):
        machine_for(load("3b_moe"), **asked)


def test_sizes_of_memory() -> None:
    config = load("3b_moe")
    sizes = [machine_for(config, memory=text).memory_bytes for text in ("80G", "80GiB", "0.5T", "24000M")]
    assert sizes == [80 * 2**30, 80 * 2**30, 2**39, 24000 * 2**20]


@pytest.mark.parametrize(("name", "ranks"), [("3b_moe", 8), ("1b_dense", 2), ("tiny_moe", 1)])
def test_every_row_is_the_run_that_its_overrides_make(name: str, ranks: int) -> None:
    """Pasting a row's overrides behind the config gives a plan whose own row is that one."""
    made = plan(load(name), ranks)
    assert sum(row.own for row in made.fits) == 1
    assert len({(row.zero_stage, row.checkpointing, row.micro_sequences) for row in made.fits}) == len(
        made.fits
    )
    for row in made.fits[:: max(1, len(made.fits) // 3)]:
        config = load(name, row.overrides)
        pasted = plan(config, ranks)
        assert pasted.own.memory_bytes == row.memory_bytes == memory(config, model_shape(config), ranks).total
        assert pasted.own.sent_bytes == row.sent_bytes
        assert pasted.micro_steps == row.micro_steps
        assert pasted.own.seconds == pytest.approx(row.seconds)


def test_a_stage_with_a_micro_batch_of_its_own_is_cut_too() -> None:
    own = ["stages.1.micro_sequences=4"]
    made = plan(load("3b_moe", own), 8)
    row = next(row for row in made.fits if row.micro_sequences == 1 and row.zero_stage == 1)
    assert {"batch.micro_sequences=1", "stages.1.micro_sequences=1"} <= set(row.overrides)
    assert plan(load("3b_moe", [*own, *row.overrides]), 8).own.memory_bytes == row.memory_bytes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_stages_with_the_same_micro_batch_are_the_config_that_has_it(precision: str) -> None:
    """In memory, passes, bytes and hours; `own` names it."""
    common = (f"run.precision={precision}", "deepspeed.zero_optimization.stage=2")
    stages = plan(load("3b_dense", [*common, "stages.0.micro_sequences=4", "stages.1.micro_sequences=4"]), 16)
    whole = plan(load("3b_dense", [*common, "batch.micro_sequences=4"]), 16)
    assert stages.own == whole.own
    assert stages.own.micro_sequences == 4
    assert stages.own.micro_steps == stages.micro_steps
    assert stages.time == whole.time
    assert stages.memory.total == stages.own.memory_bytes
    assert [row for row in stages.fits if row.own] == [stages.own]


def test_the_best_fits_and_none_that_fits_is_faster() -> None:
    made = plan(load("3b_dense"), 8, machine_for(load("3b_dense"), gpu="a100-40"))
    best = made.best
    assert best is not None
    assert best.fits
    assert not made.own.fits
    assert best.seconds <= min(row.seconds for row in made.fits if row.fits) * 1.005
    usable = made.machine.usable_bytes
    assert usable is not None
    assert all(row.fits == (row.memory_bytes <= usable) for row in made.fits)
    # a run refuses what needs more than there is; the plan leaves room beside that
    assert usable < GPUS["a100-40"].memory_bytes


def test_the_torch_engine_is_a_row_of_its_own() -> None:
    made = plan(load("1b_dense", ["run.engine=torch"]), 2)
    assert made.own.engine == "torch"
    other = next(row for row in made.fits if row.engine == "deepspeed")
    assert other.overrides[0] == "run.engine=deepspeed"


@settings(max_examples=300)
@given(
    every=st.integers(1, 12),
    keep_last=st.integers(1, 4),
    keep_every=st.none() | st.integers(1, 30),
    first=st.integers(0, 60),
    length=st.integers(1, 90),
)
def test_checkpoints_kept_are_those_of_the_rules(every, keep_last, keep_every, first, length) -> None:
    options = CheckpointOptions(every_steps=every, keep_last=keep_last, keep_every=keep_every)
    steps = first + length
    due = [step for step in range(first + 1, steps + 1) if step % every == 0 or step == steps]
    assert written(options, first, steps) == len(due)
    assert kept_at_end(options, first, steps) == len(due) - len(expendable(due, options))


def test_bytes_of_checkpoints() -> None:
    found = checkpoints(CheckpointOptions(every_steps=10, keep_last=2, keep_best=1), 1000, 0, 100, 3.0)
    assert (found.one_bytes, found.kept, found.kept_bytes, found.peak_bytes) == (12_000, 3, 36_000, 60_000)
    assert found.seconds_between == 30.0


def test_text_is_what_the_mixture_reads() -> None:
    overrides = [
        "data.sources.web={kind: python}",
        "stages.0.mix={python: 1, web: 3}",
        "stages.1.mix={python: 2, web: 1}",
    ]
    derived = derived_of(load("tiny_moe", overrides))
    found = {need.source: need.tokens for need in needs(derived.stages_ahead, 4096)}
    assert list(found) == ["web", "python"]
    assert sum(found.values()) == pytest.approx(derived.tokens, abs=1)
    for name, tokens in found.items():
        read = sum(
            Mixture(stage.mix).count(name, stage.num_sequences) * stage.sequence_length
            for stage in derived.stages
        )
        assert tokens == pytest.approx(read, abs=2 * 512)


def test_shards_of_a_large_vocabulary_take_more() -> None:
    stages = derived_of(load("tiny_moe")).stages_ahead
    (small,), (large,) = needs(stages, 65536), needs(stages, 65537)
    assert (small.shard_bytes, large.shard_bytes) == (2 * small.tokens, 4 * small.tokens)
