"""Sources cut into parts: whatever the cut, the same documents in the same order, and their places."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain.data.collect import admit
from pretrain.data.sources.base import CountedStream, Document, Item, Place, Reason
from pretrain.data.sources.lines import count_lines, lines_of, read_line
from pretrain.data.sources.options import FileSource
from pretrain.data.sources.parts import Grain, Piece, gather, ranges
from pretrain.data.sources.registry import open_source

on_a_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
LINE = st.binary(max_size=12).map(lambda data: data.replace(b"\n", b"-").rstrip(b"\r"))


@on_a_file
@given(lines=st.lists(LINE, max_size=12), ends=st.booleans(), part_bytes=st.integers(1, 40))
def test_ranges_of_a_file_hold_every_line_once(
    tmp_path: Path, lines: list[bytes], ends: bool, part_bytes: int
) -> None:
    data = b"\n".join(lines) + (b"\n" if ends else b"")
    (tmp_path / "a").write_bytes(data)
    pieces = ranges(str(tmp_path / "a"), len(data), part_bytes)
    assert [pieces[0].start, pieces[-1].end] == [0, len(data)]
    found = [pair for piece in pieces for pair in lines_of(piece, 100)]
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert [line for _, line in found] == expected
    for number, (at, _) in enumerate(found):
        assert count_lines(str(tmp_path / "a"), at) == number


@on_a_file
@given(sizes=st.lists(st.integers(0, 60), max_size=8), part_bytes=st.integers(1, 100))
def test_a_line_that_is_too_long_is_passed_and_the_next_one_is_read(
    tmp_path: Path, sizes: list[int], part_bytes: int
) -> None:
    lines = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    (tmp_path / "a").write_bytes(b"".join(line + b"\n" for line in lines))
    pieces = ranges(str(tmp_path / "a"), sum(sizes) + len(sizes), part_bytes)
    found = [line for piece in pieces for _, line in lines_of(piece, 20)]
    assert found == [line if len(line) <= 20 else None for line in lines]


def test_a_long_line_is_not_held_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    with (tmp_path / "a").open("wb") as file:
        file.truncate(60_000_000)  # zeros, sparse: one line
        file.seek(0, 2)
        file.write(b"\nend")
    tracemalloc.start()
    with (tmp_path / "a").open("rb") as file:
        assert read_line(file, 1000) == (None, 60_000_001)
        assert read_line(file, 1000) == (b"end", 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@given(sizes=st.lists(st.integers(0, 50), max_size=20), part_bytes=st.integers(1, 60))
def test_small_files_go_together_in_order(sizes: list[int], part_bytes: int) -> None:
    pieces = [Piece(file=str(number), num_bytes=size) for number, size in enumerate(sizes)]
    parts = gather(pieces, part_bytes)
    assert [piece for part in parts for piece in part.pieces] == pieces
    assert all(part.num_bytes >= part_bytes for part in parts[:-1])


def test_a_source_of_any_size_leaves_a_bounded_number_of_files() -> None:
    for size in (0, 10**9, 10**13):
        assert size / Grain().suits(size).part_bytes < 10_000


def items(path: Path, kind: str, part_bytes: int) -> list[Item]:
    reader = open_source("mine", FileSource(kind=kind, path=str(path)))
    return [item for part in reader.parts(part_bytes) for item in reader.read(part)]


def fates(found: list[Item]) -> list[str]:
    return [item.text if isinstance(item, Document) else item.reason for item in found]


ROWS = [{"text": f"row {number} é\n" * (number % 7)} for number in range(60)]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_compressed_lines_are_the_plain_ones_with_the_same_places(tmp_path: Path, suffix: str) -> None:
    data = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS) + b'{"text": "\xff"}\n[]\n'
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix]
    (tmp_path / f"a.jsonl{suffix}").write_bytes(pack(data))
    found = items(tmp_path, "jsonl", 200)
    assert fates(found) == [*(row["text"] for row in ROWS), Reason.INVALID, Reason.MALFORMED]
    if suffix:
        assert found[60].place == Place(str(tmp_path / f"a.jsonl{suffix}"), "line", 61)
    else:
        assert count_lines(found[60].place.file, found[60].place.number) == 60


@pytest.mark.parametrize("part_bytes", [1, 500, 10**9])
def test_row_groups_in_any_parts_are_the_same_rows(tmp_path: Path, part_bytes: int) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for name, rows in (("a", ROWS[:37]), ("b", ROWS[37:])):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet", row_group_size=5)
    found = items(tmp_path, "parquet", part_bytes)
    assert fates(found) == [row["text"] for row in ROWS]
    assert found[36].place == Place(str(tmp_path / "a.parquet"), "row", 37)
    assert found[37].place == Place(str(tmp_path / "b.parquet"), "row", 1)


@given(seen=st.integers(0, 12))
def test_a_stream_goes_on_behind_what_was_seen(seen: int) -> None:
    all_items = [Document(text=str(number)) for number in range(10)]
    stream = CountedStream(iter(all_items), 0)
    before = list(islice(stream, seen))
    assert stream.state() == len(before) == min(seen, 10)
    assert [*before, *CountedStream(iter(all_items), stream.state())] == all_items


def test_what_no_tokenizer_takes_is_left_out() -> None:
    fate = [admit(Document(text=text)) for text in ("\ud800", " \n", "fine")]
    assert [getattr(one, "reason", one) for one in fate] == [Reason.INVALID, Reason.EMPTY, b"fine"]
