"""Shards used where they are: what a path means, what is held out, what is refused, what stays untouched."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.data.corpus import Corpus, SourceShards
from pretrain.data.manifest import FileRecord, Manifest, write_manifest
from pretrain.data.shards import ShardWriter
from pretrain.data.sources.in_place import open_in_place
from pretrain.data.training import TrainingData, ValidationData
from pretrain.errors import UserError

END = 2
TOKENIZER: Any = SimpleNamespace(
    sha256="f" * 64, vocab_size=100, end_id=END, token_bytes=lambda: np.array([0, 0, 0] + 97 * [4])
)


def write_pair(prefix: Path, documents: list[list[int]]) -> dict[str, str]:
    writer = ShardWriter(prefix, 100)
    tokens = np.array(list(chain(*documents)), np.int32)
    writer.append(tokens, np.array(list(map(len, documents)), np.int64))
    return writer.close()


def ended(*lengths: int) -> list[list[int]]:
    """Documents of so many tokens, no two tokens alike but for the end; 0: an empty one."""
    tokens = iter(range(3, 100))
    return [[*(next(tokens) for _ in range(length - 1)), END] if length else [] for length in lengths]


def opened(path: Path | str, share: float = 0.25, **options: Any) -> SourceShards:
    return open_in_place("web", SimpleNamespace(path=str(path)), TOKENIZER, share, **options)


def written(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """When each file was written last, and what; not when it was read."""
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.iterdir()}


@pytest.mark.parametrize("suffix", ["", ".bin", ".idx"])
def test_a_pair_is_named_with_or_without_its_suffix(tmp_path: Path, suffix: str) -> None:
    documents = ended(4, 4, 4, 4)
    write_pair(tmp_path / "web.v1", documents)
    before = written(tmp_path)
    source = opened(f"{tmp_path}/web.v1{suffix}")
    assert source.train.tokens.tolist() == list(chain(*documents[:3]))
    assert source.validation.tokens.tolist() == documents[3]
    assert written(tmp_path) == before
    assert (source.manifest.train.tokens, source.manifest.validation.documents) == (12, 1)
    assert source.manifest.train.bytes == 12 * 3  # of every four tokens one is an end token


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=20), share=st.floats(0.001, 0.999))
def test_whole_documents_from_the_end_are_held_out(tmp_path: Path, lengths: list[int], share: float) -> None:
    """At most the share, and no document fewer than that allows; but one with text at the least."""
    documents = [[*range(3, 2 + length), END] if length else [] for length in lengths]
    write_pair(tmp_path / "web", documents)
    filled = [n for n, length in enumerate(lengths) if length]
    if len(filled) < 2:
        with pytest.raises(UserError, match=r"none to train on|holds no tokens"):
            opened(tmp_path / "web", share)
        return
    cuts = [n for n in range(len(lengths)) if sum(lengths[n:]) <= share * sum(lengths)] + [len(lengths)]
    cut = min(cuts[0], filled[-1])
    if sum(lengths[:cut]):
        source = opened(tmp_path / "web", share)
        assert source.train.tokens.tolist() == list(chain(*documents[:cut]))
        assert source.validation.tokens.tolist() == list(chain(*documents[cut:]))
        assert source.validation.num_tokens > 0
    else:
        with pytest.raises(UserError, match="none to train on"):
            opened(tmp_path / "web", share)


def test_nothing_is_held_out_of_a_share_of_nothing(tmp_path: Path) -> None:
    write_pair(tmp_path / "web", ended(4, 4))
    source = opened(tmp_path / "web", 0.0)
    assert (source.train.num_documents, source.validation.num_documents) == (2, 0)
    assert not ValidationData(Corpus(tokenizer=TOKENIZER, sources={"web": source}), 2).sources


def test_a_run_reads_it_and_its_fingerprint_follows_content_and_cut(tmp_path: Path) -> None:
    for name, documents in {
        "web": ended(4, 4, 4),
        "same": ended(4, 4, 4),
        "other": [*ended(4, 4), [50, 51, 52, END]],
        "split": [*ended(4), [6, END], [8, END], *ended(4, 4)[1:]],
    }.items():
        write_pair(tmp_path / name, documents)
    prints = {}
    for name, share in [("web", 0.4), ("same", 0.4), ("other", 0.4), ("split", 0.4), ("web", 0.0)]:
        corpus = Corpus(tokenizer=TOKENIZER, sources={"web": opened(tmp_path / name, share)})
        prints[name, share] = corpus.fingerprint()
        stage = SimpleNamespace(num_sequences=3, sequence_length=3, mix={"web": 1.0})
        rows = TrainingData(corpus, [stage], 0).rows(0, 2)
        assert set(rows.ravel().tolist()) <= set(corpus.sources["web"].train.tokens.tolist())
    assert set(prints["web", 0.4]) == {"tokenizer", "web.train", "web.validation"}
    assert prints.pop(("same", 0.4)) == prints["web", 0.4]
    assert len({one["web.train"] for one in prints.values()}) == 4


def test_a_folder_of_ours_is_opened_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    hashes = write_pair(folder / "train", ended(4, 4)) | write_pair(folder / "validation", ended(3))
    values = {
        "source": {},
        "validation_share": 0.5,
        "tokenizer_sha256": TOKENIZER.sha256,
        "vocab_size": 100,
        "train": {"documents": 2, "tokens": 8, "bytes": 9},
        "validation": {"documents": 1, "tokens": 3, "bytes": 9},
        "skipped": {},
        "files": {
            name: FileRecord(bytes=(folder / name).stat().st_size, sha256=digest)
            for name, digest in hashes.items()
        },
    }
    write_manifest(Manifest.model_validate(values), folder)
    source = opened(folder, 0.1)
    assert (source.train.num_tokens, source.validation.num_tokens) == (8, 3)
    assert source.manifest.files["train.bin"].sha256 == hashes["train.bin"]
    opened(folder, strict=True)
    with (folder / "train.bin").open("r+b") as file:
        file.write(b"\7")
    opened(folder)
    with pytest.raises(UserError, match=r"train\.bin is not what was written"):
        opened(folder, strict=True)
    write_manifest(Manifest.model_validate(values | {"tokenizer_sha256": "a" * 64}), folder)
    with pytest.raises(
        UserError, match=r"data\.sources\.web\.path: .*tokenizer aaaaaaaaaaaa.*is ffffffffffff"
    ):
        opened(folder)


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([[5, 100, END]], "holds token 100, .*has 100 .99 is the last"),
        ([[5, 6], [7, END], [8, 9]], r"2 of 3 sampled documents do not end with the end token \(2\)"),
        ([], "holds no tokens"),
        ([[], []], "holds no tokens"),
        ([[5, 6, END]], "none to train on"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, documents: list[list[int]], words: str) -> None:
    write_pair(tmp_path / "web", documents)
    with pytest.raises(UserError, match=rf"data\.sources\.web\.path: .*{words}"):
        opened(tmp_path / "web")


def test_strict_reads_what_a_sample_misses(tmp_path: Path) -> None:
    documents = [[5, END] for _ in range(5000)]
    documents[3] = [END, 5]
    write_pair(tmp_path / "web", documents)
    opened(tmp_path / "web")
    with pytest.raises(UserError, match=r"1 of 5,000 documents do not end(.|\n)*data\.strict"):
        opened(tmp_path / "web", strict=True)


def test_a_path_that_is_nothing_is_named_with_what_is_there(tmp_path: Path) -> None:
    write_pair(tmp_path / "web_text_document", ended(3, 3))
    with pytest.raises(UserError, match=r"neither a folder .*Did you mean 'web_text_document'\?"):
        opened(tmp_path / "web_text_documents")
    with pytest.raises(UserError, match=r"has no manifest\.json.*there are: web_text_document\."):
        opened(tmp_path)
    (tmp_path / "web_text_document.bin").unlink()
    with pytest.raises(UserError, match=r"web_text_document\.bin has 0 bytes where 12 are expected"):
        opened(tmp_path / "web_text_document")
