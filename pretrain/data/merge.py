"""From encoded volumes to the two shards of a source: the same bytes however the work was cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrain.data.encode import EncodedVolume
from pretrain.data.manifest import Counts, FileRecord
from pretrain.data.progress import Task
from pretrain.data.shards import ShardWriter
from pretrain.data.split import first_of_each, held_out, near_copies
from pretrain.data.spool import Spool

SIDES = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Which documents to train on and which to hold out; those in neither are duplicates or near copies."""

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Shards:
    """What was written."""

    counts: dict[str, Counts]
    files: dict[str, FileRecord]


def choose_sides(spool: Spool, share: float, drop_duplicates: bool) -> Sides:
    """The sides by whole groups, duplicates in neither."""
    kept = first_of_each(spool.digests) if drop_duplicates else np.ones(len(spool), dtype=bool)
    validation = np.zeros(len(spool), dtype=bool)
    numbers = np.flatnonzero(kept)
    validation[numbers] = held_out(spool.groups[numbers], spool.lengths[numbers], share)
    return Sides(train=kept & ~validation, validation=validation)


def copies_among(sides: Sides, spool: Spool, encoded: Sequence[EncodedVolume]) -> np.ndarray:
    """Which documents held out repeat training text; in memory: 8 bytes for each of their long lines."""
    copies = np.zeros(len(spool), dtype=bool)
    if not sides.validation.any():
        return copies
    bounds = list(zip(spool.bounds(), encoded, strict=True))
    wanted = np.unique(np.concatenate([_lines(volume, sides.validation[part]) for part, volume in bounds]))
    repeated = np.zeros(len(wanted), dtype=bool)
    for part, volume in bounds:
        repeated[_positions(wanted, _lines(volume, sides.train[part]))] = True
    again = wanted[repeated]
    for part, volume in bounds:
        lines, num_lines = volume.lines()
        copies[part] = sides.validation[part] & near_copies(num_lines, np.isin(lines, again))
    return copies


def write_shards(
    spool: Spool, sides: Sides, encoded: Sequence[EncodedVolume], vocab_size: int, folder: Path, task: Task
) -> Shards:
    """Write both shards into `folder`."""
    masks = {"train": sides.train, "validation": sides.validation}
    writers = {side: ShardWriter(folder / side, vocab_size) for side in SIDES}
    for part, volume in zip(spool.bounds(), encoded, strict=True):
        tokens = volume.tokens(vocab_size)
        for side, writer in writers.items():
            mask = masks[side][part]
            if mask.any():
                writer.append(tokens.ids[np.repeat(mask, tokens.lengths)], tokens.lengths[mask])
        task.advance(len(tokens.ids))
    counts: dict[str, Counts] = {}
    files: dict[str, FileRecord] = {}
    for side, writer in writers.items():
        counts[side] = Counts(
            documents=int(masks[side].sum()),
            tokens=writer.num_tokens,
            bytes=int(spool.lengths[masks[side]].sum()),
        )
        files.update(_records(writer.close(), folder))
    return Shards(counts=counts, files=files)


def _records(hashes: dict[str, str], folder: Path) -> Iterator[tuple[str, FileRecord]]:
    for name, digest in hashes.items():
        yield name, FileRecord(bytes=(folder / name).stat().st_size, sha256=digest)


def _lines(volume: EncodedVolume, documents: np.ndarray) -> np.ndarray:
    """Hashes of the long lines of some documents."""
    lines, num_lines = volume.lines()
    return lines[np.repeat(documents, num_lines)]


def _positions(wanted: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Where those of the lines that are wanted stand among them."""
    at = np.searchsorted(wanted, lines)
    at[at == len(wanted)] = 0
    return at[wanted[at] == lines] if len(wanted) else at[:0]
