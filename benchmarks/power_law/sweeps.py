"""The sweep files of the experiment, from its design and, for the test, from the law that was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.power_law.design import (
    BATCHES,
    BUDGETS,
    DECAY_SHARE,
    FACTORS,
    FITTED_FROM,
    PAPER,
    PAPER_CAP,
    REPEATED_BATCH,
    SEEDS,
    SEQUENCE_LENGTH,
    STEP,
    UNSEEN_BATCH,
    UNSEEN_BUDGET,
    WARMUP_TOKENS,
    rates,
)

Sweep = dict[str, Any]


def find() -> Sweep:
    """WSD at every batch, rate and budget."""
    settings = [(batch, 0) for batch in BATCHES] + [(REPEATED_BATCH, 1)]
    return _sweep("find", BUDGETS) | {
        "list": [
            {
                "batch.sequences": batch,
                "batch.micro_sequences": batch,
                "run.seed": seed,
                "schedule.lr_max": rate,
            }
            for batch, seed in settings
            for rate in rates(batch)
        ],
        "extend": {"key": "schedule.lr_max", "rounds": 3, "factor": STEP},
    }


def searches(law: tuple[float, float], expected_rate: float) -> dict[str, Sweep]:
    """Trials of each schedule at the unseen budget.

    `law`: amplitude and exponent as found; `expected_rate`: what the general law says of the unseen budget.
    """
    amplitude, exponent = law
    cap = UNSEEN_BATCH * SEQUENCE_LENGTH / 4096 * amplitude * FITTED_FROM**exponent
    tuned = [round(expected_rate * factor, 6) for factor in FACTORS]
    return {
        "power, found": _versus("power_found", _power(*law, cap=cap)),
        "power, paper": _versus("power_paper", _power(*PAPER, cap=PAPER_CAP)),
        "wsd": _versus("wsd", [{"schedule.lr_max": rate} for rate in tuned]),
        "cosine": _versus("cosine", [{"schedule.lr_max": rate} for rate in tuned], name="cosine"),
    }


def repeated(sweep: Sweep, best: Mapping[str, Any]) -> Sweep:
    """The best trial again, with the other seeds."""
    settings = [{**best, "run.seed": seed} for seed in SEEDS[1:]]
    return sweep | {"name": f"{sweep['name']}_seeds", "list": settings}


def _power(amplitude: float, exponent: float, cap: float) -> list[dict[str, Any]]:
    return [
        {
            "schedule.amplitude": round(amplitude * factor, 6),
            "schedule.exponent": exponent,
            "schedule.lr_max": round(min(1.0, cap * factor), 6),
        }
        for factor in FACTORS
    ]


def _versus(sweep_name: str, trials: list[dict[str, Any]], name: str | None = None) -> Sweep:
    schedule = name or sweep_name.partition("_")[0]
    fixed = {"batch.sequences": UNSEEN_BATCH, "batch.micro_sequences": UNSEEN_BATCH}
    settings = [{"schedule.name": schedule, **trial} for trial in trials]
    return _sweep(sweep_name, (UNSEEN_BUDGET,)) | {"set": fixed, "list": settings}


def _sweep(name: str, budgets: tuple[int, ...]) -> Sweep:
    return {
        "name": name,
        "base": "base.yaml",
        "budgets": list(budgets),
        "warmup": {"tokens": WARMUP_TOKENS},
        "decay": {"share": DECAY_SHARE, "shape": "exponential"},
    }
