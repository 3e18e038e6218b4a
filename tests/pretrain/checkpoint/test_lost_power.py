"""A save replayed with all lost that was not synced, at each of its operations: the newest good is whole.

Two disks: one that keeps a name only once its folder is synced, and one that keeps every name at once and
bytes only once their file is synced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from file_operations import Operation, recorded
from stored_state import BEHIND, IN_LINE, same, save_alone, saved_by_all, savers

from pretrain.checkpoint.good import newest_good
from pretrain.checkpoint.options import CheckpointOptions

OLD_STEP, OLD, NEW = 5, 1, 2


@dataclass
class Node:
    """A file or a folder: as processes see it, and as the disk has it."""

    is_folder: bool
    entries: dict[str, Node] = field(default_factory=dict)
    synced_entries: dict[str, Node] = field(default_factory=dict)
    data: bytes = b""
    synced_data: bytes = b""


class Disk:
    """What operations on files leave in memory and on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = self._read(root)

    def _read(self, path: Path) -> Node:
        if path.is_dir():
            entries = {child.name: self._read(child) for child in path.iterdir()}
            return Node(is_folder=True, entries=dict(entries), synced_entries=dict(entries))
        return Node(is_folder=False, data=path.read_bytes(), synced_data=path.read_bytes())

    def _node(self, path: str) -> Node:
        node = self.top
        for part in Path(path).relative_to(self.root).parts:
            node = node.entries[part]
        return node

    def do(self, operation: Operation) -> None:
        path = Path(operation.path)
        if path == self.root:
            if operation.name == "fsync":
                self.top.synced_entries = dict(self.top.entries)
            return
        folder = self._node(str(path.parent))
        match operation.name:
            case "create":
                folder.entries.setdefault(path.name, Node(is_folder=False)).data = b""
            case "write":
                self._node(operation.path).data += operation.data
            case "mkdir":
                folder.entries[path.name] = Node(is_folder=True)
            case "rename":
                self._node(str(Path(operation.to).parent)).entries[Path(operation.to).name] = (
                    folder.entries.pop(path.name)
                )
            case "unlink" | "rmdir":
                folder.entries.pop(path.name, None)
            case "fsync":
                node = self._node(operation.path)
                node.synced_entries, node.synced_data = dict(node.entries), node.data

    def restore(self, target: Path, *, names_at_once: bool) -> None:
        """What is there when the power is back."""
        self._restore(self.top, target, names_at_once)

    def _restore(self, node: Node, target: Path, names_at_once: bool) -> None:
        if not node.is_folder:
            target.write_bytes(node.synced_data)
            return
        target.mkdir()
        for name, child in (node.entries if names_at_once else node.synced_entries).items():
            self._restore(child, target / name, names_at_once)


def newest_of(root: Path, step: int) -> str:
    """Which of the two it is, bit for bit."""
    found = newest_good(root, lambda text: pytest.fail(text))
    assert found is not None
    assert found.position.step in (OLD_STEP, step)
    if same(found, NEW):
        assert found.position.step == step
        return "new"
    assert same(found, OLD)
    return "old"


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("step", [OLD_STEP + 2, OLD_STEP], ids=["the next step", "the same step"])
@pytest.mark.parametrize("options", [IN_LINE, BEHIND], ids=["in line", "behind"])
def test_the_power_may_go_at_any_moment_of_a_save(
    tmp_path: Path, options: CheckpointOptions, step: int, size: int
) -> None:
    if size > 1 and not options.asynchronous:
        pytest.skip("ranks of one process have to write side by side")
    root = tmp_path / "root"
    save_alone(root, OLD, OLD_STEP)
    disk = Disk(root)
    operations = recorded(lambda: saved_by_all(savers(root, options, size), NEW, step))
    assert len(operations) > 30
    seen: dict[bool, list[str]] = {True: [], False: []}
    for number, operation in enumerate(operations):
        for names_at_once, found in seen.items():
            copy = tmp_path / f"{number}-{names_at_once}"
            disk.restore(copy, names_at_once=names_at_once)
            found.append(newest_of(copy, step))
        disk.do(operation)
    for found in seen.values():
        assert found == sorted(found, reverse=True)
        assert found[0] == "old"
        assert found[-1] == "new"  # reported as saved, and saved
