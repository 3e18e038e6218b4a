"""What a reader of the numbers should know besides: one sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from megatron_lite.options import format_count
from pretrain.rates.rates import Rates, Rise


def outside(rates: Rates, counts: Sequence[int]) -> Iterator[str]:
    """That the run makes no update at some of the counts that are asked for."""
    early = [count for count in counts if count < rates.first]
    late = [count for count in counts if count > rates.last]
    if early:
        yield f"the run begins at {rates.first:,} tokens ({format_count(rates.first)}), after {_few(early)}"
    if late:
        yield f"the run ends at {rates.last:,} tokens ({format_count(rates.last)}), before {_few(late)}"


def rising(rises: Sequence[Rise]) -> Iterator[str]:
    """That a larger batch means a higher rate, if it does anywhere."""
    if not rises:
        return
    most, before, after = max(rises, key=lambda rise: rise[2] - rise[1])
    where = f"at {format_count(most.first_tokens)} tokens from {before:.4g} to {after:.4g}"
    if len(rises) > 1:
        first, last = (format_count(rises[index][0].first_tokens) for index in (0, -1))
        where = f"{len(rises)} times between {first} and {last} tokens, most {where}"
    yield f"the learning rate rises with the batch {where}"


def _few(counts: Sequence[int]) -> str:
    shown = ", ".join(map(format_count, counts[:3]))
    return f"{shown} and {len(counts) - 3} more" if len(counts) > 3 else shown
