"""`pretrain plan` as a person and a script meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from pretrain.cli import main
from pretrain.config.load import load
from pretrain.data.prepare import prepare
from pretrain.data.progress import SilentProgress

ROOT = Path(__file__).parents[3]
OLD_KEYS = {
    "name", "parameters", "groups", "tokens", "steps", "batch_tokens", "micro_steps", "batches",
    "first_tokens", "stages", "asked_tokens", "flops_per_token", "flops", "lr", "warnings", "num_ranks",
    "memory", "communication",
}  # fmt: skip


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    captured = capsys.readouterr()
    return int(left.value.code or 0), captured.out, captured.err


def test_the_answers_come_first(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    asked = "--config 3b_moe --ranks 64 --gpu h100 --mfu 0.4 --price 2.5 optimizer.weight_decay=0"
    code, out, _ = run(capsys, "plan", *asked.split())
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(character.isprintable() for line in lines for character in line)
    first = "\n".join(lines[:20])
    for words in (
        "3b_moe on 64 x h100",
        "yes: ",
        "GPU hours; ",
        "at 2.5 a GPU hour",
        "tokens/s",
        "39.6 GB a",
    ):
        assert words in first, first
    assert (
        out.index("optimizer.weight_decay: 0") < out.index("by batch.micro_sequences") < out.index("the run")
    )
    assert "= as configured" in out
    assert "learning rate against tokens" in out


def test_json_has_the_old_keys_and_more(capsys) -> None:
    code, out, err = run(capsys, "plan", "--config", "3b_moe", "--ranks", "8", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert set(found) >= OLD_KEYS | {"machine", "time", "fits", "checkpoints", "data"}
    assert [row["overrides"] for row in found["fits"] if row["own"]] == [[]]
    assert sum(row["best"] for row in found["fits"]) == 1
    assert found["machine"]["gpu"]["name"] == "h100"
    assert found["machine"]["assumed"]
    assert found["data"][0]["epochs"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpu", "h300"], "--gpu h300: no such GPU"),
        (["--mfu", "40"], "--mfu 40"),
        (["--gpu-memory", "lots"], "--gpu-memory lots"),
        (["--plot", "curve.txt"], "--plot: 'curve.txt' should end in"),
    ],
)
def test_mistakes(capsys, arguments, words) -> None:
    code, out, err = run(capsys, "plan", "--config", "tiny_moe", *arguments)
    assert (code, out) == (2, "")
    assert words in err


def test_a_terminal_that_knows_ascii_alone() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-m", "pretrain.cli", "plan", "--config", "tiny_dense"],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    text = ended.stdout.decode("ascii")
    assert "heads are 32 wide" in text
    assert "----+" in text  # the sketch's axis


def test_how_often_built_text_is_read(capsys, tmp_path: Path) -> None:
    """2,000 documents of eight words are far less than 1.2M tokens: the source is read many times."""
    documents = tmp_path / "documents.jsonl"
    drawn = "".join(sha256(bytes(divmod(number, 256))).hexdigest() for number in range(2000))
    letters = "abcdefghijklmnop"
    words = ["".join(letters[int(digit, 16)] for digit in drawn[at : at + 5]) for at in range(0, 32000, 2)]
    texts = (" ".join(words[8 * number : 8 * number + 8]) for number in range(2000))
    lines = (json.dumps({"text": text}) for text in texts)
    documents.write_text("\n".join(lines), encoding="utf-8")
    overrides = (
        f"data.sources={{python: {{kind: jsonl, path: {documents}, column: text}}}}",
        f"data.root={tmp_path / 'data'}",
        "data.tokenizer.vocab_size=512",
    )
    prepare(load("tiny_moe", list(overrides)).data, say=lambda _: None, progress=SilentProgress())
    picture = tmp_path / "lr.svg"
    code, out, _ = run(capsys, "plan", "--config", "tiny_moe", "--json", "--plot", str(picture), *overrides)
    assert code == 0
    found = json.loads(out)
    (need,) = found["data"]
    assert need["epochs"] == pytest.approx(need["tokens"] / need["has_tokens"], rel=0.02)
    assert need["epochs"] > 4
    assert any(text.startswith("data.sources.python: its ") for text in found["warnings"])
    assert picture.read_bytes().startswith(b"<?xml")
