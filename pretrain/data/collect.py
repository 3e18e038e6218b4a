"""From a part of a source to volumes of text: what is empty or invalid is counted and left out."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.data.sources.base import Document, Item, Reason, Skipped, SourceReader, Stream
from pretrain.data.sources.parts import Part
from pretrain.data.volumes import DOCUMENT, Omissions, Volume, volume_name, volumes_of


def collect(
    reader: SourceReader, part: Part, number: int, folder: Path, volume_bytes: int
) -> Iterator[Volume]:
    """Write the volumes of part `number` that are not in `folder`; gives each as it is finished."""
    written = volumes_of(folder, number)
    state: Any = None
    if written:
        contents = written[-1].contents
        if contents.last:
            return
        state = contents.state
    stream = reader.stream(part, state)
    items = iter(stream)
    last, count = False, len(written)
    while not last:
        volume = Volume(folder=folder, name=volume_name(number, count))
        last = _fill(volume, stream, items, volume_bytes)
        count += 1
        yield volume


def is_collected(folder: Path, number: int) -> bool:
    """Whether all volumes of part `number` are there."""
    written = volumes_of(folder, number)
    return bool(written) and written[-1].contents.last


def _fill(volume: Volume, stream: Stream, items: Iterator[Item], volume_bytes: int) -> bool:
    """Write one volume; whether it is the last of its part."""
    texts: list[bytes] = []
    rows: list[tuple[tuple[int, int], int, int]] = []
    omissions, num_bytes = Omissions(), 0
    for item in items:
        admitted = admit(item)
        if isinstance(admitted, Skipped):
            omissions.add(admitted.reason, admitted.count, [admitted.place])
            continue
        texts.append(admitted)
        rows.append(_row(admitted, item.group if isinstance(item, Document) else None))
        num_bytes += len(admitted)
        if num_bytes >= volume_bytes:
            break
    else:
        volume.write(b"".join(texts), np.array(rows, dtype=DOCUMENT), omissions, None, last=True)
        return True
    volume.write(b"".join(texts), np.array(rows, dtype=DOCUMENT), omissions, stream.state(), last=False)
    return False


def admit(item: Item) -> Skipped | bytes:
    """The bytes of a document, unless there is a reason against it."""
    if isinstance(item, Skipped):
        return item
    try:
        data = item.text.encode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can spell and UTF-8 cannot
        return Skipped(reason=Reason.INVALID, place=item.place)
    return data if data.strip() else Skipped(reason=Reason.EMPTY, place=item.place)


def _row(data: bytes, group: str | None) -> tuple[tuple[int, int], int, int]:
    digest = blake2b(data, digest_size=16).digest()
    name = digest.hex() if group is None else group
    hashed = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    halves = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
    return halves, int.from_bytes(hashed), len(data)
