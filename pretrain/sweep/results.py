"""results.csv: one row a run that has ended, every override a column, named as `pretrain laws` reads them."""

from __future__ import annotations

import csv
import fcntl
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pretrain.files import replace
from pretrain.sweep.outcome import Outcome, Outcomes
from pretrain.sweep.plan import Plan
from pretrain.sweep.planned import Planned

FILE = "results.csv"
LOCK = "locks/results"
FACTS = ("N", "D", "batch_tokens", "lr", "loss", "loss_se", "seed", "status", "seconds", "budget", "run")


def write_results(plan: Plan, outcomes: Outcomes, folder: Path) -> Path:
    """Replace the file by one of all that is known, to whichever part."""
    path = folder / FILE
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # else a part could write what it read before another had written
        outcomes.look()
        known = ((run, outcomes.get(run.name)) for run in plan.points())
        replace(path, as_csv(row_of(run, outcome) for run, outcome in known if outcome is not None))
    return path


def row_of(run: Planned, outcome: Outcome) -> dict[str, Any]:
    """A run's values, then its facts; what is not known is empty."""
    varied = {key: _cell(value) for key, value in run.setting.flat().items()}
    facts = {
        "N": run.parameters,
        "D": run.tokens,
        "batch_tokens": run.batch_tokens,
        "lr": repr(run.lr),
        "loss": _real(outcome.loss),
        "loss_se": _real(outcome.loss_se),
        "seed": run.seed,
        "status": outcome.words,
        "seconds": "" if outcome.seconds is None else f"{outcome.seconds:.2f}",
        "budget": run.budget,
        "run": run.name,
    }
    return varied | facts


def as_csv(rows: Iterable[dict[str, Any]]) -> str:
    """All columns that any row has; those of the values first."""
    rows = list(rows)
    varied = dict.fromkeys(key for row in rows for key in row if key not in FACTS)
    file = io.StringIO()
    writer = csv.DictWriter(file, [*varied, *FACTS], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _real(value: float | None) -> str:
    return "" if value is None else repr(value)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
