"""From a run to transformers and back into a run, as a person does it: by commands, in separate processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trial import ROOT, Trial

pytestmark = [pytest.mark.dist, pytest.mark.timeout(300)]

# Loaded where neither package can be imported, which is how everyone else will load it.
ELSEWHERE = """
import json, sys
sys.modules["pretrain"] = sys.modules["megatron_lite"] = None
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer(sys.argv[2], return_tensors="pt")["input_ids"]
with torch.no_grad():
    logits = model(ids).logits[0]
    written = model.generate(ids, max_new_tokens=8, do_sample=False)
print(json.dumps(dict(ids=ids[0].tolist(), logits=logits.tolist(), written=tokenizer.decode(written[0]))))
"""
SHORT = (
    "stages.0.tokens=3072",
    "stages.1.tokens=1024",
    "schedule.warmup_tokens=1024",
    "schedule.decay_tokens=1024",
)
SHORT += ("checkpoint.every_steps=2", "evaluate.every_steps=100")
TEXT = "def f(x):\n    return x  # \u2581 é <|end|>"


def python(folder: Path, *arguments: str) -> str:
    """What a Python process in `folder` prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def pretrain(folder: Path, *arguments: str) -> Any:
    """What a command prints as JSON."""
    return json.loads(python(folder, "-m", "pretrain.cli", *arguments, "--json"))


@pytest.mark.parametrize("config", [pytest.param("dense", marks=pytest.mark.slow), "moe"])
def test_out_and_in_again(trial: Trial, tmp_path: Path, config: str) -> None:
    """Exported, loaded elsewhere, imported; two runs that begin with the same weights are the same run."""
    import torch

    from megatron_lite.model.decoder import Decoder
    from megatron_lite.model.documents import documents
    from pretrain.exchange.source import find_source

    done = trial.finished(config, config=config)
    out = tmp_path / "out"
    made = pretrain(trial.folder, "export", f"runs/{config}", str(out))
    assert made["step"] == done.status["step"]
    seen = json.loads(python(tmp_path, "-c", ELSEWHERE, str(out), TEXT))
    assert seen["written"].startswith(TEXT)

    source = find_source(done.folder)
    decoder = Decoder(source.shape)
    decoder.load_state_dict(
        {name: source.checkpoint.tensor("weight", name) for name, _ in decoder.named_parameters()}
    )
    row = torch.tensor([seen["ids"]])
    with torch.no_grad():
        ours = decoder.logits(row[0], documents(row, None))
    theirs = torch.tensor(seen["logits"])
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()

    ours_again = tmp_path / "ours"
    facts = pretrain(tmp_path, "import", str(out), str(ours_again))
    assert facts["model"]["vocab_size"] == source.shape.vocab_size
    runs = [
        trial.finished(f"{config}_from_{place.name}", f"run.init_from={place}", *SHORT, config=config)
        for place in (done.folder, ours_again)
    ]
    assert runs[0].metrics == runs[1].metrics
    assert runs[0].losses[0] < min(done.losses[0] - 5, done.losses[-1] + 0.5)
    start = runs[1].lines("events.jsonl")[0]
    assert (start["event"], start["init_from"]["checkpoint"]) == ("start", str(ours_again))


@pytest.mark.slow
def test_a_resumed_run_does_not_read_them_again(trial: Trial, tmp_path: Path) -> None:
    """The import may be gone: the run's own checkpoint holds what came of it."""
    done = trial.finished("dense", config="dense")
    weights = tmp_path / "weights"
    shutil.copytree(done.folder / "checkpoints" / done.checkpoints[-1], weights)
    run = trial.finished("resumed", f"run.init_from={weights}", *SHORT, config="dense")
    metrics = run.metrics
    shutil.rmtree(run.folder / "checkpoints" / run.checkpoints[-1])
    shutil.rmtree(weights)
    assert trial.run("resumed", f"run.init_from={weights}", *SHORT, config="dense").code == 0
    assert [line["event"] for line in run.lines("events.jsonl")].count("resume") == 1
    assert run.metrics == metrics


def test_weights_that_do_not_fit_are_refused(trial: Trial) -> None:
    """Before anything is trained, by the name of what differs."""
    trial.finished("dense", config="dense")
    for name, override, words in [
        ("width", "model.intermediate_size=64", "layers.0.channel.gate_up.weight: 256 x 64 there, 128 x 64"),
        ("multiplier", "model.residual_multiplier=0.5", "model.residual_multiplier: 0.22 there, 0.5"),
        ("absent", "run.init_from=runs/none", "run.init_from: runs/none: no such folder"),
    ]:
        ended = trial.run(f"wrong_{name}", "run.init_from=runs/dense", override, config="dense")
        assert ended.code == 2
        assert words in ended.output
        assert not trial.files(f"wrong_{name}").losses
