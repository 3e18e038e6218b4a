from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.monitor.words import amount, duration, printable, short, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (273600, "3 d 04 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (999.6, "1 kB"),
        (1500, "1.5 kB"),
        (64e6, "64 MB"),
        (2.345e9, "2.35 GB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes(num_bytes: float, words: str) -> None:
    assert size(num_bytes) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0.1234, "0.123"), (3.0, "3"), (999, "999"), (21034.5, "21K"), (1_234_567, "1.23M"), (9.9996e5, "1M")],
)
def test_short_numbers(number: float, words: str) -> None:
    assert short(number) == words


def test_amounts_of_bytes_are_sizes() -> None:
    assert amount(2e6, "B") == amount(2e6, "bytes") == "2 MB"
    assert amount(2e6, "tokens") == "2M tokens"


@given(st.text(st.characters()))
def test_printable_text_holds_no_control_characters(text: str) -> None:
    shown = printable(text)
    assert all(char.isprintable() or char in "\n\t" for char in shown)
    if all(char.isprintable() for char in text):
        assert shown == text


def test_control_characters_are_made_visible() -> None:
    assert printable("a\x1b[31m\r\u202e\ud800é\n\t") == "a\\x1b[31m\\r\\u202e\\ud800é\n\t"
