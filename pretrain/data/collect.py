"""From a source to a spool: what is empty, invalid or there already is counted and left out."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

from pretrain.data.progress import Task
from pretrain.data.sources.base import Document, Reason, Skipped, SourceReader
from pretrain.data.spool import Spool


def collect(reader: SourceReader, spool: Spool, task: Task) -> Counter[Reason]:
    """Write the documents of `reader` to `spool`; returns how many were left out, by reason."""
    skipped: Counter[Reason] = Counter()
    seen: set[bytes] = set()
    for document in reader.documents():
        outcome = _admit(document, seen)
        if isinstance(outcome, Skipped):
            skipped[outcome.reason] += outcome.count
            continue
        data, digest = outcome
        group = document.group if isinstance(document, Document) else None
        spool.append(data, digest.hex() if group is None else group)
        task.advance(len(data))
    spool.finish()
    return skipped


def _admit(document: Document | Skipped, seen: set[bytes]) -> Skipped | tuple[bytes, bytes]:
    """The bytes of a document and their digest, unless there is a reason against it."""
    if isinstance(document, Skipped):
        return document
    try:
        data = document.text.encode()
    except UnicodeEncodeError:  # lone surrogates, which JSON can spell and UTF-8 cannot
        return Skipped(reason=Reason.INVALID)
    if not data.strip():
        return Skipped(reason=Reason.EMPTY)
    digest = blake2b(data, digest_size=16).digest()
    if digest in seen:
        return Skipped(reason=Reason.DUPLICATE)
    seen.add(digest)
    return data, digest
