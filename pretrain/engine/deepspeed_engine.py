"""The DeepSpeed engine: ZeRO 0 to 3 behind our protocol.

Learning rates are written into the groups before each update; DeepSpeed is given no scheduler, and its
own checkpoints are not used.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from megatron_lite.model.decoder import Decoder, See
from megatron_lite.model.documents import Documents
from megatron_lite.model.twin import lent
from megatron_lite.mup.groups import Group
from megatron_lite.optim.adamw import adamw, built_group, rates, set_rates
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.optim.second_moment import SecondMoment
from pretrain.engine.base import KINDS, Kind, Part, StateReader
from pretrain.engine.deepspeed_norm import drop_update, norm_source
from pretrain.engine.deepspeed_parts import local_part
from pretrain.engine.deepspeed_state import (
    create_optimizer_state,
    gathered,
    optimized_tensors,
    read_tensor,
    write_tensor,
)
from pretrain.engine.finite import all_finite
from pretrain.errors import UserError


class DeepSpeedEngine:
    """A model sharded by DeepSpeed. The process group must exist."""

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Group],
        options: AdamWOptions,
        json_config: dict[str, Any],
        local_rank: int,
    ) -> None:
        # DeepSpeed insists on finding this in the environment, where plain python and srun do not put it
        os.environ.setdefault("LOCAL_RANK", str(local_rank))
        import deepspeed

        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
        self.model = model
        self.parameters = dict(model.named_parameters())
        self.names = {parameter: name for name, parameter in self.parameters.items()}
        self.clip = options.clip
        # an all-reduce for inference that takes half a minute and 3 GiB to compile, and training never calls
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        with redirect_stdout(StringIO()):  # it prints memory tables whatever its log level
            deepspeed.init_distributed(dist_init_required=False)
            try:
                self.engine, *_ = deepspeed.initialize(
                    model=model,
                    optimizer=adamw(options, groups, self.parameters),
                    config=json_config,
                    dist_init_required=False,
                )
            except (ValidationError, deepspeed.DeepSpeedConfigError) as error:
                raise UserError(f"deepspeed: {_refusal(error)}") from None
        self.stage = self.engine.zero_optimization_stage()
        self.num_ranks = torch.distributed.get_world_size()
        # what DeepSpeed divides by; in bf16 a product with it is exact for powers of two alone
        self.averaged_over = self.num_ranks if self.stage == 3 else 1
        self.micro_step = 0
        self.norms = norm_source(self.engine, self.parameters)
        self.found: Any = None  # what the norm was computed from, as DeepSpeed's step wants it
        self.norm = math.nan  # of the gradient that is accumulated, once it was asked for
        self._assert_fp32()

    def forward(self, tokens_T: Tensor, targets_T: Tensor, documents: Documents) -> dict[str, Tensor]:
        return self.engine(tokens_T, targets_T, documents)

    def accumulate(self, micro_steps: int) -> None:
        assert micro_steps > 0, "an update has a micro-step"
        assert self.micro_step == 0, "the number of micro-steps cannot change within an update"
        if micro_steps != self.engine.gradient_accumulation_steps():
            per_micro_step = self.engine.train_micro_batch_size_per_gpu() * self.num_ranks
            self.engine.set_train_batch_size(micro_steps * per_micro_step)

    def backward(self, objective: Tensor) -> None:
        self.micro_step += 1
        is_last = self.micro_step == self.engine.gradient_accumulation_steps()
        # DeepSpeed counts micro-steps from the start of the run, modulo their number: wrong once that changes
        self.engine.set_gradient_accumulation_boundary(is_last)
        # DeepSpeed averages over ranks, and would over micro-steps; the protocol sums
        self.engine.backward(objective * self.averaged_over, scale_wrt_gas=False)
        if not is_last:
            self.engine.step()  # no update yet: its timers end a micro-step here

    def gradient_norm(self) -> float:
        announced = self.engine.gradient_accumulation_steps()
        assert self.micro_step == announced, "not the number of micro-steps that was announced"
        self.micro_step = 0
        self.found = self.norms.ask()
        self.norm = float(self.norms.total(self.found))
        return self.norm

    def step(self, lr: float, second_moment: SecondMoment | None = None) -> None:
        assert math.isfinite(self.norm), "a step is made by a norm that is a number"
        set_rates(self.engine.basic_optimizer, lr, second_moment)
        if self.stage == 0 and self.clip is not None:
            nn.utils.clip_grads_with_norm_(list(self.parameters.values()), self.clip, self.found)
        with self.norms.answered(self.found):
            self.engine.step()
        assert self.engine.was_step_applied(), "DeepSpeed left out an update that was asked for"
        self.norm = math.nan

    def discard(self) -> None:
        if self.stage == 0:
            self.engine.set_gradient_accumulation_boundary(False)
            self.engine.step()  # no update: its timers end a micro-step here
            self.engine.zero_grad()
        else:
            drop_update(self.engine, self.norms)
        assert not self.engine.was_step_applied(), "DeepSpeed made an update that was discarded"
        self.norm = math.nan

    def finite(self) -> bool:
        return all_finite(optimized_tensors(self.engine), self.engine.device)

    def state(self) -> Iterator[tuple[Kind, str, Tensor]]:
        for kind in KINDS:
            for name, parameter in self.parameters.items():
                yield kind, name, read_tensor(self.engine, parameter, kind)

    def load(self, read: StateReader, updates: int) -> None:
        create_optimizer_state(self.engine, updates)
        for kind in KINDS:
            for name, parameter in self.parameters.items():
                write_tensor(self.engine, parameter, kind, read(kind, name))

    def replicated(self) -> Mapping[str, Tensor]:
        return {} if self.stage == 3 else self.parameters

    @contextmanager
    def whole_weights(self) -> Iterator[Decoder]:
        with gathered(self.engine, self.parameters.values()), lent(self.model) as made:
            yield made

    def watched(self, see: See) -> AbstractContextManager[None]:
        assert isinstance(self.model, Decoder), "only a decoder has blocks"
        return self.model.watched(see)

    def parts(self, kind: Part) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.parameters.items():
            part = local_part(self.stage, parameter, kind)
            if part is not None:
                yield name, part

    def working_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters.values())

    def groups(self) -> list[Group]:
        return [
            built_group(group, [self.names[parameter] for parameter in members])
            for group, members in zip(self.engine.basic_optimizer.param_groups, self._members(), strict=True)
        ]

    def rates(self) -> dict[str, float]:
        return rates(self.engine.basic_optimizer)

    def _members(self) -> list[list[nn.Parameter]]:
        """The model's parameters in each of the optimizer's groups, as DeepSpeed holds them."""
        optimizer = self.engine.optimizer
        if self.stage == 0:
            return [group["params"] for group in optimizer.param_groups]
        if self.stage < 3:
            return optimizer.bf16_groups if hasattr(optimizer, "bf16_groups") else optimizer.bit16_groups
        members: list[list[nn.Parameter]] = [[] for _ in self.engine.basic_optimizer.param_groups]
        for index, sub_group in enumerate(optimizer.fp16_groups):
            members[optimizer.sub_group_to_group_id[index]].extend(sub_group)
        return members

    def evaluating(self, flag: bool) -> None:
        self.engine.train(not flag)

    def _assert_fp32(self) -> None:
        """Master weights, gradient accumulation and reduction are fp32, or the run does not start."""
        optimizer = self.engine.optimizer
        flat = [tensor for group in self.engine.basic_optimizer.param_groups for tensor in group["params"]]
        flat += getattr(optimizer, "fp32_partitioned_groups_flat", [])
        flat += getattr(optimizer, "fp32_groups_gradients_flat", [])
        assert all(tensor.dtype == torch.float32 for tensor in flat), (
            "an fp32 buffer of DeepSpeed is not fp32"
        )
        assert self.engine.communication_data_type == torch.float32, "gradients would not be reduced in fp32"
        assert self.engine.get_data_types()[1] == torch.float32, "gradients would not be accumulated in fp32"


def _refusal(error: Exception) -> str:
    """What is wrong inside a section, whose keys only DeepSpeed knows."""
    if not isinstance(error, ValidationError):
        return str(error)
    problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
    return f"{error.title} refuses " + "; ".join(problems)
