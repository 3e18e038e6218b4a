"""Evaluate every checkpoint of a run while it trains, from another process or machine.

Only the run folder is shared: checkpoints are read, results are written to evaluations/, and what is there
already is not done again. Checkpoints come and go while this looks; it ends when the run is finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pretrain.checkpoint.format import STATE_FILE
from pretrain.checkpoint.load import checkpoints, step_of
from pretrain.errors import UserError
from pretrain.evaluate.harness.ask import seal_of
from pretrain.evaluate.harness.results import Evaluation, evaluation_file, lacking, read_evaluation
from pretrain.monitor.status import FILE as STATUS_FILE
from pretrain.monitor.status import read_status


def check_run(folder: Path) -> None:
    """UserError where no run will ever write checkpoints."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --watch looks at the folder of a run.")
    if any((folder / name).is_file() for name in (STATE_FILE, "config.json")):
        raise UserError(f"{folder}: one model, which is evaluated without --watch; that looks at a run.")
    if checkpoints(folder):
        raise UserError(f"{folder}: holds checkpoints; --watch looks at the folder of their run, one higher.")


def has_begun(run_folder: Path) -> bool:
    """Whether a run has written anything that can be watched."""
    return (run_folder / "checkpoints").is_dir() or (run_folder / STATUS_FILE).is_file()


@dataclass(kw_only=True)
class Watch:
    """Over one run folder; what cannot be read is told of once and passed over."""

    run_folder: Path
    names: tuple[str, ...]  # of the results that every checkpoint should have
    limit: int | None
    say: Callable[[str], None]
    refused: set[Path] = field(default_factory=set)

    def next(self) -> Path | None:
        """The oldest checkpoint that lacks results."""
        for folder in checkpoints(self.run_folder / "checkpoints"):
            if folder not in self.refused and self._lacks(folder):
                return folder
        return None

    def over(self) -> bool:
        """Whether nothing more will come; ask before `next`, since a run ends behind its last checkpoint."""
        status = read_status(self.run_folder)
        return status is not None and status.state == "finished"

    def take(self, evaluation: Evaluation) -> None:
        """What has no result although it was asked is waited for no more."""
        silent = [name for name in self.names if name not in evaluation.tasks]
        if silent:
            self.names = tuple(name for name in self.names if name not in silent)
            self.say(f"Warning: {', '.join(silent)}: has no numbers of its own.")

    def pass_over(self, folder: Path, problem: Exception) -> None:
        """Leave out what cannot be evaluated, and say why; one that was deleted may come again."""
        if (folder / STATE_FILE).exists():
            self.refused.add(folder)
            self.say(f"{folder.name} cannot be evaluated: {problem}")
        else:
            self.say(f"{folder.name} was deleted before it was evaluated.")

    def _lacks(self, folder: Path) -> bool:
        path = evaluation_file(self.run_folder, step_of(folder))
        try:
            known = read_evaluation(path)
            return bool(lacking(self.names, known, limit=self.limit, sha256=seal_of(folder)))
        except (UserError, OSError) as problem:
            self.pass_over(folder, problem)
            return False
