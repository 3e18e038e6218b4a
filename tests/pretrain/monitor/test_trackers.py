from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

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

    def close(self) -> None:
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


def test_names_are_grouped_and_null_is_left_out() -> None:
    assert tracked(TRAIN) == {"train/tokens": 30, "train/loss": 2.5, "train/lr": 0.01}
    validation = {"kind": "validation", "step": 3, "source": "python", "loss": 3.0, "bits_per_byte": 1.5}
    assert tracked(validation) == {"validation/python/loss": 3.0, "validation/python/bits_per_byte": 1.5}
    assert tracked({"step": 3, "seconds": 0.5, "mfu": None}) == {"timing/seconds": 0.5}


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
