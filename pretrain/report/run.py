"""Everything that a run folder holds, as far as it is there and whole; what is not is named, not fatal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.checkpoint.load import newest_readable
from pretrain.config import document
from pretrain.errors import UserError, nearest
from pretrain.monitor.record import EVENTS, METRICS, SAMPLES, STATISTICS, TIMING
from pretrain.monitor.status import FILE as STATUS
from pretrain.monitor.status import Status, read_status
from pretrain.monitor.summary import FILE as SUMMARY
from pretrain.monitor.summary import Summary, read_summary
from pretrain.report.columns import Columns, Line, Sample, read_columns, read_sample
from pretrain.report.result_files import read_results

CONFIG, EVALUATIONS = "config.yaml", "evaluations"
OF_A_RUN = (CONFIG, METRICS, EVENTS, STATUS, SUMMARY)
TRAIN = (
    "step", "tokens", "batch_tokens", "loss", "lr", "grad_norm", "balance_loss", "z_loss", "skipped",
    "grad_sq", "noise_trace",
)  # fmt: skip
TIMED = ("step", "seconds", "tokens_per_second", "mfu", "memory_bytes")
MOST_STATISTICS, MOST_SAMPLES = 60, 12


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What is known of a run. Columns are by update; `damage` names in words what could not be read."""

    folder: Path
    name: str
    status: Status | None
    summary: Summary | None
    config_text: str
    config: Mapping[str, Any]  # the resolved sections; empty where there are none that read
    train: Columns
    validation: tuple[Line, ...]
    timing: Columns
    statistics: Sample
    samples: Sample
    events: tuple[Line, ...]
    evaluations: tuple[Line, ...]  # by step
    fingerprint: Mapping[str, str]  # of tokenizer and shards, as the newest checkpoint has it
    damage: tuple[str, ...]

    @property
    def first_tokens(self) -> int:
        """Tokens before the first update that is recorded."""
        return int(self.train["tokens"][0] - self.train["batch_tokens"][0]) if len(self.train) else 0

    def tokens_at(self, step: float) -> float:
        """Tokens behind an update; NaN before the first that is recorded."""
        steps, tokens = self.train["step"], self.train["tokens"]
        if not len(steps) or not np.isfinite(step):
            return float("nan")
        if step < steps[0]:
            return float(self.first_tokens) if step >= steps[0] - 1 else float("nan")
        return float(np.interp(step, steps, tokens))


def read_run(folder: Path) -> RunRecord:
    """A run, running or not. UserError where there is no such folder, or it holds nothing of a run."""
    check_is_run(folder)
    damage: list[str] = []
    train = read_columns(folder / METRICS, TRAIN, kind="train")
    timing = read_columns(folder / TIMING, TIMED)
    statistics = read_sample(folder / STATISTICS, MOST_STATISTICS)
    samples = read_sample(folder / SAMPLES, MOST_SAMPLES)
    events = read_columns(folder / EVENTS, ("step",), kind="")  # no event is of that kind: all stay whole
    for name, part in (
        (METRICS, train), (TIMING, timing), (STATISTICS, statistics), (SAMPLES, samples), (EVENTS, events),
    ):  # fmt: skip
        if part.damaged:
            damage.append(f"{name}: {part.damaged:,} damaged lines are left out")
    config_text, config = _config(folder, damage)
    checkpoint = newest_readable(folder / "checkpoints")
    return RunRecord(
        folder=folder,
        name=folder.resolve().name,
        status=read_status(folder),
        summary=_summary(folder, damage),
        config_text=config_text,
        config=config,
        train=_in_order(train),
        validation=tuple(line for line in train.others if line.get("kind") == "validation"),
        timing=_in_order(timing),
        statistics=statistics,
        samples=samples,
        events=tuple(line for line in events.others if isinstance(line.get("event"), str)),
        evaluations=tuple(_evaluations(folder, damage)),
        fingerprint=checkpoint.state.get("fingerprint", {}) if checkpoint else {},
        damage=tuple(damage),
    )


def check_is_run(folder: Path) -> None:
    """UserError, with what is meant perhaps, where `folder` is no run's."""
    try:
        if any((folder / name).exists() for name in OF_A_RUN) or (folder / "checkpoints").is_dir():
            return
        if folder.is_dir():
            raise UserError(f"{folder}: holds no run; one has {', '.join(OF_A_RUN[:3])} or more of these.")
        siblings = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}.") from None
    raise UserError(f"{folder}: no such folder.{nearest(folder.name, siblings)}")


def _in_order(columns: Columns) -> Columns:
    """Without lines that have no step, and in the order of steps; the last of two that have one step."""
    steps = columns["step"]
    if len(steps) and np.isfinite(steps).all() and (np.diff(steps) > 0).all():
        return columns
    _, from_behind = np.unique(steps[::-1], return_index=True)
    chosen = len(steps) - 1 - from_behind
    chosen = chosen[np.isfinite(steps[chosen])]
    return Columns(numbers={key: values[chosen] for key, values in columns.numbers.items()})


def _config(folder: Path, damage: list[str]) -> tuple[str, Mapping[str, Any]]:
    try:
        words = (folder / CONFIG).read_text(encoding="utf-8")
    except FileNotFoundError:
        return "", {}
    except (OSError, UnicodeDecodeError) as error:
        damage.append(f"{CONFIG}: cannot be read ({error})")
        return "", {}
    sections, problems = document.parse(words)
    if problems or not isinstance(sections, dict):
        damage.append(f"{CONFIG}: not the YAML of a config")
        return words, {}
    return words, sections


def _summary(folder: Path, damage: list[str]) -> Summary | None:
    try:
        return read_summary(folder)
    except (OSError, ValueError, TypeError, KeyError) as error:
        damage.append(f"{SUMMARY}: cannot be read ({type(error).__name__}: {error})")
        return None


def _evaluations(folder: Path, damage: list[str]) -> Iterator[Line]:
    """Benchmark results, a file a step."""
    for path in sorted((folder / EVALUATIONS).glob("step_*.json")):
        try:
            found, damaged = read_results(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            damage.append(f"{EVALUATIONS}/{path.name}: cannot be read ({type(error).__name__}: {error})")
            continue
        damage += [f"{EVALUATIONS}/{path.name}: the task {name} is damaged and left out" for name in damaged]
        yield found
