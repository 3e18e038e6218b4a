"""Figure and page from the results file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.lr_transfer.figure import draw
from benchmarks.lr_transfer.grid import Curve
from benchmarks.lr_transfer.page import page
from benchmarks.lr_transfer.results import lines, outcomes
from benchmarks.lr_transfer.summary import panels
from benchmarks.lr_transfer.trial import Recipe
from pretrain import files

NAME = "lr_transfer"


def write_report(docs: Path, results: Path, command: str) -> list[str]:
    """Write both, of the trials that share the recipe of the last one; the rows of the tables."""
    known = outcomes(results)
    recipe, every = finished_curves(results)
    found = panels(every, known)
    made = [known[key] for curve in every for key in curve.made(known)]
    text = page(
        found,
        recipe,
        command=command,
        devices=", ".join(sorted({outcome.device for outcome in made})),
        seconds=sum(outcome.seconds for outcome in made),
    )
    docs.mkdir(parents=True, exist_ok=True)
    files.replace(docs / f"{NAME}.png", draw(found))
    files.replace(docs / f"{NAME}.md", text)
    return [line for line in text.splitlines() if line.startswith("| ")]


def finished_curves(results: Path) -> tuple[Recipe, list[Curve]]:
    """The recipe of the last trial, and every curve of it that has a trial."""
    trials = [trial for trial, _ in lines(results)]
    if not trials:
        raise SystemExit(f"{results} holds no trial yet")
    recipe = trials[-1].recipe
    curves = {replace(trial, log2_lr=0) for trial in trials if trial.recipe == recipe}
    return recipe, [Curve(any_trial=trial, points=0) for trial in sorted(curves, key=lambda trial: trial.key)]
