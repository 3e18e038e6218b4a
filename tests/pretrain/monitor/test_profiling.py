from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pretrain.monitor import profiling
from pretrain.monitor.options import TrackerOptions
from pretrain.monitor.profiling import Inspector

OPTIONS = TrackerOptions(profile_steps=(2,), memory_snapshot_steps=(3,))


def inspector(folder: Path, said: list[str], rank: int = 0) -> Inspector:
    return Inspector(OPTIONS, folder, rank=rank, device=torch.device("cpu"), warn=said.append)


def work(inspected: Inspector, step: int) -> float:
    with inspected.inspecting(step) as inspection:
        torch.randn(64, 64) @ torch.randn(64, 64)
    return inspection.seconds


def test_chosen_updates_leave_a_trace_and_a_table(tmp_path: Path) -> None:
    said: list[str] = []
    inspected = inspector(tmp_path, said, rank=1)
    assert work(inspected, 1) < 0.1
    with inspected.inspecting(1) as inspection:
        assert not inspection.looking
    assert not (tmp_path / "profile").exists()
    assert work(inspected, 2) > 0
    work(inspected, 3)
    assert said == []
    assert sorted(path.name for path in (tmp_path / "profile").iterdir()) == [
        "step_00000002_rank_1.json",
        "step_00000002_rank_1.txt",
        "step_00000003_rank_1.memory.txt",
    ]
    trace = json.loads((tmp_path / "profile" / "step_00000002_rank_1.json").read_text())
    assert "aten::mm" in {event.get("name") for event in trace["traceEvents"]}
    assert "aten::mm" in (tmp_path / "profile" / "step_00000002_rank_1.txt").read_text()
    memory = (tmp_path / "profile" / "step_00000003_rank_1.memory.txt").read_text()
    assert "CPU Mem" in memory


@pytest.mark.parametrize("failing", ["begin", "end", "folder"])
def test_a_look_that_fails_is_told_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def refuse() -> None:
        raise RuntimeError("no room")

    def look(*arguments: object, **how: object) -> object:
        return refuse() if failing == "begin" else refuse

    if failing == "folder":
        (tmp_path / "profile").write_text("in the way")
    else:
        monkeypatch.setattr(profiling, "_profile", look)
    said: list[str] = []
    assert work(inspector(tmp_path, said), 2) >= 0
    assert said
    assert "rank 0 could not profile" in said[0]


def test_an_update_that_fails_fails_as_itself(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), inspector(tmp_path, []).inspecting(2):
        raise ZeroDivisionError
