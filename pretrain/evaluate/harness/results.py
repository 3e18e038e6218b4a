"""What the harness found, as facts that are kept: a value and its standard error by task and metric."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pretrain.errors import UserError
from pretrain.evaluate.harness.names import main_metric
from pretrain.files import replace
from pretrain.finite import finite

SCHEMA_VERSION = 1
FOLDER = "evaluations"  # in a run folder
FEW_DIGITS = 1000  # from here on no four digits behind the point


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number."""

    value: float
    stderr: float | None  # None: it has no closed form

    def __str__(self) -> str:
        return f"{self.value:.4f}" if abs(self.value) < FEW_DIGITS else f"{self.value:.5g}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """Of one task or group."""

    version: Any
    num_fewshot: int
    samples: int
    limit: int | None  # None: all of the task's documents
    main: str  # the metric that stands for the task
    metrics: Mapping[str, Metric]
    group: str | None = None  # what it is a part of

    @property
    def score(self) -> Metric:
        """The number that stands for the task."""
        return self.metrics[self.main]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that is known of one model, as it is written to evaluations/."""

    source: str
    name: str
    step: int | None
    tokens: int | None
    harness: str
    tasks: Mapping[str, Result]
    settings: Mapping[str, Any]
    sha256: str | None = None  # of the checkpoint's state; None where no checkpoint was read

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def merged(self, older: Evaluation | None) -> Evaluation:
        """With the tasks that only `older` has, if that is of the same weights."""
        same = older and (None in (self.sha256, older.sha256) or self.sha256 == older.sha256)
        if not older or not same or older.step != self.step:
            return self
        sha256 = self.sha256 or older.sha256
        return Evaluation(**{**vars(self), "tasks": {**older.tasks, **self.tasks}, "sha256": sha256})


def results(found: Mapping[str, Any], *, limit: int | None) -> dict[str, Result]:
    """From what `lm_eval.evaluator.evaluate` returns."""
    metrics = {name: known for name, values in found["results"].items() if (known := _metrics(values))}
    return {
        name: Result(
            version=found["versions"].get(name),
            num_fewshot=_examples(found, name),
            samples=int(found["results"][name].get("sample_len") or _samples(found, name)),
            limit=limit,
            main=main_metric(name, known),
            metrics=known,
            group=_group(found, name, metrics),
        )
        for name, known in metrics.items()
    }


def in_words(results: Mapping[str, Result]) -> str:
    """For the console: each task with the metric that stands for it."""
    shown = {name: result for name, result in results.items() if result.group is None}
    return ", ".join(f"{name} {result.main} {result.score}" for name, result in shown.items())


def _metrics(values: Mapping[str, Any]) -> dict[str, Metric]:
    """`acc,none` as `acc`; the name of a filter is kept where several are used."""
    keys = [key for key in values if "," in key and "_stderr," not in key]
    filters = {key.rpartition(",")[2] for key in keys}
    found = {}
    for key in keys:
        metric, _, of_filter = key.rpartition(",")
        stderr = values.get(f"{metric}_stderr,{of_filter}")
        number = float(stderr) if isinstance(stderr, int | float) else None
        found[metric if len(filters) == 1 else key] = Metric(value=float(values[key]), stderr=number)
    return found


def _group(found: Mapping[str, Any], name: str, shown: Container[str]) -> str | None:
    """The nearest group around it that has a result of its own: many groups only gather names."""
    groups = found.get("group_subtasks", {})
    parents = {child: group for group, children in groups.items() for child in children}
    parent = parents.get(name)
    while parent is not None and parent not in shown:
        parent = parents.get(parent)
    return parent


def _leaves(found: Mapping[str, Any], name: str) -> list[str]:
    children = found.get("group_subtasks", {}).get(name)
    return [leaf for child in children for leaf in _leaves(found, child)] if children else [name]


def _samples(found: Mapping[str, Any], name: str) -> int:
    return sum(found["n-samples"][leaf]["effective"] for leaf in _leaves(found, name))


def _examples(found: Mapping[str, Any], name: str) -> int:
    return int(found["n-shot"].get(name) or found["n-shot"].get(_leaves(found, name)[0]) or 0)


def evaluation_file(run_folder: Path, step: int) -> Path:
    """Where a run keeps the results of the weights behind `step`."""
    return run_folder / FOLDER / f"step_{step:08d}.json"


def read_evaluation(path: Path) -> Evaluation | None:
    """What is in the file; None where there is none. UserError where it is something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"its schema_version is not {SCHEMA_VERSION}")
        tasks = {
            name: Result(**{**task, "metrics": {key: _metric(**of) for key, of in task["metrics"].items()}})
            for name, task in value["tasks"].items()
        }
        return Evaluation(**{**value, "tasks": tasks})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: not the results of an evaluation ({error}); move it away to write new ones."
        ) from None


def _metric(value: float | None, stderr: float | None) -> Metric:
    return Metric(value=float("nan") if value is None else value, stderr=stderr)


def keep(path: Path, evaluation: Evaluation) -> Evaluation:
    """Write it, tasks of an earlier evaluation of the same weights kept; what stands there now."""
    whole = evaluation.merged(read_evaluation(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, json.dumps(finite(whole.to_json()), indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}. Name another file with --out.") from None
    return whole


def forget_after(run_folder: Path, step: int) -> None:
    """Delete the results of later weights: a run that went back to `step` goes on with others."""
    for path in (run_folder / FOLDER).glob("step_*.json"):
        number = path.stem.removeprefix("step_")
        if number.isdigit() and int(number) > step:
            with suppress(OSError):  # it may be another user's, who evaluates beside the run
                path.unlink()


def lacking(
    wanted: Iterable[str], known: Evaluation | None, *, limit: int | None, sha256: str | None
) -> list[str]:
    """The tasks whose results of these weights, with this limit, are not known."""
    if known is None or (None not in (sha256, known.sha256) and sha256 != known.sha256):
        return list(wanted)
    return [name for name in wanted if name not in known.tasks or known.tasks[name].limit != limit]
