"""Which documents are held out for validation, so that no text is on both sides."""

from __future__ import annotations

import numpy as np


def first_of_each(digests: np.ndarray) -> np.ndarray:
    """Which documents are not byte by byte the same as one before."""
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: the first of equals stays first
    ordered = digests[order]
    first = np.ones(len(digests), dtype=bool)
    first[order[1:]] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return first


def held_out(groups: np.ndarray, lengths: np.ndarray, share: float) -> np.ndarray:
    """Which documents to hold out, by whole groups: `share` of the bytes."""
    names, of_document = np.unique(groups, return_inverse=True)
    sizes = np.bincount(of_document, weights=lengths, minlength=len(names))
    return np.isin(of_document, _choose(sizes.astype(np.int64).tolist(), share))


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


def cut_in_two(data: bytes, share: float) -> tuple[bytes, ...]:
    """A source of one document holds out the end of it, from a line break if there is one."""
    at = data.rfind(b"\n", 0, round(len(data) * (1 - share))) + 1
    if at == 0:
        at = round(len(data) * (1 - share))
        while at > 0 and at < len(data) and data[at] & 0xC0 == 0x80:  # inside a character
            at -= 1
    return (data[:at], data[at:]) if 0 < at < len(data) else (data,)


def near_copies(num_lines: np.ndarray, repeated: np.ndarray) -> np.ndarray:
    """Which documents have half or more of their distinct long lines (`num_lines`) in training text too."""
    found = np.zeros(len(num_lines) + 1, dtype=np.int64)
    np.cumsum(repeated, out=(sums := np.zeros(len(repeated) + 1, dtype=np.int64))[1:])
    np.cumsum(num_lines, out=found[1:])
    own = np.diff(sums[found])
    return (num_lines > 0) & (2 * own >= num_lines)
