"""Our decoder: bare, with fp32 masters, and through the loop of a run with either engine."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from megatron_lite.kernels.choice import choose
from megatron_lite.kernels.options import KernelOptions
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents
from megatron_lite.model.loss import IGNORE, balance_loss, z_loss
from pretrain.data.batch import Batch
from pretrain.loop.build import build_engine, set_state
from pretrain.loop.step import train_step
from pretrain.ranks import Ranks, join
from speed.bare import Loss, Step, Update, bare_step, step_with_masters
from speed.cases import LEARNING_RATE, Setup

ALONE = Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0)


def bare(setup: Setup, kernels: Mapping[str, Any]) -> Step:
    """The decoder with AdamW on its weights."""
    asked = kernels if setup.compiled else {**kernels, "compile": "none"}
    decoder = _decoder(setup, KernelOptions(**asked))
    return bare_step(decoder, _loss_of(decoder, setup), setup)


def with_masters(setup: Setup) -> Step:
    """The decoder with AdamW on fp32 copies, and with the losses of its router."""
    decoder = _decoder(setup, KernelOptions())
    # in fp32 the weights are their own masters
    make = bare_step if setup.dtype == torch.float32 else step_with_masters
    return make(decoder, _loss_of(decoder, setup, router_losses=True), setup)


def engine(setup: Setup, name: Literal["torch", "deepspeed"]) -> Step:
    """An update of a run, from batches that are ready."""
    if not dist.is_initialized():
        join(ALONE, setup.device)
    run = setup.config.run.model_copy(update={"engine": name})
    config = setup.config.model_copy(update={"run": run})
    built = build_engine(config, setup.shape, ALONE, setup.device)
    set_state(built, config, setup.shape, None)
    batches = cycle([_batch(tokens_BS.cpu()) for tokens_BS in setup.batches()])

    def step() -> Update:
        result = train_step(
            built,
            [next(batches)],
            lr=LEARNING_RATE,
            batch_tokens=config.batch.tokens,
            model=config.model,
            previous_counts=None,
            device=setup.device,
            stop=False,
        )
        return Update(result.loss, result.grad_norm)

    return step


def _decoder(setup: Setup, options: KernelOptions) -> Decoder:
    kernels = choose(options, setup.device, setup.dtype).kernels
    with setup.device:
        decoder = Decoder(setup.shape, kernels=kernels).to(setup.dtype)
    with torch.no_grad():
        weights = setup.weights()
        for name, parameter in decoder.named_parameters():
            parameter.copy_(weights[name])
    return decoder


def _loss_of(decoder: Decoder, setup: Setup, *, router_losses: bool = False) -> Loss:
    model, num_tokens = setup.config.model, setup.config.batch.tokens
    ends = documents(setup.batches()[0].cpu(), None).to(setup.device)

    def loss_of(tokens_BS: Tensor) -> Tensor:
        targets_BS = targets(tokens_BS)
        output = decoder(tokens_BS.flatten(), targets_BS.flatten(), ends)
        loss = output["loss_sum"] / (targets_BS.numel() - len(targets_BS))
        if not router_losses or setup.shape.num_experts is None:
            return loss
        counts_LE = output["expert_counts_LE"]
        fractions_LE = counts_LE / counts_LE.sum(1, keepdim=True)
        balance = balance_loss(fractions_LE, output["probability_sums_LE"], num_tokens)
        z = z_loss(output["z_sums_L"], num_tokens)
        return loss + model.router_aux_loss_coef * balance + model.router_z_loss_coef * z

    return loss_of


def targets(tokens_BS: Tensor) -> Tensor:
    """The next token of the sequence; the last one predicts nothing."""
    return torch.nn.functional.pad(tokens_BS[:, 1:], (0, 1), value=IGNORE)


def _batch(tokens_BS: Tensor) -> Batch:
    return Batch(
        tokens_T=tokens_BS.flatten(),
        targets_T=targets(tokens_BS).flatten(),
        documents=documents(tokens_BS, None),
    )
