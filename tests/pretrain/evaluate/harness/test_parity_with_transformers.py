"""The harness on our decoder and on its own backend for transformers: equal answers, sample by sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pretrain.evaluate.opened import open_model
from pretrain.ranks import Ranks

pytest.importorskip("lm_eval")

ALONE = Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0)
CPU = torch.device("cpu")
TASKS = ["choice", "rolling", "writing"]


def ours(source: Path, batch_tokens: int) -> Any:
    from pretrain.evaluate.harness.language_model import DecoderLM
    from pretrain.evaluate.harness.team import Team

    opened = open_model(source, precision="fp32", device=CPU)
    return DecoderLM(
        Team(model=opened.model, tokenizer=opened.tokenizer, ranks=ALONE, device=CPU), batch_tokens
    )


def theirs(export: Path) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(export), device="cpu", dtype="float32", batch_size=3)


def evaluated(model: Any, tasks_folder: Path) -> Any:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks_folder), include_defaults=False)
    return simple_evaluate(model=model, tasks=list(TASKS), task_manager=manager)


def answers(found: Any, task: str) -> list[Any]:
    samples = sorted(found["samples"][task], key=lambda sample: sample["doc_id"])
    return [response[0] for sample in samples for response in sample["resps"]]


def test_scores_and_every_answer_are_those_of_the_export(made: Any, tasks_folder: Path) -> None:
    here = evaluated(ours(made.run, batch_tokens=100), tasks_folder)
    there = evaluated(theirs(made.export), tasks_folder)
    for (one, one_greedy), (other, other_greedy) in zip(
        answers(here, "choice"), answers(there, "choice"), strict=True
    ):
        assert one == pytest.approx(other, rel=2e-5, abs=2e-5)
        assert one_greedy == other_greedy
    assert answers(here, "rolling") == pytest.approx(answers(there, "rolling"), rel=2e-5, abs=2e-5)
    assert answers(here, "writing") == answers(there, "writing")
    assert any(answers(here, "writing"))
    for task in TASKS:
        for metric, value in there["results"][task].items():
            if isinstance(value, float):
                assert here["results"][task][metric] == pytest.approx(value, rel=2e-5), (task, metric)
