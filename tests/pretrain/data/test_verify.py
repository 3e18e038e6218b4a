"""Verification: no byte of a folder of shards changes unseen."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pretrain.data.checksums import SUMS_FILE, hash_file, hash_sample, write_sums
from pretrain.data.manifest import MANIFEST_FILE, Counts, FileRecord, Manifest, write_manifest
from pretrain.data.progress import SilentProgress
from pretrain.data.shards import ShardWriter
from pretrain.data.verify import Verified, demand, verify_folder
from pretrain.errors import UserError

END = 2
TOKENIZER: Any = SimpleNamespace(sha256="f" * 64, vocab_size=100, end_id=END)
DOCUMENTS = {"train": [[5, 6, END], [7, END], [99, 98, END]], "validation": [[8, END]]}


def write_pair(prefix: Path, documents: list[list[int]]) -> dict[str, FileRecord]:
    writer = ShardWriter(prefix, 100)
    writer.append(np.concatenate(documents), np.array(list(map(len, documents))))
    return {
        name: FileRecord(bytes=(prefix.parent / name).stat().st_size, sha256=digest)
        for name, digest in writer.close().items()
    }


def build(folder: Path, documents: dict[str, list[list[int]]], **changes: Any) -> Path:
    folder.mkdir()
    files = {
        name: record
        for side in documents
        for name, record in write_pair(folder / side, documents[side]).items()
    }
    counts = {
        side: Counts(documents=len(some), tokens=sum(map(len, some)), bytes=9)
        for side, some in documents.items()
    }
    values = {
        "source": {"name": "some"},
        "validation_share": 0.25,
        "tokenizer_sha256": TOKENIZER.sha256,
        "vocab_size": 100,
        "skipped": {"empty": 3},
        "files": files,
    }
    write_manifest(Manifest.model_validate(values | counts | changes), folder)
    hashes = {name: record.sha256 for name, record in files.items()}
    write_sums(folder, hashes | {MANIFEST_FILE: hash_file(folder / MANIFEST_FILE)})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build(tmp_path / "shards", DOCUMENTS)


def verify(folder: Path, tokenizer: Any = TOKENIZER) -> Verified:
    return verify_folder(folder, tokenizer, SilentProgress())


def test_a_whole_folder_has_no_problem(folder: Path) -> None:
    found = verify(folder)
    assert (found.problems, found.notes) == ((), ())
    assert (found.documents, found.tokens) == (4, 10)
    assert found.sha256["train.bin"] == sha256((folder / "train.bin").read_bytes()).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_flip_of_every_byte_is_found(folder: Path) -> None:
    assert names(folder) == [
        SUMS_FILE, MANIFEST_FILE, "train.bin", "train.idx", "validation.bin", "validation.idx"
    ]  # fmt: skip
    for name in names(folder):
        file = folder / name
        whole = file.read_bytes()
        for place in range(len(whole)):
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            file.write_bytes(changed)
            assert any(name in problem for problem in verify(folder).problems), (name, place)
        file.write_bytes(whole)
    assert not verify(folder).problems


def test_every_truncation_and_extension_is_found(folder: Path) -> None:
    for name in names(folder):
        file = folder / name
        whole = file.read_bytes()
        for size in range(len(whole)):
            file.write_bytes(whole[:size])
            assert any(name in problem for problem in verify(folder).problems), (name, size)
        for more in (b"\0", b"\n", b" ", whole):
            file.write_bytes(whole + more)
            assert any(name in problem for problem in verify(folder).problems), (name, more)
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "name", [MANIFEST_FILE, "train.bin", "train.idx", "validation.bin", "validation.idx"]
)
def test_a_missing_file_is_found(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert any(name in problem for problem in verify(folder).problems)


def test_shards_that_changed_places_are_found(folder: Path, tmp_path: Path) -> None:
    other = build(tmp_path / "other", {**DOCUMENTS, "train": [[6, 5, END], [7, END], [99, 98, END]]})
    shutil.copy(other / "train.bin", folder / "train.bin")
    (problem, *_) = verify(folder).problems
    assert "train.bin is not what was written: 16 bytes" in problem


def test_a_manifest_of_other_counts_is_found(tmp_path: Path) -> None:
    wrong = build(tmp_path / "wrong", DOCUMENTS, train=Counts(documents=3, tokens=7, bytes=9))
    (problem,) = verify(wrong).problems
    assert "3 documents and 8 tokens, where manifest.json says 3 and 7" in problem


def test_tokens_outside_the_vocabulary_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    wrong = build(tmp_path / "wrong", {**DOCUMENTS, "train": [[5, 100, END], [7, 1000, END]]})
    (problem,) = verify(wrong).problems
    assert "2 token ids are outside the vocabulary (0 to 99); the first is 100, token 1." in problem


def test_documents_without_the_end_token_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    wrong = build(tmp_path / "wrong", {**DOCUMENTS, "train": [[5, END], [7, 9], [END, 4], [END]]})
    (problem,) = verify(wrong).problems
    assert "2 of 4 documents do not end with the end token (2); the first is document 1." in problem


def test_empty_documents_are_found(tmp_path: Path) -> None:
    wrong = build(tmp_path / "wrong", {**DOCUMENTS, "train": [[5, END], [], []]})
    (problem,) = verify(wrong).problems
    assert "2 documents are empty" in problem


def test_another_tokenizer_is_named(folder: Path) -> None:
    (problem,) = verify(folder, SimpleNamespace(sha256="a" * 64, vocab_size=100, end_id=END)).problems
    assert "encoded with tokenizer ffffffffffff, not with aaaaaaaaaaaa" in problem


def test_what_cannot_be_checked_is_said(folder: Path) -> None:
    (folder / SUMS_FILE).unlink()
    found = verify(folder, None)
    assert not found.problems
    assert len(found.notes) == 2


def test_all_problems_are_told_at_once(folder: Path) -> None:
    (folder / "train.bin").write_bytes(b"x")
    (folder / "validation.idx").unlink()
    text = "\n".join(verify(folder).problems)
    assert "train.bin has 1 bytes where 16 are expected" in text
    assert "validation.idx cannot be read" in text


def test_strict_refuses_with_every_problem_and_what_to_do(folder: Path) -> None:
    demand(verify(folder))
    (folder / "train.bin").write_bytes((folder / "train.bin").read_bytes()[::-1])
    with pytest.raises(
        UserError, match=r"train\.bin is not what was written(.|\n)*data\.strict.*Copy it again"
    ):
        demand(verify(folder))


def test_a_sampled_hash_tells_large_files_apart_by_size_and_ends(tmp_path: Path) -> None:
    hashes = set()
    for name, size, last in [("a", 10_000_000, 1), ("b", 10_000_001, 1), ("c", 10_000_000, 2), ("d", 100, 1)]:
        content = np.zeros(size, np.uint8)
        content[-1] = last
        content.tofile(tmp_path / name)
        hashes.add(hash_sample(tmp_path / name))
    assert len(hashes) == 4
