"""AdamW's weights as an average of its updates, and the weight decay that gives the average a window.

theta_t = (1 - eta_t wd) theta_{t-1} - eta_t u_t is an average of -u_i / wd with the weights
c_i = a_i prod_{j>i} (1 - a_j), a = eta wd; the start keeps prod (1 - a_j). Wang & Aitchison, arXiv
2405.13698; Bergsma et al., arXiv 2505.13738. eta is the rate of the hidden matrices, width ratio divided out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pretrain.laws.table import Array


def average_weights(rates: ArrayLike, weight_decay: float) -> tuple[Array, float]:
    """Every update's weight at the end, and what is left on the initial weights; their sum is 1."""
    shares = np.asarray(rates, float) * weight_decay
    kept = np.concatenate([np.cumprod((1 - shares)[::-1])[::-1], [1.0]])
    return shares * kept[1:], float(kept[0])


def timescale(batch_tokens: float, hidden_lr: float, weight_decay: float, D: float) -> float:
    """The window as a share of the run: B / (eta wd D)."""
    return batch_tokens / (hidden_lr * weight_decay * D)


def weight_decay_for(timescale: float, batch_tokens: float, hidden_lr: float, D: float) -> float:
    """The weight decay whose window is this share of the run."""
    return batch_tokens / (hidden_lr * timescale * D)
