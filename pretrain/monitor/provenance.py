"""Where a run's numbers come from: the commit of the code, versions of what it stands on, command, device."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pretrain

LIBRARIES = ("torch", "deepspeed", "transformers", "flash-attn", "numpy")
GIT_SECONDS = 10.0


def provenance(device: str) -> dict[str, Any]:
    """Facts for the event of a start, as plain values; None where something is not known.

    `device`: what it runs on, in words. `commit` ends in `+` where tracked files differ from it.
    """
    return {
        "commit": commit(Path(pretrain.__file__).parents[1]),
        "versions": versions(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "device": device,
    }


def versions() -> dict[str, str]:
    """Of Python, of this package and of the libraries that are there."""
    found = {"python": sys.version.split()[0], "pretrain": pretrain.__version__}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def commit(folder: Path) -> str | None:
    """The commit that is checked out in `folder`, with + where files differ, or ? where git does not say.

    None outside of a checkout, or without git.
    """
    if not (folder / ".git").exists():  # a checkout further up is somebody else's
        return None
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head + ("?" if changed is None else "+" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None
