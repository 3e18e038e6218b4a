from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pretrain.monitor.record import JsonLines
from pretrain.report import columns
from pretrain.report.columns import read_columns, read_sample
from pretrain.report.thin import running_mean, thinned

KEYS = ("step", "loss", "skipped", "absent")


def write(path: Path, count: int) -> None:
    with JsonLines(path) as file:
        for step in range(1, count + 1):
            line = {"kind": "train", "step": step, "loss": float("nan") if step == 5 else 1 / step}
            file.append(line | ({"skipped": True} if step % 7 == 0 else {}))
            if step % 10 == 0:
                file.append({"kind": "validation", "step": step, "source": "web", "more": {"a": [1, "b"]}})


@pytest.mark.parametrize("block_bytes", [1_000, 10_000_000])
@pytest.mark.parametrize("fast_bytes", [1, 10**9])
def test_both_ways_of_reading_find_what_a_line_at_a_time_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, fast_bytes: int
) -> None:
    monkeypatch.setattr(columns, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(columns, "FAST_BYTES", fast_bytes)
    path = tmp_path / "metrics.jsonl"
    write(path, 200)
    found = read_columns(path, KEYS, kind="train")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    for key in KEYS:
        wanted = [np.nan if line.get(key) is None else float(line[key]) for line in train]
        np.testing.assert_array_equal(found[key], wanted)
    assert list(found.others) == [line for line in lines if line["kind"] == "validation"]
    assert found.damaged == 0
    assert not found.has("absent")


@pytest.mark.parametrize("fast_bytes", [1, 10**9])
def test_a_damaged_line_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast_bytes: int
) -> None:
    monkeypatch.setattr(columns, "FAST_BYTES", fast_bytes)
    path = tmp_path / "timing.jsonl"
    path.write_bytes(b'{"step":1}\n[2]\n\n{"step":"three"}\n{"step":4,\n{"step":5}\n{"step":6')
    found = read_columns(path, ("step",))
    np.testing.assert_array_equal(found["step"], [1, np.nan, 5])
    assert found.damaged == 3


def test_a_file_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert len(read_columns(tmp_path / "metrics.jsonl", KEYS)) == 0
    assert read_sample(tmp_path / "statistics.jsonl", 3).of == 0


def test_a_sample_has_the_first_and_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "statistics.jsonl"
    path.write_text("".join(f'{{"step":{step}}}\n' for step in range(100)))
    sample = read_sample(path, 4)
    assert [line["step"] for line in sample.lines] == [0, 33, 66, 99]
    assert sample.of == 100
    assert len(read_sample(path, 1000).lines) == 100


def test_a_thinned_curve_spans_all_of_the_values() -> None:
    rng = np.random.default_rng(0)
    x, y = np.arange(1.0, 1004), rng.normal(size=1003)
    y[[4, 5, 700]] = np.nan
    found = thinned(x, y, most=100)
    assert found.each == 11
    for number, start in enumerate(range(0, 1003, 11)):
        piece = y[start : start + 11]
        assert found.x[number] == x[start : start + 11][-1]
        wanted = (np.nanmean(piece), np.nanmin(piece), np.nanmax(piece))
        np.testing.assert_allclose((found.mean[number], found.low[number], found.high[number]), wanted)
    assert len(found.x) == 92


def test_a_stretch_without_numbers_stays_without() -> None:
    y = np.array([1.0, 2.0, np.nan, np.nan, 5.0])
    found = thinned(np.arange(5.0), y, most=3)
    np.testing.assert_array_equal(found.mean, [1.5, np.nan, 5.0])
    np.testing.assert_array_equal(found.high, [2.0, np.nan, 5.0])


def test_the_running_mean_is_the_mean_of_the_known_around() -> None:
    y = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 9.0])
    np.testing.assert_allclose(running_mean(y, 3), [np.nan, 1.5, 3.0, 4.5, 6.0, np.nan])
    np.testing.assert_array_equal(running_mean(y, 1), y)
