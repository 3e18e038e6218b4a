"""What came of a run, kept beside the runs: whoever looks again finds it there and repeats nothing."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pretrain.checkpoint.format import checkpoint_name
from pretrain.files import replace
from pretrain.monitor.status import read_status
from pretrain.sweep.planned import Planned

Ended = Literal["finished", "diverged", "failed"]
DIVERGED = re.compile(r"\b(nan|inf|infinity)\b|diverge", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    status: Ended
    reason: str | None = None
    losses: dict[str, float] = field(default_factory=dict)  # held out, nats, by source
    errors: dict[str, float] = field(default_factory=dict)  # standard errors of these, where known
    seconds: float | None = None

    @property
    def loss(self) -> float | None:
        """The mean over sources."""
        return sum(self.losses.values()) / len(self.losses) if self.losses else None

    @property
    def loss_se(self) -> float | None:
        """Of the mean, the sources being independent."""
        if not self.losses or self.errors.keys() != self.losses.keys():
            return None
        return math.sqrt(sum(error**2 for error in self.errors.values())) / len(self.errors)

    @property
    def words(self) -> str:
        """For a column."""
        return f"{self.status}: {self.reason}" if self.status == "failed" else self.status


class Outcomes:
    """The files of all outcomes of a sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "outcomes"
        self.known: dict[str, Outcome] = {}

    def look(self) -> None:
        """Read what others have written since; a run that failed may have been tried again."""
        for path in self.folder.glob("*.json"):
            before = self.known.get(path.stem)
            if before is not None and before.status != "failed":
                continue
            with suppress(FileNotFoundError):  # taken away just now, to be tried again
                self.known[path.stem] = Outcome(**json.loads(path.read_text(encoding="utf-8")))

    def get(self, name: str) -> Outcome | None:
        """That of a run, once it has ended."""
        return self.known.get(name)

    def put(self, name: str, outcome: Outcome) -> None:
        """Keep it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace(self.folder / f"{name}.json", json.dumps(asdict(outcome), indent=1) + "\n")
        self.known[name] = outcome

    def forget(self, name: str) -> None:
        """As if it had never been run."""
        (self.folder / f"{name}.json").unlink(missing_ok=True)
        self.known.pop(name, None)


def outcome_of(run: Planned, folder: Path) -> Outcome | None:
    """What the run folder says; None where the run is not over."""
    status = read_status(folder)
    if status is None:
        return None
    if status.state == "failed":
        reason = (status.reason or "unknown").splitlines()[0]
        return Outcome(status="diverged" if DIVERGED.search(reason) else "failed", reason=reason)
    summary = summary_of(run, folder)  # stands a moment before the status does
    return None if summary is None else _finished(summary)


def summary_of(run: Planned, folder: Path) -> dict[str, Any] | None:
    """The results of the whole run, not of a shorter one that it may have been."""
    path = folder / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return summary if summary and summary["tokens"] == run.tokens else None


def is_saved(run: Planned, folder: Path) -> bool:
    """Whether the checkpoint of its end is there."""
    summary = summary_of(run, folder)
    return summary is not None and (folder / "checkpoints" / checkpoint_name(summary["steps"])).is_dir()


def _finished(summary: dict[str, Any]) -> Outcome:
    scores = summary["validation"]
    losses = {source: float(score.get("loss") or "nan") for source, score in scores.items()}
    if not all(math.isfinite(loss) for loss in losses.values()):
        return Outcome(
            status="diverged", reason="its held-out loss is not a number", seconds=summary["seconds"]
        )
    errors = {source: score["loss_se"] for source, score in scores.items() if score.get("loss_se")}
    return Outcome(status="finished", losses=losses, errors=errors, seconds=summary["seconds"])
