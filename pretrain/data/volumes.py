"""A volume: some consecutive documents of a source on disk, whole once its `.json` is there.

`PART/NUMBER.text` holds their UTF-8 texts one after another and then a table of their digests, groups and
lengths; `.json` counts, hashes and where the next volume begins. Names sort in the order of the source.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.data.sources.base import Place
from pretrain.data.sources.lines import count_lines
from pretrain.errors import UserError
from pretrain.files import put, replace

DOCUMENT = np.dtype([("digest", "<u8", 2), ("group", "<u8"), ("length", "<i8")])
MOST_PLACES = 5  # of documents that were left out, by reason


@dataclass(kw_only=True)
class Omissions:
    """How many documents were left out, by reason, and where the first of them are."""

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[Place]] = field(default_factory=dict)

    def add(self, reason: str, count: int, places: Iterable[Place | None] = ()) -> None:
        """Note so many more, which may be none."""
        if not count:
            return
        self.counts[reason] += count
        kept = self.places.setdefault(reason, [])
        kept.extend(place for place in places if place is not None and len(kept) < MOST_PLACES)

    def named(self) -> dict[str, tuple[str, ...]]:
        """Where the first of each reason are, in words."""
        return {
            reason: tuple(map(_in_words, places)) for reason, places in sorted(self.places.items()) if places
        }

    def __str__(self) -> str:
        counts = (f"{count:,} {reason}" for reason, count in sorted(self.counts.items()))
        return ", ".join(counts) or "nothing at all"

    def update(self, other: Omissions) -> None:
        """Note those of what comes next."""
        for reason, count in other.counts.items():
            self.add(reason, count, other.places.get(reason, ()))


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The `.json` of a volume of text."""

    documents: int
    text_bytes: int
    sha256: str
    skipped: dict[str, int]
    places: dict[str, list[Any]]
    state: Any  # where the next volume of the same part begins
    last: bool  # of its part

    @property
    def omissions(self) -> Omissions:
        """What was left out."""
        places = {reason: [Place(*place) for place in some] for reason, some in self.places.items()}
        return Omissions(counts=Counter(self.skipped), places=places)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume of text by its name."""

    folder: Path
    name: str

    @property
    def contents(self) -> Contents:
        """Its counts."""
        return Contents(**json.loads(self._file("json").read_bytes()))

    def documents(self) -> np.ndarray:
        """Digest, group and length of each document."""
        return np.fromfile(self.text_file, dtype=DOCUMENT, offset=self.contents.text_bytes)

    def text(self) -> bytes:
        """All texts, as they were written."""
        contents, data = self.contents, self.text_file.read_bytes()
        if sha256(data).hexdigest() != contents.sha256:
            raise UserError(
                f"{self.text_file} is damaged: delete {self.folder.parent} so that it is built anew."
            )
        return data[: contents.text_bytes]

    @property
    def text_file(self) -> Path:
        """Where the texts are."""
        return self._file("text")

    def write(self, text: bytes, documents: np.ndarray, omissions: Omissions, state: Any, last: bool) -> None:
        """Make the volume; it is there once all of it is on the disk."""
        data = text + documents.astype(DOCUMENT).tobytes()
        contents = Contents(
            documents=len(documents),
            text_bytes=len(text),
            sha256=sha256(data).hexdigest(),
            skipped=dict(omissions.counts),
            places={reason: list(places) for reason, places in omissions.places.items()},
            state=state,
            last=last,
        )
        self.text_file.parent.mkdir(parents=True, exist_ok=True)
        put(self.text_file, data)
        replace(self._file("json"), json.dumps(asdict(contents)))

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"


def _in_words(place: Place) -> str:
    """A place; what was known by its byte, since a worker began inside the file, by its line."""
    if place.unit == "byte":
        place = Place(place.file, "line", count_lines(place.file, place.number) + 1)
    return str(place)


def volumes_of(folder: Path, part: int) -> list[Volume]:
    """The whole volumes of a part, in their order."""
    names = [f"{part:06d}/{file.name}" for file in (folder / f"{part:06d}").glob("[0-9]*.json")]
    return [Volume(folder=folder, name=name.removesuffix(".json")) for name in sorted(names)]


def volumes_in(folder: Path) -> list[Volume]:
    """All whole volumes, in the order of the source."""
    parts = sorted(int(each.name) for each in folder.glob("[0-9]*") if each.is_dir())
    return [volume for part in parts for volume in volumes_of(folder, part)]


def volume_name(part: int, number: int) -> str:
    """The name of a part's volume: a folder for each part, so that none grows large."""
    return f"{part:06d}/{number:06d}"
