"""What the loop asks of an engine: gradients, updates at a learning rate, the state as a map of names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from torch import Tensor, nn

from megatron_lite.model.decoder import Decoder, See
from megatron_lite.model.documents import Documents
from megatron_lite.mup.groups import Group
from megatron_lite.optim.second_moment import SecondMoment

Kind = Literal["weight", "exp_avg", "exp_avg_sq"]
KINDS: tuple[Kind, ...] = ("weight", "exp_avg", "exp_avg_sq")
Part = Literal["weight", "gradient"]
StateReader = Callable[[Kind, str], Tensor]
"""(kind, parameter name) -> the whole fp32 tensor on the CPU."""


class Engine(Protocol):
    """Sharding, precision, accumulation and the update, behind seventeen calls.

    Every call is collective: all ranks make it, in the same order.
    """

    def forward(self, tokens_T: Tensor, targets_T: Tensor, documents: Documents) -> dict[str, Tensor]:
        """The decoder's output on one micro-batch of this rank."""

    def accumulate(self, micro_steps: int) -> None:
        """The number of micro-steps of the updates to come; before the first backward of an update."""

    def backward(self, objective: Tensor) -> None:
        """Add this micro-step's gradient; over ranks and micro-steps the objectives are summed."""

    def gradient_norm(self) -> float:
        """The global gradient norm before clipping; after the last backward of an update, before its end.

        Where any rank's gradient is not finite, neither is the norm, on every rank.
        """

    def step(self, lr: float, second_moment: SecondMoment | None = None) -> None:
        """Clip by that norm, which is finite, and update every group at `lr` times its ratio.

        `second_moment`: how this update decays it; None: by the options' betas.
        """

    def discard(self) -> None:
        """Drop this update's gradients instead: weights, moments and their counts stay as they are."""

    def finite(self) -> bool:
        """Whether every weight is a number."""

    def state(self) -> Iterator[tuple[Kind, str, Tensor]]:
        """Every tensor of the training state, whole, fp32, where it is: copy what is kept before the next."""

    def load(self, read: StateReader, updates: int) -> None:
        """Take on the state that `read` gives, after `updates` optimizer updates."""

    def replicated(self) -> Mapping[str, Tensor]:
        """The working weights that every rank holds whole, as they are; none where they are sharded."""

    def whole_weights(self) -> AbstractContextManager[Decoder]:
        """Between updates: a decoder of the working weights, whole on every rank, without gradients.

        In eval mode, and never compiled, so that texts of any lengths may be read. It is empty afterwards.
        """

    def watched(self, see: See) -> AbstractContextManager[None]:
        """Meanwhile, show `see` what every block of the forward passes makes."""

    def parts(self, kind: Part) -> Iterator[tuple[str, Tensor]]:
        """This rank's part of every fp32 weight or gradient by name, flat; all ranks' are each number once.

        As they are, not copies; those of which this rank has nothing are left out. The gradient of an
        update, before clipping: between `gradient_norm` and its end. No communication.
        """

    def working_parameters(self) -> list[nn.Parameter]:
        """The model's own parameters, whose gradients `backward` makes."""

    def groups(self) -> list[Group]:
        """The optimizer's groups as they are now, for the audit."""

    def rates(self) -> dict[str, float]:
        """The learning rate that each of the optimizer's groups is really at, by its name."""

    def evaluating(self, flag: bool) -> None:
        """Switch between training and evaluation."""
