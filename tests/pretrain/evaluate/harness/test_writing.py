"""Prompts for writing: in which company, cut where, and what a task may ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import UserError
from pretrain.evaluate.harness.writing import Manner, manner, until, writings

GREEDY = {"until": ["\n"], "max_gen_toks": 8, "do_sample": False, "temperature": 0.7}


def test_a_task_that_does_not_sample_is_greedy_whatever_its_temperature() -> None:
    assert manner(GREEDY, "<end>") == Manner(max_tokens=8, stops=("\n", "<end>"), temperature=0.0)
    drawn = manner(GREEDY | {"do_sample": True, "top_p": 0.9}, "<end>")
    assert (drawn.temperature, drawn.top_p) == (0.7, 0.9)


def test_what_generation_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match="num_beams"):
        manner(GREEDY | {"num_beams": 4}, "<end>")


def test_a_text_ends_before_its_first_stop() -> None:
    assert until("a b. c\nd", ("\n", ". ")) == "a b"
    assert until("ab", ("x",)) == "ab"


@given(
    prompts=st.lists(
        st.lists(st.integers(0, 9), min_size=1, max_size=40).map(tuple), min_size=1, max_size=20
    ),
    kinds=st.lists(st.integers(1, 3), min_size=20, max_size=20),
    batch_tokens=st.integers(1, 90),
)
def test_every_prompt_is_written_on_once_among_its_like(
    prompts: list[tuple[int, ...]], kinds: list[int], batch_tokens: int
) -> None:
    wishes = [
        (prompt, Manner(max_tokens=kind, stops=("\n",))) for prompt, kind in zip(prompts, kinds, strict=False)
    ]
    jobs = writings(wishes, max_positions=16, batch_tokens=batch_tokens)
    assert sorted(number for job in jobs for number in job.numbers) == list(range(len(prompts)))
    for job in jobs:
        held = sum(len(prompt) + job.manner.max_tokens for prompt in job.prompts)
        assert len(job.prompts) == 1 or held <= batch_tokens
        for number, prompt in zip(job.numbers, job.prompts, strict=True):
            assert wishes[number][1] == job.manner
            assert prompt == prompts[number][-(16 - job.manner.max_tokens) :]


def test_a_task_that_leaves_no_room_for_a_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="256 tokens, and it has 256 positions"):
        writings([((1,), Manner(max_tokens=256, stops=()))], max_positions=256, batch_tokens=99)
