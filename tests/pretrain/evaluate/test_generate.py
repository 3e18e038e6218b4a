from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents
from megatron_lite.model.shape import ModelShape
from pretrain.evaluate.generate import Written, generate, stream, write
from pretrain.evaluate.sampling import Sampling, choose_each

END = 26


class Letters:
    """A tokenizer of a letter a token; the end token is the last."""

    vocab_size = 27
    end_id = END

    def encode(self, text: str) -> list[int]:
        return [ord(char) - ord("a") for char in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(ord("a") + token) for token in ids)


def decoder(*, max_positions: int = 64, vocab_size: int = 27, num_experts: int | None = 4) -> Decoder:
    shape = ModelShape(
        hidden_size=16,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        intermediate_size=32,
        num_experts=num_experts,
        experts_per_token=num_experts and 2,
        vocab_size=vocab_size,
        max_positions=max_positions,
        rope_theta=10_000.0,
        rms_norm_eps=1e-6,
        tied=False,
        embedding_multiplier=12.0,
        residual_multiplier=0.22,
        attention_multiplier=0.25,
        logits_scaling=1.0,
    )
    model = Decoder(shape)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5, generator=generator)
    return model


MODEL = decoder()


def by_hand(model: Decoder, prompt: str, max_tokens: int) -> str:
    """Greedy text, one prompt alone, through the documents of training."""
    tokens = Letters().encode(prompt)
    for _ in range(max_tokens):
        row = torch.tensor([tokens[-model.shape.max_positions :]])
        token = int(model.logits(row[0], documents(row, END))[-1, :27].argmax())
        if token == END:
            break
        tokens.append(token)
    return Letters().decode(tokens)[len(prompt) :]


@pytest.mark.parametrize("num_experts", [None, 4])
def test_greedy_prompts_of_any_length_together_are_as_alone(num_experts: int | None) -> None:
    model = decoder(num_experts=num_experts)
    prompts = ["a", "hello", "thequickbrownfox", "zz"]
    texts = generate(model, Letters(), prompts, max_tokens=12, temperature=0)
    assert texts == [by_hand(model, prompt, 12) for prompt in prompts]
    assert len(set(texts)) > 1


def test_a_draw_depends_on_its_seed_and_not_on_its_neighbours() -> None:
    model = decoder()
    texts = generate(model, Letters(), ["abc", "hello", "abc"], max_tokens=10, temperature=2.0, seed=3)
    assert texts == generate(
        model, Letters(), ["abc", "hello", "abc"], max_tokens=10, temperature=2.0, seed=3
    )
    assert texts[1:2] == generate(model, Letters(), ["hello"], max_tokens=10, temperature=2.0, seed=4)
    assert texts[0] != texts[2]


def with_favourite(favourite: int) -> Decoder:
    """A decoder whose likeliest token is always the same."""
    model = decoder()
    with torch.no_grad():
        model.norm.weight.fill_(1.0)
        assert model.head is not None
        model.head.zero_()
    logits_of = model.logits_of

    def biased(h_TH: Tensor) -> Tensor:
        scores_TV = logits_of(h_TH)
        scores_TV[:, favourite] += 1
        return scores_TV

    model.logits_of = biased  # type: ignore[method-assign]
    return model


def test_a_text_ends_before_the_end_token() -> None:
    assert generate(with_favourite(END), Letters(), ["ab", "c"], max_tokens=9, temperature=0) == ["", ""]


def test_a_text_ends_after_so_many_tokens() -> None:
    assert generate(with_favourite(3), Letters(), ["ab", "c"], max_tokens=4, temperature=0) == [
        "dddd",
        "dddd",
    ]
    assert generate(with_favourite(3), Letters(), ["ab"], max_tokens=0, temperature=0) == [""]


def test_tokens_that_the_tokenizer_has_not_are_never_drawn() -> None:
    model = decoder(vocab_size=32)
    with torch.no_grad():
        assert model.head is not None
        model.head[27:] = model.head[:5] * 100  # rows of padding, larger than any
    texts = generate(model, Letters(), ["abc"] * 4, max_tokens=16, temperature=3.0)
    assert all(char.isalpha() for char in "".join(texts))


@pytest.mark.parametrize("num_experts", [None, 4])
def test_tokens_farther_back_than_the_positions_are_forgotten(num_experts: int | None) -> None:
    """Each token is that of the last 8 alone, where the text begins within them and where it does not."""
    model = decoder(max_positions=8, num_experts=num_experts)
    prompts = ["a", "abcdefg", "abcdefgh", "abcdefghijkl"]
    texts = generate(model, Letters(), prompts, max_tokens=12, temperature=0)
    assert texts == [by_hand(model, prompt, 12) for prompt in prompts]
    assert texts[2:3] == generate(model, Letters(), ["zzzabcdefgh"], max_tokens=12, temperature=0)
    assert any(len(prompt) < 8 < len(prompt + text) for prompt, text in zip(prompts, texts, strict=True))


def test_an_empty_prompt_begins_after_an_end_token() -> None:
    model = decoder()
    (text,) = generate(model, Letters(), [""], max_tokens=5, temperature=0)
    first = int(model.logits(torch.tensor([END]), documents(torch.tensor([[END]]), None))[0].argmax())
    assert text[:1] == Letters().decode([first] if first != END else [])


