"""All rules, in the order of what matters: machine, sizes, learning, model."""

from __future__ import annotations

from collections.abc import Iterator

from pretrain.planning.rules import cluster, learning, model, scale
from pretrain.planning.rules.subject import Subject

RULES = (*cluster.RULES, *scale.RULES, *learning.RULES, *model.RULES)


def warnings(run: Subject) -> Iterator[str]:
    """What an expert would say of the run: a sentence each."""
    for rule in RULES:
        yield from rule(run)
