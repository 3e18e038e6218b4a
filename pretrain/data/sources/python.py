"""The Python source on this machine: real code and English on every machine, with no download.

Files come in the order of a hash of their path below the library folder, so that a cap on bytes takes an
even sample of all packages, and machines with the same packages see the same documents.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath
from typing import Any

from pretrain.data.sources.base import Document, Item, Reason, Skipped, SourceReader, read_document
from pretrain.data.sources.options import PythonSource
from pretrain.data.sources.parts import Part

LARGEST_BYTES = 1_000_000  # larger Python files are tables, not programs
OWN_PACKAGES = {"pretrain", "megatron_lite"}  # a corpus should not change when this project does
OWN_DISTRIBUTION = "pretrain-power"
NOT_WALKED = {"__pycache__", "site-packages", "dist-packages"}  # the last two are library folders themselves
VENDOR_FOLDERS = {"_vendor", "_vendored", "vendor", "vendored", "extern", "externals", "third_party"}


class PythonReader(SourceReader):
    """Python files below the library folders of the running interpreter, or below other `roots`."""

    def __init__(self, options: PythonSource, roots: Sequence[Path] | None = None) -> None:
        self.key = "data.sources (kind: python)"
        self._max_bytes = options.max_bytes
        self._roots = library_folders() if roots is None else roots

    def identity(self) -> Any:
        """The interpreter and its installed distributions; an edit inside one is not noticed."""
        # of the library folders alone: imports add folders of their own to the path that is searched else
        found = distributions(path=[str(root) for root in self._roots])
        installed = {f"{each.name}=={each.version}" for each in found if each.name != OWN_DISTRIBUTION}
        return {"python": sys.version, "distributions": sorted(installed)}

    def estimated_bytes(self) -> int:
        """The cap: there is usually more."""
        return self._max_bytes

    def parts(self, part_bytes: int) -> list[Part]:
        """One: how much of the last package still fits is known only after all before it."""
        return [Part(pieces=())]

    def read(self, part: Part) -> Iterator[Item]:
        """Files until `max_bytes` of text; the file that crosses the line is the last."""
        files = python_files(self._roots)
        num_bytes = 0
        for number, (name, file) in enumerate(files):
            if num_bytes >= self._max_bytes:
                yield Skipped(reason=Reason.BEYOND, count=len(files) - number)
                return
            document = read_document(file, package(name), LARGEST_BYTES)
            if isinstance(document, Document) and machine_generated(document.text):
                document = Skipped(reason=Reason.GENERATED, place=document.place)
            if isinstance(document, Document):
                num_bytes += len(document.text.encode())
            yield document


def library_folders() -> list[Path]:
    """The standard library and the folders that packages are installed into, each once."""
    found = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
    return list(dict.fromkeys(found))


def python_files(roots: Sequence[Path]) -> list[tuple[PurePosixPath, Path]]:
    """Every Python file with its path below its root, ordered by a hash of that path."""
    files = []
    for root in roots:
        for folder, children, names in os.walk(root):
            children[:] = [child for child in children if child not in NOT_WALKED]
            paths = [Path(folder, name) for name in names if name.endswith(".py")]
            files += [(PurePosixPath(path.relative_to(root)), path) for path in paths if path.is_file()]
    others = [(name, path) for name, path in files if name.parts[0] not in OWN_PACKAGES]
    return sorted(others, key=lambda file: (_digest(file[0]), file[0]))


def _digest(name: PurePosixPath) -> bytes:
    return blake2b(os.fsencode(name)).digest()


def package(name: PurePosixPath) -> str:
    """The package that a file belongs to: copies vendored by others count as the package itself."""
    parts = name.with_suffix("").parts
    for number, part in reversed(list(enumerate(parts[:-1]))):
        if part in VENDOR_FOLDERS:
            return parts[number + 1].lstrip("_")
        if part == "_distutils":  # setuptools carries the standard library's
            return "distutils"
    return parts[0].lstrip("_") or parts[0]


def machine_generated(text: str) -> bool:
    """Whether lines are longer than people write them (StarCoder's filter, arXiv:2305.06161)."""
    lines = text.split("\n")
    return max(map(len, lines)) > 1000 or len(text) > 100 * len(lines)
