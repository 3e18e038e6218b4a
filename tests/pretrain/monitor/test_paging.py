from __future__ import annotations

from pathlib import Path

import pytest

from pretrain.monitor.paging import Pages


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_page_costs_no_more_than_its_share(tmp_path: Path) -> None:
    clock, written = Clock(), []

    def write(folder: Path) -> None:
        written.append(clock.now)
        clock.now += 0.5

    pages = Pages(write, tmp_path, pytest.fail, clock)
    while clock.now < 1000:
        pages.update()
        clock.now += 1.0
    assert 15 <= len(written) <= 21  # of half a second each, in a thousand


def test_a_page_that_fails_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []

    def write(folder: Path) -> None:
        raise PermissionError("not yours")

    pages = Pages(write, tmp_path, said.append, Clock())
    pages.update()
    pages.update()
    assert said == ["Warning: the report could not be written: PermissionError: not yours"]
