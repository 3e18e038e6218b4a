"""One build of a corpus: collect, hold out, train the tokenizer, encode."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from pretrain.data.folders import BUILDING, fresh, publish, remove_others
from pretrain.data.layout import Layout, key
from pretrain.data.manifest import read_manifest
from pretrain.data.options import DataOptions
from pretrain.data.progress import Progress
from pretrain.data.source_build import SourceBuild
from pretrain.data.sources.base import SourceReader
from pretrain.data.sources.options import TextSource
from pretrain.data.sources.parts import Grain
from pretrain.data.spool import Spool
from pretrain.data.tokenizer import load_tokenizer
from pretrain.data.tokenizer_options import SentencePieceOptions
from pretrain.data.tokenizer_training import sample
from pretrain.data.tokenizers.making import make_tokenizer
from pretrain.data.workers import available_cores
from pretrain.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Build:
    """What a build needs to know. What it leaves when killed, the next one with the same inputs uses."""

    data: DataOptions
    readers: Mapping[str, SourceReader]
    folders: Layout
    say: Callable[[str], None]
    progress: Progress
    grain: Grain = field(default_factory=Grain)

    def run(self) -> None:
        """Build what is missing, which may be nothing: another process may have held the lock before."""
        remove_others(self.folders.root, {self._work(name) for name in self.readers})
        need_tokenizer = not self.folders.tokenizer.is_dir()
        missing = [name for name, folder in self.folders.sources.items() if not folder.is_dir()]
        need_all = need_tokenizer and self._is_trained
        try:
            for name in self.readers if need_all else missing:
                self._collect(self._builds[name])
            if need_tokenizer:
                self._make_tokenizer()
            for name in missing:
                self._finish(name, self._builds[name])
        finally:
            self._clean()

    @property
    def _is_trained(self) -> bool:
        return self.data.tokenizer.kind == "sentencepiece"

    @cached_property
    def _builds(self) -> dict[str, SourceBuild]:
        return {name: self._build_of(name) for name in self.readers}

    def _build_of(self, name: str) -> SourceBuild:
        options = self.data.sources[name]
        assert isinstance(options, TextSource)
        return SourceBuild(
            name=name,
            options=options,
            reader=self.readers[name],
            share=self.data.validation_share,
            work=self._work(name),
            num_workers=available_cores(),
            say=self.say,
            progress=self.progress,
            grain=self.grain,
        )

    def _work(self, name: str) -> Path:
        """Named by what its contents depend on: another build of the same text goes on with them."""
        depends_on = key(self.folders.texts[name], self.grain.part_bytes, self.grain.volume_bytes)
        return self.folders.root / f"{BUILDING}{name}-{depends_on}"

    def _collect(self, build: SourceBuild) -> None:
        if build.has_begun:
            self.say(f"{build.name}: going on with what an earlier build left")
        build.collect()
        try:
            build.check_collected()
        except UserError:
            shutil.rmtree(build.work)
            raise

    def _make_tokenizer(self) -> None:
        folder = fresh(self.folders.root / f"{BUILDING}tokenizer")
        make_tokenizer(self.data.tokenizer, self._sample, folder)
        publish(folder, self.folders.tokenizer)

    def _sample(self) -> Iterator[str]:
        """Training text alone, from each source in proportion to its size."""
        if not self._builds:
            raise UserError(
                "data.tokenizer: there is no text to train it on, since all sources are shards that are there"
                " already. Choose the tokenizer that they were encoded with."
            )
        options = self.data.tokenizer
        assert isinstance(options, SentencePieceOptions)
        self.say(f"training a tokenizer of {options.vocab_size:,} pieces")
        texts: list[tuple[Spool, np.ndarray]] = [build.train_text() for build in self._builds.values()]
        sizes = [int(spool.lengths[numbers].sum()) for spool, numbers in texts]
        for (spool, numbers), size in zip(texts, sizes, strict=True):
            yield from sample(spool, numbers, options.sample_bytes * size // max(1, sum(sizes)))

    def _finish(self, name: str, build: SourceBuild) -> None:
        tokenizer = load_tokenizer(self.folders.tokenizer)
        build.encode(tokenizer, self.folders.tokenizer)
        folder = self.folders.sources[name]
        publish(build.finish(tokenizer, inputs=folder.name.rpartition("-")[2]), folder)
        shutil.rmtree(build.work, ignore_errors=True)
        self.say(f"{name}: {read_manifest(folder).describe()}")

    def _clean(self) -> None:
        """Remove what nobody would go on from."""
        shutil.rmtree(self.folders.root / f"{BUILDING}tokenizer", ignore_errors=True)
        for build in self._builds.values():
            is_done = build.name in self.folders.sources and self.folders.sources[build.name].is_dir()
            if is_done or not build.has_begun:
                shutil.rmtree(build.work, ignore_errors=True)
