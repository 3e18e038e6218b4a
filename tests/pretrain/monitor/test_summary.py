from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from megatron_lite.model.parameters import Counts
from pretrain.monitor.goodput import Goodput
from pretrain.monitor.summary import Sample, Score, Summary, read_summary, show_summary, write_summary

SUMMARY = Summary(
    name="tiny",
    parameters=Counts(
        total=14_218_240, active=6_123_456, active_non_embedding=4_026_304, embedding=2_097_152
    ),
    tokens=9_830_400,
    steps=300,
    validation={
        "python": Score(loss=3.25, bits_per_byte=1.5, loss_se=0.125),
        "web": Score(loss=4.25, bits_per_byte=1.75),
    },
    tokens_per_second=21_034.5,
    mfu=0.312,
    seconds=467.2,
    peak_memory_bytes=2_345_678_901,
    samples=(
        Sample(prompt="def main(", text="[bold]self):\x1b[31m\n    pass"),
        Sample(prompt="# µP ", text="is"),
    ),
    report="runs/tiny/report.html",
    picture="runs/tiny/curves.png",
    goodput=Goodput(
        seconds=1000.0,
        trained_seconds=900.0,
        starts=2,
        lost_seconds={"setup": 60.0, "evaluation": 3.0, "thrown_away": 37.0, "other": 0.0},
    ),
)


def test_a_summary_is_read_back(tmp_path: Path) -> None:
    assert read_summary(tmp_path) is None
    write_summary(tmp_path, SUMMARY)
    assert read_summary(tmp_path) == SUMMARY


def test_a_loss_that_is_no_number_is_null_in_the_file(tmp_path: Path) -> None:
    write_summary(
        tmp_path, replace(SUMMARY, validation={"web": Score(loss=math.nan, bits_per_byte=math.inf)})
    )
    values = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert values["validation"]["web"] == {"loss": None, "bits_per_byte": None}
    found = read_summary(tmp_path)
    assert found is not None
    assert math.isnan(found.validation["web"].loss)
    assert "nan" in found.validation["web"].describe()


def test_a_summary_of_before_goodput_was_counted_is_read(tmp_path: Path) -> None:
    write_summary(tmp_path, replace(SUMMARY, goodput=None))
    assert "goodput" not in json.loads((tmp_path / "summary.json").read_text())
    assert read_summary(tmp_path) == replace(SUMMARY, goodput=None)


def test_the_keys_of_the_file(tmp_path: Path) -> None:
    write_summary(tmp_path, SUMMARY)
    values = json.loads((tmp_path / "summary.json").read_text())
    assert list(values) == [
        "name", "parameters", "tokens", "steps", "validation", "tokens_per_second", "mfu", "seconds",
        "peak_memory_bytes", "samples", "report", "picture", "goodput",
    ]  # fmt: skip
    assert values["goodput"]["share"] == 0.9
    assert values["parameters"]["active_non_embedding"] == 4_026_304
    assert values["validation"]["web"] == {"loss": 4.25, "bits_per_byte": 1.75}
    assert values["samples"][1] == {"prompt": "# µP ", "text": "is"}


def test_the_table_says_everything_in_plain_text() -> None:
    stream = io.StringIO()
    show_summary(SUMMARY, stream)
    shown = stream.getvalue()
    for expected in (
        "14.22M (14,218,240)",
        "6.123M (6,123,456)",
        "9.83M in 300 steps",
        "loss 3.2500, 1.5000 bits per byte",
        "validation, web",
        "21K tokens/s (MFU 31.2%)",
        "2.35 GB",
        "7 min 47 s",
        "90.0% of 16 min 40 s since the first of 2 starts",
        "setup 1 min 00 s, thrown away 37 s",
        "runs/tiny/report.html",
        "runs/tiny/curves.png",
        "def main([bold]self):\\x1b[31m\n    pass",
        "# µP is",
    ):
        assert expected in shown
    assert all(char.isprintable() or char == "\n" for char in shown)


def test_without_a_peak_no_mfu_is_shown() -> None:
    stream = io.StringIO()
    show_summary(replace(SUMMARY, mfu=None, samples=()), stream)
    assert "MFU" not in stream.getvalue()


def test_a_stream_of_ascii_gets_what_it_can_hold() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show_summary(SUMMARY, stream)
    assert b"# ?P is" in stream.buffer.getvalue()  # type: ignore[attr-defined]
