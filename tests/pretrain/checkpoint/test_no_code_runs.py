"""Nothing in a checkpoint can run code: planted pickles are refused, loading opens only what is listed."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stored_state import StoredState, save_alone

from pretrain.checkpoint.aside import write_state
from pretrain.checkpoint.format import STATE_FILE, file_sha256
from pretrain.checkpoint.good import newest_good
from pretrain.checkpoint.inspection import describe
from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.manifest import damages, read_state
from pretrain.errors import UserError

WORKER = Path(__file__).parent / "loading_worker.py"


class Payload:
    """Leaves a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> object:
        return (Path.touch, (self.target,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_alone(tmp_path / "root", 1, 7).path


@pytest.fixture
def executed(tmp_path: Path) -> Path:
    """There once the payload ran."""
    return tmp_path / "executed"


def payloads(executed: Path, tmp_path: Path) -> dict[str, bytes]:
    archive = tmp_path / "archive.pt"
    torch.save({"head": Payload(executed)}, archive)
    return {"a pickle": pickle.dumps(Payload(executed)), "an archive of torch": archive.read_bytes()}


def test_the_payload_works(tmp_path: Path, executed: Path) -> None:
    for content in payloads(executed, tmp_path).values():
        (tmp_path / "file").write_bytes(content)
        torch.load(tmp_path / "file", weights_only=False) if content[:2] == b"PK" else pickle.loads(content)
        assert executed.exists()
        executed.unlink()


def test_a_pickle_in_the_place_of_tensors_is_refused(folder: Path, executed: Path, tmp_path: Path) -> None:
    file = folder / "weight-00000.safetensors"
    for content in payloads(executed, tmp_path).values():
        file.write_bytes(content)
        assert [damage.path for damage in damages(folder)] == [file]
        # and where the manifest was forged to fit
        state = read_state(folder)
        entry = state["files"][file.name] | {"bytes": len(content), "sha256": file_sha256(file)}
        forged = {key: value for key, value in state.items() if key != "sha256"}
        write_state(folder, forged | {"files": state["files"] | {file.name: entry}})
        checkpoint = Checkpoint(folder)
        checkpoint.verify()
        with pytest.raises(UserError, match=re.escape(file.name)):
            checkpoint.tensor("weight", "head")
        with pytest.raises(UserError, match=re.escape(file.name)):
            describe(checkpoint)
        assert not executed.exists()


@pytest.mark.parametrize("name", ["extra.pt", "pytorch_model.bin", "data.pkl", "weight-00001.safetensors"])
def test_a_pickle_beside_the_files_is_refused_unread(
    folder: Path, executed: Path, tmp_path: Path, name: str
) -> None:
    for content in payloads(executed, tmp_path).values():
        (folder / name).write_bytes(content)
        with pytest.raises(UserError, match=re.escape(name)):
            Checkpoint(folder).verify()
        with pytest.raises(UserError, match="no checkpoint of this run is whole"):
            newest_good(folder.parent, lambda text: None)
        assert not executed.exists()


def test_a_pickle_as_the_state_is_refused(folder: Path, executed: Path, tmp_path: Path) -> None:
    for content in payloads(executed, tmp_path).values():
        (folder / STATE_FILE).write_bytes(content)
        with pytest.raises(UserError, match=r"state\.json: not a checkpoint's state"):
            Checkpoint(folder)
        assert not executed.exists()


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "[" * 100_000, '{"files": {"a": 1}, "position": {}}', "\xff"]
)
def test_a_state_that_is_something_else_is_refused(folder: Path, text: str) -> None:
    (folder / STATE_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"state\.json: not a checkpoint's state"):
        Checkpoint(folder)


def test_code_inside_the_state_stays_text(folder: Path, executed: Path) -> None:
    """The ways in which readers of JSON and YAML have been made to run something."""
    state = {key: value for key, value in read_state(folder).items() if key != "sha256"}
    bait = f"__import__('pathlib').Path({str(executed)!r}).touch()"
    write_state(folder, state | {"py/object": bait, "!!python/object/apply:eval": [bait], "config": bait})
    checkpoint = Checkpoint(folder)
    checkpoint.verify()
    describe(checkpoint)
    assert not executed.exists()


def loaded_by_the_engine(folder: Path, marker: Path, *before: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
    command = [*before, sys.executable, str(WORKER), str(folder), str(marker)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended


@pytest.mark.dist
def test_the_engine_opens_the_listed_files_and_unpickles_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "step_00000007"
    ended = loaded_by_the_engine(folder, tmp_path / "marker")
    events = json.loads(ended.stdout.splitlines()[-1])
    listed = {str(folder / name) for name in (STATE_FILE, *read_state(folder)["files"])}
    assert {path for event, path in events if event == "open"} == listed
    assert {event for event, _ in events} == {"open"}


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_strace_sees_the_same(tmp_path: Path) -> None:
    """Also what is opened below Python."""
    folder, marker, log = tmp_path / "root" / "step_00000007", tmp_path / "marker", tmp_path / "log"
    calls = "open,openat,openat2,execve,execveat,stat,newfstatat,statx"
    strace = ("strace", "-f", "-qq", "-s", "400", "-e", f"trace={calls}", "-o", str(log))
    loaded_by_the_engine(folder, marker, *strace)
    lines = log.read_text().splitlines()
    first, last = (at for at, line in enumerate(lines) if f'"{marker}"' in line and "execve" not in line)
    between = lines[first + 1 : last]
    assert not [line for line in between if "exec" in line.split("(")[0]]
    opened = {
        match.group(1) for line in between if (match := re.search(r'\bopen(?:at)?2?\([^"]*"([^"]+)"', line))
    }
    files = {str(folder / name) for name in (STATE_FILE, *read_state(folder)["files"])}
    assert files <= opened
    # the folder is listed; what the interpreter asks of the kernel is no file of anyone's making
    assert {path for path in opened - files if not path.startswith(("/proc/", "/sys/"))} <= {str(folder)}


def test_what_was_saved_is_safetensors_for_everyone(folder: Path) -> None:
    """Read by the library itself."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "weight-00000.safetensors")
    assert all(
        torch.equal(tensor, StoredState(1).tensors["weight", name]) for name, tensor in tensors.items()
    )
    assert len(tensors) == 4
