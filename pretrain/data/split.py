"""Which documents are held out for validation, so that no text is on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pretrain.data.spool import Spool

LONG_LINE_BYTES = 24  # shorter lines (`return None`, `else:`) are alike in unrelated texts


@dataclass(frozen=True, kw_only=True)
class Split:
    """Numbers of documents: to train on, to validate on, and near copies that are in neither."""

    train: np.ndarray
    validation: np.ndarray
    near_copies: np.ndarray


def split(spool: Spool, share: float) -> Split:
    """Hold out `share` of the bytes by whole groups, less the documents that training text repeats."""
    if share and len(spool) == 1:
        _cut_in_two(spool, share)
    groups, of_document = np.unique(spool.groups, return_inverse=True)
    sizes = np.bincount(of_document, weights=spool.lengths, minlength=len(groups))
    held_out = np.isin(of_document, _choose(sizes.astype(np.int64).tolist(), share))
    train, candidates = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    copies = _near_copies(spool, train, candidates)
    return Split(train=train, validation=candidates[~copies], near_copies=candidates[copies])


def _choose(sizes: list[int], share: float) -> list[int]:
    """Groups that fill the share: in order (of their hash, so at random), each that still fits.

    First those that leave room for three more like them, so that one large group is not all there is to
    validate on. Where none fits it is the smallest, as long as another is left to train on.
    """
    wanted = left = share * sum(sizes)
    chosen: set[int] = set()
    for largest in (wanted / 4, wanted):
        for group, size in enumerate(sizes):
            if size <= min(left, largest) and group not in chosen:
                left -= size
                chosen.add(group)
    if share and not chosen and len(sizes) > 1:
        return [min(range(len(sizes)), key=sizes.__getitem__)]
    return sorted(chosen)


def _cut_in_two(spool: Spool, share: float) -> None:
    """A source of one document holds out the end of it, from a line break if there is one."""
    data = spool.read(0)
    at = data.rfind(b"\n", 0, round(len(data) * (1 - share))) + 1
    if at == 0:
        at = round(len(data) * (1 - share))
        while at > 0 and at < len(data) and data[at] & 0xC0 == 0x80:  # inside a character
            at -= 1
    if 0 < at < len(data):
        spool.cut(at)


def _near_copies(spool: Spool, train: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Which candidates have half or more of their distinct long lines in training text too."""
    lines = [set(_long_lines(spool.read(number))) for number in candidates.tolist()]
    wanted: set[bytes] = set().union(*lines)
    repeated: set[bytes] = set()
    for number in train.tolist() if wanted else ():
        repeated.update(wanted.intersection(_long_lines(spool.read(number))))
    return np.array([bool(own) and 2 * len(own & repeated) >= len(own) for own in lines], dtype=bool)


def _long_lines(data: bytes) -> Iterator[bytes]:
    return (line for line in map(bytes.strip, data.split(b"\n")) if len(line) >= LONG_LINE_BYTES)
