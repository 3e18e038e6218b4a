"""All ranks answer what the first one asks.

Only the first rank talks with the harness: it alone loads tasks and runs the code that some tasks write. It
sends everyone the rows and prompts of a kind of request, each rank does every n-th of them, and the answers
come back. Rows are cut before they are dealt, so the numbers do not depend on how many ranks there are.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from pretrain.data.progress import Progress, SilentProgress
from pretrain.errors import UserError
from pretrain.evaluate.harness.rows import Row
from pretrain.evaluate.harness.scoring import Score, scores
from pretrain.evaluate.harness.writing import Writing, write

if TYPE_CHECKING:
    from megatron_lite.model.decoder import Decoder
    from pretrain.data.tokenizer import Tokenizer
    from pretrain.ranks import Ranks

SCORE, WRITE, END, MISTAKE, FAILURE = "score", "write", "end", "mistake", "failure"


class GivenUp(Exception):
    """Every rank was asked to stop; what was answered so far is lost."""


class Unfit(Exception):
    """Some rank could not ask these weights; raised on every rank."""


@dataclass(frozen=True, kw_only=True)
class Team:
    """This rank's part of it. The process group must exist where there are several ranks."""

    model: Decoder
    tokenizer: Tokenizer
    ranks: Ranks
    device: torch.device
    given_up: Callable[[], bool] = lambda: False  # asked before each pass, the same answer on every rank
    progress: Progress = field(default_factory=SilentProgress)

    def score(self, rows: Sequence[Row]) -> list[list[Score]]:
        """The scores of every row. On the first rank, which the others `serve`."""
        return self._shared(SCORE, rows)

    def write(self, writings: Sequence[Writing]) -> list[list[str]]:
        """The texts behind the prompts of every writing. On the first rank, which the others `serve`."""
        return self._shared(WRITE, writings)

    def serve(self) -> bool:
        """Do this rank's share until the first one is done; False where all have given up.

        A mistake of the first rank is one here, too.
        """
        while True:
            what, content = self._heard(None)
            if what == END:
                return True
            if what in (MISTAKE, FAILURE):
                raise UserError(content) if what == MISTAKE else Unfit(f"the first rank: {content}")
            try:
                self._together(what, content)
            except GivenUp:
                return False

    def end(self, error: BaseException | None = None) -> None:
        """Let the other ranks go, with the error that ended the first one's work."""
        how = END if error is None else MISTAKE if isinstance(error, UserError) else FAILURE
        self._heard((how, str(error) or type(error).__name__))

    def _shared(self, what: str, jobs: Sequence[Any]) -> list[Any]:
        self._heard((what, jobs))
        return self._together(what, jobs)

    def _together(self, what: str, jobs: Sequence[Any]) -> list[Any]:
        """Every rank's share of the jobs, done and put in order; nothing on the others."""
        size, own, problem = self.ranks.size, [], None
        do = self._scores if what == SCORE else self._texts
        with self.progress.task(what, len(jobs), "rows") as task:
            for first in range(0, len(jobs), size):
                if self.given_up():
                    raise GivenUp
                if first + self.ranks.rank < len(jobs) and problem is None:
                    try:
                        own.append(do(jobs[first + self.ranks.rank]))
                    except Exception as error:  # the others wait for this rank's share, whatever it is
                        problem = error
                        if not self.ranks.first and not isinstance(error, FloatingPointError):
                            traceback.print_exc()  # a bug: the first rank hears its last line only
                task.advance(min(size, len(jobs) - first))
        shares = self._gathered(own if problem is None else f"{type(problem).__name__}: {problem}", problem)
        return [shares[number % size][number // size] for number in range(len(jobs))] if shares else []

    def _scores(self, row: Row) -> list[Score]:
        return scores(self.model, row, self.device)

    def _texts(self, writing: Writing) -> list[str]:
        return write(self.model, self.tokenizer, writing)

    def _heard(self, message: Any) -> Any:
        """The first rank's message, on every rank. Collective."""
        if self.ranks.size == 1:
            return message
        import torch.distributed as dist

        box = [message]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def _gathered(self, own: Any, problem: Exception | None) -> list[Any]:
        """What every rank has, on the first; nothing on the others. Collective."""
        shares: list[Any] = [own] * self.ranks.size
        if self.ranks.size > 1:
            import torch.distributed as dist

            dist.gather_object(own, shares if self.ranks.first else None)
        if not self.ranks.first:
            return []
        if problem:
            raise problem
        for rank, share in enumerate(shares):
            if isinstance(share, str):
                raise Unfit(f"rank {rank}: {share}")
        return shares
