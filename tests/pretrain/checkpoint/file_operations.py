"""Every operation that changes files or folders, seen before it happens.

To end the process there, to refuse it, or to replay it later without what was not synced.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call. `name`: create, write, fsync, rename, mkdir, unlink or rmdir."""

    name: str
    path: str
    to: str = ""  # of a rename
    data: bytes = b""  # of a write
    half: Callable[[], None] = field(default=lambda: None, repr=False)  # does a part of a write


Seen = Callable[[Operation], None]


@contextmanager
def watched(seen: Seen) -> Iterator[None]:
    """Calls `seen` before each operation of this process; an exception takes the operation's place."""
    real_open, real_io_open, real_write = os.open, io.open, os.write

    def path_of(path: Any, dir_fd: int | None = None) -> str:
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        folder = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd()
        return os.path.normpath(os.path.join(folder, os.fspath(path)))

    def open_(path: Any, flags: int, *rest: Any, dir_fd: int | None = None, **named: Any) -> int:
        if flags & (os.O_CREAT | os.O_TRUNC):
            seen(Operation(name="create", path=path_of(path, dir_fd)))
        return real_open(path, flags, *rest, dir_fd=dir_fd, **named)

    def write(descriptor: int, data: Any) -> int:
        raw = bytes(data)
        half = raw[: len(raw) // 2]
        operation = Operation(
            name="write", path=path_of(descriptor), data=raw, half=lambda: void(real_write(descriptor, half))
        )
        seen(operation)
        return real_write(descriptor, data)

    def io_open(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if "w" not in mode and "a" not in mode:
            return real_io_open(file, mode, *rest, **named)
        assert mode == "wb", f"{file} is opened as {mode}, which nothing here watches"
        return Unbuffered(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))

    def simple(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, dir_fd: int | None = None, **named: Any) -> Any:
            to = path_of(rest[0]) if name == "rename" else ""
            seen(Operation(name=name, path=path_of(path, dir_fd), to=to))
            return real(path, *rest, **named, **({} if dir_fd is None else {"dir_fd": dir_fd}))

        return call

    names = {"fsync": "fsync", "fdatasync": "fsync", "rename": "rename", "replace": "rename"}
    names |= {"mkdir": "mkdir", "unlink": "unlink", "remove": "unlink", "rmdir": "rmdir"}
    patched: dict[str, Any] = {call: simple(name, getattr(os, call)) for call, name in names.items()}
    with patch.multiple(os, open=open_, write=write, **patched), patch.object(io, "open", io_open):
        yield


def void(_: Any) -> None:
    """Nothing."""


class Unbuffered:
    """A file for writing, through `os` alone."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def write(self, data: bytes) -> int:
        return os.write(self.descriptor, data)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        return self.descriptor

    def __enter__(self) -> Unbuffered:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def recorded(work: Callable[[], object]) -> list[Operation]:
    """What `work` does to files, in order."""
    operations: list[Operation] = []
    with watched(operations.append):
        work()
    return operations


def relative(operation: Operation, root: Path) -> str:
    """For messages."""
    return f"{operation.name} {os.path.relpath(operation.path, root)}"
