"""What a sweep says where there is no terminal: soon after something ended, else now and then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pretrain.sweep import view


def test_a_line_when_something_ended_and_one_when_nothing_did_for_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = SimpleNamespace(seconds=1000.0, done=0)
    monkeypatch.setattr(view.time, "monotonic", lambda: now.seconds)
    monkeypatch.setattr(view, "_num_done", lambda queue: now.done)
    monkeypatch.setattr(view, "progress", lambda queue: f"{now.done} done at {now.seconds:.0f}")
    show = view.View()
    for now.seconds, now.done in ((1000, 0), (1005, 1), (1011, 1), (1300, 1), (1312, 1), (1320, 1)):
        show(cast(Any, None))
    assert capsys.readouterr().err.splitlines() == ["0 done at 1000", "1 done at 1011", "1 done at 1312"]
