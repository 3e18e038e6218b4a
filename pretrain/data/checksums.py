"""Hashes of files: in full, by a sample, and the list of them that a folder of shards keeps.

The list, SHA256SUMS, is what `sha256sum -c` reads. It covers the manifest, which cannot hold its own hash.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from pretrain.files import replace

SUMS_FILE = "SHA256SUMS"
BLOCK_BYTES = 8 * 2**20  # read at once
SAMPLES, SAMPLE_BYTES = 256, 16 * 2**10


def hash_file(file: Path, advance: Callable[[float], None] = lambda amount: None) -> str:
    """SHA-256 of a whole file; `advance` hears of every block."""
    digest = sha256()
    with file.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def hash_sample(file: Path) -> str:
    """SHA-256 of the size and of 256 blocks of 16 KiB, evenly spaced; of all of a file no larger than those.

    Tells one shard from another at once, however large they are; it does not find a flipped bit.
    """
    size = file.stat().st_size
    digest = sha256(size.to_bytes(8, "little"))
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # else megabytes around each are read
        if size <= SAMPLES * SAMPLE_BYTES:
            digest.update(opened.read())
        else:
            for sample in range(SAMPLES):
                start = sample * (size - SAMPLE_BYTES) // (SAMPLES - 1)
                digest.update(os.pread(opened.fileno(), SAMPLE_BYTES, start))
    return digest.hexdigest()


def sums_text(hashes: Mapping[str, str]) -> str:
    """The list of these hashes by name of file."""
    return "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))


def listed_sums(text: str) -> dict[str, str]:
    """The hashes that such a list gives, by name of file; lines that are none are left out."""
    lines = (line.split("  ", 1) for line in text.split("\n"))
    return {line[1]: line[0] for line in lines if len(line) == 2}


def write_sums(folder: Path, hashes: Mapping[str, str]) -> None:
    """Write the list of these hashes into `folder`."""
    replace(folder / SUMS_FILE, sums_text(hashes))
