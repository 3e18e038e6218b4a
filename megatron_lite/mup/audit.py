"""The audit of the groups: is every parameter updated by the rule that was meant for it?

Engines drop, merge and copy groups, and a wrong ratio shows in no loss curve for a long time. So the groups
that an engine has built are compared, parameter by parameter, with those that the rules ask for.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from megatron_lite.mup.groups import Group

TOLERANCE = 1e-6  # relative; a learning rate may have been divided back to a ratio


class AuditError(Exception):
    """The groups that were built are not those of the rules; the message names every parameter."""


def audit(expected: Sequence[Group], built: Sequence[Group]) -> None:
    """Raise AuditError unless every parameter is in exactly one built group, with its ratio and decay.

    Only the parameters and their rules are compared: a group may have been renamed, split or joined.
    """
    problems = list(_problems(_groups_of(expected), _groups_of(built)))
    if problems:
        raise AuditError("the optimizer's groups are not those of the rules:\n  " + "\n  ".join(problems))


def _groups_of(groups: Sequence[Group]) -> Mapping[str, list[Group]]:
    """The groups in which each parameter is."""
    found: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        for parameter in group.parameters:
            found[parameter].append(group)
    return found


def _problems(expected: Mapping[str, list[Group]], built: Mapping[str, list[Group]]) -> Iterator[str]:
    for name, (wanted, *_) in expected.items():
        found = built.get(name, [])
        if len(found) != 1:
            where = (
                "no group"
                if not found
                else f"{len(found)} groups: {', '.join(group.name for group in found)}"
            )
            yield f"{name} is in {where}"
            continue
        for what in ("lr_ratio", "weight_decay"):
            want, have = getattr(wanted, what), getattr(found[0], what)
            if not math.isclose(want, have, rel_tol=TOLERANCE):
                yield f"{name} (group {found[0].name}) has {what} {have:g}, not {want:g}"
    yield from (f"{name} is not a parameter of the model" for name in built if name not in expected)
