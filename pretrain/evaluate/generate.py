"""Text that a model writes after prompts: a batch of them together, or one as it comes.

What was read is remembered (`megatron_lite.model.cache`), so a token costs what one token costs, as long as a
text fits the model's positions. Behind them each token is computed from the last so many tokens anew: what is
remembered of those was computed with the ones before in sight, which are to be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from megatron_lite.model.cache import Reader
from pretrain.evaluate.sampling import Sampling, choose_each

if TYPE_CHECKING:
    from megatron_lite.model.decoder import Decoder

AT_ONCE = 16  # prompts that are read together; the others wait, and get what they would get beside these
BROKEN = "\ufffd"  # what bytes that are no whole character are decoded to


class Codec(Protocol):
    """What generation needs of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids; a model may have more rows than that."""

    @property
    def end_id(self) -> int:
        """The token that ends a document."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What came after a prompt."""

    text: str
    num_tokens: int  # that were drawn, the end token included
    ended: bool  # by the end token or a stop, and not by the number of tokens


def generate(
    model: Decoder,
    tokenizer: Codec,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    stops: Sequence[str] = (),
) -> list[str]:
    """What the model writes after each prompt, the prompt itself left out.

    A text ends before the end token, before the first of `stops` in it, or after `max_tokens`; tokens farther
    back than the model's positions are forgotten. Prompt number i draws from a generator seeded `seed` + i,
    whatever stands beside it.
    """
    sampling = Sampling(temperature=temperature, top_p=top_p)
    found = write(model, tokenizer, prompts, max_tokens=max_tokens, sampling=sampling, seed=seed, stops=stops)
    return [one.text for one in found]


def write(
    model: Decoder,
    tokenizer: Codec,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    sampling: Sampling,
    seed: int = 0,
    stops: Sequence[str] = (),
    at_once: int = AT_ONCE,
) -> Iterator[Written]:
    """As `generate`, with how each text ended; they come in order, `at_once` of them at a time."""
    for first in range(0, len(prompts), at_once):
        drafts = [
            _draft(tokenizer, prompt, seed + number)
            for number, prompt in enumerate(prompts[first : first + at_once], start=first)
        ]
        for drawn in _drawn(model, tokenizer, drafts, sampling, max_tokens):
            for draft in drawn if stops else ():
                draft.stop(tokenizer, stops)
        for draft in drafts:
            text = tokenizer.decode(draft.written) if draft.text is None else draft.text
            yield Written(text=text, num_tokens=draft.num_drawn, ended=draft.ended)


def stream(
    model: Decoder, tokenizer: Codec, prompt: str, *, max_tokens: int, sampling: Sampling, seed: int = 0
) -> Iterator[str]:
    """The text after one prompt in pieces, as it comes; no character is cut in two."""
    draft, shown = _draft(tokenizer, prompt, seed), 0
    for _ in _drawn(model, tokenizer, [draft], sampling, max_tokens):
        whole = tokenizer.decode(draft.written).rstrip(BROKEN)  # the next bytes may complete a character
        if len(whole) > shown:
            yield whole[shown:]
            shown = len(whole)
    rest = tokenizer.decode(draft.written)[shown:]
    if rest:
        yield rest


@dataclass(kw_only=True, eq=False)
class _Draft:
    """A text that is being written."""

    prompt: list[int]
    generator: torch.Generator
    written: list[int] = field(default_factory=list)
    num_drawn: int = 0
    ended: bool = False
    text: str | None = None  # where a stop was found: what stands before it

    @property
    def tokens(self) -> list[int]:
        return self.prompt + self.written

    def take(self, token: int, end_id: int) -> None:
        self.num_drawn += 1
        self.ended = token == end_id
        if not self.ended:
            self.written.append(token)

    def stop(self, tokenizer: Codec, stops: Sequence[str]) -> None:
        text = tokenizer.decode(self.written)
        places = [place for place in map(text.find, stops) if place >= 0]
        if places:
            self.text, self.ended = text[: min(places)], True


def _draft(tokenizer: Codec, prompt: str, seed: int) -> _Draft:
    # a document follows an end token, so that is what comes before a text without a prompt
    tokens = tokenizer.encode(prompt) or [tokenizer.end_id]
    return _Draft(prompt=tokens, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def _drawn(
    model: Decoder, tokenizer: Codec, drafts: Sequence[_Draft], sampling: Sampling, max_tokens: int
) -> Iterator[list[_Draft]]:
    """Draw a token of every draft that has not ended, again and again; those that have got one."""
    reading, going_on = _Reading(model), list(drafts)
    for _ in range(max_tokens):
        if not going_on:
            return
        logits_BV = reading.logits(going_on)[:, : tokenizer.vocab_size]
        chosen = choose_each(logits_BV, sampling, [draft.generator for draft in going_on])
        for draft, token in zip(going_on, chosen, strict=True):
            draft.take(token, tokenizer.end_id)
        yield going_on
        going_on = [draft for draft in going_on if not draft.ended]


class _Reading:
    """The logits behind drafts, of which each has one token more than before: remembered while they fit."""

    def __init__(self, model: Decoder) -> None:
        self._model = model
        self._reader = Reader(model)
        self._read: list[_Draft] | None = None  # those that the reader remembers, in its order

    def logits(self, drafts: Sequence[_Draft]) -> Tensor:
        """BV, in the order of the drafts."""
        positions = self._model.shape.max_positions
        fitting = [draft for draft in drafts if len(draft.tokens) <= positions]
        found = dict(zip(fitting, self._remembered(fitting), strict=True)) if fitting else {}
        longer = [draft for draft in drafts if draft not in found]
        if longer:
            anew = Reader(self._model).begin([draft.tokens[-positions:] for draft in longer])
            found |= dict(zip(longer, anew, strict=True))
        return torch.stack([found[draft] for draft in drafts])

    def _remembered(self, drafts: list[_Draft]) -> Tensor:
        before, self._read = self._read, drafts
        if before is None:
            return self._reader.begin([draft.tokens for draft in drafts])
        self._reader.keep([before.index(draft) for draft in drafts])
        return self._reader.advance([draft.written[-1] for draft in drafts])
