"""What is wrong with a sweep is said before anything is run, with the key and its value; exit code 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pretrain.cli import main

ROOT = Path(__file__).parents[3]
GOOD: dict[str, Any] = {
    "name": "my",
    "base": "tiny_dense",
    "grid": {"schedule.lr_max": [0.01, 0.02]},
    "budgets": ["1M"],
}


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `pretrain sweep`."""
    with pytest.raises(SystemExit) as left:
        main(["sweep", *arguments])
    captured = capsys.readouterr()
    return int(left.value.code or 0), captured.out, captured.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(GOOD))
    return tmp_path


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"budget": [1]}, ["budget", "budgets"]),
        ({"budgets": []}, ["budgets", "at least 1"]),
        ({"budgets": ["1X"]}, ["budgets", "1X"]),
        ({"budgets": [1000, 2000, 1000]}, ["budgets", "twice"]),
        ({"budgets": [8193, 8194]}, ["budgets: 8193 and 8194", "batches of 8192"]),
        ({"budgets": [100]}, ["budgets: 100", "nothing is left"]),
        ({"name": "a/b"}, ["name", "a/b"]),
        ({"base": "tiny_dens"}, ["tiny_dens", "tiny_dense"]),
        ({"grid": {"schedule.lr_mx": [0.01]}}, ["schedule.lr_mx", "lr_max"]),
        ({"grid": {"schedule.lr_max": [-1]}}, ["schedule.lr_max", "-1"]),
        ({"grid": {"schedule.lr_max": []}}, ["grid"]),
        ({"grid": {"schedule.lr_max": [1, 1]}}, ["grid.schedule.lr_max", "twice"]),
        ({"set": {"schedule.lr_max": 1}}, ["grid.schedule.lr_max", "one place"]),
        ({"set": {"run.name": "x"}}, ["run.name", "decides"]),
        ({"decay": {"share": 0.1, "tokens": "1K"}}, ["decay", "one of share and tokens"]),
        ({"decay": {"share": 2}}, ["decay.share", "2"]),
        ({"extend": "optimizer.eps"}, ["extend", "optimizer.eps", "schedule.lr_max"]),
        ({"set": {"batch.schedule": {"name": "steps"}}}, ["batch.schedule"]),
    ],
)
def test_a_wrong_key_is_named(folder: Path, capsys, keys, words) -> None:
    (folder / "my.yaml").write_text(yaml.safe_dump(GOOD | keys))
    code, out, err = run(capsys, "my.yaml", "--dry-run")
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    for word in words:
        assert word in err, err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tiny_wds",), ["tiny_wds", "tiny_wsd", "versus"]),
        (("my", "--part", "3/2"), ["--part", "3/2"]),
        (("my.yaml", "budgets"), ["budgets", "section.key=value"]),
        (("my.yaml", "schedule.lr_max=1"), ["schedule.lr_max", "grid"]),
        (("my.yaml", "model.hidden_sise=64"), ["model.hidden_sise", "hidden_size"]),
    ],
)
def test_wrong_words_on_the_command_line(folder: Path, capsys, arguments, words) -> None:
    arguments = ("my.yaml", *arguments[1:]) if arguments[0] == "my" else arguments
    code, _, err = run(capsys, *arguments, "--dry-run")
    assert code == 2
    for word in words:
        assert word in err, err


def test_a_shipped_sweep_is_found_from_any_folder(folder: Path, capsys) -> None:
    code, out, err = run(capsys, "tiny_wsd", "--dry-run", "--json", "budgets=[1M]")
    assert (code, err) == (0, "")
    assert json.loads(out)["points"] == 18
    assert not (folder / "sweeps").exists()


def test_the_table_of_what_it_would_be_shows_every_setting(folder: Path, capsys) -> None:
    code, out, _ = run(capsys, "my.yaml", "--dry-run")
    assert code == 0
    for words in ("2 settings, 2 points, 4 runs", "lr_max0.01", "lr_max0.02", "FLOPs"):
        assert words in out


def test_slurm_prints_the_command_where_it_cannot_submit(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    code, out, _ = run(capsys, "my.yaml", "--slurm", "budgets=[2M]", "--resume")
    assert code == 0
    words = out.split()
    assert words[:2] == ["sbatch", "--array=1-2"]
    assert Path(words[2]).is_file()
    assert words[3:] == ["my.yaml", "budgets=[2M]", "--resume"] or words[3:] == [
        "my.yaml",
        "'budgets=[2M]'",
        "--resume",
    ]


def test_slurm_submits_where_it_can(folder: Path) -> None:
    """With a program of that name in the path, whose exit code is ours."""
    sbatch = folder / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text('#!/bin/sh\necho "submitted $1 $3"\nexit 7\n')
    sbatch.chmod(0o755)
    ended = subprocess.run(
        [sys.executable, "-m", "pretrain.cli", "sweep", "my.yaml", "--slurm"],
        cwd=folder,
        env={"PATH": f"{sbatch.parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (7, "submitted --array=1-2 my.yaml\n"), ended.stderr
