"""How far a mean loss may be off: the spread of repeated runs, else what the runs say of themselves."""

from __future__ import annotations

import numpy as np

from pretrain.laws.cells import gather
from pretrain.laws.results import from_arrays


def test_the_spread_of_repeated_runs_comes_before_the_error_of_an_evaluation() -> None:
    lr, loss, shared = [0.001, 0.001, 0.002], [3.0, 3.1, 3.2], [0.5, 0.5, 0.5]
    (cell,) = gather(from_arrays(N=1e8, D=1e9, batch_tokens=1e5, lr=lr, loss=loss, loss_se=shared))
    np.testing.assert_allclose(cell.errors(0.1), [0.1 / np.sqrt(2), 0.1])
    np.testing.assert_allclose(cell.errors(float("nan")), [0.5 / np.sqrt(2), 0.5])
