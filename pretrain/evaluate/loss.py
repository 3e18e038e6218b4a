"""Loss and bits per byte on held-out text, over all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from megatron_lite.model.loss import IGNORE
from pretrain.data.batch import Batch, batch_of
from pretrain.engine.base import Engine
from pretrain.monitor.summary import Score
from pretrain.ranks import Ranks, total

MIN_PASSES = 8


def held_out_loss(
    engine: Engine,
    rows: np.ndarray,
    *,
    micro_sequences: int,
    end_id: int,
    document_mask: bool,
    token_bytes: np.ndarray,
    ranks: Ranks,
    device: torch.device,
    given_up: Callable[[], bool] = lambda: False,
) -> Score | None:
    """The loss over `rows` [N, S+1]. Collective: every rank makes the same number of forward passes.

    `given_up` is asked before each pass, and answers the same on every rank; None where it said yes.
    """
    bytes_V = torch.from_numpy(np.asarray(token_bytes, dtype=np.int64))
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # nats, valid tokens, bytes
    products = torch.zeros(4, dtype=torch.float64, device=device)  # of each pass's, for the standard error
    per_pass = micro_sequences * ranks.size
    engine.evaluating(True)
    with torch.no_grad():
        for first in range(0, len(rows), per_pass):
            if given_up():
                engine.evaluating(False)
                return None
            mine = rows[first + ranks.rank * micro_sequences :][:micro_sequences]
            batch = batch_of(mine if len(mine) else rows[:1], end_id, document_mask=document_mask)
            if not len(mine):  # nothing left for this rank, which must still take part
                batch.targets_T.fill_(IGNORE)
            found = _sums(engine, batch, bytes_V, device)
            sums += found
            products += _products(found)
    engine.evaluating(False)
    nats, tokens, num_bytes = total(sums).tolist()
    loss = nats / max(tokens, 1)
    return Score(
        loss=loss,
        bits_per_byte=nats / max(num_bytes, 1) / math.log(2),
        loss_se=standard_error(loss, tokens, *total(products).tolist()),
    )


def standard_error(
    loss: float, tokens: float, count: float, nats_squared: float, nats_tokens: float, tokens_squared: float
) -> float | None:
    """Of a loss that is a ratio of sums over `count` passes, from the sums of their products.

    The passes are taken as independent samples of the text (the usual estimate for a ratio); None for so few
    that it would itself be mostly noise.
    """
    if count < MIN_PASSES or not tokens or not math.isfinite(loss):
        return None
    squares = nats_squared - 2 * loss * nats_tokens + loss**2 * tokens_squared
    return math.sqrt(max(0.0, squares) * count / (count - 1)) / tokens


def _products(sums: torch.Tensor) -> torch.Tensor:
    """One for a pass that has tokens; its nats and tokens, squared and crossed."""
    nats, tokens = sums[0], sums[1]
    return torch.stack([(tokens > 0).double(), nats * nats, nats * tokens, tokens * tokens])


def _sums(engine: Engine, batch: Batch, bytes_V: torch.Tensor, device: torch.device) -> torch.Tensor:
    on_device = batch.to(device)
    output = engine.forward(on_device.tokens_T, on_device.targets_T, on_device.documents)
    targets = batch.targets_T[batch.targets_T != IGNORE]
    facts = torch.tensor([len(targets), int(bytes_V[targets].sum())], dtype=torch.float64, device=device)
    return torch.cat([output["loss_sum"].double().reshape(1), facts])
