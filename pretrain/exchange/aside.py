"""A folder that appears whole under its name or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain.errors import UserError
from pretrain.files import sync
from pretrain.monitor.words import size


@contextmanager
def written_aside(out: Path, needed_bytes: int) -> Iterator[Path]:
    """A new folder beside `out` that gets its name at the end; whatever goes wrong, it is removed.

    UserError where `out` holds something, where the disk is too small, or where it refuses.
    """
    check_free(out)
    aside = out.absolute().with_name(f".{out.absolute().name}.partial")
    try:
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)  # what a kill left
        _check_space(aside.parent, needed_bytes)
        aside.mkdir()
        yield aside
        sync(aside)
        aside.rename(out.absolute())  # onto nothing or an empty folder, anything else is refused
        sync(aside.parent)
    except OSError as error:
        raise UserError(
            f"{out}: cannot be written ({error.strerror or error}); nothing was left there."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def check_free(out: Path) -> None:
    """UserError where `out` is a file, or a folder with something in it."""
    if out.is_symlink() or out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UserError(
            f"{out}: exists and is not an empty folder; nothing is overwritten, name another one."
        )


def _check_space(parent: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(parent).free
    if free < needed_bytes:
        raise UserError(f"{parent}: {size(needed_bytes)} are needed, {size(free)} are free.")
