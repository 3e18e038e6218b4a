"""The files of a run, an object a line: as columns of numbers or as a sample of lines, past damaged ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BLOCK_BYTES = 8_000_000
FAST_BYTES = 1_000_000  # from which on it is worth loading a library for
TRUTHS = ("skipped",)  # keys that hold true where they are there

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The numbers of many lines by key, NaN where a line has none, and the lines of another kind whole."""

    numbers: dict[str, np.ndarray]
    others: tuple[Line, ...] = ()
    damaged: int = 0  # lines that could not be read

    def __len__(self) -> int:
        return len(next(iter(self.numbers.values())))

    def __getitem__(self, key: str) -> np.ndarray:
        return self.numbers[key]

    def has(self, key: str) -> bool:
        """Whether any line has a number of this key."""
        return bool(np.isfinite(self.numbers[key]).any())


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some lines of a file, spread evenly over it with the first and the last, and how many it has."""

    lines: tuple[Line, ...] = ()
    of: int = 0
    damaged: int = 0


def read_columns(path: Path, keys: Sequence[str], kind: str | None = None) -> Columns:
    """The columns `keys` of the lines of this kind (None: of all), fp64; without a file they are empty."""
    parts = [_Part(numbers={key: np.empty(0) for key in keys})]
    for block in _blocks(path):
        fast = _fast(block, keys, kind) if len(block) >= FAST_BYTES else None
        parts.append(fast or _slow(block.splitlines(), keys, kind))
    return Columns(
        numbers={key: np.concatenate([part.numbers[key] for part in parts]) for key in keys},
        others=tuple(line for part in parts for line in part.others),
        damaged=sum(part.damaged for part in parts),
    )


def read_sample(path: Path, most: int) -> Sample:
    """At most so many lines; all others are counted and not parsed, since a line may be long."""
    of = sum(1 for _ in _whole_lines(path))
    wanted = set(np.linspace(0, of - 1, min(most, of)).round().astype(int).tolist())
    raws = [raw for number, raw in enumerate(_whole_lines(path)) if number in wanted]
    lines = [line for line in map(_parsed, raws) if line is not None]
    return Sample(lines=tuple(lines), of=of, damaged=len(raws) - len(lines))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What a block of lines holds."""

    numbers: dict[str, np.ndarray]
    others: Sequence[Line] = ()
    damaged: int = 0


def _slow(block: Sequence[bytes], keys: Sequence[str], kind: str | None) -> _Part:
    """A line at a time, so that one that is damaged costs no other."""
    lines = [line for line in map(_parsed, block) if line is not None]
    own = lines if kind is None else [line for line in lines if line.get("kind") == kind]
    others = [] if kind is None else [line for line in lines if line.get("kind") != kind]
    numbers = {key: _numbers([line.get(key) for line in own]) for key in keys}
    return _Part(numbers=numbers, others=others, damaged=len(block) - len(lines))


def _fast(block: bytes, keys: Sequence[str], kind: str | None) -> _Part | None:
    """The same by Arrow, several times as fast; None where a line is not what it can read."""
    import pyarrow as arrow
    from pyarrow import json as arrow_json

    columns = [(key, arrow.bool_() if key in TRUTHS else arrow.float64()) for key in keys]
    schema = arrow.schema([*columns, ("kind", arrow.string())])
    try:
        table = arrow_json.read_json(
            arrow.BufferReader(block),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except arrow.ArrowInvalid:
        return None
    if len(table) != block.count(b"\n"):  # it passes over empty lines
        return None
    own = np.ones(len(table), bool) if kind is None else table["kind"].to_numpy() == kind
    numbers = {key: table[key].cast(arrow.float64()).to_numpy()[own] for key in keys}
    lines = [] if own.all() else block.splitlines()
    return _Part(numbers=numbers, others=[json.loads(lines[at]) for at in np.flatnonzero(~own)])


def _blocks(path: Path) -> Iterator[bytes]:
    """The whole lines of a file, many at a time."""
    if path.is_file():
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                block += file.readline()
                yield block[: block.rfind(b"\n") + 1]  # what is being written is not there yet


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The lines that end: what is being written is not there yet."""
    if path.is_file():
        with path.open("rb") as file:
            yield from (raw for raw in file if raw.endswith(b"\n"))


def _parsed(raw: bytes) -> Line | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _numbers(values: list[Any]) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError):
        return np.array([value if isinstance(value, int | float) else np.nan for value in values], np.float64)
