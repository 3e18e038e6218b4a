"""|G|^2 and tr(Sigma) of the gradient from the micro-batches of one update, at no extra pass.

After McCandlish et al. 2018 (arXiv 1812.06162, appendix A), for micro-batches of unequal size. Of the k
micro-batches of all ranks, number i has n_i valid targets of the update's n, and its share of the gradient is
c_i = (n_i / n) g_i with E g_i = G and E|g_i|^2 = |G|^2 + tr(Sigma) / n_i. With Q = sum |c_i|^2,
s = sum (n_i / n)^2 and g = sum c_i, the gradient before clipping,

    E|g|^2 = |G|^2 + tr(Sigma) / n        E Q = s |G|^2 + tr(Sigma) / n

    |G|^2 = (|g|^2 - Q) / (1 - s)         tr(Sigma) = n (Q - s |g|^2) / (1 - s)

are unbiased; for equal micro-batches (s = 1/k) they are the paper's. Their ratio is not: average both over
updates before dividing. tr(Sigma) counts targets as if independent; those of one sequence are not, and that
is in it, so tr(Sigma) / |G|^2 is a batch in tokens of whole sequences as they are trained. The gradient of a
router's balance loss, which is no mean over targets, is in it too, and small.
"""

from __future__ import annotations

from dataclasses import dataclass

from pretrain.errors import UserError


@dataclass(frozen=True, kw_only=True)
class NoiseEstimate:
    """One update's unbiased, unsmoothed estimates; either may be negative."""

    grad_sq: float  # |G|^2
    noise_trace: float  # tr(Sigma), a target


def noise_estimate(
    *, grad_norm: float, norm_squares: float, valid_squares: float, num_valid: float
) -> NoiseEstimate | None:
    """From |g|, Q, sum n_i^2 and n over all ranks; None where one micro-batch has all the targets."""
    if num_valid <= 0 or valid_squares >= num_valid**2:
        return None
    share, whole = valid_squares / num_valid**2, grad_norm**2
    return NoiseEstimate(
        grad_sq=(whole - norm_squares) / (1 - share),
        noise_trace=num_valid * (norm_squares - share * whole) / (1 - share),
    )


def check_micro_batches(every: int | None, *, sequences: int, micro_sequences: int) -> None:
    """UserError where the noise scale is asked for and every update is a single micro-batch."""
    if every is not None and sequences <= micro_sequences:
        raise UserError(
            f"trackers.noise_scale_every={every} compares the micro-batches of an update, and a batch of "
            f"{sequences} sequences is one; make batch.micro_sequences ({micro_sequences}) smaller"
        )
