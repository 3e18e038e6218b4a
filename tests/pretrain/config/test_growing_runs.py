"""Runs whose batch changes: stages, lengths and rates in whole updates, and what is refused."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.advice import advice
from pretrain.config.derive import check_shares, derive
from pretrain.config.load import load
from pretrain.errors import UserError

LENGTH = 512
COSINE = "schedule={name: cosine, lr_max: 0.01, lr_min: 0.0001, warmup_tokens: 50K}"


def derived(*overrides: str):
    return derive(load("tiny_moe", list(overrides)))


GROWING = (
    "{name: ramp, max_sequences: 40, tokens: 700K}",
    "{name: doubling, at_tokens: [100K, 400K, 401K]}",
    "{name: sqrt, max_sequences: 64, from_tokens: 20K, multiple_of: 4}",
    "{name: linear_in_tokens, max_sequences: 64, from_tokens: 70K}",
)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(GROWING), st.integers(1, 10**6), st.integers(1, 10**6))
def test_stages_end_at_whole_batches_and_share_no_update(batch: str, first: int, second: int) -> None:
    run = derived(
        f"batch.schedule={batch}",
        "batch.micro_sequences=1",
        "schedule.decay_tokens=0",
        f"stages.0.tokens={first}",
        f"stages.1.tokens={second}",
    )
    stable, decay = run.stages
    assert stable.tokens - first < run.timeline.update(decay.first_step - 1).batch_tokens
    assert decay.tokens - second < run.timeline.update(run.steps - 1).batch_tokens
    assert (decay.first_step, decay.first_tokens, decay.first_sequence) == (
        stable.steps,
        stable.tokens,
        stable.num_sequences,
    )
    assert run.tokens == stable.tokens + decay.tokens == (stable.num_sequences + decay.num_sequences) * LENGTH
    updates = [run.timeline.update(step) for step in range(run.steps)]
    assert all(before.after.tokens == after.tokens for before, after in pairwise(updates))
    assert all(run.batch.tokens_at(update.tokens) == update.batch_tokens for update in updates)


def test_the_rate_of_power_follows_the_batch_of_each_update_and_keeps_the_first_ones_in_the_tail() -> None:
    run = derived("batch.schedule={name: doubling, at_tokens: [400K, 1M]}", "schedule.lr_max=1")
    for step in range(run.steps):
        update = run.timeline.update(step)
        n = update.tokens
        if n < 50_000:
            due = n / 50_000 * 4.0 * 50_000**-0.51
        elif n <= run.tokens - 300_000:
            due = update.batch_tokens / 4096 * 4.0 * n**-0.51
        else:  # the batch that doubles again at 1M does so within the tail, whose beta is 2
            x = (n - (run.tokens - 300_000)) / 300_000
            due = (
                2 * 4.0 * (run.tokens - 300_000) ** -0.51 * (math.exp(-x) - math.exp(-1)) / (1 - math.exp(-1))
            )
        assert run.lr(n) == pytest.approx(due, rel=1e-12)
    assert run.timeline.update(run.steps - 1).sequences == 32


def test_a_stage_has_a_batch_and_a_length_of_its_own() -> None:
    run = derived("stages.1.sequences=12", "stages.1.sequence_length=256", "stages.1.micro_sequences=4")
    last = run.timeline.update(run.steps - 1)
    assert (last.sequences, last.sequence_length, run.stages[1].micro_sequences) == (12, 256, 4)
    assert run.stages[1].tokens == run.stages[1].num_sequences * 256
    assert run.batch.tokens_at(run.stages[0].tokens - 1) == 8 * 512
    assert run.batch.tokens_at(run.stages[0].tokens) == 12 * 256


@pytest.mark.parametrize(
    "schedule", [COSINE, COSINE.replace("cosine", "linear"), "schedule={name: step, lr_max: 0.01}"]
)
def test_seesaw_trades_the_fall_for_batch(schedule: str) -> None:
    run = derived(schedule, "batch.schedule={name: seesaw, max_sequences: 64, multiple_of: 2}")
    plain = derived(schedule).lr  # with the first batch throughout
    warm, grown = (0 if "step" in schedule else 50_000), set()
    for step in range(run.steps):
        update = run.timeline.update(step)
        n = update.tokens
        fallen_to = plain(n) / 0.01 if n >= warm else 1.0
        assert update.sequences == min(64, max(8, int(8 / fallen_to * (1 + 1e-9)) // 2 * 2))
        assert run.lr(n) == pytest.approx(plain(n) * math.sqrt(update.sequences / 8), rel=1e-12)
        grown.add(update.sequences)
    assert len(grown) > 2
    assert run.tokens < 1_200_000 + 2 * 64 * LENGTH


def test_seesaw_where_the_rate_halves() -> None:
    """The batch doubles and the rate falls by the root of 2."""
    schedule = "schedule={name: step, lr_max: 0.01, at: [0.5], factor: 0.5}"
    run = derived(schedule, "batch.schedule={name: seesaw, max_sequences: 16}")
    first, last = run.timeline.update(0), run.timeline.update(run.steps - 1)
    assert (first.sequences, last.sequences) == (8, 16)
    assert run.lr(last.tokens) / run.lr(first.tokens) == pytest.approx(0.7071067811865476, rel=1e-12)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["batch.schedule={name: seesaw, max_sequences: 64}"], "power's rate follows the batch"),
        (
            ["batch.schedule={name: seesaw, max_sequences: 64}", COSINE, "stages.1.sequences=8"],
            "stages.1.sequences: ",
        ),
        (
            ["batch.schedule={name: ramp, max_sequences: 4, tokens: 1M}"],
            "max_sequences=4 is less than batch.seq",
        ),
        (["batch.schedule={name: ramp, max_sequences: 44, tokens: 1M}"], "40 or 48 would be"),
        (["batch.schedule={name: rmp, max_sequences: 44}"], "Did you mean 'ramp'"),
        (["batch.schedule={name: ramp, max_sequences: 44, token: 5}"], "Did you mean 'tokens'"),
        (["batch.schedule={max_sequences: 44}"], "batch.schedule.name: missing"),
        (
            ["batch.schedule={name: ramp, max_sequences: 9, tokens: 5, multiple_of: 1}"],
            "9 .from 4096 tokens on. is no",
        ),
        (["stages.1.sequences=9"], "batch.sequences: 9 .from 901120 tokens on. is not a multiple"),
        (["stages.1.sequence_length=1024"], "stages.1.sequence_length: 1024 is more than"),
        (
            ["run.init_from=a", "run.init_tokens=8M", "stages.0.tokens=1", "stages.1.tokens=1"],
            "would begin at 77",
        ),
        (["run.init_tokens=5M"], "run.init_tokens: 5000000 tokens of no weights"),
        (["run.init_from=a", "run.branch_from=b"], "leave out run.init_from"),
    ],
)
def test_what_cannot_be(overrides: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load("tiny_moe", overrides)


def test_ranks_that_cannot_share_a_later_batch_are_refused() -> None:
    run = derived("batch.schedule={name: ramp, max_sequences: 20, tokens: 500K, multiple_of: 4}")
    check_shares(run, 2)
    with pytest.raises(UserError, match=r"At \d+ tokens, batch.sequences: 12 is not a multiple of .* = 8"):
        check_shares(run, 4)


def test_tokens_that_imported_weights_count_as_trained_on() -> None:
    run = derived("run.init_from=somewhere", "run.init_tokens=10M", "schedule.decay_tokens=0")
    assert (run.first_tokens, run.first_step, run.past.moments_from) == (10_000_000, 0, 10_000_000)
    assert run.timeline.update(0).tokens == 10_000_000
    assert run.tokens == 10_000_000 + 294 * 4096
    assert run.lr(10_000_000) == pytest.approx(4.0 * 10_000_000**-0.51, rel=1e-12)


def test_a_rate_that_rises_with_the_batch_is_worth_a_word() -> None:
    doubling = "batch.schedule={name: doubling, at_tokens: [600K]}"
    for overrides, words in (
        ([doubling], "rises with it once, most at 602.1K tokens"),
        ([doubling, "schedule={name: wsd, lr_max: 0.01}"], ""),
        (
            ["batch.schedule={name: sqrt, max_sequences: 80, from_tokens: 800K}"],
            "ends at 8 sequences, before 80",
        ),
        (["stages.1.sequence_length=256"], "python is read in sequences of 256, 512 tokens"),
        (["schedule.warmup_tokens=99M", "schedule.decay_tokens=0"], "in the middle of a warm-up of 99M"),
        (["batch.sequences=4096", "schedule.decay_tokens=0"], "1.2M tokens become 4.194M"),
        (["optimizer.betas=[0.9, 0.99]", "optimizer.adam_beta2={half_life_tokens: 7M}"], "0.99 has no part"),
        (["optimizer.adam_beta2={half_life_tokens: 7M}"], ""),
    ):
        config = load("tiny_moe", overrides)
        found = " ".join(advice(config, derive(config)))
        assert words in found
        assert bool(found) == bool(words)
