"""A second moment that forgets by tokens: its averaging window stays the same when the batch changes.

An update of B tokens decays the second moment by

    beta2 = 2^(-B / half_life)

and the product of all of them so far is 2^(-T / half_life), T the tokens since the moments began, however
those were cut into batches. So the bias correction, 1 minus that product, needs no state of its own.
torch corrects by 1 - beta2^step instead, as if beta2 had never changed. With

    r = sqrt((1 - beta2^step) / (1 - 2^(-T / half_life)))

torch's update made with lr / r, eps / r and weight_decay * r is the exact one:

    (lr / r) * m / (sqrt(v / (1 - beta2^step)) + eps / r)  =  lr * m / (sqrt(v / (1 - product)) + eps)
    (lr / r) * (weight_decay * r)                          =  lr * weight_decay
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from megatron_lite.optim.options import AdamWOptions


@dataclass(frozen=True, kw_only=True)
class SecondMoment:
    """What one update does to the second moment."""

    beta2: float
    scale: float  # r: 1 as long as the batch has never changed


def second_moment(
    options: AdamWOptions, *, step: int, tokens_before: int, batch_tokens: int, moments_from: int = 0
) -> SecondMoment | None:
    """The second moment of update `step`, counted from 1, which trains `batch_tokens` after `tokens_before`.

    `moments_from`: the tokens trained when the moments were zero. None where `options` decay by updates.
    """
    if options.adam_beta2 is None:
        return None
    assert step > 0, "the first update is number 1"
    assert moments_from <= tokens_before, "the moments cannot begin after the batch"
    half_life = options.adam_beta2.half_life_tokens
    beta2 = math.exp2(-batch_tokens / half_life)
    # to many digits also where the tokens are few beside the half-life, as they are at the beginning
    exact = -math.expm1(-math.log(2) * (tokens_before + batch_tokens - moments_from) / half_life)
    return SecondMoment(beta2=beta2, scale=math.sqrt((1 - beta2**step) / exact))
