"""Loss and bits per byte on held-out text, over all ranks."""

from __future__ import annotations

import math

import numpy as np
import torch

from megatron_lite.model.loss import IGNORE
from pretrain.data.batch import Batch, batch_of
from pretrain.engine.base import Engine
from pretrain.monitor.summary import Score
from pretrain.ranks import Ranks, total


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
) -> Score:
    """The loss over `rows` [N, S+1]. Collective: every rank makes the same number of forward passes."""
    bytes_V = torch.from_numpy(np.asarray(token_bytes, dtype=np.int64))
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # nats, valid tokens, bytes
    per_pass = micro_sequences * ranks.size
    engine.evaluating(True)
    with torch.no_grad():
        for first in range(0, len(rows), per_pass):
            mine = rows[first + ranks.rank * micro_sequences :][:micro_sequences]
            batch = batch_of(mine if len(mine) else rows[:1], end_id, document_mask=document_mask)
            if not len(mine):  # nothing left for this rank, which must still take part
                batch.targets_T.fill_(IGNORE)
            sums += _sums(engine, batch, bytes_V, device)
    engine.evaluating(False)
    nats, tokens, num_bytes = total(sums).tolist()
    return Score(loss=nats / max(tokens, 1), bits_per_byte=nats / max(num_bytes, 1) / math.log(2))


def _sums(engine: Engine, batch: Batch, bytes_V: torch.Tensor, device: torch.device) -> torch.Tensor:
    on_device = batch.to(device)
    output = engine.forward(on_device.tokens_T, on_device.targets_T, on_device.documents)
    targets = batch.targets_T[batch.targets_T != IGNORE]
    facts = torch.tensor([len(targets), int(bytes_V[targets].sum())], dtype=torch.float64, device=device)
    return torch.cat([output["loss_sum"].double().reshape(1), facts])
