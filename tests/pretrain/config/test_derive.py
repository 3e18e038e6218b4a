"""What follows from a config: rounding of stages, the bound schedule, how a batch is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.schedules.batch import BatchOptions
from pretrain.config.derive import derive, micro_steps, model_shape
from pretrain.config.load import load
from pretrain.errors import UserError

BATCH = ("batch.sequences=16", "batch.sequence_length=512")
BATCH_TOKENS = 16 * 512


def test_stages_are_rounded_up_and_joined():
    overrides = [*BATCH, "stages.0.tokens=2000000", f"stages.1.tokens={74 * BATCH_TOKENS}"]
    derived = derive(load("tiny_moe", overrides))
    first, second = derived.stages
    assert (first.first_step, first.steps, first.tokens) == (0, 245, 245 * BATCH_TOKENS)
    assert (second.first_step, second.steps, second.tokens) == (245, 74, 74 * BATCH_TOKENS)
    assert (derived.steps, derived.tokens) == (319, 319 * BATCH_TOKENS)
    assert dict(first.mix) == {"python": 1.0}


def test_a_stage_smaller_than_a_batch_is_one_batch():
    overrides = ["stages.0.tokens=1", "stages.1.tokens=1", "schedule.decay_tokens=0"]
    assert derive(load("tiny_moe", overrides)).steps == 2


def test_the_tail_is_the_last_of_the_rounded_run():
    overrides = ["stages.0.tokens=2000000", "stages.1.tokens=500000", "schedule.decay_tokens=500000"]
    derived = derive(load("tiny_moe", [*BATCH, *overrides]))
    assert derived.lr(derived.tokens) == 0
    start, step = derived.tokens - 500_000, BATCH_TOKENS
    law = [2 * 4.0 * tokens**-0.51 for tokens in (start - step, start)]
    assert [derived.lr(start - step), derived.lr(start)] == pytest.approx(law, rel=1e-12)
    assert derived.lr(start + step) < 2 * 4.0 * (start + step) ** -0.51 * 0.98


def test_absent_vocabulary_is_the_tokenizers():
    assert model_shape(load("tiny_moe")).vocab_size == 4096
    assert model_shape(load("tiny_moe", ["data.tokenizer.vocab_size=8192"])).vocab_size == 8192
    assert model_shape(load("tiny_moe", ["model.vocab_size=5000"])).vocab_size == 5000
    assert model_shape(load("tiny_moe"), vocab_size=4000).vocab_size == 4000


@given(st.integers(1, 512), st.integers(1, 64), st.integers(1, 64))
def test_a_batch_is_cut_exactly_or_the_nearest_that_can_are_named(sequences, micro, ranks):
    batch = BatchOptions(sequences=sequences, sequence_length=8, micro_sequences=micro)
    if sequences % (micro * ranks) == 0:
        assert micro_steps(batch, ranks) * micro * ranks == sequences
        return
    with pytest.raises(UserError) as caught:
        micro_steps(batch, ranks)
    message = str(caught.value)
    above = -(-sequences // (micro * ranks)) * micro * ranks
    assert f"{above} would be" in message
    if "micro_sequences=" in message:
        offered = int(message.split("micro_sequences=")[1].split()[0])
        assert micro_steps(batch.model_copy(update={"micro_sequences": offered}), ranks) > 0
    else:
        assert sequences % ranks != 0
