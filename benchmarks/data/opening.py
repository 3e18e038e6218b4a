"""How long a planned mixture of trillions of tokens takes to open, and how much memory: on stand-in files.

    python benchmarks/data/opening.py --write docs/data.md

The stand-ins are Megatron pairs whose `.bin` are holes in the file system, but for the end token of every
document: few long documents, so that they cost no disk. A fresh process opens all of them in place with the
checks of a run's start, lays out two stages, and reads batches at the start, in the middle and at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1])]

SOURCES, DOCUMENTS, DOCUMENT_TOKENS = 12, 200, 2**31 - 1
SEQUENCE_LENGTH, BATCH = 4096, 8
RUN_SEQUENCES = 2**30  # of 4096 tokens: 4.4 trillion


def make_tokenizer(folder: Path) -> None:
    from pretrain.data.options import TokenizerOptions
    from pretrain.data.tokenizer_training import train_tokenizer

    folder.mkdir()
    texts = (
        file.read_text(encoding="utf-8") for file in sorted((FOLDER.parents[1] / "pretrain").rglob("*.py"))
    )
    train_tokenizer(texts, TokenizerOptions(vocab_size=4096), folder)


def make_stand_in(prefix: Path, end_id: int) -> None:
    import numpy as np

    from pretrain.data.shard_index import HEADER, MAGIC, VERSION

    ends = np.arange(1, DOCUMENTS + 1, dtype=np.int64) * DOCUMENT_TOKENS * 4
    lengths = np.full(DOCUMENTS, DOCUMENT_TOKENS, np.int32)
    with prefix.with_suffix(".idx").open("wb") as file:
        file.write(HEADER.pack(MAGIC, VERSION, 4, DOCUMENTS, DOCUMENTS + 1))
        for part in (lengths, ends - ends[0], np.arange(DOCUMENTS + 1)):
            file.write(part.tobytes())
    with prefix.with_suffix(".bin").open("wb") as file:
        for end in ends.tolist():
            os.pwrite(file.fileno(), np.int32(end_id).tobytes(), end - 4)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def open_it(folder: Path, began: float) -> dict[str, float]:
    """What a run does with its data before the first update, in this process."""
    from types import SimpleNamespace

    from pretrain.data.corpus import Corpus
    from pretrain.data.sources.in_place import open_in_place
    from pretrain.data.tokenizer import load_tokenizer
    from pretrain.data.training import TrainingData

    imported, memory = time.time(), peak_bytes()
    tokenizer = load_tokenizer(folder / "tokenizer")
    sources = {
        prefix.stem: open_in_place(prefix.stem, SimpleNamespace(path=str(prefix)), tokenizer, 0.01)
        for prefix in sorted(folder.glob("*.idx"))
    }
    corpus = Corpus(tokenizer=tokenizer, sources=sources)
    corpus.fingerprint()
    weights = {name: 1.0 + number / 7 for number, name in enumerate(sources)}
    num = RUN_SEQUENCES // 2
    stages = [
        SimpleNamespace(num_sequences=num, sequence_length=SEQUENCE_LENGTH, mix=mix)
        for mix in (weights, dict(reversed(weights.items())))
    ]
    training = TrainingData(corpus, stages, 0)
    for first in (0, num - BATCH, len(training) - BATCH):
        training.rows(first, BATCH)
    done = time.time()
    return {
        "tokens": sum(source.train.num_tokens + source.validation.num_tokens for source in sources.values()),
        "run_tokens": len(training) * SEQUENCE_LENGTH,
        "seconds": done - imported,
        "seconds_with_imports": done - began,
        "memory_bytes": peak_bytes() - memory,
        "memory_bytes_with_imports": peak_bytes(),
    }


def measure(rounds: int) -> dict[str, float]:
    from pretrain.data.tokenizer import load_tokenizer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tokenizer(folder / "tokenizer")
        end_id = load_tokenizer(folder / "tokenizer").end_id
        for number in range(SOURCES):
            make_stand_in(folder / f"source{number:02}", end_id)
        command = [sys.executable, __file__, "--open", name]
        results = [json.loads(subprocess.run(command, check=True, stdout=-1).stdout) for _ in range(rounds)]
        on_disk = sum(file.stat().st_blocks * 512 for file in folder.rglob("*"))
    medians = {key: statistics.median(result[key] for result in results) for key in results[0]}
    return medians | {"sources": SOURCES, "documents": SOURCES * DOCUMENTS, "on_disk_bytes": on_disk}


def section(found: dict[str, float], rounds: int) -> str:
    tokens, run = found["tokens"] / 1e12, found["run_tokens"] / 1e12
    seconds, all_seconds = found["seconds"], found["seconds_with_imports"]
    memory, all_memory = found["memory_bytes"] / 2**20, found["memory_bytes_with_imports"] / 2**20
    return (
        f"{found['sources']} sources of together {tokens:.2f} trillion tokens in {found['documents']:,}"
        f" documents (stand-in files, {found['on_disk_bytes'] / 2**20:.0f} MiB on\ndisk), a run of {run:.2f}"
        f" trillion tokens in two stages; medians of {rounds} fresh processes:\n\n"
        "| | seconds | peak memory, MiB |\n|---|---:|---:|\n"
        "| open and check all pairs, lay out the stages, read three batches; memory beyond the imports"
        f" | {seconds:.2f} | {memory:.0f} |\n"
        "| the same with the start of Python and all imports"
        f" | {all_seconds:.2f} | {all_memory:.0f} |\n"
    )


def main() -> None:
    began = time.time() - time.monotonic() + _started()
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        print(json.dumps(open_it(options.open, began)))
        return
    found = measure(options.rounds)
    text = section(found, options.rounds)
    print(json.dumps(found) if options.json else text)
    if options.write:
        from page import put

        put(options.write, "opening", text)


def _started() -> float:
    """When this process began, in seconds since the machine did."""
    ticks = float(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
