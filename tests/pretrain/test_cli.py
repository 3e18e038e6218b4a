"""The command as a user meets it: what it prints where, its exit codes, and that it loads no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pretrain.cli import main
from pretrain.commands.common import print_json

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "deepspeed", "datasets", "numpy", "sentencepiece", "matplotlib", "wandb")


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    captured = capsys.readouterr()
    return int(left.value.code or 0), captured.out, captured.err


def test_lr_at_token_counts(capsys):
    code, out, err = run(capsys, "lr", "--config", "3b_moe", "--at", "100B", "--at", "1T", "--json")
    assert (code, err) == (0, "")
    hundred, thousand = json.loads(out)
    assert (hundred["tokens"], hundred["batch_tokens"]) == (100_000_000_000, 4_194_304)
    assert f"{hundred['lr']:.6f} {thousand['lr']:.6f}" == "0.010054 0.003107"


def test_lr_with_overrides_and_without_counts(capsys):
    overrides = ("batch.sequences=16", "batch.sequence_length=512", "schedule.warmup_tokens=0")
    code, out, _ = run(capsys, "lr", "--config", "tiny_moe", *overrides, "--json")
    points = json.loads(out)
    assert code == 0
    assert len(points) == 20
    assert points[0]["lr"] == 0.02
    assert points[9]["lr"] == pytest.approx(2 * 4.0 * points[9]["tokens"] ** -0.51)


def test_plan_as_json_is_the_only_output(capsys):
    code, out, err = run(
        capsys, "plan", "--config", "3b_dense", "--ranks", "8", "--json", "model.vocab_size=49152"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["parameters"]["total"] == 3_510_819_072


def test_tables_for_people(capsys):
    code, out, _ = run(capsys, "plan", "--config", "3b_moe")
    assert code == 0
    for part in ("3,298,788,864", "715,257", "router", "gradients", "0.166667", "stable"):
        assert part in out
    code, out, _ = run(capsys, "lr", "--config", "3b_moe", "--at", "100B")
    assert code == 0
    assert f"{1024 * 4.0 * 1e11**-0.51:.6g}" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lr", "--config", "tinymoe"], "Did you mean 'tiny_moe'"),
        (["plan", "--config", "tiny_moe", "model.hiden_size=3"], "Did you mean 'hidden_size'"),
        (["plan", "--config", "proxy_36m", "--ranks", "5"], "120 or 160 would be"),
        (["lr", "--config", "tiny_moe", "--at", "x"], "--at: 'x' should be a whole number"),
        (["plan"], "--config"),
        (["plan", "--config", "tiny_moe", "--ranks", "0"], "--ranks"),
        (["lr", "--nonsense"], "No such option"),
        (["nonsense"], "No such command"),
    ],
)
def test_mistakes_of_the_user_exit_with_2_and_say_so_on_standard_error(capsys, arguments, words):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [[], ["plan"], ["lr"]])
def test_help(capsys, command):
    code, out, _ = run(capsys, *command, "--help")
    assert code == 0
    assert "Show" in out


def test_a_failure_of_ours_exits_with_1():
    code = "import pretrain.rates.rates as r; r.rates_of = None; import pretrain.cli; pretrain.cli.main()"
    result = _python("-c", code, "lr", "--config", "tiny_moe")
    assert result.returncode == 1
    assert "TypeError" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "limit", "loaded"),
    [
        (["lr", "--config", "3b_moe", "--at", "1T"], 1.0, set()),
        (["plan", "--config", "3b_moe"], 5.0, {"numpy"}),  # it looks at the corpus where there is one
    ],
)
def test_answers_at_once_and_loads_nothing_heavy(arguments, limit, loaded):
    code = (
        "import sys, time, pretrain.cli\n"
        "try: pretrain.cli.main()\n"
        f"finally: print(*set(sys.modules) & set({HEAVY!r}), ';', time.process_time(), file=sys.stderr)"
    )
    started = time.monotonic()
    result = _python("-c", code, *arguments)
    assert result.returncode == 0, result.stderr
    heavy, seconds = result.stderr.split(";")
    assert set(heavy.split()) <= loaded
    assert float(seconds) < limit
    assert time.monotonic() - started < 30


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file on which there is never room")
@pytest.mark.parametrize(
    "arguments", [("plan", "--config", "tiny_moe"), ("lr", "--config", "tiny_moe", "--json")]
)
def test_output_to_a_full_disk_is_said_in_a_line(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "pretrain.cli", *arguments], cwd=ROOT, stdout=full, stderr=subprocess.PIPE
        )
    assert (ended.returncode, ended.stderr) == (
        1,
        b"pretrain: standard output: No space left on device\n",
    )


def test_json_has_no_number_that_json_does_not_know(capsys) -> None:
    print_json({"perplexity": float("inf"), "losses": (1.5, float("nan"))})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "perplexity": None,
        "losses": [1.5, None],
    }
