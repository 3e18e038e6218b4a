"""Texts that a task lets the model write: prompts cut to the room there is, answers cut at their stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pretrain.errors import UserError
from pretrain.evaluate import generate
from pretrain.evaluate.sampling import Sampling

if TYPE_CHECKING:
    from megatron_lite.model.decoder import Decoder
    from pretrain.data.tokenizer import Tokenizer

KNOWN = ("until", "max_gen_toks", "do_sample", "temperature", "top_p")
SEED = 1234  # as the harness seeds torch


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a text is to be written."""

    max_tokens: int
    stops: tuple[str, ...]
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Writing:
    """Prompts that are written on together, with their numbers."""

    manner: Manner
    numbers: tuple[int, ...]
    prompts: tuple[tuple[int, ...], ...]
    seed: int


def manner(kwargs: Mapping[str, Any], end_text: str) -> Manner:
    """From what a task's `generation_kwargs` became; UserError for what generation here does not know."""
    unknown = [key for key in kwargs if key not in KNOWN]
    if unknown:
        raise UserError(
            f"a task asks for generation with {', '.join(unknown)}; here it knows {', '.join(KNOWN)}."
        )
    stops = (*kwargs["until"], end_text)
    return Manner(
        max_tokens=kwargs["max_gen_toks"],
        stops=tuple(stop for stop in dict.fromkeys(stops) if stop),
        temperature=kwargs.get("temperature", 0.0) if kwargs.get("do_sample") else 0.0,
        top_p=kwargs.get("top_p", 1.0),
    )


def writings(
    wishes: Sequence[tuple[tuple[int, ...], Manner]], *, max_positions: int, batch_tokens: int
) -> list[Writing]:
    """Prompts in their manners, together as far as `batch_tokens` hold them with all that may be written.

    Prompts too long lose their beginning. UserError where a manner leaves no room for one.
    """
    made: list[Writing] = []
    order = sorted(range(len(wishes)), key=lambda i: (repr(wishes[i][1]), -len(wishes[i][0]), wishes[i][0]))
    for wanted, numbers in groupby(order, key=lambda number: wishes[number][1]):
        room = max_positions - wanted.max_tokens
        if room <= 0:
            raise UserError(
                f"a task lets the model write {wanted.max_tokens} tokens, and it has {max_positions} "
                "positions: a task folder can set max_gen_toks lower."
            )
        used = batch_tokens
        for number in numbers:
            prompt = wishes[number][0][-room:]
            used += len(prompt) + wanted.max_tokens
            if used > batch_tokens:
                made.append(Writing(manner=wanted, numbers=(), prompts=(), seed=SEED + number))
                used = len(prompt) + wanted.max_tokens
            last = made[-1]
            made[-1] = replace(last, numbers=(*last.numbers, number), prompts=(*last.prompts, prompt))
    return made


def write(model: Decoder, tokenizer: Tokenizer, writing: Writing) -> list[str]:
    """What the model writes behind each prompt, up to the first stop."""
    found = generate.write(
        model,
        _Numbered(tokenizer, writing.prompts),
        [str(place) for place in range(len(writing.prompts))],
        max_tokens=writing.manner.max_tokens,
        sampling=Sampling(temperature=writing.manner.temperature, top_p=writing.manner.top_p),
        seed=writing.seed,
        stops=writing.manner.stops,
        at_once=len(writing.prompts),
    )
    return [until(one.text, writing.manner.stops) for one in found]


def until(text: str, stops: Sequence[str]) -> str:
    """The text in front of every stop."""
    for stop in stops:
        text = text.split(stop)[0]
    return text


class _Numbered:
    """A tokenizer whose texts to encode are the numbers of prompts that are encoded already."""

    def __init__(self, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]]) -> None:
        self._tokenizer = tokenizer
        self._prompts = prompts
        self.vocab_size = tokenizer.vocab_size
        self.end_id = tokenizer.end_id

    def encode(self, text: str) -> list[int]:
        return list(self._prompts[int(text)])

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)
