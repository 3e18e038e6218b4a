from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import pytest

from pretrain.monitor.columns import Table
from pretrain.monitor.console import Console
from pretrain.monitor.display import Update
from pretrain.monitor.lines import Lines
from pretrain.monitor.pace import Pace

SCENE = """
from pretrain.monitor.console import Console
from pretrain.monitor.display import Update
console = Console(every_steps=2)
with console.task("reading", 100, "B") as task:
    task.advance(100)
with console.training(4, 0) as training:
    for step in range(1, 5):
        training.update(
            Update(
                step=step, tokens=4096, loss=3.5, lr=0.01, grad_norm=0.5, tokens_per_second=1000, mfu=0.4
            )
        )
    with console.task("validation", 2, "sequences") as task:
        task.advance(2)
    console.validation(step=4, source="[red]python", loss=2.5, bits_per_byte=1.25)
print("to standard output")
"""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def update(step: int) -> Update:
    return Update(
        step=step,
        tokens=1_000_000 * step,
        loss=3.25,
        lr=0.0123,
        grad_norm=0.5,
        tokens_per_second=2100.0,
        mfu=0.4123,
    )


def test_a_task_says_a_line_every_five_seconds_and_one_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, every_steps=10, clock=clock).task("writing shards", 64e6, "B") as task:
        for _ in range(64):
            clock.now += 0.25
            task.advance(1e6)
    assert stream.getvalue().splitlines() == [
        "writing shards: 31%, 20 MB of 64 MB, 4 MB/s, 11 s left",
        "writing shards: 62%, 40 MB of 64 MB, 4 MB/s, 6 s left",
        "writing shards: 94%, 60 MB of 64 MB, 4 MB/s, 1 s left",
        "writing shards: 64 MB in 16 s",
    ]


def test_a_task_of_a_moment_says_nothing() -> None:
    stream = io.StringIO()
    with Lines(stream, every_steps=10, clock=Clock()).task("validation", 8, "sequences") as task:
        task.advance(8)
    assert stream.getvalue() == ""


def test_a_task_that_fails_does_not_say_that_it_is_done() -> None:
    stream, clock = io.StringIO(), Clock()
    with suppress(ZeroDivisionError), Lines(stream, every_steps=1, clock=clock).task("a", 8, "tokens"):
        clock.now += 3
        raise ZeroDivisionError
    assert stream.getvalue() == ""


def test_training_says_the_first_every_so_many_and_the_last_update() -> None:
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, every_steps=10, clock=clock).training(105, 80) as training:
        for step in range(81, 106):
            clock.now += 2.0
            training.update(update(step))
    assert stream.getvalue().splitlines() == [
        "   step  done  tokens     loss        lr    grad  tok/s  MFU  left",
        " 81/105   77%     81M   3.2500    0.0123     0.5   2.1K  41%  48 s",
        " 90/105   86%     90M   3.2500    0.0123     0.5   2.1K  41%  30 s",
        "100/105   95%    100M   3.2500    0.0123     0.5   2.1K  41%  10 s",
        "105/105  100%    105M   3.2500    0.0123     0.5   2.1K  41%  in 50 s",
    ]


WORST = Update(
    step=123_456,
    tokens=999_000_000_000,
    loss=12345.678,
    lr=1.23e-05,
    grad_norm=123.4,
    tokens_per_second=987_654.0,
    mfu=None,
)


@pytest.mark.parametrize("width", [200, 80, 60, 40, 20])
def test_a_line_fits_the_terminal_and_keeps_what_matters_most(width: int) -> None:
    heading, line = Table(654_321, width).lines(WORST, "59 min 05 s")
    assert max(len(heading), len(line)) <= width
    for expected, at_least in (("123456/654321", 20), ("1.2e+04", 40), ("59 min 05 s", 40), ("999B", 80)):
        assert (expected in line) or width < at_least
    assert len(line) > 0.6 * min(width, 80)


def test_headings_come_back_and_columns_stand_under_each_other() -> None:
    table = Table(105, None)
    lines = [line for step in range(1, 43) for line in table.lines(update(step), "9 s left")]
    headings = [number for number, line in enumerate(lines) if line.split()[0] == "step"]
    assert headings == [0, 21, 42]
    assert {line.index("41%") + 3 for line in lines if "41%" in line} == {lines[0].index("MFU") + 3}


