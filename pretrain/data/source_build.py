"""One source, from text to shards, in steps of which each leaves files behind and starts from those there.

collect: text in volumes. encode: their tokens. finish: duplicates and near copies out, both sides written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pretrain.data.collect import collect, is_collected
from pretrain.data.encode import EncodedVolume, encode_volume
from pretrain.data.look import Look
from pretrain.data.manifest import Manifest, write_manifest
from pretrain.data.merge import Sides, choose_sides, copies_among, write_shards
from pretrain.data.progress import Progress
from pretrain.data.single import cut_if_single
from pretrain.data.sources.base import Reason, SourceReader
from pretrain.data.sources.options import AnyText
from pretrain.data.sources.parts import Grain, Part
from pretrain.data.spool import Spool
from pretrain.data.tokenizer import Tokenizer
from pretrain.data.volumes import Omissions, Volume, volumes_in, volumes_of
from pretrain.data.workers import POOL_BYTES, do_all
from pretrain.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SourceBuild:
    """The build of one source in a folder of its own."""

    name: str
    options: AnyText
    reader: SourceReader
    share: float  # that is held out
    work: Path
    num_workers: int
    say: Callable[[str], None]
    progress: Progress
    grain: Grain

    @cached_property
    def parts(self) -> list[Part]:
        """The source in parts."""
        return self.reader.parts(self.grain.suits(self.reader.estimated_bytes()).part_bytes)

    def collect(self, numbers: Sequence[int] | None = None) -> None:
        """Write the text of these parts (None: all) that is not there."""
        before = self.reader.identity()
        chosen = range(len(self.parts)) if numbers is None else numbers
        grain = self.grain.suits(self.reader.estimated_bytes())
        missing = [number for number in chosen if not is_collected(self._text, number)]
        tasks = [(self.reader, self.parts[part], part, self._text, grain.volume_bytes) for part in missing]
        total = self.reader.estimated_bytes() * len(chosen) / max(1, len(self.parts))
        with self.progress.task(f"collecting {self.name}", total, "B") as task:
            look = Look(self._text, task)
            look()
            do_all(_collect_part, tasks, self._workers_for(total), look)
            look.now()
        if self.reader.identity() != before:
            raise UserError(f"{self.reader.key}: files changed while they were read. Begin again.")

    def check_collected(self) -> None:
        """All parts have to be there, and text in them."""
        missing = [part for part in range(len(self.parts)) if not is_collected(self._text, part)]
        if missing:
            raise UserError(f"{len(missing):,} of {len(self.parts):,} parts of {self.name} are not there.")
        if not any(volume.contents.documents for volume in volumes_in(self._text)):
            self.reader.explain()
            raise UserError(
                f"{self.reader.key}: there is no usable text. Found: {self._omitted()}."
                " Point it at text in UTF-8."
            )

    @cached_property
    def volumes(self) -> list[Volume]:
        """All volumes, once collected. A single document is cut, so that some of it is held out."""
        volumes = [volume for volume in volumes_in(self._text) if volume.contents.documents]
        cut = self._text.with_name("cut")
        return cut_if_single(volumes, self.share, self.options.drop_duplicates, cut)

    def is_encoded(self, tokenizer: Tokenizer, part: int) -> bool:
        """Whether all of a part is there, as text and as tokens."""
        volumes = volumes_of(self._text, part)
        return is_collected(self._text, part) and all(
            EncodedVolume(folder=self._encoded(tokenizer, volume), name=volume.name).is_there
            for volume in volumes
        )

    def train_text(self) -> tuple[Spool, np.ndarray]:
        """The texts, and the numbers of those to train on."""
        spool = Spool(self.volumes)
        sides = choose_sides(spool, self.share, self.options.drop_duplicates)
        return spool, np.flatnonzero(sides.train)

    def encode(self, tokenizer: Tokenizer, folder: Path, numbers: Sequence[int] | None = None) -> None:
        """Encode these parts (None: all of the source) with the tokenizer in `folder`."""
        if numbers is None:
            volumes = self.volumes
        else:
            volumes = [volume for part in numbers for volume in volumes_of(self._text, part)]
        if not volumes:
            return
        encoded = self._encoded(tokenizer, volumes[0])
        missing = [each for each in volumes if not EncodedVolume(folder=encoded, name=each.name).is_there]
        total = float(sum(volume.contents.text_bytes for volume in volumes))
        tasks = [(volume, encoded, folder, self.share > 0) for volume in missing]
        began = time.monotonic()
        with self.progress.task(f"encoding {self.name}", total, "B") as task:
            look = Look(encoded, task)
            look()
            do_all(_encode_one, tasks, self._workers_for(total), look)
            look.now()
        if missing and time.monotonic() - began >= 1 and look.rates():
            self.say(f"{self.name}: encoded at {look.rates()}")

    def finish(self, tokenizer: Tokenizer, inputs: str, tokenizer_folder: Path | None = None) -> Path:
        """The folder with both shards and their manifest."""
        spool, folder = Spool(self.volumes), self.work / "shards"
        sides = choose_sides(spool, self.share, self.options.drop_duplicates)
        where = self._encoded(tokenizer, self.volumes[0])
        encoded = [EncodedVolume(folder=where, name=volume.name) for volume in self.volumes]
        copies = copies_among(sides, spool, encoded)
        kept = replace(sides, validation=sides.validation & ~copies)
        num_tokens = float(sum(volume.contents.tokens for volume in encoded))
        folder.mkdir(exist_ok=True)
        with self.progress.task(f"writing {self.name}", num_tokens, "tokens") as task:
            shards = write_shards(spool, kept, encoded, tokenizer.vocab_size, folder, task)
        omitted = self._omitted()
        omitted.add(Reason.NEAR_COPY, int(copies.sum()))
        omitted.add(Reason.DUPLICATE, self._num_duplicates(spool, sides))
        manifest = Manifest(
            source={"name": self.name, **self.options.inputs()},
            validation_share=self.share,
            tokenizer_sha256=tokenizer.sha256,
            vocab_size=tokenizer.vocab_size,
            train=shards.counts["train"],
            validation=shards.counts["validation"],
            skipped=dict(sorted(omitted.counts.items())),
            skipped_places=omitted.named(),
            files=shards.files,
            inputs=inputs,
            tokenizer_folder=str(tokenizer_folder) if tokenizer_folder else None,
        )
        write_manifest(manifest, folder)
        return folder

    @property
    def has_begun(self) -> bool:
        """Whether there is anything that another attempt could go on from."""
        return bool(volumes_in(self._text))

    @property
    def _text(self) -> Path:
        return self.work / "text"

    def _encoded(self, tokenizer: Tokenizer, volume: Volume) -> Path:
        return self.work / f"{volume.folder.name}-{tokenizer.sha256[:16]}"

    def _omitted(self) -> Omissions:
        omitted = Omissions()
        for volume in volumes_in(self._text):
            omitted.update(volume.contents.omissions)
        return omitted

    def _num_duplicates(self, spool: Spool, sides: Sides) -> int:
        if self.volumes[0].folder == self._text:
            return len(spool) - int(sides.train.sum()) - int(sides.validation.sum())
        return sum(volume.contents.documents for volume in volumes_in(self._text)) - 1  # the one that was cut

    def _workers_for(self, num_bytes: float) -> int:
        return self.num_workers if num_bytes >= POOL_BYTES else 1


def _collect_part(
    reader: SourceReader,
    part: Part,
    number: int,
    folder: Path,
    volume_bytes: int,
    look: Callable[[], None] = lambda: None,
) -> None:
    for _ in collect(reader, part, number, folder, volume_bytes):
        look()


def _encode_one(
    volume: Volume, folder: Path, tokenizer: Path, with_lines: bool, look: Callable[[], None] = lambda: None
) -> None:
    encode_volume(volume, folder, tokenizer, with_lines)
    look()
