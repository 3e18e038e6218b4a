"""A disk that fills up: foreseen or met at any write, no older checkpoint is lost and nothing is left behind.

On a tmpfs of a few pages where this process may mount one (root on Linux); everywhere, each operation that
takes space is refused in turn as a full disk refuses it.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_operations import Operation, watched
from stored_state import BEHIND, IN_LINE, same, save_alone, saved_by_all, savers

from pretrain.checkpoint import space
from pretrain.checkpoint.good import newest_good
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.saver import Saved

OLD, NEW = 1, 2
PAGE = 4096
Usage = namedtuple("Usage", "total used free")


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def assert_as_before(root: Path, before: dict[str, bytes], saved: Saved) -> None:
    assert saved.error is not None
    assert tree(root) == before
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []
    found = newest_good(root, lambda text: pytest.fail(text))
    assert found is not None
    assert same(found, OLD)


@pytest.mark.parametrize("size", [1, 3])
def test_too_little_space_is_foreseen_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    save_alone(tmp_path, OLD, 5)
    before = tree(tmp_path)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: Usage(10**9, 0, 1_000_000))
    those = savers(tmp_path, BEHIND, size)
    told, waited = saved_by_all(those, NEW, 7)
    assert_as_before(tmp_path, before, told[0])
    for saved in waited:  # known on every rank
        assert saved is not None
        for word in (str(tmp_path), "1.05 MB", "1 MB are free", "keep_last"):
            assert word in (saved.error or "")
    monkeypatch.undo()  # and the run goes on: the next save has its space
    told, _ = saved_by_all(those, NEW, 9)
    assert told[0].error is None


def refused_at(root: Path, number: int, error: int, options: CheckpointOptions) -> tuple[Saved, str]:
    """A save of which one operation that takes space or touches the disk is refused."""
    counted = 0
    refused = ""

    def seen(operation: Operation) -> None:
        nonlocal counted, refused
        if operation.name not in ("create", "write", "mkdir", "fsync") or Path(operation.path) == root:
            return  # deleting and renaming work on a full disk; the folder of checkpoints is there
        counted += 1
        if counted == number:
            operation.half()
            refused = operation.name
            raise OSError(error, os.strerror(error))

    with watched(seen):
        told, _ = saved_by_all(savers(root, options, 1), NEW, 7)
    return told[0], refused


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (errno.ENOSPC, BEHIND),
        (errno.EIO, IN_LINE),
        pytest.param(errno.EDQUOT, BEHIND, marks=pytest.mark.slow),
    ],
    ids=["full", "broken", "quota"],
)
def test_every_operation_refused_in_turn(tmp_path: Path, error: int, options: CheckpointOptions) -> None:
    for number in range(1, 1000):
        root = tmp_path / "root"
        save_alone(root, OLD, 5)
        before = tree(root)
        saved, refused = refused_at(root, number, error, options)
        if not refused:
            shutil.rmtree(root)
            break
        if saved.error:
            assert_as_before(root, before, saved)
            assert ("no space left" in saved.error) == (error != errno.EIO)
        else:  # it stands already, and what follows is only tidying up
            found = newest_good(root, lambda text: pytest.fail(text))
            assert found is not None
            assert same(found, NEW)
            assert saved.note is not None
        shutil.rmtree(root)
    assert number > 20


def test_an_error_that_is_not_the_disks_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    save_alone(tmp_path, OLD, 5)
    monkeypatch.setattr("pretrain.checkpoint.share_files.write_tensor_file", broken)
    (saved,), waited = saved_by_all(savers(tmp_path, BEHIND, 2), NEW, 7)
    assert "a mistake of ours" in (saved.error or "")
    assert waited[1] is not None
    assert waited[1].error == saved.error


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs; its size is set by mounting it again."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"may not mount a tmpfs here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full_after_any_page_loses_no_checkpoint(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small_disk / "root"
    options = CheckpointOptions(keep_last=3)
    assert save_alone(root, OLD, 5).error is None
    before, used = tree(root), shutil.disk_usage(small_disk).used
    monkeypatch.setattr(space, "check_space", lambda root, needed: None)
    monkeypatch.setattr("pretrain.checkpoint.aside.check_space", lambda root, needed: None)
    ends = []
    for pages in range(1, 100):
        size = used + pages * PAGE
        subprocess.run(["mount", "-o", f"remount,size={size}", small_disk], check=True)
        (saved,), _ = saved_by_all(savers(root, options, 1), NEW, 7)
        ends.append(saved.error is None)
        if saved.error:
            assert "no space left" in saved.error
            assert_as_before(root, before, saved)
        else:
            break
    assert ends.count(False) >= 3
    found = newest_good(root, lambda text: pytest.fail(text))
    assert found is not None
    assert found.position == Position(step=7, tokens=70)
    assert same(found, NEW)
