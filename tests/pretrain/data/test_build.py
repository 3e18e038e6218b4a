"""Builds of folders: the same bytes however work is cut, killed, resumed or shared; nothing lost silently."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))  # tests here share building.py

from building import Asked, Share, content, kill_after

from pretrain.data.manifest import read_manifest
from pretrain.data.options import TokenizerOptions
from pretrain.data.shards import TokenShard
from pretrain.data.tokenizer import load_tokenizer
from pretrain.data.tokenizer_training import train_tokenizer
from pretrain.errors import UserError

CHINESE = "道可道，非常道。名可名，非常名。無名天地之始；有名萬物之母。\n" * 8
EMOJI = "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 \u2581 \u200d\ufeff é e\u0301 𝕏 \x00 end\n" * 5
JAVASCRIPT = "!function(e,t){for(var n=0;n<9;n++)e[n]=t(n)}(window,function(e){return e<<2});" * 60
RFC = "\n\n\nPostel [Page 1]\n\f\nRFC 793    Transmission Control Protocol   September 1981\n\n   +---+---+\n"
LONG_LINE = "one line of many words without an end " * 3000
KINDS = {"Chinese": CHINESE, "emoji": EMOJI, "JavaScript": JAVASCRIPT, "RFC": RFC, "a long line": LONG_LINE}


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory, paragraph: Callable[[int], str]) -> str:
    folder = tmp_path_factory.mktemp("tokenizer for builds")
    train_tokenizer(map(paragraph, range(200)), TokenizerOptions(vocab_size=560), folder)
    return str(folder)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, paragraph: Callable[[int], str]) -> Path:
    """Several files with repeated documents, near copies and lines of every fate."""
    folder, rng = tmp_path_factory.mktemp("corpus"), random.Random(3)
    for number in range(3):
        lines = []
        for document in range(60 * number, 60 * number + 60):
            text = paragraph(document)
            lines.append(json.dumps({"text": text}).encode())
            if rng.random() < 0.1:
                lines.append(lines[rng.randrange(len(lines))])
            if rng.random() < 0.1:
                lines.append(json.dumps({"text": text + "and a little more\n"}).encode())
            if rng.random() < 0.05:
                lines.append(rng.choice([b"", b"[1]", b"{", b'{"text": "\xff"}', b'{"text": " "}']))
        (folder / f"{number}.jsonl").write_bytes(b"\n".join(lines))
    return folder


@pytest.fixture
def asked(corpus: Path, tokenizer_folder: str, tmp_path: Path) -> Callable[..., Asked]:
    def ask(**changes: object) -> Asked:
        values = {"spec": str(corpus), "tokenizer": tokenizer_folder, "out": str(tmp_path / "out")}
        return Asked(**(values | changes))

    return ask


@pytest.fixture(scope="session")
def expected(
    corpus: Path, tokenizer_folder: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What one process without a cut gives."""
    out = str(tmp_path_factory.mktemp("expected") / "out")
    Asked(spec=str(corpus), tokenizer=tokenizer_folder, out=out, part_bytes=10**9, volume_bytes=10**9).build()
    return content(out)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=3)
@given(part_bytes=st.integers(2_000, 40_000), volume_bytes=st.integers(2_000, 40_000))
def test_no_cut_changes_a_byte(
    asked: Callable[..., Asked],
    expected: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    part_bytes: int,
    volume_bytes: int,
) -> None:
    out = str(tmp_path_factory.mktemp("cut") / "out")
    asked(out=out, part_bytes=part_bytes, volume_bytes=volume_bytes).build()
    assert content(out) == expected


@pytest.mark.dist
@pytest.mark.parametrize("workers", [1, 3])
def test_a_build_that_is_killed_again_and_again_gives_the_same_bytes(
    asked: Callable[..., Asked], expected: dict[str, bytes], workers: int
) -> None:
    _kill_and_go_on(asked(workers=workers), expected, random.Random(workers), kills=3)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize("seed", range(6))
def test_kills_at_many_more_moments(
    asked: Callable[..., Asked], expected: dict[str, bytes], seed: int
) -> None:
    rng = random.Random(100 + seed)
    _kill_and_go_on(asked(workers=rng.randint(1, 3)), expected, rng, kills=8)


def _kill_and_go_on(asked: Asked, expected: dict[str, bytes], rng: random.Random, kills: int) -> None:
    killed, kept = 0, dict[Path, int]()
    for kill in range(kills):
        written = asked.num_written()
        killed += kill_after(asked.start(), asked, written + rng.randint(1, 9) if kill else 1)
        assert not Path(asked.out).exists() or content(asked.out) == expected
        now = {file: file.stat().st_mtime_ns for file in sorted(asked.work.glob("text*/*/*.json"))}
        assert not kept or not now or kept.items() <= now.items()  # finished work is not done again
        kept = now
        time.sleep(rng.random() * 0.01)
    assert killed >= 1
    last = asked.start()
    _, said = last.communicate()
    assert last.returncode == 0, said.decode()
    assert content(asked.out) == expected
    assert not asked.work.exists()


@pytest.mark.dist
def test_workers_end_with_the_process_that_started_them(asked: Callable[..., Asked]) -> None:
    order = asked(workers=2)
    process = order.start()
    while order.num_written() < 2:
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.dist
def test_a_killed_worker_is_named_and_the_build_goes_on(
    asked: Callable[..., Asked], expected: dict[str, bytes]
) -> None:
    order = asked(workers=2)
    process = order.start()
    while order.num_written() < 2:
        time.sleep(0.01)
    workers = [
        child for child in psutil.Process(process.pid).children() if "spawn_main" in str(child.cmdline())
    ]
    workers[0].kill()
    _, said = process.communicate()
    assert process.returncode != 0
    assert "a worker of this build was killed" in said.decode()
    order.build()
    assert content(order.out) == expected


