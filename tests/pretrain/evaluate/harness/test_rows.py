"""Packed rows ask every question once, and answer it as if it had been read alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import in_a_row
from megatron_lite.model.shape import ModelShape
from pretrain.evaluate.harness.rows import Question, question, rows
from pretrain.evaluate.harness.scoring import Score, scores

TOKENS = 6
POSITIONS = 12

pairs = st.lists(
    st.tuples(
        st.lists(st.integers(0, TOKENS - 1), min_size=1, max_size=20),
        st.lists(st.integers(0, TOKENS - 1), min_size=1, max_size=POSITIONS),
    ),
    min_size=1,
    max_size=30,
)


def decoder() -> Decoder:
    shape = ModelShape(
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        intermediate_size=24,
        num_experts=None,
        experts_per_token=None,
        vocab_size=TOKENS,
        max_positions=POSITIONS,
        rope_theta=100.0,
        rms_norm_eps=1e-6,
        tied=False,
        embedding_multiplier=2.0,
        residual_multiplier=0.5,
        attention_multiplier=0.3,
        logits_scaling=1.0,
    )
    model = Decoder(shape)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.4, generator=generator)
    return model.eval()


MODEL = decoder()


def alone(asked: Question) -> tuple[float, bool]:
    """By the definition: the whole text is read, and the last logits are those of the answer."""
    with torch.inference_mode():
        logits_TV = MODEL.logits(torch.tensor(asked.read), in_a_row([len(asked.read)]))
    answer_A = torch.tensor(asked.answer)
    logits_AV = logits_TV[-len(answer_A) :]
    chosen_A = logits_AV.log_softmax(-1)[torch.arange(len(answer_A)), answer_A]
    return float(chosen_A.double().sum()), bool((logits_AV.argmax(-1) == answer_A).all())


@settings(max_examples=30)
@given(pairs=pairs, batch_tokens=st.integers(1, 60))
def test_every_answer_is_that_of_its_text_read_alone(
    pairs: list[tuple[list[int], list[int]]], batch_tokens: int
) -> None:
    asked = [question(context, continuation, POSITIONS) for context, continuation in pairs]
    found: dict[int, Score] = {}
    for row in rows(asked, batch_tokens):
        assert len(row.lengths) == 1 or sum(row.lengths) <= batch_tokens
        found.update(zip(row.questions, scores(MODEL, row, torch.device("cpu")), strict=True))
    assert sorted(found) == list(range(len(asked)))
    for number, one in enumerate(asked):
        likelihood, greedy = alone(one)
        assert found[number].loglikelihood == pytest.approx(likelihood, abs=1e-4)
        assert found[number].greedy == greedy


@given(pairs=pairs)
def test_nothing_is_read_twice(pairs: list[tuple[list[int], list[int]]]) -> None:
    asked = [question(context, continuation, POSITIONS) for context, continuation in pairs]
    documents = []
    for row in rows(asked, 50):
        ends = torch.tensor(row.lengths).cumsum(0).tolist()
        texts = [row.tokens[end - length : end] for end, length in zip(ends, row.lengths, strict=True)]
        documents += [tuple(text.tolist()) for text in texts]
    for one in documents:
        assert sum(other[: len(one)] == one for other in documents) == 1


def test_a_context_too_long_loses_its_beginning() -> None:
    asked = question(range(100), [3, 4], POSITIONS)
    assert asked.read == (*range(100 - POSITIONS + 1, 100), 3)
    assert question([1], [2, 3], POSITIONS).read == (1, 2)


def test_logits_that_are_no_numbers_are_told() -> None:
    model = decoder()
    with torch.no_grad():
        model.norm.weight.fill_(float("nan"))
    (row,) = rows([question([1], [2], POSITIONS)], 10)
    with pytest.raises(FloatingPointError, match="not finite"):
        scores(model, row, torch.device("cpu"))
