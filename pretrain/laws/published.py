"""Published laws of the learning rate and the batch as formulas of parameters, tokens and loss.

Every batch is returned in tokens, whatever the source counts in. N leaves embeddings out, D is tokens, loss
is the natural-log cross-entropy. The sources, ranges and traps are in `pretrain.laws.catalogue`.
"""

from __future__ import annotations

import math

OLMO_REFERENCE = 1.08e8
PORIAN_SEQUENCE = OLMO_SEQUENCE = POWER_LINES_SEQUENCE = 2048
SCION_SEQUENCE = 4096


def step_law_lr(N: float, D: float) -> float:
    """Li et al. 2025, arXiv 2503.04715."""
    return 1.79 * N**-0.713 * D**0.307


def step_law_batch(D: float) -> float:
    """Li et al. 2025, arXiv 2503.04715; their tables count sequences of 2048, the law tokens."""
    return 0.58 * D**0.571


def deepseek_compute(D: float, layers: int, hidden: int, sequence: int) -> float:
    """Bi et al. 2024, arXiv 2401.02954: C = M D, attention included and embeddings not."""
    return (72 * layers * hidden**2 + 12 * layers * hidden * sequence) * D


def deepseek_lr(compute: float) -> float:
    """Bi et al. 2024."""
    return 0.3118 * compute**-0.1250


def deepseek_batch(compute: float) -> float:
    """Bi et al. 2024, in tokens."""
    return 0.2920 * compute**0.3271


def porian_lr(N: float) -> float:
    """Porian et al. 2024, arXiv 2406.19146."""
    return 3.7 * N**-0.36


def porian_batch(N: float) -> float:
    """Porian et al. 2024, in tokens."""
    return 0.7576 * N**0.703


def olmo_ladder_lr(N: float) -> float:
    """Bhagia et al. 2024, arXiv 2412.04403: the runs' peak is a quarter of the formula's."""
    return 0.0047 * (N / OLMO_REFERENCE) ** (-1 / 3) / 4


def olmo_ladder_batch(N: float) -> float:
    """Bhagia et al. 2024: 160 sequences of 2048 at 108M."""
    return 160 * OLMO_SEQUENCE * (N / OLMO_REFERENCE) ** (2 / 3)


def kaplan_lr(N: float) -> float | None:
    """Kaplan et al. 2020, arXiv 2001.08361; None where the formula is no longer positive."""
    rate = 3.239e-3 - 1.395e-4 * math.log(N)
    return rate if rate > 0 else None


def kaplan_critical_batch(loss: float) -> float:
    """Kaplan et al. 2020: 2e8 tokens at a loss of 1 (one copy in circulation has 2e18)."""
    return 2e8 / loss ** (1 / 0.21)


def zhang_critical_batch(D: float) -> float:
    """Zhang et al. 2024, arXiv 2410.21676: 93.2 N^0.468 sequences of 512, N in millions, where D is 20 N.

    By tokens, since with N or D held fixed it moves with D. Twenty per cent above linear scaling from 256.
    """
    return 93.2 * (D / 20e6) ** 0.468 * 512


def minicpm_batch(loss: float) -> float:
    """Hu et al. 2024, arXiv 2404.06395."""
    return 1.21e9 / loss**6.24


def scion_lr(batch_tokens: float, D: float) -> float:
    """arXiv 2510.03871: of the norm-based optimiser Scion, no AdamW rate."""
    return 2 ** (0.62 * math.log2(batch_tokens / SCION_SEQUENCE) - 0.56 * math.log2(D) + 9.8)


def schaipp_batch(D: float) -> float:
    """Schaipp 2026, arXiv 2607.01487."""
    return 0.667 * D**0.566


def horizon_factor(D_known: float, D: float, exponent: float = 0.32) -> float:
    """Bjorck et al. 2024, arXiv 2409.19913: what the best rate changes by from one horizon to another."""
    return (D_known / D) ** exponent


def power_lines_batch(D: float) -> float:
    """Bergsma et al. 2025, arXiv 2505.13738: 0.0306 D^0.383 sequences of 2048."""
    return 0.0306 * D**0.383 * POWER_LINES_SEQUENCE


def power_lines_timescale(tokens_per_parameter: float) -> float:
    """Bergsma et al. 2025: the best window of AdamW's average, as a share of the run."""
    return 1.084 * tokens_per_parameter**-0.527


def chinchilla_loss(N: float, D: float) -> float:
    """L(N, D) of Hoffmann et al. 2022 as refitted to their points: a guess where no loss is known."""
    return 1.8172 + 477.8 / N**0.3473 + 2143 / D**0.3672


def beta2_for_batch(beta2: float, batch: float, new_batch: float) -> float:
    """arXiv 2507.07101: the second moment's half-life kept in tokens."""
    return float(beta2 ** (new_batch / batch))
