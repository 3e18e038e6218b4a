"""What an evaluation keeps is JSON that every reader takes, a perplexity beyond all bounds included."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pretrain.commands.common import print_json
from pretrain.evaluate.harness.results import Evaluation, Metric, Result, in_words, keep, read_evaluation
from pretrain.evaluate.harness.view import table


def evaluation(**perplexities: float) -> Evaluation:
    tasks = {
        name: Result(
            version=1,
            num_fewshot=0,
            samples=2,
            limit=None,
            main="word_perplexity",
            metrics={"word_perplexity": Metric(value=value, stderr=None)},
        )
        for name, value in perplexities.items()
    }
    facts = {"source": "a", "name": "a", "step": 1, "tokens": 2, "harness": "lm_eval 0", "settings": {}}
    return Evaluation(tasks=tasks, **facts)  # type: ignore[arg-type]


def test_infinity_is_null_in_the_file_and_joined_with_what_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    keep(path, evaluation(prose=math.inf))
    kept = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert kept["tasks"]["prose"]["metrics"]["word_perplexity"] == {"value": None, "stderr": None}
    keep(path, evaluation(more=2.5))
    found = read_evaluation(path)
    assert found is not None
    assert math.isnan(found.tasks["prose"].score.value)
    assert found.tasks["more"].score.value == 2.5


def test_numbers_that_are_not_finite_are_shown_as_what_they_are(capsys: pytest.CaptureFixture) -> None:
    found = evaluation(prose=math.inf, more=math.nan)
    assert list(table(found).columns[5].cells) == ["inf", "nan"]
    assert in_words(found.tasks) == "prose word_perplexity inf, more word_perplexity nan"
    print_json(found.to_json())
    shown = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [task["metrics"]["word_perplexity"]["value"] for task in shown["tasks"].values()] == [None, None]
