"""Everything that can be wrong with a folder of shards, or with a pair of other people's.

A folder keeps hashes of all its files, so every changed byte is found. A pair of another program comes with
none: its structure and its tokens are checked, and its hashes are told to whoever knows what they should be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pretrain.data.checksums import SUMS_FILE, hash_file, listed_sums, sums_text
from pretrain.data.manifest import MANIFEST_FILE, Manifest
from pretrain.data.progress import Progress
from pretrain.data.shard_index import pair_file
from pretrain.data.tokenizer import Tokenizer
from pretrain.data.verify_pair import Pair, Rules, check_pair
from pretrain.errors import UserError

SIDES = ("train", "validation")
NO_TOKENIZER = (
    "no tokenizer with this hash was found beside it (name it with --tokenizer FOLDER): whether documents end"
    " with the end token is not checked"
)


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found in one folder or pair."""

    path: Path
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    documents: int = 0
    tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "path": str(self.path),
            "ok": not self.problems,
            "problems": list(self.problems),
            "notes": list(self.notes),
            "documents": self.documents,
            "tokens": self.tokens,
            "sha256": dict(self.sha256),
        }


def verify_folder(folder: Path, tokenizer: Tokenizer | None, progress: Progress) -> Verified:
    """Read all of a folder that `pretrain data build` made."""
    file = folder / MANIFEST_FILE
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return Verified(path=folder, problems=(f"{file} is missing or damaged.",))
    rules = Rules(
        vocab_size=manifest.vocab_size,
        end_id=tokenizer.end_id if tokenizer else None,
        empty_documents=False,
    )
    with progress.task(f"reading {folder.name}", _sizes(folder, manifest), "B") as task:
        pairs = {side: check_pair(folder / side, rules, task) for side in SIDES}
    hashes = {name: digest for pair in pairs.values() for name, digest in pair.sha256.items()}
    problems = [problem for pair in pairs.values() for problem in pair.problems]
    problems += _against_manifest(folder, manifest, pairs, hashes)
    hashes[MANIFEST_FILE] = hash_file(file)
    notes = [] if tokenizer else [NO_TOKENIZER]
    if (folder / SUMS_FILE).is_file():
        problems += _against_sums(folder, hashes)
    else:
        notes.append(f"no {SUMS_FILE} beside the manifest (folders of older versions have none)")
    if tokenizer and tokenizer.sha256 != manifest.tokenizer_sha256:
        problems.append(
            f"{folder} was encoded with tokenizer {manifest.tokenizer_sha256[:12]}, not with"
            f" {tokenizer.sha256[:12]}."
        )
    return Verified(
        path=folder,
        problems=tuple(problems),
        notes=tuple(notes),
        sha256=hashes,
        documents=sum(pair.documents for pair in pairs.values()),
        tokens=sum(pair.tokens for pair in pairs.values()),
    )


def verify_pair(prefix: Path, tokenizer: Tokenizer | None, progress: Progress) -> Verified:
    """Read all of a pair of another program."""
    rules = Rules(
        vocab_size=tokenizer.vocab_size if tokenizer else None,
        end_id=tokenizer.end_id if tokenizer else None,
        empty_documents=True,
    )
    files = [pair_file(prefix, suffix) for suffix in ("bin", "idx")]
    size = sum(file.stat().st_size for file in files if file.is_file())
    with progress.task(f"reading {prefix.name}", size, "B") as task:
        pair = check_pair(prefix, rules, task)
    notes = () if tokenizer else ("no tokenizer was named (--tokenizer FOLDER): token ids are not checked",)
    return Verified(
        path=prefix,
        problems=pair.problems,
        notes=notes,
        sha256=pair.sha256,
        documents=pair.documents,
        tokens=pair.tokens,
    )


def demand(verified: Verified) -> None:
    """UserError with every problem, if there is any: what `data.strict` asks for."""
    if verified.problems:
        raise UserError(
            "\n".join(verified.problems)
            + f"\ndata.strict: {verified.path} is not used. Copy it again from where it is whole, or build it"
            " again."
        )


def _sizes(folder: Path, manifest: Manifest) -> int:
    files = [folder / name for name in manifest.files]
    return sum(file.stat().st_size for file in files if file.is_file())


def _against_manifest(
    folder: Path, manifest: Manifest, pairs: Mapping[str, Pair], hashes: Mapping[str, str]
) -> Iterator[str]:
    for name in sorted(manifest.files.keys() | hashes.keys()):
        record = manifest.files.get(name)
        if record is None:
            yield f"{folder / name} is not in {MANIFEST_FILE}."
        elif name not in hashes:
            yield f"{folder / name} is missing."
        elif hashes[name] != record.sha256 or (folder / name).stat().st_size != record.bytes:
            yield (
                f"{folder / name} is not what was written: {(folder / name).stat().st_size:,} bytes with"
                f" sha256 {hashes[name][:12]}, where {MANIFEST_FILE} says {record.bytes:,} with"
                f" {record.sha256[:12]}."
            )
    for side, pair in pairs.items():
        counts = manifest.train if side == "train" else manifest.validation
        if (pair.documents, pair.tokens) != (counts.documents, counts.tokens):
            yield (
                f"{folder / side} has {pair.documents:,} documents and {pair.tokens:,} tokens, where"
                f" {MANIFEST_FILE} says {counts.documents:,} and {counts.tokens:,}."
            )


def _against_sums(folder: Path, hashes: Mapping[str, str]) -> Iterator[str]:
    file = folder / SUMS_FILE
    text = file.read_bytes().decode("ascii", "replace")
    listed = listed_sums(text)
    if sums_text(listed) != text or listed.keys() != hashes.keys():
        yield f"{file} is damaged, or a file that it lists is missing."
    for name in sorted(listed.keys() & hashes.keys()):
        if listed[name] != hashes[name]:
            yield (
                f"{folder / name} has sha256 {hashes[name][:12]}, where {SUMS_FILE} says {listed[name][:12]}:"
                " one of the two files is damaged."
            )
