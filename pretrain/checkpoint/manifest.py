"""Whether a checkpoint's files are what was saved: every file that is missing, cut, changed or not its own.

Loads no torch.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pretrain.checkpoint.format import FORMAT, SEAL, STATE_FILE, file_sha256, state_sha256

What = Literal["missing", "truncated", "changed", "extra", "unreadable", "format"]
STEP_NAME = re.compile(r"step_([0-9]+)")
MAX_READERS = 8  # threads that hash; hashlib lets go of the interpreter
TOKENIZER = "tokenizer"  # the folder that an import keeps beside its weights


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing that is wrong with a checkpoint."""

    path: Path
    what: What
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class NoState(ValueError):
    """state.json is not there, or not what was saved."""

    def __init__(self, damage: Damage) -> None:
        super().__init__(str(damage))
        self.damage = damage


def read_state(folder: Path) -> dict[str, Any]:
    """The content of state.json; NoState where it is not a checkpoint's."""
    path = folder / STATE_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(state["files"], dict) or not isinstance(state["position"], dict):
            raise TypeError("files and position should be objects")
        for name, entry in state["files"].items():
            _check_entry(name, entry)
    except FileNotFoundError:
        raise NoState(Damage(path=path, what="missing", detail="missing from the checkpoint")) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"not a checkpoint's state ({type(error).__name__}: {error})"
        raise NoState(Damage(path=path, what="changed", detail=what)) from None
    return state


def _check_entry(name: str, entry: Mapping[str, Any]) -> None:
    """ValueError where a file of the manifest is outside of the checkpoint, or not described."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise ValueError(f"'{name}' is no file of a checkpoint")
    if not isinstance(entry["bytes"], int) or not isinstance(entry["sha256"], str):
        raise ValueError(f"'{name}' has no size and hash")
    if not all(isinstance(tensor, str) for tensor in entry["tensors"]):
        raise ValueError(f"'{name}' does not name its tensors")


def damages(folder: Path, *, only: Mapping[str, Any] | None = None, hashes: bool = True) -> list[Damage]:
    """Everything that is wrong with a checkpoint, in the order of its files; of a whole one nothing.

    `only`: the files of the manifest that are looked at. `hashes=False` compares sizes, which costs nothing.
    """
    try:
        state = read_state(folder)
    except NoState as error:
        return [error.damage]
    if state.get("format") != FORMAT:
        detail = f"format {state.get('format')}, this version reads {FORMAT}"
        return [Damage(path=folder / STATE_FILE, what="format", detail=detail)]
    if state.get(SEAL) != state_sha256(state) or not _as_written(folder / STATE_FILE, state):
        detail = "damaged, it is not what was saved"
        return [Damage(path=folder / STATE_FILE, what="changed", detail=detail)]
    step = state.get("position", {}).get("step")
    if (named := STEP_NAME.fullmatch(folder.name)) and int(named[1]) != step:
        detail = f"holds step {step}, and its folder's name says another"
        return [Damage(path=folder / STATE_FILE, what="changed", detail=detail)]
    listed = state["files"] if only is None else only
    with ThreadPoolExecutor(max(1, min(MAX_READERS, os.cpu_count() or 1, len(listed)))) as readers:
        compared = readers.map(lambda name: _compare(folder / name, listed[name], hashes), listed)
        found = [damage for damage in compared if damage]
    return found + list(_extra(folder, state))


def _as_written(path: Path, state: Mapping[str, Any]) -> bool:
    """Whether the bytes are those that were written: `1e5` and `1E5` are the same number and another bit."""
    return path.read_bytes() in (json.dumps(state, indent=1).encode(), json.dumps(state).encode())


def _compare(path: Path, entry: Mapping[str, Any], hashes: bool) -> Damage | None:
    try:
        size = path.stat().st_size
        if size < entry["bytes"]:
            detail = f"damaged, truncated to {size:,} of {entry['bytes']:,} bytes"
            return Damage(path=path, what="truncated", detail=detail)
        if size > entry["bytes"] or (hashes and file_sha256(path) != entry["sha256"]):
            detail = "damaged, its bytes are not those that were saved"
            return Damage(path=path, what="changed", detail=detail)
    except FileNotFoundError:
        return Damage(path=path, what="missing", detail="missing from the checkpoint")
    except OSError as error:
        return Damage(path=path, what="unreadable", detail=f"cannot be read ({error.strerror})")
    return None


def _extra(folder: Path, state: Mapping[str, Any]) -> Iterator[Damage]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        unlisted = "imported" in state and name.startswith(
            f"{TOKENIZER}/"
        )  # earlier imports list tensors only
        if (
            name in state["files"]
            or name == STATE_FILE
            or unlisted
            or (path.is_dir() and not path.is_symlink())
        ):
            continue
        yield Damage(path=path, what="extra", detail="not a file of the checkpoint")
