"""The noise scale from micro-batches: unbiased where the truth is known, and the paper's for equal ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.errors import UserError
from pretrain.laws.noise_scale import signal_and_noise
from pretrain.monitor.noise_scale import check_micro_batches, noise_estimate

WIDTH, SIGMA = 6, 0.7


def updates(sizes: list[int], times: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates of |G|^2 and tr(Sigma) of a linear model on Gaussian data, and the true gradient.

    Loss (w x - y)^2 / 2 with y = v x + noise, x standard normal: a sample's gradient is (d x - e) x with
    d = w - v, so G = d and tr(Sigma) = (WIDTH + 1) |d|^2 + SIGMA^2 WIDTH.
    """
    generator = np.random.default_rng(sum(sizes))
    d = np.linspace(0.2, 0.8, WIDTH)
    found = []
    for _ in range(times):
        shares = []
        for size in sizes:
            x = generator.standard_normal((size, WIDTH))
            rest = x @ d - SIGMA * generator.standard_normal(size)
            shares.append((rest[:, None] * x).sum(axis=0) / sum(sizes))
        one = noise_estimate(
            grad_norm=float(np.linalg.norm(np.sum(shares, axis=0))),
            norm_squares=float(np.sum(np.square(shares))),
            valid_squares=float(np.sum(np.square(sizes))),
            num_valid=sum(sizes),
        )
        assert one is not None
        found.append((one.grad_sq, one.noise_trace))
    return *np.array(found).T, d


@pytest.mark.parametrize("sizes", [[4, 4], [2, 3, 5, 16], [8, 20], [0, 6, 6, 6]])
def test_both_are_unbiased_whatever_the_sizes(sizes: list[int]) -> None:
    signal, noise, d = updates(sizes, 4000)
    square = float(d @ d)
    truths = (square, (WIDTH + 1) * square + SIGMA**2 * WIDTH)
    for estimates, truth in zip((signal, noise), truths, strict=True):
        error = estimates.std() / np.sqrt(estimates.size)
        assert abs(estimates.mean() - truth) < 4 * error
        assert error < 0.06 * truth  # or the comparison would say nothing
    assert noise.mean() / signal.mean() == pytest.approx(truths[1] / truths[0], rel=0.12)


@settings(max_examples=50, deadline=None)
@given(
    k=st.integers(2, 16),
    size=st.integers(1, 1000),
    large=st.floats(0.01, 100),
    more=st.floats(0, 10),
)
def test_equal_micro_batches_give_the_formula_of_two_batch_sizes(
    k: int, size: int, large: float, more: float
) -> None:
    small = large * (1 + more)  # the mean squared norm of the micro-batches' own gradients
    one = noise_estimate(
        grad_norm=large**0.5, norm_squares=small / k, valid_squares=k * size**2, num_valid=k * size
    )
    assert one is not None
    signal, noise = signal_and_noise(size, k * size, small, large)
    assert one.grad_sq == pytest.approx(float(signal), rel=1e-9, abs=1e-9 * small)
    assert one.noise_trace == pytest.approx(float(noise), rel=1e-9, abs=1e-7 * small * size)


def test_one_micro_batch_says_nothing() -> None:
    assert noise_estimate(grad_norm=1.0, norm_squares=1.0, valid_squares=64.0, num_valid=8) is None
    assert noise_estimate(grad_norm=0.0, norm_squares=0.0, valid_squares=0.0, num_valid=0) is None


def test_a_run_of_single_micro_batches_is_refused() -> None:
    check_micro_batches(None, sequences=8, micro_sequences=8)
    check_micro_batches(10, sequences=8, micro_sequences=4)
    with pytest.raises(UserError, match=r"noise_scale_every=10 .* make batch\.micro_sequences \(8\) smaller"):
        check_micro_batches(10, sequences=8, micro_sequences=8)
