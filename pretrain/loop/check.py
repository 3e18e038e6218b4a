"""What `run.debug` asserts at every update: engine, position and groups are as rules and schedule say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from megatron_lite.mup.audit import audit

if TYPE_CHECKING:
    from pretrain.loop.run import Run

TOLERANCE = 1e-6  # of a learning rate that went through a group and back


def check_update(run: Run, lr: float) -> None:
    """AssertionError where the update that was just made was not the one that was due. Collective.

    Called before the position moves on.
    """
    from pretrain.loop.build import expected_groups

    due, position = run.next, run.position
    assert (due.tokens, due.sequence) == (position.tokens, position.sequence), (
        f"step {due.step}: the run stands at {position.tokens} tokens and sequence {position.sequence}, its "
        f"timeline at {due.tokens} and {due.sequence}"
    )
    expected = expected_groups(run.config, run.shape)
    audit(expected, run.engine.groups())
    rates = run.engine.rates()
    for group in expected:
        asked, found = lr * group.lr_ratio, rates[group.name]
        assert math.isclose(found, asked, rel_tol=TOLERANCE), (
            f"step {due.step}: group {group.name} was updated at {found}, not at {asked}"
        )
