from __future__ import annotations

from pathlib import Path

import pytest

from pretrain import files
from pretrain.monitor.status import Status, read_status, write_status


def test_the_last_status_is_read_back(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    write_status(tmp_path, "running", 3)
    write_status(tmp_path, "continue", 7, "stop file")
    assert read_status(tmp_path) == Status(state="continue", step=7, reason="stop file")


def test_a_write_that_fails_leaves_the_old_status_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_status(tmp_path, "running", 3)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_status(tmp_path, "finished", 4)
    assert read_status(tmp_path) == Status(state="running", step=3)
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]
