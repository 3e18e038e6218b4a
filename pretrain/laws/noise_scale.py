"""The gradient noise scale from squared gradient norms at two batch sizes.

McCandlish et al. 2018, arXiv 1812.06162: E|g_B|^2 = |G|^2 + tr(Sigma) / B, and B_simple = tr(Sigma) / |G|^2.
Both estimates are unbiased and noisy: average them over updates before dividing, as `noise_scale` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pretrain.errors import UserError
from pretrain.laws.table import Array


@dataclass(frozen=True, kw_only=True)
class NoiseScale:
    """|G|^2, tr(Sigma) and their ratio, in the unit of the batches; None where |G|^2 <= 0."""

    signal: float
    noise: float
    batch: float | None


def signal_and_noise(
    small_batch: float, large_batch: float, small_squared: ArrayLike, large_squared: ArrayLike
) -> tuple[Array, Array]:
    """|G|^2 and tr(Sigma) of every update, from the squared norms of gradients over the two batches."""
    if not 0 < small_batch < large_batch:
        raise UserError(
            f"batches are {small_batch:g} and {large_batch:g}; the first should be the smaller, above 0"
        )
    small, large = np.asarray(small_squared, float), np.asarray(large_squared, float)
    signal = (large_batch * large - small_batch * small) / (large_batch - small_batch)
    return signal, (small - large) / (1 / small_batch - 1 / large_batch)


def noise_scale(
    small_batch: float, large_batch: float, small_squared: ArrayLike, large_squared: ArrayLike
) -> NoiseScale:
    """B_simple over all updates given."""
    signal, noise = signal_and_noise(small_batch, large_batch, small_squared, large_squared)
    total = float(np.mean(signal))
    spread = float(np.mean(noise))
    return NoiseScale(signal=total, noise=spread, batch=spread / total if total > 0 else None)
