"""A folder of shards made by a command, at once or by an array of jobs; a config uses it with `kind: shards`.

All work is done beside it, in `FOLDER.building`, which a killed build leaves and a resumed one goes on with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pretrain.data.folders import locked, publish
from pretrain.data.layout import key, text_key
from pretrain.data.manifest import MANIFEST_FILE, Manifest, read_manifest
from pretrain.data.progress import Progress
from pretrain.data.source_build import SourceBuild
from pretrain.data.sources.base import SourceReader
from pretrain.data.sources.options import AnyText
from pretrain.data.sources.parts import Grain
from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.data.tokenizers.trial import check_lossless
from pretrain.errors import UserError
from pretrain.files import replace

INPUTS_FILE = "inputs.json"
NUM_NAMED = 20  # tasks of an array in one message


@dataclass(frozen=True, kw_only=True)
class Share:
    """Task `number` of `count` of an array of jobs, counted from 1."""

    number: int
    count: int


@dataclass(frozen=True, kw_only=True)
class FolderBuild:
    """What is to be built, from what, and where."""

    options: AnyText
    reader: SourceReader
    tokenizer_folder: Path
    out: Path
    validation_share: float
    num_workers: int
    say: Callable[[str], None]
    progress: Progress
    grain: Grain

    def whole(self, resume: bool) -> Manifest:
        """Build all of it."""
        if found := self._found():
            return found
        self._begin(resume)
        with self._locked(shared=False):
            build = self._build
            build.collect()
            build.check_collected()
            build.encode(self._tokenizer, self.tokenizer_folder)
            return self._finish()

    def part(self, share: Share) -> None:
        """Build one task's share of the parts, going on with what is there."""
        if self._found():
            return
        self._begin(resume=True)
        with self._locked(shared=True):
            replace(self._work / "tasks", str(share.count))
            build = self._build
            numbers = range(share.number - 1, len(build.parts), share.count)
            build.collect(numbers)
            build.encode(self._tokenizer, self.tokenizer_folder, numbers)
            self.say(
                f"part {share.number} of {share.count} is there: {len(numbers):,} of {len(build.parts):,}"
            )

    def merge(self) -> Manifest:
        """Make the folder from the parts, which must all be there."""
        if found := self._found():
            return found
        self._begin(resume=True)
        with self._locked(shared=False):
            self._check_parts()
            self._build.check_collected()
            self._build.encode(self._tokenizer, self.tokenizer_folder)
            return self._finish()

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = load_tokenizer(self.tokenizer_folder)
        check_lossless(tokenizer, f"--tokenizer: {self.tokenizer_folder}")
        return tokenizer

    @cached_property
    def _inputs(self) -> str:
        text = text_key(self.options, self.reader, self.validation_share)
        return key(text, self._tokenizer.sha256)

    @property
    def _work(self) -> Path:
        return self.out.with_name(f"{self.out.name}.building")

    @cached_property
    def _build(self) -> SourceBuild:
        return SourceBuild(
            name=self.out.name,
            options=self.options,
            reader=self.reader,
            share=self.validation_share,
            work=self._work,
            num_workers=self.num_workers,
            say=self.say,
            progress=self.progress,
            grain=self.grain,
        )

    def _found(self) -> Manifest | None:
        """What is in the folder, if it is there and of the same inputs."""
        if not self.out.exists():
            return None
        if not (self.out / MANIFEST_FILE).is_file():
            if self.out.is_dir() and not any(self.out.iterdir()):
                return None
            raise UserError(f"--out: '{self.out}' is there already, and is no folder of shards.")
        manifest = read_manifest(self.out)
        if manifest.inputs != self._inputs:
            raise UserError(
                f"--out: '{self.out}' was built from other files, options or another tokenizer"
                " (or the files have changed since). Name another folder, or delete this one."
            )
        shutil.rmtree(self._work, ignore_errors=True)  # of a build that was killed at the very end
        self.say(f"{self.out} is there already, and whole")
        return manifest

    def _begin(self, resume: bool) -> None:
        """Make the folder of the work, or find that what is there is of the same inputs."""
        file = self._work / INPUTS_FILE
        inputs = json.dumps([self._inputs, self.grain.part_bytes, self.grain.volume_bytes])
        self._work.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            replace(file, inputs)
        elif file.read_text() != inputs:
            raise UserError(
                f"--out: '{self._work}' was begun with other files, options or another tokenizer"
                " (or the files have changed since). Delete it to begin anew."
            )
        elif not resume:
            raise UserError(
                f"--out: '{self.out}' is partly built, in '{self._work}'. Add --resume to go on,"
                " or delete that folder to begin anew."
            )

    def _locked(self, shared: bool) -> AbstractContextManager[None]:
        def refuse() -> None:
            raise UserError(f"--out: another process is building in '{self._work}'. Wait until it has ended.")

        return locked(self._work, refuse, shared=shared)

    def _check_parts(self) -> None:
        build, tasks = self._build, self._work / "tasks"
        count = int(tasks.read_text()) if tasks.is_file() else 1
        numbers = range(len(build.parts))
        missing = [number for number in numbers if not build.is_encoded(self._tokenizer, number)]
        if missing:
            shares = sorted({number % count + 1 for number in missing})
            named = ", ".join(f"{share}/{count}" for share in shares[:NUM_NAMED])
            more = f" and {len(shares) - NUM_NAMED:,} more" if len(shares) > NUM_NAMED else ""
            raise UserError(
                f"--merge: {len(missing):,} of {len(build.parts):,} parts of '{self.out}' are not built."
                f" Run --part {named}{more}, then --merge again."
            )

    def _finish(self) -> Manifest:
        folder = self._build.finish(self._tokenizer, self._inputs, self.tokenizer_folder)
        publish(folder, self.out)
        shutil.rmtree(self._work, ignore_errors=True)
        return read_manifest(self.out)
