"""When a job is queued again: the rule by itself, and in a real Slurm by exit codes of ranks."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster import SCRIPTS, Cluster
from queued import asked
from trial import BIN, RunFiles

from pretrain.checkpoint.format import STATE_FILE

Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """What again.py answers about a run below `tmp_path`: its exit code and its reason."""
    main = runpy.run_path(str(SCRIPTS / "again.py"))["main"]

    def asking(code: int, *, job: int = 7, most: int = 10) -> tuple[int, str]:
        question = ("ask", "--job", str(job), "--code", str(code), "--most", str(most))
        run = ("--config", "tiny_dense", f"run.root={tmp_path}", "run.name=r")
        return main([*question, "--", *run]), capsys.readouterr().err

    return asking


def stand(root: Path, state: str, *steps: int) -> RunFiles:
    """A run folder as a run leaves it."""
    run = RunFiles(root / "r")
    for step in steps:
        checkpoint = run.folder / "checkpoints" / f"step_{step:08d}"
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / STATE_FILE).touch()
    run.folder.mkdir(exist_ok=True)
    (run.folder / "status.json").write_text(json.dumps({"state": state, "step": 0, "reason": None}))
    return run


@pytest.mark.parametrize(
    ("code", "state", "refusal"),
    [
        (0, "finished", "the run is finished"),
        (0, "continue", None),
        (2, "failed", "exit code 2 is for a person"),
        (130, "running", "exit code 130 is for a person"),
        (75, "running", None),
        (1, "failed", None),
        (137, "running", None),
    ],
)
def test_the_answer_to_an_exit_code(
    tmp_path: Path, ask: Ask, code: int, state: str, refusal: str | None
) -> None:
    run = stand(tmp_path, state, 10)
    answer, words = ask(code)
    assert answer == (1 if refusal else 0)
    assert (refusal or f"Queued again (exit code {code}) after step 10.") in words
    assert asked(run) == ([] if refusal else [{"job": 7, "code": code, "step": 10}])


def test_a_job_that_gets_nowhere_is_not_queued_a_second_time(tmp_path: Path, ask: Ask) -> None:
    assert ask(75)[0] == 0  # before there was a run folder
    answer, words = ask(75)
    assert (answer, "no checkpoint since the last time" in words) == (1, True)
    assert ask(75, job=8)[0] == 0  # another job begins anew
    stand(tmp_path, "running", 10)
    assert ask(75)[0] == 0
    stand(tmp_path, "continue", 10)
    assert ask(0)[0] == 1


def test_crashes_are_bounded_and_saves_are_not(tmp_path: Path, ask: Ask) -> None:
    for step, code in enumerate((0, 75, 0, 1, 0), start=1):
        stand(tmp_path, "continue", step)
        assert ask(code, most=2)[0] == 0
    stand(tmp_path, "running", 9)
    answer, words = ask(75, most=2)
    assert (answer, "after 2 crashes" in words) == (1, True)
    stand(tmp_path, "continue", 9)
    assert ask(0, most=2)[0] == 0


def test_a_stop_file_is_a_wish_to_stay_stopped(tmp_path: Path, ask: Ask) -> None:
    (stand(tmp_path, "continue", 10).folder / "STOP").touch()
    answer, words = ask(0)
    assert (answer, "STOP exists" in words) == (1, True)


STAND_IN = """\
#!/bin/bash
# In place of the interpreter: ranks that end with the codes that are asked for, attempt by attempt.
case "$*" in *pretrain.py*) ;; *) exec {python} "$@" ;; esac
codes=({codes})
code=${{codes[${{SLURM_RESTART_COUNT:-0}}]}}
[[ "$code" == 0 || "$SLURM_PROCID" == 0 ]] || sleep 0.5
saved=runs/{name}/checkpoints/step_0000000${{SLURM_RESTART_COUNT:-0}}
mkdir -p $saved && touch $saved/{state}
if [[ "$code" == kill ]]; then kill -9 $$; fi
exit "$code"
"""


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.timeout(300)
def test_slurm_starts_a_job_again_by_the_codes_of_its_ranks(cluster: Cluster, tmp_path: Path) -> None:
    """75, then a rank that is killed, then 2: three attempts under one number, and no fourth."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        STAND_IN.format(python=BIN / "python", name="coded", state=STATE_FILE, codes="75 kill 2 0")
    )
    python.chmod(0o755)
    words = ("--config", "dense.yaml", "run.name=coded")
    job = cluster.submit("preemptible.sbatch", *words, options=("--nodes=2",), VENV=str(tmp_path))
    seen = job.until("FAILED", "COMPLETED")
    assert (seen["JobState"], seen["ExitCode"], seen["Restarts"]) == ("FAILED", "2:0", "2"), job.output
    assert [line["code"] for line in asked(cluster.trial.files("coded"))] == [75, 137]
    assert "Not queued again (exit code 2)" in job.output
