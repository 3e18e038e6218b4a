"""An even sample of documents in bounded memory: one pass, the same documents on every call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from pretrain.data.sources.base import Item, Reason, Skipped
from pretrain.data.tokenizer_training import sample

KEPT_RATIO = 4  # of the sample: blocks of it are then taken from everywhere
TOP = 2**64


class Sample(NamedTuple):
    """Documents that were kept, all that were seen, and those that were left out."""

    texts: list[bytes]
    num_seen: int
    skipped: Counter[Reason]


class _Kept:
    """Documents in memory, as `sample` reads them."""

    def __init__(self, texts: list[bytes]) -> None:
        self._texts = texts
        self.lengths = np.array([len(text) for text in texts], dtype=np.int64)

    def read(self, number: int, start: int = 0, size: int | None = None) -> bytes:
        text = self._texts[number]
        return text[start : len(text) if size is None else start + size]

    def texts(self, numbers: np.ndarray) -> Iterator[str]:
        return (self._texts[number].decode() for number in numbers.tolist())


def collect_sample(items: Iterable[Item], num_bytes: int, advance: Callable[[int], None]) -> Sample:
    """Documents drawn by the hash of their number, of together a few times `num_bytes`."""
    kept: list[tuple[int, bytes]] = []
    below, total, seen, skipped = TOP, 0, 0, Counter[Reason]()
    for item in items:
        if isinstance(item, Skipped):
            skipped[item.reason] += item.count
            continue
        text, rank = item.text.encode("utf-8", "ignore"), _rank(seen)
        seen += 1
        advance(len(text))
        if rank < below:
            kept.append((rank, text))
            total += len(text)
        while total > KEPT_RATIO * num_bytes and len(kept) > 1:
            below //= 2
            dropped = [one for one in kept if one[0] >= below]
            kept = [one for one in kept if one[0] < below] or dropped[:1]
            total = sum(len(text) for _, text in kept)
    return Sample(texts=[text for _, text in kept], num_seen=seen, skipped=skipped)


def spread(texts: list[bytes], num_bytes: int) -> Iterator[str]:
    """At most `num_bytes` of these, in blocks from everywhere."""
    return sample(_Kept(texts), np.arange(len(texts)), num_bytes)


def _rank(number: int) -> int:
    return int.from_bytes(blake2b(number.to_bytes(8, "big"), digest_size=8).digest(), "big")
