"""`pretrain evaluate` behind its command line: tasks are loaded once, then asked of one model or of many."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pretrain.checkpoint.find import what_it_is
from pretrain.data.progress import Progress
from pretrain.errors import UserError
from pretrain.evaluate.harness.ask import BATCH_TOKENS, evaluate_opened
from pretrain.evaluate.harness.results import Evaluation, in_words
from pretrain.evaluate.harness.tasks import Asked, Tasks
from pretrain.evaluate.harness.team import Team, Unfit
from pretrain.evaluate.harness.watch import Watch, check_run, has_begun
from pretrain.evaluate.opened import Opened, Precision, device_named, find_model, open_model
from pretrain.ranks import Ranks, all_do, device_of, first_does, join

if TYPE_CHECKING:
    import torch

POLL_SECONDS = 15.0  # between looks at the run folder
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a person chose beside the tasks."""

    precision: Precision | None
    tokenizer: Path | None
    device: str | None
    batch_tokens: int | None  # of a pass
    out: Path | None


class Session:
    """One process of an evaluation. Every method is collective."""

    def __init__(
        self,
        asked: Asked,
        settings: Settings,
        ranks: Ranks,
        *,
        say: Callable[[str], None],
        progress: Progress,
    ) -> None:
        self.settings = settings
        self.ranks = ranks
        self.asked = asked
        self.say = say
        self.progress = progress
        self.device = _device(settings.device, ranks)
        self.batch_tokens = settings.batch_tokens or BATCH_TOKENS[self.device.type]
        self.tasks: Tasks | None = None
        self._store = join(ranks, self.device) if ranks.size > 1 else None

    def evaluate(self, source: Path) -> Evaluation | None:
        """The results of one model; None on other ranks than the first."""
        all_do(lambda: check_source(source), self.ranks)
        self._load()  # names are checked before a large model is read
        return self._asked(self._opened(self._found(source)))

    def watch(self, run_folder: Path, poll_seconds: float = POLL_SECONDS) -> list[Evaluation]:
        """The results of one checkpoint after another, until the run is finished."""
        all_do(lambda: check_run(run_folder), self.ranks)
        self._load()
        names = self.tasks.names if self.tasks else ()
        watch = Watch(run_folder=run_folder, names=names, limit=self.asked.limit, say=self.say)
        found: list[Evaluation] = []
        if not has_begun(run_folder):
            self.say(f"{run_folder}: no run has begun there; waiting for its checkpoints.")
        while True:
            over, folder = self._agreed((watch.over(), watch.next()) if self.ranks.first else (False, None))
            if folder is not None:
                self._watched(watch, folder, found)
            elif over:
                return found
            else:
                time.sleep(poll_seconds)

    def close(self) -> None:
        """Leave the other ranks."""
        if self._store is not None:
            import torch.distributed as dist

            dist.destroy_process_group()

    def _watched(self, watch: Watch, folder: Path, found: list[Evaluation]) -> None:
        try:
            evaluation = self._asked(self._opened(folder))
        except (UserError, FloatingPointError, Unfit) as problem:
            if self.ranks.first:
                watch.pass_over(folder, problem)
            return
        if evaluation:
            watch.take(evaluation)
            found.append(evaluation)
            self.say(f"{folder.name}  {in_words(evaluation.tasks)}")

    def _found(self, source: Path) -> Path:
        """The folder that the first rank takes it for: the run may write and delete checkpoints meanwhile."""
        if self.ranks.size == 1:
            return source
        first = self.ranks.first
        return self._agreed(all_do(lambda: find_model(source, say=self.say) if first else source, self.ranks))

    def _opened(self, folder: Path) -> Opened:
        """The same weights on every rank."""
        opened = all_do(lambda: self._open(folder), self.ranks)
        sha256 = self._agreed(opened.sha256)
        all_do(lambda: _check_same(opened, sha256), self.ranks)
        return opened

    def _open(self, source: Path) -> Opened:
        try:
            return open_model(
                source,
                precision=self.settings.precision,
                device=self.device,
                tokenizer=self.settings.tokenizer,
                say=self.say,
            )
        except OSError as error:  # files that go while they are read
            raise UserError(f"{source}: {error.strerror or error}") from None

    def _load(self) -> None:
        def load() -> None:
            self.tasks = Tasks(self.asked)

        if self._store is None:
            load()
        else:
            first_does(load, "tasks", self.ranks, self._store)

    def _asked(self, opened: Opened) -> Evaluation | None:
        team = Team(
            model=opened.model,
            tokenizer=opened.tokenizer,
            ranks=self.ranks,
            device=self.device,
            progress=self.progress,
        )
        return evaluate_opened(
            team, opened, self.tasks, batch_tokens=self.batch_tokens, out=self.settings.out
        )

    def _agreed(self, value: T) -> T:
        """The first rank's, on every rank."""
        box = [value]
        if self._store is not None:
            import torch.distributed as dist

            dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


def check_source(source: Path) -> None:
    """UserError where nothing is there."""
    if not source.exists():
        raise UserError(f"{source}: {what_it_is(source)}")


def _check_same(opened: Opened, sha256: str | None) -> None:
    if opened.sha256 != sha256:
        raise UserError(f"{opened.source}: ranks read different weights; was it written anew meanwhile?")


def _device(name: str | None, ranks: Ranks) -> torch.device:
    """What is asked for; of several ranks on GPUs, each has its own."""
    device = device_named(name)
    return device_of(ranks) if device.type == "cuda" and device.index is None else device
