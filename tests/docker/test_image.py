"""The image, built from nothing: what it trains, who it is, and what it tells Docker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from image import ROOT, Image
from trial import RunFiles, write_corpus

from pretrain.config.load import names

pytestmark = [pytest.mark.slow, pytest.mark.dist, pytest.mark.timeout(2400)]
SHORT = (
    "stages.0.tokens=48K",
    "stages.1.tokens=16K",
    "schedule.warmup_tokens=8K",
    "schedule.decay_tokens=16K",
    "evaluate.sequences=8",
    "data.sources.python.kind=jsonl",
    "data.sources.python.path=data/corpus.jsonl",
    "data.tokenizer.vocab_size=512",
    "data.tokenizer.sample_bytes=400K",
)


@pytest.mark.parametrize(
    "start",
    [
        ("deepspeed", "launch/pretrain.py", "--config", "tiny_dense.yaml"),
        ("python", "launch/ranks.py", "--config", "tiny_dense"),
    ],
    ids=lambda words: words[0],
)
def test_tiny_dense_is_trained_inside(image: Image, start: tuple[str, ...]) -> None:
    write_corpus(image.files / "pretrain" / "data" / "corpus.jsonl")
    ended = image.run(*start, f"run.name={start[0]}", *SHORT)
    run = RunFiles(image.files / "pretrain" / "runs" / start[0])
    assert run.status == {"state": "finished", "step": 8, "reason": None}, ended.stderr[-3000:]
    losses = run.losses
    assert len(losses) == 8
    assert losses[-1] < losses[0] - 0.5


def test_the_commands_are_there_with_their_configs(image: Image) -> None:
    plan = json.loads(image.run("pretrain", "plan", "--config", "3b_moe", "--json").stdout)
    assert plan
    code = "from pretrain.config.load import names; print(*names())"
    assert image.run("python", "-c", code).stdout.split() == names()
    assert "--config" in image.run("python", "-m", "pretrain.launch.pretrain", "--help").stdout


def test_nobody_in_it_is_root_and_any_user_may_write(image: Image) -> None:
    assert image.run("id", "-u").stdout.strip() == "10001"
    assert image.config["User"] == "10001:10001"
    code = (
        "import getpass, os, pathlib\n"
        "for place in ('runs', 'data', os.environ['HOME']): pathlib.Path(place, 'x').touch()\n"
        "print(os.getuid(), getpass.getuser())"
    )
    assert image.run("python", "-c", code, user="4321:4321").stdout.split() == ["4321", "pretrain"]
    assert image.run("touch", "launch/x", check=False).returncode != 0


def test_the_health_check_passes_where_it_runs(image: Image) -> None:
    kind, *command = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    ended = image.run(*command, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_nothing_but_the_wheel_and_its_needs_went_in(image: Image) -> None:
    inside = image.files
    assert not (inside / "source").exists()
    assert not (inside / "builder").exists()
    assert not list((inside / "var" / "lib" / "apt" / "lists").glob("*Packages*"))
    site = next((inside / "opt" / "pretrain" / "lib").glob("python3.*")) / "site-packages"
    for package in ("pretrain", "megatron_lite"):
        ours = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        assert {path for path in ours if not (site / path).exists()} == set()
    assert (inside / "pretrain" / "launch").readlink() == Path(
        "/", *(site / "pretrain" / "launch").relative_to(inside).parts
    )
    assert not (site / "tests").exists()
