"""The way on a laptop in docs/train_3b.md, command by command, on little text."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from trial import BIN, ROOT

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(900)]
# As many updates as the documented run has, so that the checkpoint it branches from is there, but small ones
LESS = (
    "data.sources.python={kind: jsonl, path: text.jsonl}",
    "data.tokenizer.vocab_size=1024",
    "model.hidden_size=64",
    "model.num_attention_heads=1",
    "model.num_hidden_layers=1",
    "batch.sequence_length=16",
    "stages.0.tokens=28200",
    "stages.1.tokens=9600",
    "schedule.warmup_tokens=1600",
    "schedule.decay_tokens=9600",
    "evaluate.sequences=8",
)


def commands() -> list[str]:
    """What a reader types, in order."""
    text = (ROOT / "docs" / "train_3b.md").read_text(encoding="utf-8")
    section = text.partition("## On a laptop")[2].partition("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def test_every_command_of_the_laptop_way_works(tmp_path: Path) -> None:
    texts = [path.read_text() for path in sorted((ROOT / "pretrain").rglob("*.py"))]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "launch").symlink_to(ROOT / "launch")
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    typed = commands()
    assert len(typed) >= 10
    for command in typed:
        words = shlex.split(command)
        if words[0] == "pretrain":
            words = [sys.executable, "-m", "pretrain.cli", *words[1:]]
        if "doctor" in words:
            words.append("--quick")
        if "tiny_moe" in words:
            words += LESS
        ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        # a machine may have something for the doctor to find
        allowed = (0, 1) if "doctor" in words else (0,)
        assert ended.returncode in allowed, f"{command}\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"
    for name in ("tiny_moe", "my_decay"):
        status = json.loads((tmp_path / "runs" / name / "status.json").read_text())
        assert status["state"] == "finished", (name, status)
    assert (tmp_path / "out" / "tiny_moe" / "config.json").exists()
