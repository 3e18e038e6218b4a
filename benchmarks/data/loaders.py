"""Loaders of the same text, ours and other people's: each reads the next batch of sequences of a mixture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

END = 2
VOCAB_SIZE = 50_000
WEIGHTS = {"one": 0.5, "three": 0.2, "two": 0.3}
Read = Callable[[], int]  # reads the next batch; returns its tokens


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is read."""

    folder: Path  # holds a pair for every source
    sequence_length: int
    batch: int
    sequences: int  # of the whole run

    def prefix(self, name: str) -> Path:
        return self.folder / name


def make_pairs(folder: Path, tokens: int) -> None:
    """Random text in documents of about 400 tokens, many short ones and few long."""
    from pretrain.data.shards import ShardWriter

    for seed, name in enumerate(WEIGHTS):
        rng = np.random.default_rng(seed)
        lengths = np.maximum(2, rng.lognormal(6, 1, tokens // 400)).astype(np.int64)
        ids = rng.integers(END + 1, VOCAB_SIZE, lengths.sum()).astype(np.int32)
        ids[np.cumsum(lengths) - 1] = END
        writer = ShardWriter(folder / name, VOCAB_SIZE)
        writer.append(ids, lengths)
        writer.close()


def ours(case: Case) -> Read:
    """Rows of tokens."""
    batches = _rows_of_ours(case)
    return lambda: next(batches)[:, :-1].size


def ours_with_masks(case: Case) -> Read:
    """Also inputs, targets, and the documents for attention, as tensors: what a training step takes."""
    from pretrain.data.batch import batch_of

    batches = _rows_of_ours(case)
    return lambda: batch_of(next(batches), END, document_mask=True).tokens_T.numel()


def _rows_of_ours(case: Case) -> Iterator[np.ndarray]:
    from pretrain.data.shards import TokenShard
    from pretrain.data.training import TrainingData

    sources = {name: SimpleNamespace(train=TokenShard(case.prefix(name))) for name in WEIGHTS}
    stage = SimpleNamespace(num_sequences=case.sequences, sequence_length=case.sequence_length, mix=WEIGHTS)
    corpus: Any = SimpleNamespace(sources=sources)
    training = TrainingData(corpus, [stage], 0)
    return (training.rows(first, case.batch) for first in range(0, case.sequences, case.batch))


def megatron(case: Case, **masks: bool) -> Read:
    """GPTDataset and BlendedDataset; their index is built in memory, as without a cache."""
    import torch
    from megatron.core.datasets.blended_dataset import BlendedDataset
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.indexed_dataset import IndexedDataset
    from megatron.core.datasets.utils import Split

    tokenizer: Any = SimpleNamespace(
        eod=END, eos=END, pad=-1, vocab_size=VOCAB_SIZE, special_tokens_dict={}, unique_identifiers={}
    )
    options = {"reset_position_ids": False, "reset_attention_mask": False, "eod_mask_loss": False} | masks
    config = GPTDatasetConfig(
        random_seed=0,
        sequence_length=case.sequence_length,
        blend=None,
        split="1,0,0",
        path_to_cache=None,
        tokenizer=tokenizer,
        create_attention_mask=False,
        **options,
    )
    datasets = []
    for name, weight in WEIGHTS.items():
        prefix = str(case.prefix(name))
        low = IndexedDataset(prefix)
        documents = np.arange(len(low), dtype=np.int32)
        wanted = int(case.sequences * weight * 1.005) + 1  # as its own builder asks for
        datasets.append(GPTDataset(low, prefix, documents, wanted, Split.train, config))
    blended = BlendedDataset(datasets, list(WEIGHTS.values()), case.sequences, config)
    numbers = iter(range(0, case.sequences, case.batch))

    def read() -> int:
        first = next(numbers)
        batch = torch.utils.data.default_collate([blended[i] for i in range(first, first + case.batch)])
        return batch["tokens"].numel()

    return read


def megatron_with_masks(case: Case) -> Read:
    """With positions and losses that stop at the end of a document, worked out for every sequence."""
    return megatron(case, reset_position_ids=True, eod_mask_loss=True)


def hugging_face(case: Case) -> Read:
    """`datasets`: rows of S + 1 tokens in Arrow, interleaved, in numpy batches."""
    from datasets import Dataset, disable_progress_bars, interleave_datasets, load_from_disk

    disable_progress_bars()
    for name in WEIGHTS:
        if not (case.folder / f"{name}.arrow").exists():
            rows = Dataset.from_dict({"tokens": list(_rows(case, name))})
            rows.save_to_disk(str(case.folder / f"{name}.arrow"))
    mixed = interleave_datasets(
        [load_from_disk(str(case.folder / f"{name}.arrow")).shuffle(seed=0) for name in WEIGHTS],
        probabilities=list(WEIGHTS.values()),
        seed=0,
        stopping_strategy="all_exhausted",
    ).with_format("numpy")
    batches = _again(lambda: mixed.iter(case.batch, drop_last_batch=True))
    return lambda: next(batches)["tokens"][:, :-1].size


def litdata(case: Case) -> Read:
    """Chunks of tokens, shuffled, combined by weight."""
    import torch
    from litdata import CombinedStreamingDataset, StreamingDataset, TokensLoader

    length = case.sequence_length + 1
    combined = CombinedStreamingDataset(
        [
            StreamingDataset(str(case.folder / f"{name}.lit"), item_loader=TokensLoader(length), shuffle=True)
            for name in WEIGHTS
        ],
        weights=list(WEIGHTS.values()),
        iterate_over_all=False,
        seed=0,
    )
    rows = _again(lambda: iter(combined))
    return lambda: torch.stack([next(rows) for _ in range(case.batch)])[:, :-1].numel()


def prepare_litdata(case: Case) -> None:
    """Its chunks, once."""
    from litdata import TokensLoader, optimize

    from pretrain.data.shards import TokenShard

    for name in WEIGHTS:
        tokens = np.asarray(TokenShard(case.prefix(name)).tokens)
        optimize(
            fn=_tensor,
            inputs=np.array_split(tokens, 64),
            output_dir=str(case.folder / f"{name}.lit"),
            chunk_bytes="16MB",
            item_loader=TokensLoader(),
            num_workers=1,
            verbose=False,
        )


def _rows(case: Case, name: str) -> Iterator[np.ndarray]:
    from pretrain.data.shards import TokenShard

    tokens, length = np.asarray(TokenShard(case.prefix(name)).tokens), case.sequence_length
    for start in range(0, len(tokens) - length, length):
        yield tokens[start : start + length + 1].astype(np.int32)


def _tensor(tokens: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(tokens.astype(np.int32))


def _again(start: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Endless: from the beginning after the end."""
    while True:
        yield from start()


CONTENDERS: dict[str, Callable[[Case], Read]] = {
    "ours": ours,
    "ours, with document masks": ours_with_masks,
    "megatron-core": megatron,
    "megatron-core, with document masks": megatron_with_masks,
    "datasets": hugging_face,
    "litdata": litdata,
}
