"""What is said of a run's data before it starts, once there is something to say."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from megatron_lite.schedules.timeline import Segment, Timeline
from pretrain.config.history import StagePlan
from pretrain.data.options import DataOptions
from pretrain.data.outlook import data_advice, packing_report, planned_training
from pretrain.data.prepare import prepare
from pretrain.data.progress import SilentProgress

LENGTH, BATCH, STEPS = 64, 8, 400


def derived() -> Any:
    segment = Segment(
        first_step=0, first_tokens=0, first_sequence=0, steps=STEPS, sequences=BATCH, sequence_length=LENGTH
    )
    stage = StagePlan(
        name="all",
        mix={"some": 1.0},
        sequence_length=LENGTH,
        micro_sequences=1,
        first_step=0,
        first_tokens=0,
        first_sequence=0,
        steps=STEPS,
        tokens=STEPS * BATCH * LENGTH,
        num_sequences=STEPS * BATCH,
    )
    return SimpleNamespace(
        stages=(stage,),
        timeline=Timeline(segments=(segment,)),
        tokens=stage.tokens,
        past=SimpleNamespace(here=SimpleNamespace(sequence=0)),
        stage_at=lambda step: stage,
    )


@pytest.mark.parametrize("packing", ["joined", "best_fit"])
def test_how_often_text_is_read_is_known_once_it_is_built(
    corpus_options: Callable[..., DataOptions], packing: str
) -> None:
    data = corpus_options(documents=200, packing=packing, max_epochs={"some": 2})
    assert planned_training(data, derived(), 0) is None
    corpus = prepare(data, say=lambda _: None, progress=SilentProgress())
    training = planned_training(data, derived(), 0)
    assert training is not None
    sequences = len(training.sources[LENGTH, "some"])
    tokens = corpus.sources["some"].train.num_tokens
    assert (sequences == (tokens - 1) // LENGTH) == (packing == "joined")

    (limited,) = data_advice(training, data, derived())
    times = STEPS * BATCH / sequences
    assert times > 4
    assert f"the run would read it {times:.6g} times" in limited
    assert f"{2 * sequences // BATCH * BATCH * LENGTH:,} tokens of the run's" in limited
    (repeated,) = data_advice(training, corpus_options(documents=200, packing=packing), derived())
    assert repeated.startswith("data.sources.some: its ")

    (report,) = packing_report(training)
    assert report.startswith(f"some: {sequences:,} sequences of {LENGTH} tokens; ")
    padding = 0 if packing == "joined" else 1 - tokens / (sequences * LENGTH)
    assert f"{padding:.2%} padding" in report
