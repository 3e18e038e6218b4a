"""Every file of a checkpoint cut, zeroed, flipped, removed, joined by another: found, named, passed over."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from stored_state import same, save_alone

from pretrain.checkpoint.aside import write_state
from pretrain.checkpoint.format import SEAL, STATE_FILE
from pretrain.checkpoint.good import newest_good
from pretrain.checkpoint.keep import prune
from pretrain.checkpoint.load import Checkpoint, newest
from pretrain.checkpoint.manifest import damages, read_state
from pretrain.checkpoint.options import CheckpointOptions
from pretrain.errors import UserError

KEEPING = CheckpointOptions(asynchronous=False, keep_last=3)
POSITIONS = 40  # of flipped bits, per file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two checkpoints, of steps 5 and 7."""
    for seed, step in ((1, 5), (2, 7)):
        save_alone(tmp_path / "root", seed, step, KEEPING)
    return tmp_path / "root"


def harms(content: bytes) -> Iterator[tuple[str, bytes | None]]:
    """What can happen to a file: to what it is found as, and the bytes."""
    yield "missing", None
    for size in {0, 1, len(content) // 2, len(content) - 1}:
        yield "truncated", content[:size]
    yield "changed", bytes(len(content))
    yield "changed", content + b"\0"
    middle = len(content) // 2
    yield "changed", content[:middle] + bytes(min(64, len(content) - middle)) + content[middle + 64 :]
    draw = random.Random(len(content))
    for _ in range(POSITIONS):
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        yield "changed", bytes(flipped)


def test_every_harm_to_every_file_is_found_and_named(root: Path) -> None:
    folder = root / "step_00000007"
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for what, harmed in harms(content):
            if harmed is None:
                path.unlink()
            else:
                path.write_bytes(harmed)
            (found,) = damages(folder)
            assert found.path == path
            # there is no size of state.json to compare with
            assert found.what == what or (path.name == STATE_FILE and what == "truncated")
            path.write_bytes(content)
    assert damages(folder) == []


def test_every_bit_of_the_state_counts(root: Path) -> None:
    """Also those that leave JSON the same value: a space, the letter of an exponent."""
    folder = root / "step_00000007"
    path = folder / STATE_FILE
    write_state(folder, read_state(folder) | {"rate": 1e-10, "name": "é"})
    content = path.read_bytes()
    assert damages(folder) == []
    exponent, escape = content.index(b"1e-10") + 1, content.index(b"\\u00e9") + 4
    flips = [(at, at % 8) for at in range(len(content))]
    for at, bit in [*flips, *((at, bit) for at in (exponent, escape) for bit in range(8))]:
        flipped = bytearray(content)
        flipped[at] ^= 1 << bit
        path.write_bytes(flipped)
        assert damages(folder, hashes=False), (at, bit)


@pytest.mark.parametrize("kind", ["file", "folder with a file", "link"])
def test_a_file_that_was_not_saved_is_found(root: Path, kind: str) -> None:
    folder = root / "step_00000007"
    extra = folder / "extra.pt"
    if kind == "file":
        extra.touch()
    elif kind == "link":
        extra.symlink_to("/")
    else:
        extra.mkdir()
        extra = extra / "inner"
        extra.touch()
    (found,) = damages(folder)
    assert (found.path, found.what) == (extra, "extra")


def test_the_newest_good_is_used_and_the_damaged_one_renamed_and_said(root: Path) -> None:
    save_alone(root, 3, 9, KEEPING)
    (root / "step_00000009" / STATE_FILE).unlink()
    (root / "step_00000007" / "weight-00000.safetensors").write_bytes(b"")
    said: list[str] = []
    found = newest_good(root, said.append)
    assert found is not None
    assert found.position.step == 5
    assert same(found, 1)
    names = {path.name for path in root.iterdir()}
    assert names == {"latest", "step_00000005", "step_00000007.damaged", "step_00000009.damaged"}
    assert (root / "latest").read_text() == "step_00000005\n"
    assert "weight-00000.safetensors: damaged, truncated" in "".join(said)
    assert "state.json: missing" in "".join(said)
    # every rank looks for the newest, and finds the same
    other = newest(root)
    assert other is not None
    assert other.folder == found.folder
    said.clear()
    assert newest_good(root, said.append) is not None
    assert said == []


def test_the_same_step_damaged_again_gets_another_name(root: Path) -> None:
    for _ in range(2):
        (root / "step_00000007" / STATE_FILE).unlink()
        newest_good(root, lambda text: None)
        save_alone(root, 2, 7, KEEPING)
    assert {path.name for path in root.glob("*damaged*")} == {
        "step_00000007.damaged",
        "step_00000007.damaged.2",
    }


def test_where_none_is_whole_nothing_is_renamed_and_nothing_starts_anew(root: Path) -> None:
    for folder in root.glob("step_*"):
        (folder / STATE_FILE).write_text("{}")
    before = sorted(root.rglob("*"))
    with pytest.raises(UserError, match=r"(?s)step_00000007.*step_00000005"):
        newest_good(root, lambda text: None)
    assert sorted(root.rglob("*")) == before


def test_only_what_was_set_aside_is_no_new_run(root: Path) -> None:
    (root / "step_00000007" / STATE_FILE).unlink()
    newest_good(root, lambda text: None)
    shutil.rmtree(root / "step_00000005")
    with pytest.raises(UserError, match=r"step_00000007\.damaged: set aside"):
        newest_good(root, lambda text: None)
    assert newest_good(root.with_name("absent"), lambda text: None) is None


def test_a_newer_versions_checkpoint_is_not_called_damaged(root: Path) -> None:
    folder = root / "step_00000007"
    write_state(folder, read_state(folder) | {"format": 99})
    with pytest.raises(UserError, match="format 99"):
        newest_good(root, lambda text: None)
    assert folder.exists()


def test_a_visibly_damaged_checkpoint_pushes_no_whole_one_out(root: Path) -> None:
    (root / "step_00000007" / "head").touch()
    (root / "step_00000007" / "weight-00000.safetensors").write_bytes(b"cut")
    prune(root, CheckpointOptions(keep_last=1))
    assert {folder.name for folder in root.glob("step_*")} == {"step_00000005", "step_00000007"}


@pytest.mark.parametrize(
    "name", ["../step_00000005/weight-00000.safetensors", "/etc/hostname", "a/../../x", "", "\0"]
)
def test_a_manifest_does_not_reach_out_of_its_folder(root: Path, name: str) -> None:
    folder = root / "step_00000007"
    state = read_state(folder)
    entry = {"bytes": 1, "sha256": "", "tensors": ["head"]}
    content = {key: value for key, value in state.items() if key != SEAL}
    write_state(folder, content | {"files": {name: entry}})
    with pytest.raises(UserError, match="is no file of a checkpoint"):
        Checkpoint(folder)
    assert damages(folder)[0].path == folder / STATE_FILE


def test_what_goes_through_every_reader_thread_is_in_order(root: Path) -> None:
    for path in sorted((root / "step_00000007").glob("*.safetensors")):
        path.write_bytes(b"")
    found = [damage.path.name for damage in damages(root / "step_00000007")]
    assert found == list(read_state(root / "step_00000007")["files"])
    assert len(found) == 3
