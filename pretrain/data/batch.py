"""Rows of tokens as what the model takes: inputs, targets and the documents inside them.

B rows, S the sequence length, T = B * S.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from megatron_lite.model.documents import Documents, documents
from megatron_lite.model.loss import IGNORE
from pretrain.data.packing import PADDING

assert PADDING == IGNORE, "padding is a target that is not predicted"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One rank's micro-batch."""

    tokens_T: Tensor
    targets_T: Tensor  # the next token, or IGNORE
    documents: Documents

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            tokens_T=self.tokens_T.to(device, non_blocking=True),
            targets_T=self.targets_T.to(device, non_blocking=True),
            documents=self.documents.to(device),
        )

    @property
    def num_valid(self) -> int:
        """Targets that count."""
        return int((self.targets_T != IGNORE).sum())

    @property
    def num_real(self) -> int:
        """Tokens without padding."""
        real_T = self.documents.real_T
        return len(self.tokens_T) if real_T is None else int(real_T.sum())


def batch_of(rows: np.ndarray, end_id: int, *, document_mask: bool) -> Batch:
    """The batch of rows [B, S+1].

    With `document_mask`, documents end at their end token: attention stays inside, positions restart, and
    the end token predicts nothing. Padding is read as end tokens and predicts nothing; all that a row has
    together is one document there, and comes last, so that no token attends to it in any case.
    """
    inputs_BS = np.ascontiguousarray(rows[:, :-1], dtype=np.int64)
    targets_BS = rows[:, 1:].astype(np.int64)
    ends_BS = inputs_BS == end_id
    if document_mask:
        targets_BS[ends_BS] = IGNORE
    row_documents = documents(torch.from_numpy(inputs_BS), end_id if document_mask else None)
    padding_BS = inputs_BS == PADDING
    if padding_BS.any():
        row_documents = replace(row_documents, real_T=torch.from_numpy(~padding_BS).flatten())
    tokens_BS = np.where(padding_BS, end_id, inputs_BS)
    return Batch(
        tokens_T=torch.from_numpy(tokens_BS).flatten(),
        targets_T=torch.from_numpy(targets_BS).flatten(),
        documents=row_documents,
    )
