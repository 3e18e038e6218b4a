"""No number of an update is wider than its column, whatever it is."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pretrain.monitor.columns import Table, norm
from pretrain.monitor.display import Update


@given(value=st.floats(0, 1e30))
@example(value=1234.5)
@example(value=0.00123)
@example(value=999.9996)
@example(value=999_999.6)
@example(value=math.inf)
@example(value=math.nan)
def test_a_gradient_norm_has_six_characters_and_its_size(value: float) -> None:
    text = norm(value)
    assert len(text) <= 6
    if 1e-30 < value < 1e30:
        assert float(text) == pytest.approx(value, rel=0.5 if "e" in text else 0.05)


@given(grad_norm=st.floats(0, 1e30), loss=st.floats(0, 1e9), width=st.integers(30, 120))
def test_no_line_is_longer_than_the_terminal(grad_norm: float, loss: float, width: int) -> None:
    table = Table(100_000, width)
    update = Update(
        step=99_999,
        tokens=10**12,
        loss=loss,
        lr=1.234e-5,
        grad_norm=grad_norm,
        tokens_per_second=1e6,
        mfu=0.5,
    )
    heading, line = table.lines(update, "12 min 05 s left")
    assert len(line) <= width
    assert len(heading) <= width
