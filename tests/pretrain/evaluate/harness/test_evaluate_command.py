"""`pretrain evaluate`: what it prints and keeps, what it refuses, on one rank and two."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pretrain.cli import main
from pretrain.evaluate.harness.results import evaluation_file, read_evaluation

pytest.importorskip("lm_eval")

ROOT = Path(__file__).parents[4]


def run(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.fixture
def trained(tmp_path: Path, write_checkpoint: Callable[..., Path]) -> Path:
    folder = tmp_path / "runs" / "some"
    write_checkpoint(folder, 7, 4)
    return folder


def test_json_table_and_file_agree(trained: Path, tasks_folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(trained, "--tasks", "choice", "--tasks-folder", tasks_folder, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    kept = json.loads(evaluation_file(trained, 7).read_text())
    assert shown == kept
    assert (kept["schema_version"], kept["name"], kept["step"], kept["tokens"]) == (1, "some", 7, 7000)
    assert kept["harness"].startswith("lm_eval 0.4.")
    task = kept["tasks"]["choice"]
    assert (task["version"], task["num_fewshot"], task["samples"], task["main"]) == (1.0, 0, 7, "acc_norm")
    assert 0 < task["metrics"]["acc_norm"]["stderr"] < 1
    # other tasks join them, and the table shows what was asked
    assert run(trained, "--tasks", "rolling", "--tasks-folder", tasks_folder, "--limit", 2) == 0
    printed = capsys.readouterr().out
    assert "rolling" in printed
    assert "first 2" in printed
    both = read_evaluation(evaluation_file(trained, 7))
    assert both is not None
    assert set(both.tasks) == {"choice", "rolling"}
    assert both.tasks["rolling"].limit == 2


def test_other_weights_of_the_same_step_begin_anew(
    trained: Path, tasks_folder: Path, write_checkpoint: Callable[..., Path]
) -> None:
    assert run(trained, "--tasks", "choice", "--tasks-folder", tasks_folder, "--limit", 1) == 0
    shutil.rmtree(trained / "checkpoints")
    write_checkpoint(trained, 7, 4, seed=99)
    assert run(trained, "--tasks", "rolling", "--tasks-folder", tasks_folder, "--limit", 1) == 0
    kept = read_evaluation(evaluation_file(trained, 7))
    assert kept is not None
    assert set(kept.tasks) == {"rolling"}


def test_the_shipped_example_runs_from_the_root(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    out = tmp_path / "out.json"
    names = "closing,prose,counting"
    assert run(trained, "--tasks", names, "--tasks-folder", "docs/tasks", "--out", out) == 0
    kept = read_evaluation(out)
    assert kept is not None
    assert {name: task.main for name, task in kept.tasks.items()} == {
        "closing": "acc_norm",
        "prose": "word_perplexity",
        "counting": "exact_match",
    }
    assert not (trained / "evaluations").exists()


def test_an_exported_folder_has_the_scores_of_the_run(
    made: Any, tasks_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    found = []
    for source in made:
        assert run(source, "--tasks", "choice,rolling", "--tasks-folder", tasks_folder, "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["tasks"] == found[1]["tasks"]
    assert found[1]["step"] is None
    assert not (made.export / "evaluations").exists()


@pytest.mark.usefixtures("only_our_tasks")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tasks", "choise"), "Did you mean 'choice'"),
        (("--tasks", " , "), "names no task"),
        (("--tasks", "choice", "--watch", "--out", "x"), "--out"),
        (("--tasks", "broken"), "cannot be loaded"),
        (("--tasks", "dangerous"), "--confirm-run-unsafe-code"),
    ],
)
def test_mistakes_are_told_in_one_message(
    arguments: tuple[str, ...],
    words: str,
    trained: Path,
    tasks_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    folder = tmp_path / "tasks"
    shutil.copytree(tasks_folder, folder)
    choice = (folder / "choice.yaml").read_text()
    (folder / "broken.yaml").write_text(
        choice.replace("task: choice", "task: broken").replace(".jsonl", ".gone")
    )
    (folder / "dangerous.yaml").write_text(
        choice.replace("task: choice", "task: dangerous") + "unsafe_code: true\n"
    )
    assert run(trained, "--tasks-folder", folder, *arguments) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_a_source_that_is_not_there_is_told_before_anything_is_loaded(capsys: pytest.CaptureFixture) -> None:
    assert run("runs/my_own") == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_missing_harness_is_told(
    trained: Path, tasks_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("pretrain.evaluate.harness.tasks.find_spec", lambda name: None)
    assert run(trained, "--tasks", "choice", "--tasks-folder", tasks_folder) == 2
    assert 'pip install "pretrain-power[eval]"' in capsys.readouterr().err


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_two_ranks_find_what_one_finds(
    launcher: str, trained: Path, tasks_folder: Path, tmp_path: Path
) -> None:
    names = "choice,rolling,writing"
    arguments = [str(trained), "--tasks", names, "--tasks-folder", str(tasks_folder), "--batch-tokens", "60"]
    started = {
        "torchrun": ["torchrun", "--nproc_per_node", "2", "-m", "pretrain.cli"],
        "deepspeed": ["deepspeed", "--num_accelerators", "2", "--no_local_rank", "--module", "pretrain.cli"],
    }[launcher]
    assert run(*arguments, "--out", tmp_path / "one.json") == 0
    together = [str(Path(sys.executable).parent / started[0]), *started[1:], "evaluate", *arguments]
    ended = subprocess.run(
        [*together, "--out", str(tmp_path / "two.json")],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert one["tasks"] == two["tasks"]
    assert (one["settings"]["ranks"], two["settings"]["ranks"]) == (1, 2)