def test_prompts_that_wait_get_what_they_would_get_at_once() -> None:
    model, prompts = decoder(), ["a", "hello", "thequickbrownfox", "zz", "q"]
    how = {"max_tokens": 10, "sampling": Sampling(temperature=2.0), "seed": 3}
    one, all_of_them = (
        list(write(model, Letters(), prompts, at_once=at_once, **how))  # type: ignore[arg-type]
        for at_once in (2, 16)
    )
    assert one == all_of_them
    assert [text.text for text in one] == generate(
        model, Letters(), prompts, max_tokens=10, temperature=2.0, seed=3
    )


def test_it_is_told_how_a_text_ended() -> None:
    greedy = Sampling(temperature=0)
    (ended,) = write(with_favourite(END), Letters(), ["ab"], max_tokens=4, sampling=greedy)
    assert ended == Written(text="", num_tokens=1, ended=True)
    (cut,) = write(with_favourite(3), Letters(), ["ab"], max_tokens=4, sampling=greedy)
    assert cut == Written(text="dddd", num_tokens=4, ended=False)
    (stopped,) = write(with_favourite(3), Letters(), ["ab"], max_tokens=9, sampling=greedy, stops=["x", "dd"])
    assert stopped == Written(text="", num_tokens=2, ended=True)


def test_a_text_ends_before_the_first_stop_in_it() -> None:
    prompts, how = ["a", "hello", "zz"], {"max_tokens": 12, "temperature": 0.0}
    whole = generate(MODEL, Letters(), prompts, **how)  # type: ignore[arg-type]
    longest = max(whole, key=len)
    for stops in ([longest[3:5]], [longest[6:8], longest[2:4], longest[0]], [longest[-1]], ["#"]):
        found = generate(MODEL, Letters(), prompts, stops=stops, **how)  # type: ignore[arg-type]
        for text, full in zip(found, whole, strict=True):
            places = [full.find(stop) for stop in stops if stop in full]
            assert text == (full[: min(places)] if places else full)


class Bytes:
    """A tokenizer of a byte a token, whole characters and parts of them; the last one is the end."""

    vocab_size = 27
    end_id = END
    pieces = (*"a é€𝄞☃".encode(), 0xE2, 0x82, 0xFF, 0xC3, 0xF0, 0x9D, 0x41)

    def encode(self, text: str) -> list[int]:
        return [self.pieces.index(byte) for byte in text.encode()]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(self.pieces[token % len(self.pieces)] for token in ids).decode("utf-8", "replace")


def test_pieces_of_a_stream_are_whole_characters_and_together_the_text() -> None:
    most = 0
    for seed in range(6):
        how = {"max_tokens": 24, "seed": seed}
        pieces = list(stream(MODEL, Bytes(), "a", sampling=Sampling(temperature=2.0), **how))
        (text,) = generate(MODEL, Bytes(), ["a"], temperature=2.0, **how)  # type: ignore[arg-type]
        assert "".join(pieces) == text
        assert all(pieces)
        assert not any(piece.endswith("\ufffd") for piece in pieces[:-1])
        most = max(most, len(pieces))
    assert most > 4


def test_no_prompts_are_no_texts() -> None:
    assert generate(decoder(), Letters(), [], max_tokens=5) == []


def test_a_diverged_model_is_named() -> None:
    model = decoder()
    with torch.no_grad():
        model.embedding.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        generate(model, Letters(), ["a"], max_tokens=1, temperature=0)


def draws(logits: list[float], sampling: Sampling, count: int) -> list[int]:
    generator = torch.Generator().manual_seed(0)
    return choose_each(torch.tensor([logits] * count), sampling, [generator] * count)


def test_draws_follow_the_probabilities_under_the_temperature() -> None:
    logits = [2.0, 1.0, 0.0, -1.0]
    counts = torch.bincount(torch.tensor(draws(logits, Sampling(temperature=2.0), 4000)), minlength=4)
    expected = torch.softmax(torch.tensor(logits) / 2, dim=0)
    torch.testing.assert_close(counts / 4000, expected, atol=0.03, rtol=0)  # about four standard errors


@pytest.mark.parametrize(
    ("top_p", "allowed"),
    [(0.01, {2}), (0.5, {2}), (0.51, {2, 0}), (0.8, {2, 0}), (0.81, {2, 0, 3}), (1.0, {0, 1, 2, 3})],
)
def test_top_p_keeps_the_smallest_set_with_that_probability(top_p: float, allowed: set[int]) -> None:
    logits = torch.tensor([0.3, 0.05, 0.5, 0.15], dtype=torch.float64).log().tolist()
    assert set(draws(logits, Sampling(top_p=top_p), 200)) == allowed


@given(logits=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20), top_p=st.floats(0.01, 1))
def test_cold_and_narrow_draws_are_greedy(logits: list[float], top_p: float) -> None:
    best = max(logits)
    assert logits[draws(logits, Sampling(temperature=0, top_p=top_p), 1)[0]] == best
    drawn = logits[draws(logits, Sampling(temperature=1e-3, top_p=1e-6), 1)[0]]
    assert drawn == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize(
    "options", [{"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.1}]
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        generate(decoder(), Letters(), ["a"], max_tokens=1, **options)  # type: ignore[arg-type]
