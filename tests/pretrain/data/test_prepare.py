from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pretrain.data.options import DataOptions
from pretrain.data.prepare import open_corpus, prepare
from pretrain.data.progress import SilentProgress, Task
from pretrain.data.training import ValidationData
from pretrain.errors import UserError

Options = Callable[..., DataOptions]


class Counted(SilentProgress):
    """Notes how much of each task was done."""

    def __init__(self) -> None:
        self.done: dict[str, float] = {}
        self.total: dict[str, float] = {}

    @contextmanager
    def task(self, title: str, total: float, unit: str) -> Iterator[Task]:
        self.done[title], self.total[title] = 0, total
        counted = self

        class Counter:
            def advance(self, amount: float) -> None:
                counted.done[title] += amount

        yield Counter()


def quietly(data: DataOptions) -> None:
    prepare(data, say=lambda _: None, progress=SilentProgress())


def files(root: Path) -> dict[str, int]:
    return {
        str(file.relative_to(root)): file.stat().st_mtime_ns for file in root.rglob("*") if file.is_file()
    }


def test_text_comes_back_from_the_shards(corpus_options: Options, paragraph: Callable[[int], str]) -> None:
    progress = Counted()
    corpus = prepare(corpus_options(), say=lambda _: None, progress=progress)
    source, tokenizer = corpus.sources["some"], corpus.tokenizer
    texts, num_bytes = set(), 0
    for shard in (source.train, source.validation):
        for number in range(shard.num_documents):
            *tokens, end = shard.document(number).tolist()
            assert end == tokenizer.end_id
            assert end not in tokens
            texts.add(tokenizer.decode(tokens))
            num_bytes += int(tokenizer.token_bytes()[tokens].sum())
    assert texts == {paragraph(number) for number in range(400)}
    manifest = source.manifest
    assert num_bytes == manifest.train.bytes + manifest.validation.bytes
    assert manifest.train.tokens == source.train.num_tokens
    assert manifest.validation.bytes == pytest.approx(0.1 * num_bytes, rel=0.1)
    assert progress.done["encoding some"] == progress.total["encoding some"] == num_bytes


def test_a_second_start_reuses_all_and_says_so(corpus_options: Options) -> None:
    data, said = corpus_options(), []
    first = prepare(data, say=said.append, progress=SilentProgress())
    before = files(Path(data.root))
    said.clear()
    second = prepare(data, say=said.append, progress=SilentProgress())
    assert files(Path(data.root)) == before
    assert said == [f"tokenizer and shards are there already, below {data.root}"]
    assert first.fingerprint() == second.fingerprint() == open_corpus(data).fingerprint()


def test_the_same_text_gives_the_same_hashes_anywhere(corpus_options: Options, tmp_path: Path) -> None:
    one = prepare(corpus_options(), say=lambda _: None, progress=SilentProgress()).fingerprint()
    elsewhere = corpus_options(root=str(tmp_path / "elsewhere"))
    assert prepare(elsewhere, say=lambda _: None, progress=SilentProgress()).fingerprint() == one
    assert set(one) == {"tokenizer", "some.train", "some.validation"}


@pytest.mark.parametrize(
    "change",
    [
        {"validation_share": 0.2},
        {"tokenizer": {"vocab_size": 550}},
        {"tokenizer": {"vocab_size": 600, "sample_bytes": 50_000}},
    ],
)
def test_changed_options_make_another_corpus_beside_the_first(corpus_options: Options, change: dict) -> None:
    quietly(corpus_options())
    with pytest.raises(UserError, match=r"data\.root"):
        open_corpus(corpus_options(**change))
    quietly(corpus_options(**change))
    open_corpus(corpus_options(**change))
    open_corpus(corpus_options())


def test_options_that_leave_the_text_alone_change_nothing(corpus_options: Options) -> None:
    quietly(corpus_options())
    open_corpus(corpus_options(document_mask=False))


@pytest.mark.parametrize("name", ["train.bin", "train.idx", "validation.bin", "manifest.json"])
def test_a_truncated_file_is_named_and_the_way_out(corpus_options: Options, name: str) -> None:
    data = corpus_options()
    quietly(data)
    (file,) = Path(data.root).rglob(name)
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(UserError, match=rf"{name}.*Delete .* built anew"):
        prepare(data, say=lambda _: None, progress=SilentProgress())


def test_invalid_and_repeated_documents_are_counted(corpus_options: Options) -> None:
    data = corpus_options()
    with Path(data.sources["some"].path).open("ab") as file:
        file.write(
            b'{"text": "\\ud800"}\n{"text": " \\n "}\n{"text": "\xff"}\n'
            b'{"text": "twice"}\n{"text": "twice"}\n'
        )
    manifest = prepare(data, say=lambda _: None, progress=SilentProgress()).sources["some"].manifest
    assert manifest.skipped == {"empty": 1, "exact duplicate": 1, "not valid UTF-8": 2}
    assert manifest.train.documents + manifest.validation.documents == 401
    assert "left out: 1 empty, 1 exact duplicate, 2 not valid UTF-8" in manifest.describe()


