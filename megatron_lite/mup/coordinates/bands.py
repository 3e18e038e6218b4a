"""Which power of the width is right for each size under µP, and which sizes are judged at all.

With width n, head_dim, vocabulary and number of experts fixed (arXiv 2203.03466, appendix J; log2 slopes):

    first activations   0; logits of an untied head, and of a router that is an output, -1/2. Of a tied head
                        between: a token's own logit stays, all others are sums of n random signs over n.
    changes             0. Over the whole vocabulary logits may fall to -1/2 at first: only the few rows that
                        a token has to do with align with it. That of the next token is one of them.
    contributions       0 for every parameter: this is what the learning rate is for.
    first gradients     -1 for every parameter, as logits are divided by n; not for the router, see below.

An untied head's first logits fall, and with them the part of the first gradient that fights wrong tokens.
What is left is for the next token, whose logit changes the faster: by up to 1/2, and less the wider.

The router is the exception that its rule makes. As an output, its first weights are so small that what they
make of a change of their input may fall like n^-1/2. As a hidden matrix, the authors' rule, they reach back
into the stream with n^-1/2 where all else reaches with 1/n: changes of the layers below align with them, and
the router's logits, and with them the choice of experts, may change with up to n^1/2. And its gradient has
two parts: that of the loss falls like n^-1/2, those of balance and z-loss stay. So its direction, and a
little of its contribution, still go with the width.
"""

from __future__ import annotations

from typing import NamedTuple

from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.coordinates.places import Kind, Place
from megatron_lite.mup.options import MupOptions

TOLERANCE = 0.15
GRADIENT_TOLERANCE = 0.3  # the first loss, which is that of random weights, still depends on the seed

LOGITS = ("logits", "target logits")
ROUTED = ("channel", "channel branch")  # where a change of expert shows


class Band(NamedTuple):
    """The slopes that are right, both ends included."""

    low: float
    high: float

    def holds(self, slope: float) -> bool:
        """False for NaN."""
        return self.low <= slope <= self.high


FLAT = Band(-TOLERANCE, TOLERANCE)
HALF = Band(-0.5 - TOLERANCE, -0.5 + TOLERANCE)
MAY_FALL = Band(-0.5 - TOLERANCE, TOLERANCE)
MAY_RISE = Band(-TOLERANCE, 0.5 + TOLERANCE)
ROUTER_UPDATE = Band(-2 * TOLERANCE, TOLERANCE)


def band(place: Place, shape: ModelShape, mup: MupOptions) -> Band | None:
    """The band of a place; None: measured and not judged."""
    if place.kind is Kind.INITIAL:
        return _initial(place.quantity, shape, mup)
    if place.kind is Kind.CHANGE:
        return _change(place.quantity, shape, mup)
    if place.kind is Kind.UPDATE:
        return ROUTER_UPDATE if "router" in place.quantity else FLAT
    return _gradient(place, shape)


def _initial(quantity: str, shape: ModelShape, mup: MupOptions) -> Band:
    if quantity in LOGITS:
        return MAY_FALL if shape.tied else HALF
    if quantity == "router logits" and mup.router == "output":
        return HALF
    return FLAT


def _change(quantity: str, shape: ModelShape, mup: MupOptions) -> Band:
    if quantity == "logits":
        return MAY_FALL
    if quantity == "target logits" and not shape.tied:
        return MAY_RISE
    if quantity == "router logits":
        return MAY_RISE if mup.router == "hidden" else MAY_FALL
    if quantity in ROUTED and shape.num_experts is not None and mup.router == "hidden":
        return MAY_RISE
    return FLAT


def _gradient(place: Place, shape: ModelShape) -> Band | None:
    """Later losses differ between widths, as does the first where the head is untied."""
    if place.update > 1 or not shape.tied or "router" in place.quantity:
        return None
    return Band(-1 - GRADIENT_TOLERANCE, -1 + GRADIENT_TOLERANCE)