@pytest.mark.parametrize("count", [1, 2, 5])
def test_parts_by_several_tasks_merge_to_the_same_bytes(
    asked: Callable[..., Asked], expected: dict[str, bytes], count: int
) -> None:
    order = asked()
    tasks = [Share(number=number, count=count) for number in range(count, 0, -1)]
    for task in tasks[:-1]:
        order.order().part(task)
    with pytest.raises(UserError, match=rf"Run --part 1/{count}, then --merge again"):
        order.order().merge()
    order.order().part(tasks[-1])
    order.order().merge()
    assert content(order.out) == expected
    assert order.order().merge() == read_manifest(Path(order.out))


def test_what_is_there_is_used_or_refused(asked: Callable[..., Asked], tmp_path: Path) -> None:
    first = asked().build()
    assert asked().order().whole(resume=False) == first
    with pytest.raises(UserError, match="was built from other files, options or another tokenizer"):
        asked(share=0.2).build()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(UserError, match="is no folder of shards"):
        asked(out=str(tmp_path / "mine")).build()


def test_half_a_build_is_gone_on_with_only_if_asked_and_of_the_same_inputs(
    asked: Callable[..., Asked], expected: dict[str, bytes]
) -> None:
    asked().order().part(Share(number=1, count=2))
    with pytest.raises(UserError, match=r"partly built.*Add --resume to go on"):
        asked().order().whole(resume=False)
    with pytest.raises(UserError, match="begun with other files, options or another tokenizer"):
        asked(share=0.3).order().whole(resume=True)
    asked().order().whole(resume=True)
    assert content(asked().out) == expected


@pytest.mark.parametrize("suffix", ["text", "tokens"])
def test_a_damaged_volume_is_named(asked: Callable[..., Asked], suffix: str) -> None:
    order = asked()
    order.order().part(Share(number=1, count=1))
    file = next(iter(order.work.rglob(f"*.{suffix}")))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    for encoded in order.work.glob("text-*/*/*.json") if suffix == "text" else ():
        encoded.unlink()
    with pytest.raises(UserError, match=f"{file.name} is damaged"):
        order.build()


@pytest.mark.parametrize("kind", KINDS)
def test_any_text_comes_back(
    asked: Callable[..., Asked], tmp_path: Path, kind: str, tokenizer_folder: str
) -> None:
    text = KINDS[kind]
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": text[1:]}))
    (tmp_path / "b.txt").write_bytes(text.encode())
    tokenizer = load_tokenizer(Path(tokenizer_folder))
    for spec, wanted in (("a.jsonl", [text, text[1:]]), ("b.txt", [text])):
        out = tmp_path / f"{spec}.out"
        asked(spec=str(tmp_path / spec), out=str(out), share=0.0).build()
        shard = TokenShard(out / "train")
        found = [shard.document(number).tolist() for number in range(shard.num_documents)]
        assert [tokenizer.decode(ids[:-1]) for ids in found] == wanted
        assert {ids[-1] for ids in found} == {tokenizer.end_id}


def test_what_is_left_out_is_counted_and_named(asked: Callable[..., Asked], tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"document {number}"}).encode() for number in range(40)]
    lines[7], lines[20], lines[21] = b'{"text": "bad \xff byte"}', b'{"text": ""}', b"no json"
    lines[30:30] = [lines[2]] * 3
    (tmp_path / "a.jsonl").write_bytes(b"\r\n".join(lines))
    manifest = asked(spec=str(tmp_path / "a.jsonl"), part_bytes=100, volume_bytes=50).build()
    file = tmp_path / "a.jsonl"
    assert manifest.train.documents + manifest.validation.documents == 37
    assert manifest.skipped == {
        "empty": 1,
        "exact duplicate": 3,
        "malformed or no text": 1,
        "not valid UTF-8": 1,
    }
    assert manifest.skipped_places == {
        "empty": (f"{file}, line 21",),
        "malformed or no text": (f"{file}, line 22",),
        "not valid UTF-8": (f"{file}, line 8",),
    }
    kept = asked(spec=str(file), out=str(tmp_path / "kept"), keep_duplicates=True).build()
    assert kept.train.documents + kept.validation.documents == 40


def test_a_bad_byte_in_a_text_file_and_one_too_large_cost_no_more_than_their_file(
    asked: Callable[..., Asked], tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "good.txt").write_text("fine\n" * 100)
    (folder / "bad.txt").write_bytes(b"fine\n" * 50 + b"\x80" + b"fine\n" * 50)
    with (folder / "large.txt").open("wb") as file:
        file.truncate(4_000_000_000)  # sparse
    manifest = asked(spec=str(folder), share=0.0).build()
    assert manifest.train.documents == 1
    assert manifest.skipped == {"not valid UTF-8": 1, "too large": 1}
    assert manifest.skipped_places["too large"] == (str(folder / "large.txt"),)


def test_a_file_that_changes_while_it_is_read_stops_the_build(
    asked: Callable[..., Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one"}\n{"text": "two"}\n')
    order = asked(spec=str(file)).order()
    read = type(order.reader).read_piece

    def growing(self, piece):
        yield from read(self, piece)
        with file.open("a") as more:
            more.write('{"text": "three"}\n')

    monkeypatch.setattr(type(order.reader), "read_piece", growing)
    with pytest.raises(UserError, match="files changed while they were read"):
        order.whole(resume=False)
