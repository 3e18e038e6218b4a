"""Numbers sent elsewhere: any number of trackers behind one, none of which can stop a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar, cast

from pretrain.monitor.options import TrackerOptions

PATIENCE_SECONDS = 120.0  # with the start or the end of a tracker: more than it gives itself
T = TypeVar("T")
NOT_NUMBERS = ("kind", "step", "source", "time", "pauses")


class Tracker(Protocol):
    """A place that keeps curves."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep these values for this step."""

    def rewind(self, step: int) -> None:
        """What was kept for later steps is not to count."""

    def close(self) -> None:
        """Send what is left."""


class Trackers:
    """Several trackers as one; one that fails, or hangs at its start or end, is named once and dropped."""

    def __init__(
        self,
        builders: Mapping[str, Callable[[], Tracker]],
        warn: Callable[[str], None],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._warn = warn
        self._patience_seconds = patience_seconds
        self._trackers: dict[str, Tracker] = {}
        for name, build in builders.items():
            try:
                self._trackers[name] = within(patience_seconds, build)
            except Exception as error:  # whatever a tracker does, the run goes on
                self._drop(name, error)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values to every tracker that still works."""
        self._each(lambda tracker: tracker.log(step, values))

    def rewind(self, step: int) -> None:
        """Tell them all that the run goes on from `step`."""
        self._each(lambda tracker: tracker.rewind(step))

    def close(self) -> None:
        """Close them all; a second time does nothing."""
        self._each(lambda tracker: within(self._patience_seconds, tracker.close))
        self._trackers.clear()

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                act(tracker)
            except Exception as error:  # as above
                self._drop(name, error)

    def _drop(self, name: str, error: Exception) -> None:
        self._trackers.pop(name, None)
        self._warn(f"{name} failed and is left out from here on: {type(error).__name__}: {error}")


def within(seconds: float, act: Callable[[], T]) -> T:
    """What `act` gives, if it does in that time; TimeoutError leaves it behind as it hangs."""
    results: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def work() -> None:
        try:
            results.put((act(), None))
        except BaseException as error:  # of a thread, where it would be lost
            results.put((None, error))

    threading.Thread(target=work, name="tracker", daemon=True).start()
    try:
        result, error = results.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"no answer in {seconds:g} s") from None
    if error is not None:
        raise error
    return cast(T, result)


def open_trackers(
    options: TrackerOptions,
    run_folder: Path,
    *,
    step: int,
    config: Mapping[str, Any],
    say: Callable[[str], None],
) -> Trackers:
    """The trackers that the options ask for, in a run that goes on after `step`."""

    def tensorboard() -> Tracker:
        from pretrain.monitor.tensorboard_tracker import TensorBoardTracker

        return TensorBoardTracker(run_folder, step)

    def wandb() -> Tracker:
        from pretrain.monitor.wandb_tracker import WandbTracker

        return WandbTracker(run_folder, options, config, say)

    builders: dict[str, Callable[[], Tracker]] = {}
    if options.tensorboard:
        builders["tensorboard"] = tensorboard
    if options.wandb != "off":
        builders["wandb"] = wandb
    return Trackers(builders, say)


def tracked(line: Mapping[str, Any]) -> dict[str, float]:
    """A line of metrics.jsonl or timing.jsonl by name: train/loss, validation/python/loss, timing/mfu."""
    group = line.get("kind", "timing")
    if "source" in line:
        group = f"{group}/{line['source']}"
    numbers = {key: value for key, value in line.items() if key not in NOT_NUMBERS and value is not None}
    return {f"{group}/{key}": value for key, value in numbers.items()}