def test_a_corpus_of_random_bytes_is_an_error_that_says_what_was_found(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_bytes(bytes(range(256)) * (number + 1))
    (tmp_path / "4.txt").write_bytes(b"")
    source = {"kind": "text", "path": str(tmp_path)}
    data = DataOptions.model_validate({"root": str(tmp_path / "data"), "sources": {"mine": source}})
    with pytest.raises(UserError, match=r"data\.sources\.mine: .*Found: 1 empty, 3 not valid UTF-8"):
        quietly(data)
    assert not list((tmp_path / "data").glob("building-*"))


def test_too_little_text_to_hold_out_says_so(corpus_options: Options) -> None:
    corpus = prepare(corpus_options(), say=lambda _: None, progress=SilentProgress())
    assert ValidationData(corpus, 64).rows("some", 4).shape == (4, 65)
    with pytest.raises(
        UserError, match=r"data\.sources\.some: too little .* validation sequence of 10000 tokens"
    ):
        ValidationData(corpus, 10_000)


def test_a_folder_that_cannot_be_written_is_named(corpus_options: Options, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"data\.root: cannot build in '.*file/data'"):
        quietly(corpus_options(root=str(tmp_path / "file" / "data")))


def test_heavy_libraries_wait_until_they_are_used() -> None:
    program = "import sys, pretrain.data.prepare, pretrain.data.training; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    loaded = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "datasets", "sentencepiece", "pyarrow", "pandas"} & set(loaded)


PROGRAM = """
import os, sys
from pretrain.data.options import DataOptions
from pretrain.data.prepare import prepare
from pretrain.data.progress import SilentProgress

class Killed(SilentProgress):
    def task(self, title, total, unit):
        if title.startswith(sys.argv[2]):
            os._exit(9)
        return super().task(title, total, unit)

data = DataOptions.model_validate_json(sys.argv[1])
print(prepare(data, say=lambda text: None, progress=Killed()).fingerprint())
"""


def process(data: DataOptions, die_at: str = "never") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, data.model_dump_json(), die_at]
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.dist
@pytest.mark.parametrize("moment", ["encoding", "writing"])
def test_a_killed_build_leaves_no_half_and_the_next_one_goes_on(
    corpus_options: Options, tmp_path: Path, moment: str
) -> None:
    data, said = corpus_options(), []
    assert process(data, moment).wait() == 9
    assert not list(Path(data.root).glob("shards/*"))
    assert list(Path(data.root).glob("building-some-*/text/*/*.json"))
    assert bool(list(Path(data.root).glob("building-some-*/text-*/*/*.json"))) == (moment == "writing")
    again = Counted()
    corpus = prepare(data, say=said.append, progress=again)
    assert ("some: going on with what an earlier build left" in said) == ("collecting some" in again.done)
    assert not list(Path(data.root).glob("building-*"))
    elsewhere = corpus_options(root=str(tmp_path / "elsewhere"))
    undisturbed = prepare(elsewhere, say=lambda _: None, progress=SilentProgress())
    assert corpus.fingerprint() == undisturbed.fingerprint()


@pytest.mark.dist
def test_what_a_killed_build_of_other_inputs_left_is_removed(corpus_options: Options) -> None:
    assert process(corpus_options(), "encoding").wait() == 9
    (left,) = Path(corpus_options().root).glob("building-some-*")
    quietly(corpus_options(validation_share=0.2))
    assert not left.exists()


def test_nothing_is_left_of_a_source_that_cannot_be_read(corpus_options: Options, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"not packed at all")
    broken = {"kind": "jsonl", "path": str(tmp_path / "a.jsonl.gz")}
    data = corpus_options(sources={"broken": broken})
    with pytest.raises(UserError, match=r"data\.sources\.broken\.path: .* cannot be read"):
        quietly(data)
    assert not list(Path(data.root).glob("building-*"))


@pytest.mark.dist
def test_builds_at_the_same_time_give_one_corpus(corpus_options: Options) -> None:
    data = corpus_options()
    started = [process(data) for _ in range(3)]
    said = {each.communicate()[0] for each in started}
    assert [each.returncode for each in started] == [0, 0, 0]
    assert said == {f"{open_corpus(data).fingerprint()}\n"}
    assert len(list(Path(data.root).glob("shards/*"))) == 1


def test_strict_reads_every_byte_at_the_start(corpus_options: Callable[..., DataOptions]) -> None:
    options = corpus_options()
    prepare(options, say=str, progress=SilentProgress())
    (shard,) = Path(options.root).glob("shards/*/train.bin")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    prepare(options, say=str, progress=SilentProgress())  # of the same length
    with pytest.raises(UserError, match=r"train\.bin"):
        prepare(options.model_copy(update={"strict": True}), say=str, progress=SilentProgress())
