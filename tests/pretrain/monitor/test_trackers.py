from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from wandb_file import axes, history

from pretrain.monitor.options import TrackerOptions
from pretrain.monitor.trackers import Tracker, Trackers, open_trackers, tracked
from pretrain.monitor.wandb_tracker import has_key, run_id

TRAIN = {"kind": "train", "step": 3, "tokens": 30, "loss": 2.5, "lr": 0.01, "grad_norm": None}


class Kept:
    """A tracker that keeps what it gets, and fails where it is told to."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.seen: list[tuple[int, Mapping[str, float]]] = []
        self.closed = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if self.failing == "log":
            raise RuntimeError("no network")
        self.seen.append((step, values))

    def rewind(self, step: int) -> None:
        self.rewound = step

    def close(self) -> None:
        if self.failing == "hang":
            time.sleep(60)
        if self.failing == "close":
            raise RuntimeError("no network")
        self.closed += 1


def fail() -> Tracker:
    raise ImportError("no such module")


def test_every_tracker_gets_every_value() -> None:
    one, two, said = Kept(), Kept(), []
    trackers = Trackers({"one": lambda: one, "two": lambda: two}, said.append)
    trackers.log(1, {"train/loss": 2.0})
    trackers.close()
    trackers.close()
    assert one.seen == two.seen == [(1, {"train/loss": 2.0})]
    assert one.closed == two.closed == 1
    assert said == []


@pytest.mark.parametrize("failing", ["build", "log", "close"])
def test_a_tracker_that_fails_is_warned_about_once_and_dropped(failing: str) -> None:
    works, said = Kept(), []
    broken = fail if failing == "build" else lambda: Kept(failing)
    trackers = Trackers({"broken": broken, "works": lambda: works}, said.append)
    trackers.log(1, {"a": 1.0})
    trackers.log(2, {"a": 2.0})
    trackers.close()
    assert len(said) == 1
    assert said[0].startswith("broken failed")
    assert [step for step, _ in works.seen] == [1, 2]
    assert works.closed == 1


def hang() -> Tracker:
    time.sleep(60)
    raise AssertionError("nobody waits for this")


@pytest.mark.parametrize("where", ["start", "end"])
def test_a_tracker_that_hangs_is_left_behind(where: str) -> None:
    works, said, began = Kept(), [], time.monotonic()
    hanging = hang if where == "start" else lambda: Kept("hang")
    trackers = Trackers({"hanging": hanging, "works": lambda: works}, said.append, patience_seconds=1)
    trackers.log(1, {"a": 1.0})
    trackers.close()
    assert time.monotonic() - began < 30
    assert said == ["hanging failed and is left out from here on: TimeoutError: no answer in 1 s"]
    assert works.closed == 1


def test_a_rewind_is_told_to_all() -> None:
    one, two = Kept(), Kept()
    Trackers({"one": lambda: one, "two": lambda: two}, pytest.fail).rewind(7)
    assert one.rewound == two.rewound == 7


def test_names_are_grouped_and_null_is_left_out() -> None:
    assert tracked(TRAIN) == {"train/tokens": 30, "train/loss": 2.5, "train/lr": 0.01}
    validation = {"kind": "validation", "step": 3, "source": "python", "loss": 3.0, "bits_per_byte": 1.5}
    assert tracked(validation) == {"validation/python/loss": 3.0, "validation/python/bits_per_byte": 1.5}
    timing = {"step": 3, "seconds": 0.5, "mfu": None, "time": "2026-01-01", "pauses": {"saving": 1.0}}
    assert tracked(timing) == {"timing/seconds": 0.5}


def test_no_tracker_is_imported_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it fails
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    said: list[str] = []
    options = TrackerOptions(tensorboard=False, wandb="off")
    open_trackers(options, tmp_path, step=0, config={}, say=said.append).close()
    assert said == []
    options = TrackerOptions(tensorboard=True, wandb="offline")
    open_trackers(options, tmp_path, step=0, config={}, say=said.append).log(1, {"a": 1.0})
    assert [text.split()[0] for text in said] == ["tensorboard", "wandb"]


def test_tensorboard_reads_what_was_written_and_not_what_was_rewound(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for begin, end, loss in ((0, 6, 2.0), (4, 8, 1.0)):  # the second run goes on after step 4
        trackers = open_trackers(TrackerOptions(), tmp_path, step=begin, config={}, say=pytest.fail)
        for step in range(begin + 1, end + 1):
            trackers.log(step, tracked({**TRAIN, "loss": loss}))
        trackers.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["train/tokens", "train/loss", "train/lr"]
    losses = {event.step: event.value for event in events.Scalars("train/loss")}
    assert losses == {1: 2, 2: 2, 3: 2, 4: 2, 5: 1, 6: 1, 7: 1, 8: 1}
    assert len(events.Scalars("train/loss")) == 8


def test_tensorboard_hides_what_a_rewind_takes_back(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trackers = open_trackers(TrackerOptions(), tmp_path, step=0, config={}, say=pytest.fail)
    for loss, steps in ((2.0, range(1, 6)), (1.0, range(3, 5))):
        for step in steps:
            trackers.log(step, tracked({**TRAIN, "loss": loss}))
        if loss == 2.0:
            trackers.rewind(2)
    trackers.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(1, 2), (2, 2), (3, 1), (4, 1)]


def test_a_run_keeps_its_id_and_no_two_share_one(tmp_path: Path) -> None:
    folders = [tmp_path / name / "run" for name in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
    one, two = map(run_id, folders)
    assert one.startswith("run-")
    assert one != two
    assert run_id(folders[0]) == one


def test_a_key_is_found_in_the_environment_or_in_netrc(tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    nothing = {"NETRC": str(file)}
    assert not has_key(nothing)
    assert has_key({**nothing, "WANDB_API_KEY": "x"})
    file.write_text("machine api.wandb.ai login user password x\n")
    assert has_key(nothing)
    assert not has_key({**nothing, "WANDB_BASE_URL": "https://wandb.example.org"})
    file.write_text("machine")
    assert not has_key(nothing)


def test_wandb_without_a_key_writes_files_and_touches_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    listener = socket.create_server(("127.0.0.1", 0))  # stands for wandb's server and for every other
    for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
    said: list[str] = []
    options = TrackerOptions(tensorboard=False, wandb="auto", wandb_project="a-project")
    for begin in (0, 2):  # a run and its resumption
        trackers = open_trackers(options, tmp_path, step=begin, config={"run": {"seed": 7}}, say=said.append)
        for step in (begin + 1, begin + 2):
            trackers.log(step, tracked(TRAIN))
        trackers.close()
    assert [text.split(",")[0] for text in said] == ["wandb: offline", "wandb: offline"]
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    for file in files:  # strings stand in it as they are
        written = file.read_bytes()
        for expected in (run_id(tmp_path), "a-project", "seed", "train/loss"):
            assert expected.encode() in written
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):  # nobody came
        listener.accept()
    listener.close()


READ_BACK = """
import json, sys
from pathlib import Path
from pretrain.monitor.options import TrackerOptions
from pretrain.monitor.record import Record, rewind
from pretrain.monitor.statistics import tracked_statistics
from pretrain.monitor.trackers import open_trackers, tracked