def test_time_left_follows_a_change_of_pace() -> None:
    clock = Clock()
    pace = Pace(10_000, clock=clock)
    for _ in range(1000):
        clock.now += 1
        pace.advance(1)
    for _ in range(100):
        clock.now += 1
        pace.advance(4)
    assert pace.rate == pytest.approx(4)
    assert pace.seconds_left == pytest.approx((10_000 - 1400) / 4)


def test_pace_knows_no_rate_before_anything_is_done() -> None:
    clock = Clock()
    pace = Pace(0, clock=clock)
    assert (pace.rate, pace.seconds_left, pace.share) == (None, None, 1.0)
    pace = Pace(10, clock=clock)
    pace.advance(5)  # in no time at all
    assert (pace.rate, pace.share) == (None, 0.5)


def test_pace_keeps_little_of_many_advances() -> None:
    clock = Clock()
    pace = Pace(1e9, clock=clock)
    for _ in range(100_000):
        clock.now += 0.002
        pace.advance(1)
    assert len(pace._points) < 500
    assert pace.rate == pytest.approx(500, rel=0.01)


def test_a_quiet_console_says_nothing() -> None:
    stream = io.StringIO()
    console = Console(quiet=True, stream=stream)
    console.say("a")
    console.validation(step=1, source="a", loss=1.0, bits_per_byte=1.0)
    with console.task("a", 1, "tokens") as task:
        task.advance(1)
    with console.training(1) as training:
        training.update(update(1))
    assert stream.getvalue() == ""


def test_a_broken_stream_and_text_that_it_cannot_hold_stop_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    pipe = os.fdopen(writing, "w")
    console = Console(stream=pipe)
    console.say("nobody hears this")
    with suppress(BrokenPipeError):
        pipe.close()
    console.say("nor this")
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(stream=ascii_only).say("µP \x1b[31m")
    assert ascii_only.buffer.getvalue() == b"?P \\x1b[31m\n"  # type: ignore[attr-defined]


def test_without_a_terminal_lines_are_plain_and_on_standard_error() -> None:
    done = subprocess.run([sys.executable, "-c", SCENE], capture_output=True, text=True, check=True)
    assert done.stdout == "to standard output\n"
    assert [line.split("  ")[0] for line in done.stderr.splitlines()] == [
        "step",
        "1/4",
        "2/4",
        "4/4",
        "step 4",
    ]
    assert "validation on [red]python: loss 2.5000, 1.2500 bits per byte" in done.stderr
    assert all(char.isprintable() or char == "\n" for char in done.stderr)


def on_terminal(environment: dict[str, str]) -> str:
    control, terminal = pty.openpty()
    command = [sys.executable, "-c", SCENE]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=terminal, env={**os.environ, **environment}
    )
    os.close(terminal)
    seen = b""
    while True:
        try:
            chunk = os.read(control, 65536)
        except OSError:  # the other end is gone
            break
        if not chunk:
            break
        seen += chunk
    os.close(control)
    assert process.wait() == 0
    return seen.decode()


def test_on_a_terminal_bars_show_everything() -> None:
    seen = on_terminal({"TERM": "xterm", "COLUMNS": "100"})
    assert "\x1b[" in seen
    for expected in ("reading", "100 B in 0 s", "loss 3.5000  1K tokens/s  lr 0.01", "[red]python"):
        assert expected in seen
    assert seen.rstrip().endswith("\x1b[?25h")  # the cursor is shown again


def test_a_dumb_terminal_gets_plain_lines() -> None:
    seen = on_terminal({"TERM": "dumb"})
    assert "\x1b" not in seen
    assert "\n2/4" in seen


def test_a_narrow_terminal_is_never_overrun() -> None:
    for columns in (40, 80):
        seen = on_terminal({"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": "1"})
        shown = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", seen)
        bars = [line for line in re.split("[\r\n]+", shown) if line.startswith("training")]
        assert bars
        assert max(len(line.rstrip()) for line in bars) <= columns
        assert not re.search("\x1b\\[[0-9;]*3[0-7]m", seen)  # no colour
