"""The role of a parameter: all that the µP rules need to know about it."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a parameter does, in the terms of µP: which of its two sides grow with the width."""

    EMBEDDING = "embedding"  # from the vocabulary to the width; the head too where tied
    HEAD = "head"  # from the width to the vocabulary, untied
    NORM = "norm"  # gains: one number per channel
    HIDDEN = "hidden"  # from the width to the width
    OUTPUT = "output"  # hidden, and the last matrix of a residual branch
    ROUTER = "router"  # from the width to the experts, whose number does not grow
