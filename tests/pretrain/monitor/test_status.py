from __future__ import annotations

import errno
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

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        write_status(tmp_path, "finished", 4)
    assert read_status(tmp_path) == Status(state="running", step=3)
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_a_full_disk_does_not_keep_the_truth_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_status(tmp_path, "running", 3, "a reason that is longer than the next one")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    write_status(tmp_path, "failed", 4, "full")
    assert read_status(tmp_path) == Status(state="failed", step=4, reason="full")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "running"}', '{"stat": 1}'])
def test_a_damaged_status_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) is None
