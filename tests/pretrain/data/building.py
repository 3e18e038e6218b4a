"""Builds of folders for tests: here, and in processes that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from glob import glob
from pathlib import Path

from pretrain.data.folder_build import FolderBuild, Share
from pretrain.data.manifest import Manifest
from pretrain.data.progress import SilentProgress
from pretrain.data.sources.parts import Grain
from pretrain.data.sources.registry import open_source
from pretrain.data.sources.spec import parse_source

FILES = ("train.bin", "train.idx", "validation.bin", "validation.idx")
FINE = Grain(part_bytes=12_000, volume_bytes=4_000)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A build as a command would ask for it."""

    spec: str
    tokenizer: str
    out: str
    share: float = 0.1
    workers: int = 1
    keep_duplicates: bool = False
    part_bytes: int = FINE.part_bytes
    volume_bytes: int = FINE.volume_bytes

    def order(self) -> FolderBuild:
        """The build, not yet begun."""
        changes = {"drop_duplicates": not self.keep_duplicates}
        options = parse_source(self.spec).model_copy(update=changes)
        return FolderBuild(
            options=options,
            reader=open_source("mine", options),
            tokenizer_folder=Path(self.tokenizer),
            out=Path(self.out),
            validation_share=self.share,
            num_workers=self.workers,
            say=lambda _: None,
            progress=SilentProgress(),
            grain=Grain(part_bytes=self.part_bytes, volume_bytes=self.volume_bytes),
        )

    def build(self) -> Manifest:
        """Build it here."""
        return self.order().whole(resume=True)

    def start(self) -> subprocess.Popen[bytes]:
        """Build it in a process of its own, going on with what is there."""
        command = [sys.executable, str(Path(__file__)), json.dumps(asdict(self))]
        environment = os.environ | {"PYTHONPATH": ":".join(filter(None, sys.path))}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @property
    def work(self) -> Path:
        """Where the build is at work."""
        return Path(f"{self.out}.building")

    def num_written(self) -> int:
        """Volumes that are whole."""
        return len(glob(f"{self.work}/text*/*/*.json"))  # which may be removed meanwhile


def content(out: str | Path) -> dict[str, bytes]:
    """The shards in a folder."""
    return {name: (Path(out) / name).read_bytes() for name in FILES}


def kill_after(process: subprocess.Popen[bytes], asked: Asked, num_written: int) -> bool:
    """Kill the process once so many volumes are whole; whether it was still there to be killed."""
    while process.poll() is None and asked.num_written() < num_written:
        time.sleep(0.002)
    was_there = process.poll() is None
    process.kill()
    process.communicate()
    return was_there


def main() -> None:
    """Build what the first argument says."""
    from pretrain.data import source_build

    source_build.POOL_BYTES = 0  # workers even for a little text
    Asked(**json.loads(sys.argv[1])).build()


__all__ = ["FILES", "FINE", "Asked", "Share", "content", "kill_after"]

if __name__ == "__main__":
    main()
