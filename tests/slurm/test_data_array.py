"""Token shards by an array of jobs of a real Slurm, and by a job behind it that merges."""

from __future__ import annotations

import json

import pytest
from cluster import Cluster
from trial import ROOT

from pretrain.data.options import TokenizerOptions
from pretrain.data.tokenizer_training import train_tokenizer

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(400)]
SMALL = ("--cpus-per-task=1", "--mem=500M")


def test_an_array_tokenises_every_file_of_a_glob(cluster: Cluster) -> None:
    folder = cluster.trial.folder
    texts = [path.read_text() for path in sorted((ROOT / "pretrain" / "data").glob("*.py"))]
    (folder / "text").mkdir()
    for name in ("a", "b"):
        lines = "".join(json.dumps({"text": f"{name} {number}"}) + "\n" for number in range(200))
        (folder / "text" / f"{name}.jsonl").write_text(lines)
    (folder / "pieces").mkdir()
    train_tokenizer(texts, TokenizerOptions(vocab_size=700), folder / "pieces")
    words = ("--source", "text/*.jsonl", "--tokenizer", "pieces", "--out", "tokens")
    parts = ("--array=1-2", "--output=part-%a.log", *SMALL)
    array = cluster.submit("data_build.sbatch", *words, options=parts)
    behind = (f"--dependency=afterok:{array.number}", *SMALL)
    merge = cluster.submit("data_build.sbatch", *words, "--merge", options=behind)
    merge.until("COMPLETED", "FAILED", "CANCELLED")
    logs = [(folder / f"part-{part}.log").read_text() for part in (1, 2)]
    assert (folder / "tokens" / "manifest.json").exists(), "\n".join([*logs, merge.output])
    manifest = json.loads((folder / "tokens" / "manifest.json").read_text())
    assert manifest["train"]["documents"] + manifest["validation"]["documents"] == 400
