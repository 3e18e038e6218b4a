"""How fast something goes and how long it will take, from the last minute of it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from pretrain.monitor.words import amount, duration

WINDOW_SECONDS = 60.0
MOST_POINTS = 240  # of the window that are kept, so that a million small steps cost no memory


class Pace:
    """Counts towards a total and knows the rate of late."""

    def __init__(self, total: float, *, done: float = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.done = done
        self._clock = clock
        self._began = clock()
        self._points = deque([(self._began, done)])

    def advance(self, amount: float) -> None:
        """So much more is done."""
        self.done += amount
        now = self._clock()
        spacing = WINDOW_SECONDS / MOST_POINTS
        if len(self._points) > 1 and now - self._points[-2][0] < spacing:
            self._points.pop()
        self._points.append((now, self.done))
        while len(self._points) > 2 and now - self._points[1][0] > WINDOW_SECONDS:
            self._points.popleft()

    @property
    def rate(self) -> float | None:
        """What is done in a second; None before anything was."""
        (then, before), (now, done) = self._points[0], self._points[-1]
        return (done - before) / (now - then) if done > before and now > then else None

    @property
    def seconds_left(self) -> float | None:
        """The time to the total at this rate."""
        rate = self.rate
        return None if rate is None else max(0.0, self.total - self.done) / rate

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1; all of nothing is 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 1.0

    @property
    def seconds(self) -> float:
        """The time since it began."""
        return self._clock() - self._began

    def facts(self, unit: str) -> list[str]:
        """What is done, how fast and the time left, in words; once all is done, how long it took."""
        if self.done >= self.total:
            return [f"{amount(self.done, unit)} {self.time()}"]
        rate = "" if self.rate is None else f"{amount(self.rate, unit)}/s"
        facts = (f"{amount(self.done, unit)} of {amount(self.total, unit)}", rate, self.time())
        return [fact for fact in facts if fact]

    def time(self) -> str:
        """The time left in words, empty where it is not known; once all is done, the time it took."""
        if self.done >= self.total:
            return f"in {duration(self.seconds)}"
        return "" if self.seconds_left is None else f"{duration(self.seconds_left)} left"
