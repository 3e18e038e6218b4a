"""How likely answers are, by one forward pass over one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from megatron_lite.model.decoder import Decoder
    from pretrain.evaluate.harness.rows import Row

AT_ONCE = 1024  # tokens whose logits are in memory


class Score(NamedTuple):
    """Of one answer."""

    loglikelihood: float  # nats, summed over its tokens
    greedy: bool  # whether each of its tokens is the likeliest


@torch.inference_mode()
def scores(model: Decoder, row: Row, device: torch.device) -> list[Score]:
    """The scores of a row's questions, in its order. FloatingPointError where logits are not finite."""
    tokens_T = torch.from_numpy(row.tokens).long().to(device)
    answers_A = torch.from_numpy(row.answers).long().to(device)
    h_TH = model.hidden(tokens_T, row.documents().to(device))
    h_AH = h_TH[torch.from_numpy(row.places).long().to(device)]
    pieces = zip(h_AH.split(AT_ONCE), answers_A.split(AT_ONCE), strict=True)
    judged = [_judged(model, *piece) for piece in pieces]
    chosen_A, greedy_A = (torch.cat(of_all).cpu() for of_all in zip(*judged, strict=True))
    if not bool(chosen_A.isfinite().all()):
        raise FloatingPointError("the model's logits are not finite")
    parts = zip(*(_parts(values, row) for values in (chosen_A, greedy_A)), strict=True)
    return [Score(float(chosen.sum()), bool(greedy.all())) for chosen, greedy in parts]


def _judged(model: Decoder, h_AH: Tensor, answers_A: Tensor) -> tuple[Tensor, Tensor]:
    """Of tokens: their log-probability in fp64, and whether they are the likeliest."""
    logits_AV = model.logits_of(h_AH)
    chosen_A = logits_AV.log_softmax(-1).gather(1, answers_A[:, None])[:, 0]
    return chosen_A.double(), logits_AV.argmax(-1) == answers_A


def _parts(values_A: Tensor, row: Row) -> tuple[Tensor, ...]:
    return values_A.split(list(row.answer_lengths))
