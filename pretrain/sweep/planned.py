"""A run of a sweep: how it is started, what it shares, and what its row in the results says of it."""

from __future__ import annotations

from dataclasses import dataclass

from pretrain.sweep.settings import Setting


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run that is to be made, or was."""

    name: str  # of its folder
    setting: Setting
    budget: int | None  # None: its loss is nobody's result
    is_trunk: bool  # others go on from it
    parent: str | None  # the run that it goes on from
    tokens: int  # at its end, those of its parents included
    own_tokens: int
    flops: int  # of its own tokens
    overrides: tuple[str, ...]  # of the sweep's base
    parameters: int  # without embeddings
    batch_tokens: int
    lr: float  # the highest, of the group with ratio 1
    seed: int
