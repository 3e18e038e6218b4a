"""From a spool to a token shard, on all cores: sentencepiece works outside Python's lock, so threads do."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pretrain.data.progress import Task
from pretrain.data.shards import ShardWriter
from pretrain.data.spool import Spool
from pretrain.data.tokenizer import Tokenizer

BLOCK_BYTES = 500_000  # of text that a thread encodes at once


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Documents as tokens, joined, each with its end token."""

    tokens: np.ndarray
    lengths: np.ndarray
    num_bytes: int


def encode(
    spool: Spool,
    documents: np.ndarray,
    tokenizer: Tokenizer,
    writer: ShardWriter,
    num_threads: int,
    task: Task,
) -> None:
    """Encode these documents of the spool, in their order, into `writer`."""
    waiting: deque[Future[Encoded]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        for block in _blocks(spool.lengths[documents], documents):
            waiting.append(pool.submit(_encode_block, spool, block, tokenizer))
            if len(waiting) > 2 * num_threads:  # enough ahead to keep all busy, and no more in memory
                _write(waiting.popleft().result(), writer, task)
        while waiting:
            _write(waiting.popleft().result(), writer, task)


def _blocks(lengths: np.ndarray, documents: np.ndarray) -> Iterator[list[int]]:
    """Consecutive documents of together about BLOCK_BYTES."""
    which = np.cumsum(lengths) // BLOCK_BYTES
    for block in np.split(documents, np.flatnonzero(np.diff(which)) + 1):
        yield block.tolist()


def _encode_block(spool: Spool, documents: list[int], tokenizer: Tokenizer) -> Encoded:
    tokens, lengths, num_bytes = [], [], 0
    for number in documents:
        data = spool.read(number)
        ids = tokenizer.encode_array(data.decode())
        ids.append(tokenizer.end_id)
        tokens.append(np.array(ids, dtype=np.int32))
        lengths.append(len(ids))
        num_bytes += len(data)
    joined = np.concatenate([np.empty(0, np.int32), *tokens])
    return Encoded(tokens=joined, lengths=np.array(lengths, dtype=np.int64), num_bytes=num_bytes)


def _write(encoded: Encoded, writer: ShardWriter, task: Task) -> None:
    writer.append(encoded.tokens, encoded.lengths)
    task.advance(encoded.num_bytes)
