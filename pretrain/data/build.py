"""One build of a corpus: collect, hold out, train the tokenizer, encode."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrain.data.collect import collect
from pretrain.data.encode import encode
from pretrain.data.folders import publish, scratch
from pretrain.data.layout import Layout
from pretrain.data.manifest import Counts, FileRecord, Manifest, write_manifest
from pretrain.data.options import DataOptions
from pretrain.data.progress import Progress, Task
from pretrain.data.shards import ShardWriter
from pretrain.data.sources.base import Reason, SourceReader
from pretrain.data.split import Split, split
from pretrain.data.spool import Spool
from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.data.tokenizer_training import sample, train_tokenizer
from pretrain.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Collected:
    """A source's documents, and on which side each is."""

    spool: Spool
    split: Split
    skipped: Counter[Reason]

    @property
    def train_bytes(self) -> int:
        """Size of the training text."""
        return int(self.spool.lengths[self.split.train].sum())


@dataclass(frozen=True, kw_only=True)
class Build:
    """What a build needs to know."""

    data: DataOptions
    readers: Mapping[str, SourceReader]
    folders: Layout
    say: Callable[[str], None]
    progress: Progress

    def run(self) -> None:
        """Build what is missing, which may be nothing: another process may have held the lock before."""
        need_tokenizer = not self.folders.tokenizer.is_dir()
        missing = [name for name, folder in self.folders.sources.items() if not folder.is_dir()]
        with scratch(self.folders.root) as work, ExitStack() as stack:
            names = list(self.readers) if need_tokenizer else missing
            collected = {name: self._collect(name, work, stack) for name in names}
            if need_tokenizer:
                self._train_tokenizer(collected, work)
            tokenizer = load_tokenizer(self.folders.tokenizer)
            for name in missing:
                self._encode(name, collected[name], tokenizer, work)

    def _collect(self, name: str, work: Path, stack: ExitStack) -> Collected:
        reader, spool = self.readers[name], Spool(work / f"{name}.text")
        stack.callback(spool.close)
        with self.progress.task(f"collecting {name}", reader.estimated_bytes(), "B") as task:
            skipped = collect(reader, spool, task)
        if not len(spool):
            found = ", ".join(f"{count:,} {reason}" for reason, count in sorted(skipped.items()))
            raise UserError(
                f"data.sources.{name}: there is no usable text. Found: {found or 'nothing at all'}."
                " Point it at text in UTF-8."
            )
        sides = split(spool, self.data.validation_share)
        if len(sides.near_copies):
            skipped[Reason.NEAR_COPY] = len(sides.near_copies)
        return Collected(spool=spool, split=sides, skipped=skipped)

    def _train_tokenizer(self, collected: Mapping[str, Collected], work: Path) -> None:
        options = self.data.tokenizer
        folder = work / "tokenizer"
        folder.mkdir()
        self.say(f"training a tokenizer of {options.vocab_size:,} pieces")
        train_tokenizer(_sample(collected, options.sample_bytes), options, folder)
        publish(folder, self.folders.tokenizer)

    def _encode(self, name: str, collected: Collected, tokenizer: Tokenizer, work: Path) -> None:
        folder = work / f"{name}.shards"
        folder.mkdir()
        sides = {"train": collected.split.train, "validation": collected.split.validation}
        num_bytes = collected.spool.lengths[np.concatenate(list(sides.values()))].sum()
        counts: dict[str, Counts] = {}
        files: dict[str, FileRecord] = {}
        with self.progress.task(f"encoding {name}", float(num_bytes), "B") as task:
            for side, documents in sides.items():
                counts[side], written = _encode_side(
                    collected.spool, documents, tokenizer, folder / side, task
                )
                files |= written
        manifest = Manifest(
            source={"name": name, **self.data.sources[name].model_dump()},
            validation_share=self.data.validation_share,
            tokenizer_sha256=tokenizer.sha256,
            vocab_size=tokenizer.vocab_size,
            train=counts["train"],
            validation=counts["validation"],
            skipped=dict(sorted(collected.skipped.items())),
            files=files,
        )
        write_manifest(manifest, folder)
        publish(folder, self.folders.sources[name])
        self.say(f"{name}: {manifest.describe()}")


def _sample(collected: Mapping[str, Collected], num_bytes: int) -> Iterator[str]:
    """Training text alone, from each source in proportion to its size."""
    total = sum(source.train_bytes for source in collected.values())
    for source in collected.values():
        part = num_bytes * source.train_bytes // max(1, total)
        yield from sample(source.spool, source.split.train, part)


def _encode_side(
    spool: Spool, documents: np.ndarray, tokenizer: Tokenizer, prefix: Path, task: Task
) -> tuple[Counts, dict[str, FileRecord]]:
    writer = ShardWriter(prefix, tokenizer.vocab_size)
    encode(spool, documents, tokenizer, writer, len(os.sched_getaffinity(0)), task)
    counts = Counts(
        documents=len(documents), tokens=writer.num_tokens, bytes=int(spool.lengths[documents].sum())
    )
    files = {
        name: FileRecord(bytes=prefix.with_name(name).stat().st_size, sha256=digest)
        for name, digest in writer.close().items()
    }
    return counts, files
