"""One trial, trained: a plain loop over the project's own decoder, rules, groups, optimizer and schedule.

In fp32, every row a document of its own. The host never waits for the device between updates.

Shapes: B sequences, S tokens of a sequence, T = B·S.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.lr_transfer.text import rows_on_device
from benchmarks.lr_transfer.trial import Trial
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import Documents, documents
from megatron_lite.model.loss import balance_loss, z_loss
from megatron_lite.model.parameters import parameters
from megatron_lite.mup.groups import groups
from megatron_lite.mup.initial import initial_weight
from megatron_lite.mup.rules import rule
from megatron_lite.optim.adamw import adamw
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.schedules.batch import ConstantBatch
from megatron_lite.schedules.linear import Linear

OPTIMIZER = AdamWOptions()  # as configs have it: betas, decay and clip included


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a trial."""

    first_loss: float  # nats per held-out token before the first update
    loss: float | None  # after the last; None: no number
    seconds: float
    device: str

    @property
    def diverged(self) -> bool:
        """Worse than before it learned anything."""
        return self.loss is None or self.loss > self.first_loss


def train(trial: Trial, data: Path, device: str) -> Outcome:
    """Train one model from its first weights to the end of its schedule."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    train_rows, validation_rows = rows_on_device(data, device)
    model = initial_model(trial, device)
    held_out = validation_rows[: trial.recipe.validation_sequences]
    first = evaluate(model, held_out, trial.recipe.sequences)
    update_all(model, trial, train_rows)
    last = evaluate(model, held_out, trial.recipe.sequences)
    return Outcome(
        first_loss=first,
        loss=last if math.isfinite(last) else None,
        seconds=time.perf_counter() - started,
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
    )


def initial_model(trial: Trial, device: str) -> Decoder:
    """The decoder with the weights that the rules and the seed give it."""
    shape, mup = trial.shape(), trial.mup()
    model = Decoder(shape).to(device)
    tensors = dict(model.named_parameters())
    with torch.no_grad():
        for parameter in parameters(shape):
            of_role = rule(parameter.role, mup=mup, shape=shape, weight_decay=OPTIMIZER.weight_decay)
            tensors[parameter.name].copy_(initial_weight(parameter, of_role, trial.seed))
    return model


def update_all(model: Decoder, trial: Trial, train_rows: Tensor) -> None:
    """Every update of the trial."""
    recipe = trial.recipe
    found = groups(trial.shape(), trial.mup(), OPTIMIZER.weight_decay)
    optimizer = adamw(OPTIMIZER, found, dict(model.named_parameters()))
    batch_tokens = recipe.sequences * recipe.sequence_length
    schedule = Linear(lr_max=trial.lr, warmup_tokens=recipe.warmup_updates * batch_tokens)
    lr = schedule.bind(
        batch=ConstantBatch(batch_tokens=batch_tokens), total_tokens=recipe.updates * batch_tokens
    )
    assert OPTIMIZER.clip is not None
    for update, rows in enumerate(batches(trial, train_rows)):
        for group in optimizer.param_groups:
            group["lr"] = lr(update * batch_tokens) * group["lr_ratio"]
        objective(model, trial, rows).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.clip)
        optimizer.step()
        optimizer.zero_grad()


def batches(trial: Trial, train_rows: Tensor) -> Iterator[Tensor]:
    """The rows of each update, in an order that is the seed's; where they run out, from the start again."""
    recipe = trial.recipe
    order = torch.from_numpy(np.random.default_rng(trial.seed).permutation(len(train_rows)))
    order = order.repeat(math.ceil(recipe.updates * recipe.sequences / len(order))).to(train_rows.device)
    for update in range(recipe.updates):
        yield train_rows[order[update * recipe.sequences :][: recipe.sequences]]


def objective(model: Decoder, trial: Trial, rows: Tensor) -> Tensor:
    """Nats per token, and for experts the two losses of the router."""
    options = trial.model()
    output = forward(model, rows)
    tokens = rows[:, 1:].numel()
    loss = output["loss_sum"] / tokens
    if "expert_counts_LE" not in output:
        return loss
    counts_LE = output["expert_counts_LE"]
    fractions_LE = counts_LE / counts_LE.sum(dim=1, keepdim=True)
    balance = balance_loss(fractions_LE, output["probability_sums_LE"], tokens)
    z = z_loss(output["z_sums_L"], tokens)
    return loss + options.router_aux_loss_coef * balance + options.router_z_loss_coef * z


@torch.no_grad()
def evaluate(model: Decoder, rows: Tensor, sequences: int) -> float:
    """Nats per token of these rows."""
    sums = [forward(model, part)["loss_sum"] for part in rows.split(sequences)]
    return float(torch.stack(sums).double().sum() / rows[:, 1:].numel())


def forward(model: Decoder, rows: Tensor) -> dict[str, Tensor]:
    """The decoder's sums over rows of S + 1 tokens."""
    equal = row_documents(rows.shape[0], rows.shape[1] - 1, str(rows.device))
    return model(rows[:, :-1].reshape(-1), rows[:, 1:].reshape(-1), equal)


@functools.cache
def row_documents(num_rows: int, sequence_length: int, device: str) -> Documents:
    """A document a row; made on the host, so made once."""
    return documents(torch.zeros(num_rows, sequence_length), None).to(device)
