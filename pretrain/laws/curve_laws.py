"""The laws that can be fitted to loss curves, each with the space that its constants are looked for in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from pretrain.laws import annealing, multi_power_blocks
from pretrain.laws.annealing import MEMORY, Annealing
from pretrain.laws.curve_fit import Prepared, Space
from pretrain.laws.curves import Curve, Floats
from pretrain.laws.multi_power import MultiPower

Law = MultiPower | Annealing
MOST_L0 = 1.5  # of the lowest loss, which falling rates may have brought below L0


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A law before its constants are known."""

    constants: tuple[str, ...]
    prepared: Callable[[Curve, float, int], Prepared]
    from_units: Callable[[Floats, float, int], Law]
    space: Callable[[float], Space]  # from the lowest loss of the curves


def kind(name: str, memory: float = MEMORY) -> Kind:
    """The law of that name, `mpl` or `annealing`; `memory` is the annealing law's."""
    if name == MultiPower.NAME:
        return Kind(
            constants=("L0", "A", "alpha", "B", "C", "beta", "gamma"),
            prepared=multi_power_blocks.blocks,
            from_units=multi_power_blocks.from_units,
            space=_multi_power_space,
        )
    return Kind(
        constants=("L0", "A", "alpha", "C"),
        prepared=partial(annealing.prepared, memory=memory),
        from_units=partial(annealing.from_units, memory=memory),
        space=_annealing_space,
    )


def _multi_power_space(lowest: float) -> Space:
    open_width = np.inf
    return Space(
        low=np.log([lowest / 100, 1e-6, 0.02, 1e-6, 1e-3, 0.02, 0.01]),
        high=np.log([MOST_L0 * lowest, 1e4, 5.0, 1e3, 1e9, 10.0, 3.0]),
        linear=(0, 1, 3),
        grid=((0.3, 0.5, 0.8), (30.0, 3000.0, 1e5), (0.3, 0.6, 1.0), (0.3, 0.65, 1.0)),
        # beta and gamma trade off with B and C almost freely: mean and scatter of the authors' three models
        likely=np.log([1.0, 1.0, 1.0, 1.0, 1.0, 0.5914, 0.6438]),
        width=np.array([open_width] * 5 + [0.015, 0.015]),
    )


def _annealing_space(lowest: float) -> Space:
    return Space(
        low=np.log([lowest / 100, 1e-6, 0.02, 1e-9]),
        high=np.log([MOST_L0 * lowest, 1e4, 5.0, 1e3]),
        linear=(0, 1, 3),
        grid=((0.2, 0.35, 0.5, 0.7, 1.0),),
        likely=np.zeros(4),
        width=np.full(4, np.inf),
    )
