"""One update: accumulate the global batch's gradient over micro-steps and ranks, then step, or leave it out.

The objective of the whole global batch is

    sum of nats over valid targets / valid targets
    + router_aux_loss_coef * sum over layers of the balance loss     (mixture of experts)
    + router_z_loss_coef * sum over layers of the z-loss

and each micro-step of each rank contributes its share, so that the sum of the gradients is the gradient
of the sum, however the batch is cut. The first denominator is counted over ranks before the first backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from megatron_lite.model.loss import balance_loss, z_loss
from megatron_lite.model.options import ModelOptions
from megatron_lite.optim.second_moment import SecondMoment
from pretrain.data.batch import Batch
from pretrain.engine.base import Engine
from pretrain.engine.micro_norms import MicroNorms
from pretrain.guard.spikes import Rejected, not_a_number
from pretrain.loop.layers import Layers
from pretrain.monitor.noise_scale import NoiseEstimate, noise_estimate
from pretrain.monitor.statistics import Statistics
from pretrain.ranks import total

Judge = Callable[[float, float], Rejected | None]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What one update did, the same on every rank."""

    loss: float  # nats per valid token over the global batch, language-model loss alone
    grad_norm: float  # global, before clipping
    balance_loss: float | None  # summed over layers; None: no experts
    z_loss: float | None
    expert_counts: list[list[int]] | None  # [layers][experts], over the global batch
    stop: bool  # some rank asked to stop
    rejected: Rejected | None = None  # why the update was left out; None: it was made
    noise: NoiseEstimate | None = None  # where it was asked for and an update has several micro-batches
    statistics: Statistics | None = None  # sizes by layer, where they were asked for


def train_step(
    engine: Engine,
    micro_batches: Sequence[Batch],
    *,
    lr: float,
    model: ModelOptions,
    previous_counts: list[list[int]] | None,
    device: torch.device,
    stop: bool,
    second_moment: SecondMoment | None = None,
    judge: Judge = not_a_number,
    measure_noise: bool = False,
    layers: Layers | None = None,
) -> StepResult:
    """Train one global batch of which `micro_batches` are this rank's, at learning rate `lr`.

    `previous_counts`: the expert use that `balance_scope: lagged` balances against. `second_moment`: where it
    decays by tokens. `judge`: from loss and gradient norm, the same on every rank, why the update is to be
    left out. `measure_noise`: of the gradients of its micro-batches. `layers`: new, to see sizes by layer.
    Collective.
    """
    engine.accumulate(len(micro_batches))
    own_sizes = [[batch.num_valid, batch.num_real] for batch in micro_batches]
    num_valid, num_real = total(torch.tensor(own_sizes, device=device).sum(0))
    lagged = _lagged_fractions(model, previous_counts, device)
    sums = torch.zeros(6, dtype=torch.float64, device=device)  # nats, balance, z, stop, two of the noise
    norms = MicroNorms(engine.working_parameters(), device) if measure_noise else None
    counts = None
    for batch in micro_batches:
        on_device = batch.to(device)
        with layers.forward(on_device) if layers else nullcontext():
            output = engine.forward(on_device.tokens_T, on_device.targets_T, on_device.documents)
        objective = output["loss_sum"] / num_valid.clamp(min=1)
        sums[0] += output["loss_sum"].detach()
        if "expert_counts_LE" in output:
            own_counts = output["expert_counts_LE"]
            counts = own_counts if counts is None else counts + own_counts
            fractions = _fractions(total(own_counts.clone())) if lagged is None else lagged
            balance = balance_loss(fractions, output["probability_sums_LE"], num_real)
            z = z_loss(output["z_sums_L"], num_real)
            objective = objective + model.router_aux_loss_coef * balance + model.router_z_loss_coef * z
            sums[1] += balance.detach()
            sums[2] += z.detach()
        with norms.watching(objective, batch.num_valid) if norms else nullcontext():
            engine.backward(objective)
    grad_norm = engine.gradient_norm()
    sums[3] += stop
    if norms is not None:
        sums[4:] = norms.sums
    nats, balance_sum, z_sum, stops, norm_squares, valid_squares = total(sums).tolist()
    loss = nats / max(1, int(num_valid))
    rejected = judge(loss, grad_norm)
    with layers.update() if layers else nullcontext():
        if rejected is None:
            engine.step(lr, second_moment)
        else:
            engine.discard()
    if counts is not None:
        total(counts)
    expert_counts = None if counts is None else counts.long().tolist()
    return StepResult(
        loss=loss,
        grad_norm=grad_norm,
        balance_loss=None if counts is None else balance_sum,
        z_loss=None if counts is None else z_sum,
        expert_counts=expert_counts,
        stop=stops > 0,
        rejected=rejected,
        noise=None
        if norms is None
        else noise_estimate(
            grad_norm=grad_norm,
            norm_squares=norm_squares,
            valid_squares=valid_squares,
            num_valid=int(num_valid),
        ),
        statistics=layers.statistics(expert_counts, made=rejected is None) if layers else None,
    )


def _lagged_fractions(
    model: ModelOptions, previous_counts: list[list[int]] | None, device: torch.device
) -> Tensor | None:
    """The previous update's expert use; equal use before the first; None: each micro-step's own is meant."""
    if model.balance_scope != "lagged" or model.num_local_experts is None:
        return None
    equal = [[1] * model.num_local_experts] * model.num_hidden_layers
    return _fractions(torch.tensor(previous_counts or equal, device=device))


def _fractions(counts_LE: Tensor) -> Tensor:
    """Each expert's share of a layer's assignments."""
    counts_LE = counts_LE.float()
    return counts_LE / counts_LE.sum(dim=1, keepdim=True)
