from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import UserError
from pretrain.monitor import record
from pretrain.monitor.record import JsonLines, Record, read, rewind

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def write(path: Path, steps: range) -> None:
    with JsonLines(path) as file:
        for step in steps:
            file.append({"kind": "train", "step": step, "loss": 1 / step})


def steps(path: Path) -> list[int]:
    return [line["step"] for line in read(path)]


@given(
    values=st.dictionaries(
        st.text(), st.one_of(FLOATS, st.integers(), st.text(), st.none(), st.lists(FLOATS))
    )
)
def test_what_is_appended_is_read_back_exactly(
    values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("record") / "metrics.jsonl"
    for _ in range(2):  # opened again, the file goes on
        with JsonLines(path) as file:
            file.append(values)
    assert read(path) == [values, values]
    first, second = path.read_bytes().splitlines()
    assert first == second


def test_values_that_json_has_not_become_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with JsonLines(path) as file:
        file.append({"loss": math.nan, "nested": {"norms": [math.inf, -math.inf, 0.1]}})
    assert path.read_text() == '{"loss":null,"nested":{"norms":[null,null,0.1]}}\n'


def test_a_line_can_be_read_while_the_file_is_open(tmp_path: Path) -> None:
    file = JsonLines(tmp_path / "metrics.jsonl")
    file.append({"step": 1})
    assert steps(tmp_path / "metrics.jsonl") == [1]
    file.close()
    file.close()


@pytest.mark.parametrize("torn", ['{"step":4', '{"step":4}', '{"step":\n', "\0\0\0", "[4]\n"])
def test_a_torn_last_line_is_dropped_and_not_continued(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 4))
    whole = path.read_bytes()
    path.write_bytes(whole + torn.encode())
    assert steps(path) == [1, 2, 3]
    write(path, range(4, 5))
    assert path.read_bytes() == whole + b'{"kind":"train","step":4,"loss":0.25}\n'


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step":1}\n{"st\n{"step":3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2"):
        read(path)


def test_rewind_moves_later_lines_and_keeps_the_bytes_of_the_others(tmp_path: Path) -> None:
    metrics, discarded = tmp_path / "metrics.jsonl", tmp_path / "metrics.discarded.jsonl"
    write(metrics, range(1, 8))
    spaced = metrics.read_bytes().replace(b'"step":2', b'"step": 2')  # other bytes, the same values
    metrics.write_bytes(spaced)
    rewind(tmp_path, 4)
    assert metrics.read_bytes() == b"".join(spaced.splitlines(keepends=True)[:4])
    assert steps(discarded) == [5, 6, 7]
    write(metrics, range(5, 7))
    rewind(tmp_path, 5)
    assert steps(metrics) == [1, 2, 3, 4, 5]
    assert steps(discarded) == [5, 6, 7, 6]


def test_rewind_takes_timing_along_and_leaves_events(tmp_path: Path) -> None:
    with_all = Record(tmp_path)
    for step in (1, 2, 3):
        with_all.metrics.append({"kind": "train", "step": step})
        with_all.timing.append({"step": step, "seconds": 0.5})
        with_all.event("update", step=step)
    with_all.sync()
    with_all.close()
    rewind(tmp_path, 1)
    assert steps(tmp_path / "timing.jsonl") == [1]
    assert steps(tmp_path / "timing.discarded.jsonl") == [2, 3]
    assert steps(tmp_path / "events.jsonl") == [1, 2, 3]


def test_statistics_and_samples_are_taken_back_too_and_not_made_unasked(tmp_path: Path) -> None:
    lines = Record(tmp_path)
    assert not (tmp_path / "statistics.jsonl").exists()
    for step in (10, 20, 30):
        lines.statistics.append({"step": step, "layers": []})
        lines.samples.append({"step": step, "samples": []})
    lines.rewind(20)  # as it does while the run goes on
    lines.statistics.append({"step": 30, "layers": [1]})
    lines.close()
    assert [line["layers"] for line in read(tmp_path / "statistics.jsonl")] == [[], [], [1]]
    assert steps(tmp_path / "statistics.discarded.jsonl") == [30]
    assert steps(tmp_path / "samples.jsonl") == [10, 20]
    assert steps(tmp_path / "samples.discarded.jsonl") == [30]


@pytest.mark.parametrize("name", ["statistics.jsonl", "samples.jsonl"])
def test_damage_in_what_only_shows_a_run_stops_none(tmp_path: Path, name: str) -> None:
    damaged = b'{broken\n{"step":2}\n'
    (tmp_path / name).write_bytes(damaged)
    (tmp_path / "metrics.jsonl").write_text('{"step":1}\n{"step":2}\n')
    rewind(tmp_path, 1)
    assert not (tmp_path / name).exists()
    assert (tmp_path / name).with_suffix(".damaged.jsonl").read_bytes() == damaged
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step":1}\n'


@pytest.mark.parametrize("name", ["metrics.jsonl", "timing.jsonl"])
def test_damage_in_what_a_run_is_known_by_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{broken\n{"step":2}\n')
    with pytest.raises(UserError, match="line 1"):
        rewind(tmp_path, 1)


def test_rewind_of_a_new_run_does_nothing(tmp_path: Path) -> None:
    rewind(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_validation_lines_of_later_steps_move_too(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "metrics.jsonl") as file:
        file.append({"kind": "validation", "step": 10, "source": "a", "loss": 1.0})
        file.append({"kind": "validation", "step": 20, "source": "a", "loss": 0.9})
    rewind(tmp_path, 10)
    assert steps(tmp_path / "metrics.jsonl") == [10]


@pytest.mark.parametrize("killed_at", [1, 2])
def test_a_kill_during_rewind_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    write(tmp_path / "metrics.jsonl", range(1, 6))
    real, calls = record.replace, iter(range(1, 9))

    def replace(path: Path, content: bytes) -> None:
        if next(calls) == killed_at:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(record, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        rewind(tmp_path, 3)
    kept, moved = steps(tmp_path / "metrics.jsonl"), steps(tmp_path / "metrics.discarded.jsonl")
    assert {*kept, *moved} == {1, 2, 3, 4, 5}
    rewind(tmp_path, 3)
    assert steps(tmp_path / "metrics.jsonl") == [1, 2, 3]
    assert steps(tmp_path / "metrics.discarded.jsonl") == [4, 5]


def test_events_carry_the_time_in_utc(tmp_path: Path) -> None:
    events = Record(tmp_path)
    events.event("start", ranks=2)
    events.close()
    (line,) = [json.loads(text) for text in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert line["time"].endswith("+00:00")
    assert (line["event"], line["ranks"]) == ("start", 2)


def test_a_full_disk_costs_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not taken, or half of it, waits for room; the file then holds every line once."""
    lines = JsonLines(tmp_path / "metrics.jsonl")
    real, room = lines._file, [7, 0, 0, None]

    class Disk:
        closed = False

        def write(self, data: bytes) -> int:
            free = room.pop(0) if len(room) > 1 else None
            if free == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real.write(data if free is None else data[:free])

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr(lines, "_file", Disk())
    for step in range(4):
        lines.append({"step": step})
    lines.sync()
    assert read(tmp_path / "metrics.jsonl") == [{"step": step} for step in range(4)]
