"""The decoder as the harness wants a model: likelihoods of continuations and of whole texts, and writing.

The cuts are those of the harness's own backend for transformers: white space at the end of a context belongs
to the continuation; what has no context follows the token that begins texts; contexts too long lose their
beginning; a long text is read in windows that do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from pretrain.errors import UserError
from pretrain.evaluate.harness.conventions import conventions
from pretrain.evaluate.harness.rows import Question, question, rows
from pretrain.evaluate.harness.scoring import Score
from pretrain.evaluate.harness.team import Team
from pretrain.evaluate.harness.writing import manner, writings

MAX_WRITTEN = 256  # tokens, where a task does not say


class DecoderLM(TemplateLM):
    """A team of ranks, each with the same decoder; passes are of at most `batch_tokens`."""

    def __init__(self, team: Team, batch_tokens: int) -> None:
        super().__init__()
        self.team = team
        self.batch_tokens = batch_tokens
        self.max_length = team.model.shape.max_positions
        self.conventions = conventions(team.tokenizer)
        self._device = team.device

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.team.tokenizer.end_id

    @property
    def prefix_token_id(self) -> int:
        """The token that a text follows which has no context."""
        return self.conventions.prefix_id

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Token ids; None: with what this tokenizer has in front of every text."""
        ids = self.team.tokenizer.encode(string)
        bare = add_special_tokens is False or (
            add_special_tokens is None and string.startswith(self.conventions.prefix_text)
        )
        return ids if bare else [*self.conventions.beginning, *ids]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Of each continuation behind its context, in nats; and whether it is what greedy writing gives."""
        return super().loglikelihood(requests, disable_tqdm=True)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Of whole texts, in nats."""
        of_texts = [self._windows(*request.args) for request in requests]
        found = iter(self._scores([window for windows in of_texts for window in windows]))
        return [sum(next(found).loglikelihood for _ in windows) for windows in of_texts]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """What the model writes behind each context, up to a stop."""
        wishes = [
            (
                tuple(self.tok_encode(context)),
                manner(normalize_gen_kwargs(kwargs, MAX_WRITTEN), self.conventions.end_text),
            )
            for context, kwargs in (request.args for request in requests)
        ]
        jobs = writings(wishes, max_positions=self.max_length, batch_tokens=self.batch_tokens)
        texts = {
            number: text
            for job, written in zip(jobs, self.team.write(jobs), strict=True)
            for number, text in zip(job.numbers, written, strict=True)
        }
        return [texts[number] for number in range(len(requests))]

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        asked = [self._question(context, continuation) for _, context, continuation in requests]
        return [(score.loglikelihood, score.greedy) for score in self._scores(asked)]

    def _windows(self, text: str) -> list[Question]:
        windows = get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        return [self._question(*make_disjoint_window(window)) for window in windows]

    def _question(self, context: list[int], continuation: list[int]) -> Question:
        if not 0 < len(continuation) <= self.max_length:
            raise UserError(
                f"a task has an answer of {len(continuation)} tokens; this model can judge 1 to "
                f"{self.max_length} of them."
            )
        return question(context, continuation, self.max_length)

    def _scores(self, asked: Sequence[Question]) -> list[Score]:
        jobs = rows(asked, self.batch_tokens)
        found: dict[int, Score] = {}
        for row, answers in zip(jobs, self.team.score(jobs), strict=True):
            found.update(zip(row.questions, answers, strict=True))
        return [found[number] for number in range(len(asked))]
