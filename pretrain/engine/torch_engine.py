"""The plain engine: replicated weights, summed gradients, torch's AdamW.

It is what the DeepSpeed engine is tested against, and the way to train without DeepSpeed. Weights may be
bf16; master weights, moments and the accumulated gradient are fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from megatron_lite.model.documents import Documents
from megatron_lite.mup.groups import Group
from megatron_lite.optim.adamw import adamw, built_group, rates, set_rates
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.optim.second_moment import SecondMoment
from pretrain.engine.base import Kind, StateReader
from pretrain.ranks import total


class TorchEngine:
    """Data parallel without sharding."""

    def __init__(self, model: nn.Module, groups: Sequence[Group], options: AdamWOptions) -> None:
        self.model = model
        self.clip = options.clip
        self.micro_steps: int | None = None  # None: nobody has said how many
        self.micro_step = 0
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

    def step(self, lr: float, second_moment: SecondMoment | None = None) -> float:
        # nothing here depends on the number, but the other engine does
        assert self.micro_steps in (None, self.micro_step), "not the number of micro-steps that was announced"
        self.micro_step = 0
        for name, master in self.master.items():
            master.grad = total(self.gradient[name])
        norm = nn.utils.get_total_norm(list(self.gradient.values()))
        if self.clip is not None:
            nn.utils.clip_grads_with_norm_(list(self.master.values()), self.clip, norm)
        set_rates(self.optimizer, lr, second_moment)
        self.optimizer.step()
        with torch.no_grad():
            for name, master in self.master.items():
                master.grad = (
                    None  # in fp32 the master copy is the working weight, whose gradient starts anew
                )
                self.gradient[name].zero_()
                self._refresh(name, master)
        return float(norm)

    def _refresh(self, name: str, master: Tensor) -> None:
        if self.working[name] is not master:
            self.working[name].data.copy_(master)

    def state(self) -> Iterator[tuple[Kind, str, Tensor]]:
        for name, master in self.master.items():
            yield "weight", name, master.detach().to("cpu", copy=True)
        for kind in ("exp_avg", "exp_avg_sq"):
            for name, master in self.master.items():
                yield kind, name, self.optimizer.state[master][kind].to("cpu", copy=True)

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
