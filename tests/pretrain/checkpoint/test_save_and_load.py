"""A checkpoint gives back bit for bit what was saved, or says which file is damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pretrain.checkpoint import aside, save
from pretrain.checkpoint.load import Checkpoint, checkpoints, newest
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.save import save_checkpoint
from pretrain.engine.base import KINDS, Kind
from pretrain.errors import UserError

SHAPES = {"embedding": (7, 3), "layers.0.norm.weight": (5,), "layers.0.experts": (2, 3, 4), "head": (40,)}
LIMIT = 120  # bytes: some tensors share a file, and `head` alone is larger
POSITION = Position(step=12, tokens=98304, sequence=96, expert_counts=[[3, 1], [2, 2]])
FACTS = {"config": {"run": {"name": "x", "seed": 3}, "rate": 1e-10}, "fingerprint": {"tokenizer": "ab"}}


class Stored:
    """An engine that is only its state."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tensors = {
            (kind, name): torch.randn(shape, generator=generator)
            for kind in KINDS
            for name, shape in SHAPES.items()
        }
        # what only exact bytes carry: the smallest numbers, infinities, a transposed layout
        self.tensors["weight", "layers.0.norm.weight"] = torch.tensor([0.0, -0.0, 1e-45, torch.inf, 0.1])
        self.tensors["exp_avg", "embedding"] = torch.randn(3, 7, generator=generator).T
        self.asked = 0

    def state(self) -> Iterator[tuple[Kind, str, Tensor]]:
        for (kind, name), tensor in self.tensors.items():
            self.asked += 1
            yield kind, name, tensor


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(save, "MAX_FILE_BYTES", LIMIT)
    return save_checkpoint(tmp_path, Stored(), POSITION, FACTS, first_rank=True)


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.int32)


def test_every_tensor_comes_back_bit_for_bit(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    checkpoint.verify()
    for (kind, name), tensor in Stored().tensors.items():
        loaded = checkpoint.tensor(kind, name)
        assert loaded.dtype == torch.float32
        assert torch.equal(bits(loaded), bits(tensor)), (kind, name)
    assert checkpoint.position == POSITION
    assert {key: checkpoint.state[key] for key in FACTS} == FACTS


def test_files_keep_to_their_size_and_kinds_apart(folder: Path) -> None:
    files = Checkpoint(folder).files
    assert {path.name for path in folder.iterdir()} == {*files, "state.json"}
    for name, entry in files.items():
        kind = name.split("-")[0]
        held = sum(4 * torch.Size(SHAPES[tensor]).numel() for tensor in entry["tensors"])
        assert held <= LIMIT or len(entry["tensors"]) == 1, name
        assert kind in KINDS
    # 84 + 20, 96, and 160 bytes a kind: three files of each
    assert sorted(files) == [
        f"{kind}-{index:05d}.safetensors" for kind in sorted(KINDS) for index in range(3)
    ]


def test_only_the_first_rank_writes_and_all_take_part(tmp_path: Path) -> None:
    engine = Stored()
    target = save_checkpoint(tmp_path, engine, POSITION, FACTS, first_rank=False)
    assert target == tmp_path / "step_00000012"
    assert engine.asked == len(engine.tensors)
    assert not list(tmp_path.iterdir())


def test_saving_again_replaces_and_a_killed_saving_is_passed_over(folder: Path) -> None:
    root = folder.parent
    partial = root / ".step_00000012.partial"
    partial.mkdir()
    (partial / "left").touch()
    assert checkpoints(root) == [folder]
    assert save_checkpoint(root, Stored(seed=1), POSITION, {}, first_rank=True) == folder
    assert [path.name for path in root.iterdir()] == [folder.name]
    loaded = Checkpoint(folder)
    assert torch.equal(loaded.tensor("weight", "head"), Stored(seed=1).tensors["weight", "head"])


def test_a_saving_that_the_disk_refuses_leaves_the_one_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(path: Path, content: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(aside, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(folder.parent, Stored(seed=1), POSITION, {}, first_rank=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    Checkpoint(folder).verify()


def test_the_newest_is_the_one_with_the_highest_step(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for step in (99_999_999, 5, 100):
        save_checkpoint(tmp_path, Stored(), Position(step=step), {}, first_rank=True)
    found = newest(tmp_path)
    assert found is not None
    assert found.position.step == 99_999_999


def test_another_models_parameter_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no weight of parameter 'layers\.9\.norm\.weight'"):
        Checkpoint(folder).tensor("weight", "layers.9.norm.weight")


def opened_and_verified(folder: Path) -> None:
    Checkpoint(folder).verify()


def test_every_lost_or_cut_file_is_named(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for damage in (content[:-1], content[: len(content) // 2], b"", content + b"\0"):
            path.write_bytes(damage)
            with pytest.raises(UserError, match=path.name):
                opened_and_verified(folder)
        path.unlink()
        with pytest.raises(UserError, match=path.name):
            opened_and_verified(folder)
        path.write_bytes(content)
    opened_and_verified(folder)


def test_every_flipped_bit_is_found(folder: Path) -> None:
    """In the tensors' files at every byte; in state.json wherever JSON reads on as something else."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for at in range(0, len(content), 1 if path.suffix == ".json" else 7):
            flipped = bytearray(content)
            flipped[at] ^= 1 << at % 7
            if path.suffix == ".json" and same_json(flipped, content):
                continue  # of the space between values
            path.write_bytes(flipped)
            with pytest.raises(UserError, match=path.name):
                opened_and_verified(folder)
        path.write_bytes(content)
    opened_and_verified(folder)


def same_json(one: bytes, other: bytes) -> bool:
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_another_format_is_refused_by_number(folder: Path) -> None:
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"format": 99}))
    with pytest.raises(UserError, match="format 99"):
        Checkpoint(folder)
