"""How the global batch grows while a run trains: whole sequences as a function of tokens seen.

n      tokens trained before the update
first  `batch.sequences`, the batch that a run begins with

Each is exact in whole numbers but for seesaw, which follows a learning rate. A batch never shrinks.
"""

from __future__ import annotations

from math import isqrt
from typing import Annotated, Literal

from pydantic import Field, model_validator

from megatron_lite.options import Options, PositiveCount

ROUNDING = 1e-9  # of a quotient of two learning rates, which should not cost a whole step of the batch


class ConstantSize(Options):
    """The same batch throughout."""

    name: Literal["constant"] = Field("constant", description="how the batch grows")

    def sequences_at(self, tokens: int, first: int) -> int:
        """Sequences in the batch that is trained after `tokens`."""
        return first

    def check(self, first: int) -> None:
        """Raises ValueError where a run cannot begin with `first` sequences; any will do."""


class Growing(Options):
    """A batch that grows in whole steps up to a largest."""

    max_sequences: PositiveCount = Field(description="largest batch")
    multiple_of: PositiveCount | None = Field(
        None,
        description="the batch is rounded down to a multiple of this; absent: of batch.sequences, so that "
        "ranks which can share the first batch can share all",
    )

    def sequences_at(self, tokens: int, first: int) -> int:
        """Sequences in the batch that is trained after `tokens`."""
        return self.stepped(self.wanted(tokens, first), first)

    def stepped(self, wanted: int, first: int) -> int:
        """`wanted` as a batch that is allowed."""
        unit = self.multiple_of or first
        return max(first, min(wanted, self.max_sequences) // unit * unit)

    def wanted(self, tokens: int, first: int) -> int:
        """The batch before it is rounded and bounded; never falls as tokens grow."""
        raise NotImplementedError

    def check(self, first: int) -> None:
        """Raises ValueError where a run cannot begin with `first` sequences."""
        unit = self.multiple_of or first
        if self.max_sequences < first:
            raise ValueError(f"max_sequences={self.max_sequences} is less than batch.sequences={first}")
        for name, value in (("batch.sequences", first), ("max_sequences", self.max_sequences)):
            if value % unit:
                raise ValueError(
                    f"{name}={value} is not a multiple of {unit}, in whose multiples the batch grows; "
                    f"{_nearest_multiples(value, unit)} would be, or another multiple_of"
                )


class Ramp(Growing):
    """From the first batch to the largest in a straight line over tokens (GPT-3, arXiv 2005.14165)."""

    name: Literal["ramp"] = Field("ramp", description="how the batch grows")
    tokens: PositiveCount = Field(description="tokens after which the batch is the largest")

    def wanted(self, tokens: int, first: int) -> int:
        """first + (max - first) n / tokens."""
        return first + (self.max_sequences - first) * min(tokens, self.tokens) // self.tokens


class Doubling(Options):
    """Twice the batch from each of some token counts on."""

    name: Literal["doubling"] = Field("doubling", description="how the batch grows")
    at_tokens: tuple[PositiveCount, ...] = Field(
        min_length=1, description="token counts from which the batch is twice what it was, ascending"
    )

    @model_validator(mode="after")
    def _ascending(self) -> Doubling:
        if list(self.at_tokens) != sorted(set(self.at_tokens)):
            raise ValueError(f"at_tokens={list(self.at_tokens)} should be ascending, each another")
        return self

    def sequences_at(self, tokens: int, first: int) -> int:
        """Sequences in the batch that is trained after `tokens`."""
        return first << sum(tokens >= at for at in self.at_tokens)

    def check(self, first: int) -> None:
        """Raises ValueError where a run cannot begin with `first` sequences; any will do."""


class SquareRoot(Growing):
    """In proportion to the root of tokens seen."""

    name: Literal["sqrt"] = Field("sqrt", description="how the batch grows")
    from_tokens: PositiveCount = Field(
        description="tokens up to which the batch is batch.sequences; then it is that x sqrt(n / from_tokens)"
    )

    def wanted(self, tokens: int, first: int) -> int:
        """first sqrt(n / from_tokens)."""
        return isqrt(first * first * max(tokens, self.from_tokens) // self.from_tokens)


class LinearInTokens(Growing):
    """In proportion to tokens seen, as the critical batch of Time Transfer (arXiv 2410.05838)."""

    name: Literal["linear_in_tokens"] = Field("linear_in_tokens", description="how the batch grows")
    from_tokens: PositiveCount = Field(
        description="tokens up to which the batch is batch.sequences; then it is that x n / from_tokens"
    )

    def wanted(self, tokens: int, first: int) -> int:
        """first n / from_tokens."""
        return first * max(tokens, self.from_tokens) // self.from_tokens


class Seesaw(Growing):
    """Where the rate would fall by a factor, it falls by its root, and the batch grows by its inverse.

    Meterez et al. 2025, arXiv 2510.14717. The rate is that of `schedule` times the root of the batch's
    growth, and so follows the schedule again once the batch is the largest.
    """

    name: Literal["seesaw"] = Field("seesaw", description="how the batch grows")

    def sequences_under(self, fallen_to: float, first: int) -> int:
        """The batch where the schedule's rate is `fallen_to` of its highest."""
        if fallen_to * self.max_sequences <= first:
            return self.stepped(self.max_sequences, first)
        return self.stepped(int(first / fallen_to * (1 + ROUNDING)), first)


def _nearest_multiples(number: int, unit: int) -> str:
    below = number // unit * unit
    return f"{below} or {below + unit}" if below else str(unit)


BatchScheduleOptions = Annotated[
    ConstantSize | Ramp | Doubling | SquareRoot | LinearInTokens | Seesaw, Field(discriminator="name")
]
