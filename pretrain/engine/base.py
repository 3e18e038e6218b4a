"""What the loop asks of an engine: gradients, updates at a learning rate, the state as a map of names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from torch import Tensor

from megatron_lite.model.documents import Documents
from megatron_lite.mup.groups import Group
from megatron_lite.optim.second_moment import SecondMoment

Kind = Literal["weight", "exp_avg", "exp_avg_sq"]
KINDS: tuple[Kind, ...] = ("weight", "exp_avg", "exp_avg_sq")
StateReader = Callable[[Kind, str], Tensor]
"""(kind, parameter name) -> the whole fp32 tensor on the CPU."""


class Engine(Protocol):
    """Sharding, precision, accumulation and the update, behind nine calls.

    Every call is collective: all ranks make it, in the same order.
    """

    def forward(self, tokens_T: Tensor, targets_T: Tensor, documents: Documents) -> dict[str, Tensor]:
        """The decoder's output on one micro-batch of this rank."""

    def accumulate(self, micro_steps: int) -> None:
        """The number of micro-steps of the updates to come; before the first backward of an update."""

    def backward(self, objective: Tensor) -> None:
        """Add this micro-step's gradient; over ranks and micro-steps the objectives are summed."""

    def step(self, lr: float, second_moment: SecondMoment | None = None) -> float:
        """Clip, update every group at `lr` times its ratio; the global gradient norm before clipping.

        `second_moment`: how this update decays it; None: by the options' betas.
        """

    def state(self) -> Iterator[tuple[Kind, str, Tensor]]:
        """Every tensor of the training state, whole, fp32, on the CPU, one at a time."""

    def load(self, read: StateReader, updates: int) -> None:
        """Take on the state that `read` gives, after `updates` optimizer updates."""

    def groups(self) -> list[Group]:
        """The optimizer's groups as they are now, for the audit."""

    def rates(self) -> dict[str, float]:
        """The learning rate that each of the optimizer's groups is really at, by its name."""

    def evaluating(self, flag: bool) -> None:
        """Switch between training and evaluation."""
