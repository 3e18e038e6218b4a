"""The noise scale along a run: planted ones come back, and their intervals hold the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pretrain.cli import app
from pretrain.errors import UserError
from pretrain.laws.noise_run import noise_run


def run(seed: int, updates: int = 320, power: float = 0.5, spread: float = 1.0) -> tuple[np.ndarray, ...]:
    """Estimates about |G|^2 = 1 and tr(Sigma) = (tokens / 1e6)^power, single ones often negative."""
    generator = np.random.default_rng(seed)
    tokens = 1e6 * np.arange(1, updates + 1)
    truth = (tokens / 1e6) ** power
    signal = 1 + spread * generator.standard_normal(updates)
    return tokens, signal, truth * (1 + spread * generator.standard_normal(updates))


def test_exact_estimates_give_the_law() -> None:
    tokens, signal, noise = run(0, spread=0.0)
    found = noise_run(tokens, signal, noise)
    assert len(found.windows) == 8
    assert found.growth is not None
    assert found.growth.exponent == pytest.approx(0.5, abs=0.03)
    assert noise_run(tokens, signal, 0 * noise + 5).windows[3].batch == pytest.approx(5, rel=1e-12)


def test_intervals_hold_the_truth_nineteen_times_in_twenty() -> None:
    held = []
    for seed in range(50):
        found = noise_run(*run(seed, power=0.0))
        held += [one.interval[0] < 1 < one.interval[1] for one in found.windows if one.interval]
    assert len(held) > 350
    assert 0.9 < np.mean(held) < 0.985


def test_dividing_first_would_be_wrong() -> None:
    tokens, signal, noise = run(1, power=0.0, updates=4000)
    assert noise_run(tokens, signal, noise, windows=1).windows[0].batch == pytest.approx(1, rel=0.08)
    assert abs(np.mean(noise / signal) - 1) > 0.2


def test_a_gradient_lost_in_noise_gives_no_batch() -> None:
    tokens, signal, noise = run(2, updates=16)
    found = noise_run(tokens, signal - 3, noise)
    assert [one.batch for one in found.windows] == [None, None]
    assert "measure more often" in found.notes[0]
    assert found.growth is None


def test_few_updates_and_none() -> None:
    found = noise_run([1e6, 2e6], [1.0, 1.0], [4.0, 6.0])
    assert found.windows[0].batch == 5
    assert found.windows[0].interval is None
    with pytest.raises(UserError, match="noise_scale_every"):
        noise_run([1e6], [float("nan")], [1.0])


def test_the_command_reads_a_run(tmp_path: Path) -> None:
    lines = [
        {"kind": "train", "step": step, "tokens": 1000 * step, "grad_sq": 2.0, "noise_trace": 3.0 * step**0.5}
        for step in range(1, 41)
    ]
    lines += [{"kind": "train", "step": 41, "tokens": 41000}, {"kind": "validation", "step": 41}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ended = CliRunner().invoke(app, ["laws", "batch", "--from-run", str(tmp_path), "--json"])
    assert ended.exit_code == 0, ended.output
    found = json.loads(ended.stdout)["noise_scale"]
    assert sum(one["updates"] for one in found["windows"]) == 40
    assert found["windows"][0]["batch"] == pytest.approx(np.mean(3 * np.arange(1, 9) ** 0.5) / 2)
    said = CliRunner().invoke(app, ["laws", "batch", "--from-run", str(tmp_path)]).stdout
    assert "means over updates before the ratio" in said
    with pytest.raises(UserError, match="no such folder"):
        CliRunner().invoke(app, ["laws", "batch", "--from-run", "nowhere"], catch_exceptions=False)
