"""The plain engine: replicated weights, summed gradients, torch's AdamW.

It is what the DeepSpeed engine is tested against, and the way to train without DeepSpeed. Weights may be
bf16; master weights, moments and the accumulated gradient are fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from megatron_lite.model.decoder import Decoder, See
from megatron_lite.model.documents import Documents
from megatron_lite.model.twin import lent
from megatron_lite.mup.groups import Group
from megatron_lite.optim.adamw import adamw, built_group, rates, set_rates
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.optim.second_moment import SecondMoment
from pretrain.engine.base import Kind, Part, StateReader
from pretrain.engine.finite import all_finite
from pretrain.engine.parts import own_part
from pretrain.ranks import total


class TorchEngine:
    """Data parallel without sharding."""

    def __init__(self, model: nn.Module, groups: Sequence[Group], options: AdamWOptions) -> None:
        self.model = model
        self.clip = options.clip
        self.micro_steps: int | None = None  # None: nobody has said how many
        self.micro_step = 0
        self.norm: Tensor | None = None  # of the gradient that is accumulated, once it was asked for
        self.working = dict(model.named_parameters())
        self.master = {name: _fp32(parameter) for name, parameter in self.working.items()}
        self.gradient = {name: torch.zeros_like(master) for name, master in self.master.items()}
        self.optimizer = adamw(options, groups, self.master)
        for name, parameter in self.working.items():
            parameter.register_post_accumulate_grad_hook(self._accumulate(self.gradient[name]))

    @staticmethod
    def _accumulate(gradient: Tensor) -> Callable[[Tensor], None]:
        def add(parameter: Tensor) -> None:
            assert parameter.grad is not None
            gradient.add_(parameter.grad)
            parameter.grad = None

        return add

    def forward(self, tokens_T: Tensor, targets_T: Tensor, documents: Documents) -> dict[str, Tensor]:
        return self.model(tokens_T, targets_T, documents)

    def accumulate(self, micro_steps: int) -> None:
        assert micro_steps > 0, "an update has a micro-step"
        assert self.micro_step == 0, "the number of micro-steps cannot change within an update"
        self.micro_steps = micro_steps

    def backward(self, objective: Tensor) -> None:
        objective.backward()
        self.micro_step += 1

    def gradient_norm(self) -> float:
        # nothing here depends on the number, but the other engine does
        assert self.micro_steps in (None, self.micro_step), "not the number of micro-steps that was announced"
        assert self.norm is None, "the gradient is summed over ranks once"
        self.norm = nn.utils.get_total_norm([total(gradient) for gradient in self.gradient.values()])
        return float(self.norm)

    def step(self, lr: float, second_moment: SecondMoment | None = None) -> None:
        assert self.norm is not None, "the norm is asked for before a step"
        assert self.norm.isfinite(), "a step is made by a norm that is a number"
        for name, master in self.master.items():
            master.grad = self.gradient[name]
        if self.clip is not None:
            nn.utils.clip_grads_with_norm_(list(self.master.values()), self.clip, self.norm)
        set_rates(self.optimizer, lr, second_moment)
        self.optimizer.step()
        with torch.no_grad():
            for name, master in self.master.items():
                master.grad = (
                    None  # in fp32 the master copy is the working weight, with a gradient of its own
                )
                self._refresh(name, master)
        self.discard()

    def discard(self) -> None:
        self.micro_step, self.norm = 0, None
        for gradient in self.gradient.values():
            gradient.zero_()

    def finite(self) -> bool:
        return all_finite(self.master.values(), next(iter(self.master.values())).device)

    def _refresh(self, name: str, master: Tensor) -> None:
        if self.working[name] is not master:
            self.working[name].data.copy_(master)

    def state(self) -> Iterator[tuple[Kind, str, Tensor]]:
        for name, master in self.master.items():
            yield "weight", name, master.detach()
        for kind in ("exp_avg", "exp_avg_sq"):
            for name, master in self.master.items():
                yield kind, name, self.optimizer.state[master][kind]

    def load(self, read: StateReader, updates: int) -> None:
        for name, master in self.master.items():
            with torch.no_grad():
                master.copy_(read("weight", name))
            self.optimizer.state[master] = {
                "step": torch.tensor(float(updates), device=master.device),  # fused AdamW reads it there
                "exp_avg": read("exp_avg", name).to(master.device, copy=True),
                "exp_avg_sq": read("exp_avg_sq", name).to(master.device, copy=True),
            }
            self._refresh(name, master)

    def replicated(self) -> Mapping[str, Tensor]:
        return self.working

    def whole_weights(self) -> AbstractContextManager[Decoder]:
        return lent(self.model)

    def watched(self, see: See) -> AbstractContextManager[None]:
        assert isinstance(self.model, Decoder), "only a decoder has blocks"
        return self.model.watched(see)

    def parts(self, kind: Part) -> Iterator[tuple[str, Tensor]]:
        for name, whole in (self.master if kind == "weight" else self.gradient).items():
            yield name, own_part(whole)

    def working_parameters(self) -> list[nn.Parameter]:
        return list(self.working.values())

    def groups(self) -> list[Group]:
        names = {id(master): name for name, master in self.master.items()}
        return [
            built_group(group, [names[id(tensor)] for tensor in group["params"]])
            for group in self.optimizer.param_groups
        ]

    def rates(self) -> dict[str, float]:
        return rates(self.optimizer)

    def evaluating(self, flag: bool) -> None:
        self.model.train(not flag)


def _fp32(parameter: nn.Parameter) -> Tensor:
    if parameter.dtype == torch.float32:
        return parameter
    return nn.Parameter(parameter.detach().float())
