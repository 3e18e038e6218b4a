"""Rates of all updates as a short table of tokens and rate, which `schedule: {name: from_file}` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pretrain.errors import UserError
from pretrain.files import replace
from pretrain.laws.curves import Floats, Steps, warmup_steps

MOST_ROWS = 2000


def write(path: Path, rates: Floats, batch_tokens: int) -> int:
    """Write the table and return its number of rows; `rates` begin with update 0, which is none."""
    rows = [f"{(step - 1) * batch_tokens},{rates[step]:.9g}" for step in _steps(rates)]
    try:
        replace(path, "\n".join(["tokens,lr", *rows]) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    return len(rows)


def _steps(rates: Floats) -> Steps:
    """Updates between which a line does: the sharpest bends, and ever more towards the end."""
    last, warm = len(rates) - 1, max(1, warmup_steps(rates))
    left = np.linspace(1, 0, MOST_ROWS // 2) ** 2
    even = np.round(last - (last - warm) * left).astype(np.int64)
    bends = np.argsort(-np.abs(np.diff(rates[1:], 2)), kind="stable")[: MOST_ROWS // 2] + 2
    return np.unique(np.concatenate([even, bends, [1, warm]]))