folder, begin, end, back = Path(sys.argv[1]), *map(int, sys.argv[2:])
rewind(folder, begin)
record = Record(folder)
options = TrackerOptions(tensorboard=False, wandb="offline")
trackers = open_trackers(options, folder, step=begin, config={"run": {"seed": 7}}, say=print)

def update(step, loss):
    line = {"kind": "train", "step": step, "tokens": 10 * step, "loss": loss, "lr": 1 / step}
    record.metrics.append(line)
    trackers.log(step, tracked(line))
    sizes = {"weight_rms": 0.1 * step, "update_rms": None, "gradient_rms": 1e-9}
    layer = {"activation_rms": loss, **sizes, "router_entropy": 0.5, "expert_load": [0.25, 0.75]}
    line = {"step": step, "tokens": 10 * step, "layers": [layer], "embedding": sizes}
    record.statistics.append(line)
    trackers.log(step, tracked_statistics(line))
    if step == 2:
        record.event("tasks", step=step, tasks=["a", "b"])
        trackers.log(step, {"tasks/a": 0.5})

for step in range(begin + 1, end + 1):
    update(step, 2.0 / step)
record.rewind(back)
trackers.rewind(back)
for step in range(back + 1, end + 1):
    update(step, 1.0 / step)
trackers.close()
record.close()
"""


def test_wandb_keeps_every_value_through_a_rewind_and_a_resumption(tmp_path: Path) -> None:
    """Read back from its offline files: all numbers of the record, each at its own step."""
    for begin, end, back in ((0, 5, 3), (4, 7, 6)):
        environment = {**os.environ, "HOME": str(tmp_path / "home"), "WANDB_MODE": "offline"}
        command = [sys.executable, "-c", READ_BACK, str(tmp_path), str(begin), str(end), str(back)]
        subprocess.run(command, check=True, env=environment, capture_output=True)
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert all(axes(file) == {"step": "", "*": "step"} for file in files)
    sent = [line for file in files for line in history(file)]
    numbers = [number for number, _ in sent]
    assert numbers == sorted(set(numbers))  # or wandb would drop, or overwrite, what comes late
    merged: dict[int, dict[str, float]] = {}
    for _, values in sent:
        own = {name: value for name, value in values.items() if "/" in name}
        merged.setdefault(values["step"], {}).update(own)
    expected = recorded(tmp_path)
    assert merged == expected
    assert sorted(expected) == list(range(1, 8))
    taken_back = [values for _, values in sent if values["step"] == 5 and "train/loss" in values]
    assert [values["train/loss"] for values in taken_back] == [0.4, 0.2, 0.4]


def recorded(folder: Path) -> dict[int, dict[str, float]]:
    """By step what metrics.jsonl and statistics.jsonl hold, under the names of the trackers."""
    named: dict[int, dict[str, float]] = {}
    for text in (folder / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        named[line["step"]] = {f"train/{key}": line[key] for key in ("tokens", "loss", "lr")}
    named[2]["tasks/a"] = 0.5
    for text in (folder / "statistics.jsonl").read_text().splitlines():
        line = json.loads(text)
        (layer,), values = line["layers"], named[line["step"]]
        for key in ("activation_rms", "weight_rms", "gradient_rms", "router_entropy"):
            values[f"layers/00/{key}"] = layer[key]
        values |= {"layers/00/expert_load_max": 0.75, "layers/00/expert_load_min": 0.25}
        values |= {f"embedding/{key}": line["embedding"][key] for key in ("weight_rms", "gradient_rms")}
    return named
