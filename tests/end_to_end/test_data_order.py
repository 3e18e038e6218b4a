"""Real runs on 1, 2 and 3 ranks train on the same sequences, compared one by one; so does a resume."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import pytest
from trial import Ended, Started, Trial, launch_command

pytestmark = pytest.mark.dist
WORKER = Path(__file__).with_name("noted_start.py")
MORE_BYTES = 16_000  # so little that the run reads it several times
UPDATES = 11
SEQUENCES = [12] * 7 + [24] * 4  # of each update: the second stage has larger batches
OVERRIDES = (
    "run.engine=torch",
    "batch.sequences=12",
    "stages.0.tokens=10K",
    "stages.0.mix={text: 2, more: 1}",
    "stages.1.tokens=10K",
    "stages.1.sequences=24",
    "stages.1.mix={text: 1, more: 3}",
    "schedule.decay_tokens=9K",
    "data.sources.more={kind: jsonl, path: more.jsonl}",
    "checkpoint.every_steps=5",
    "checkpoint.keep_last=9",
    "evaluate.every_steps=null",
)


def write_more(folder: Path) -> None:
    """A second source: beginnings of modules of packages, which the first has none of."""
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*/*.py"))
    texts = (module.read_text(encoding="utf-8", errors="ignore")[:2000] for module in modules)
    documents = [text for text in texts if len(text) == 2000][: MORE_BYTES // 2000]
    (folder / "more.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))


@pytest.fixture(scope="session")
def noted(trial: Trial) -> Trial:
    """A trial with two sources."""
    if not (trial.folder / "more.jsonl").exists():
        write_more(trial.folder)
    return trial


def run(
    trial: Trial, name: str, *overrides: str, ranks: int = 1, packing: str = "joined"
) -> dict[int, list[str]]:
    """Run to the end; the hashes of the sequences that all ranks together trained on, by step."""
    notes = trial.folder / f"{name}.notes"
    notes.mkdir()
    command = launch_command("torchrun" if ranks > 1 else "python", ranks)[:-1]
    arguments = [
        "--config",
        "dense.yaml",
        f"run.name={name}",
        f"data.packing={packing}",
        *OVERRIDES,
        *overrides,
    ]
    started = Started(
        [*command, str(WORKER), *arguments],
        trial.folder,
        trial.folder / f"{name}.log",
        trial.environment | {"NOTES": str(notes)},
    )
    trial.started.append(started)
    ended: Ended = started.wait()
    assert ended.code == 0, ended.output[-4000:]
    trial.made[name] = ended
    by_rank = [[json.loads(line) for line in (notes / f"{rank}.jsonl").open()] for rank in range(ranks)]
    return {
        updates[0]["step"]: [
            row
            for together in zip(*(update["micro_steps"] for update in updates), strict=True)
            for rows in together
            for row in rows
        ]
        for updates in zip(*by_rank, strict=True)
    }


@pytest.fixture(scope="session")
def alone(noted: Trial) -> dict[int, list[str]]:
    """What one rank trains on."""
    return run(noted, "order_1")


def test_a_run_trains_on_as_many_sequences_as_planned_and_repeats_only_what_ran_out(
    alone: dict[int, list[str]],
) -> None:
    assert [len(alone[step]) for step in range(UPDATES)] == SEQUENCES
    rows = [row for step in range(UPDATES) for row in alone[step]]
    assert len(set(rows)) < len(rows)


def test_two_ranks_train_on_the_same_sequences_in_the_same_order(
    noted: Trial, alone: dict[int, list[str]]
) -> None:
    assert run(noted, "order_2", "batch.micro_sequences=3", ranks=2) == alone


@pytest.mark.slow
def test_three_ranks_do_and_a_resume_on_another_number_of_ranks_goes_on_at_the_next_sequence(
    noted: Trial, alone: dict[int, list[str]]
) -> None:
    assert run(noted, "order_3", "batch.micro_sequences=2", ranks=3) == alone
    for ranks, micro, step in ((3, 4, 5), (2, 1, 10)):
        name = f"order_1_then_{ranks}"
        noted.copy("order_1", name, step=step)
        went_on = run(noted, name, f"batch.micro_sequences={micro}", ranks=ranks)
        assert went_on == {later: alone[later] for later in range(step, UPDATES)}


@pytest.mark.slow
def test_fitted_documents_are_the_same_on_any_number_of_ranks(noted: Trial) -> None:
    fitted = run(noted, "fitted_1", packing="best_fit")
    assert [len(fitted[step]) for step in range(UPDATES)] == SEQUENCES
    assert run(noted, "fitted_3", "batch.micro_sequences=2", ranks=3, packing="best_fit") == fitted


def test_a_run_that_would_read_a_source_too_often_is_refused_before_it_trains(trial: Trial) -> None:
    ended = trial.run("read_too_often", "data.max_epochs={text: 0.01}")
    assert ended.code == 2, ended.output
    assert "at most 0.01 is allowed" in ended.output
    assert not trial.files("read_too_often").lines()
