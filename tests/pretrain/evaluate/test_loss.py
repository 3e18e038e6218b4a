"""The loss on held-out rows, against closed forms and however the rows are cut."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from megatron_lite.model.loss import IGNORE
from pretrain.data.packing import PADDING
from pretrain.evaluate.loss import held_out_loss
from pretrain.ranks import Ranks, join

END = 1
NATS = torch.tensor([9.0, 0.5, 1.0, 2.0, 4.0], dtype=torch.float64)  # of each target
BYTES = np.array([0, 0, 1, 2, 3])


ALONE = Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0)


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Iterator[None]:
    join(ALONE, torch.device("cpu"))
    yield
    dist.destroy_process_group()


class Priced:
    """An engine whose model gives every token its price, whatever stands before it."""

    def __init__(self) -> None:
        self.passes: list[int] = []
        self.modes: list[bool] = []

    def evaluating(self, on: bool) -> None:
        self.modes.append(on)

    def forward(self, tokens_T: Tensor, targets_T: Tensor, documents: Any) -> dict[str, Tensor]:
        self.passes.append(len(tokens_T))
        return {"loss_sum": NATS[targets_T[targets_T != IGNORE]].sum()}


ROWS = np.array([[2, 3, 4, END, 2], [3, END, 4, 4, 4], [2, 2, END, PADDING, PADDING]], dtype=np.int32)
TARGETS = [3, 4, END, *(END, 4, 4), *(2, END)]  # nothing after an end token, nor in the padding


def score(micro_sequences: int, *, document_mask: bool = True) -> tuple[Any, Priced]:
    engine: Any = Priced()
    result = held_out_loss(
        engine,
        ROWS,
        micro_sequences=micro_sequences,
        end_id=END,
        document_mask=document_mask,
        token_bytes=BYTES,
        ranks=ALONE,
        device=torch.device("cpu"),
    )
    return result, engine


@pytest.mark.parametrize("micro_sequences", [1, 2, 3, 5])
def test_loss_and_bits_per_byte_of_a_model_that_is_known(micro_sequences: int) -> None:
    result, engine = score(micro_sequences)
    nats = sum(float(NATS[target]) for target in TARGETS)
    assert result.loss == pytest.approx(nats / len(TARGETS))
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / sum(BYTES[TARGETS]))
    assert len(engine.passes) == -(-len(ROWS) // micro_sequences)
    assert engine.modes == [True, False]


def test_without_document_masks_the_first_token_of_a_document_is_predicted_too() -> None:
    result, _ = score(2, document_mask=False)
    targets = [3, 4, END, 2, END, 4, 4, 4, 2, END]
    assert result.loss == pytest.approx(sum(float(NATS[target]) for target in targets) / len(targets))
