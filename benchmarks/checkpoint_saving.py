"""What a checkpoint costs: how long training waits for one, and how fast it is written and read.

    python benchmarks/checkpoint_saving.py --write docs/checkpoints.md

Rounds are paired: in each, one save in line, one in the background, the same bytes by plain write and
fsync, one load with every hash compared and one plain read. Medians of the rounds.

    stall   until `save` returns, which is all that training waits for
    whole   until the checkpoint has its name, everything on the disk
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER / "data")]

import torch  # noqa: E402

from pretrain.checkpoint.good import newest_good  # noqa: E402
from pretrain.checkpoint.options import CheckpointOptions  # noqa: E402
from pretrain.checkpoint.position import Position  # noqa: E402
from pretrain.checkpoint.saver import Saver  # noqa: E402
from pretrain.engine.base import KINDS, Kind  # noqa: E402
from pretrain.monitor.words import size  # noqa: E402
from pretrain.ranks import Ranks  # noqa: E402

ALONE = Ranks(rank=0, size=1, local_rank=0, local_size=1, address="", port=0)
CHUNK_BYTES = 4 * 2**20
TENSORS = 48  # a kind


class Model:
    """Weights and moments, as the engine gives them: one by one, where they are or as a fresh copy."""

    def __init__(self, num_bytes: int, device: str, *, copies: bool) -> None:
        numbers = num_bytes // (4 * len(KINDS) * TENSORS)
        self.copies = copies
        self.tensors = {
            (kind, f"layers.{at}"): torch.randn(numbers, device=device)
            for kind in KINDS
            for at in range(TENSORS)
        }

    @property
    def bytes(self) -> int:
        return sum(4 * tensor.numel() for tensor in self.tensors.values())

    def state(self) -> Iterator[tuple[Kind, str, torch.Tensor]]:
        for (kind, name), tensor in self.tensors.items():
            yield kind, name, tensor.to("cpu", copy=True) if self.copies else tensor


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plain_write(path: Path, content: memoryview) -> None:
    """The disk's own speed: nothing hashed, nothing named, one file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for start in range(0, len(content), CHUNK_BYTES):
        os.write(descriptor, content[start : start + CHUNK_BYTES])
    os.fsync(descriptor)
    os.close(descriptor)


def plain_read(path: Path) -> None:
    buffer = bytearray(CHUNK_BYTES)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def load(root: Path) -> None:
    """As a run that continues: every hash compared, then every tensor."""
    checkpoint = newest_good(root, print)
    assert checkpoint is not None
    for kind in KINDS:
        for at in range(TENSORS):
            checkpoint.tensor(kind, f"layers.{at}")


def drop_cache(root: Path) -> None:
    """So that a read comes from the disk."""
    for path in root.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def one_round(root: Path, model: Model, those: dict[str, Saver], step: int) -> dict[str, float]:
    found = {}
    for name, saver in those.items():
        step += 1
        began = time.perf_counter()
        saver.save(model, Position(step=step), {})
        found[f"{name}, stall"] = time.perf_counter() - began
        saver.wait()
        found[f"{name}, whole"] = time.perf_counter() - began
        (saved,) = saver.finished()
        assert saved.error is None, saved.error
    plain = root / "plain"
    content = memoryview(torch.randn(model.bytes // 4).numpy()).cast("B")
    found["plain write"] = timed(lambda: plain_write(plain, content))
    drop_cache(root)
    found["load"] = timed(lambda: load(root))
    drop_cache(root)
    found["plain read"] = timed(lambda: plain_read(plain))
    plain.unlink()
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    model = Model(int(options.megabytes * 1e6), options.device, copies=options.copies)
    root = Path(tempfile.mkdtemp(prefix="checkpoint-saving-", dir=options.folder))
    those = {
        "in line": Saver(root, CheckpointOptions(asynchronous=False, keep_last=1), ALONE),
        "background": Saver(root, CheckpointOptions(keep_last=1), ALONE),
    }
    try:
        first = one_round(root, model, those, 0)  # takes its memory; shown apart
        rounds = [one_round(root, model, those, 10 * (at + 1)) for at in range(options.rounds)]
    finally:
        shutil.rmtree(root)
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    return {"bytes": model.bytes, "device": device_name(options.device), "first": first, "seconds": medians}


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device != "cpu" else "CPU"


def section(found: dict[str, Any], rounds: int) -> str:
    """The table of the page."""
    seconds, num_bytes = found["seconds"], found["bytes"]
    write, read = seconds["plain write"], seconds["plain read"]

    def row(name: str, key: str, against: float) -> str:
        taken = seconds[key]
        speed = f"{size(num_bytes / taken)}/s" if "stall" not in key else ""
        return f"| {name} | {taken:.3f} | {speed} | {against / taken:.2f} |\n"

    stall = seconds["in line, stall"] / seconds["background, stall"]
    first = found["first"]["in line, stall"] - seconds["in line, stall"]
    return (
        f"State of {size(num_bytes)} on {found['device']}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}; medians of {rounds} paired rounds:\n\n"
        "| | seconds | bytes | of the plain speed |\n|---|---:|---:|---:|\n"
        f"| plain write and fsync of the same bytes | {write:.3f} | {size(num_bytes / write)}/s | 1 |\n"
        + row("save in line: training waits", "in line, stall", write)
        + row("save in the background: training waits", "background, stall", write)
        + row("save in the background: until it is on the disk under its name", "background, whole", write)
        + f"| plain read | {read:.3f} | {size(num_bytes / read)}/s | 1 |\n"
        + row("load: every hash compared, then every tensor", "load", read)
        + f"\nIn the background training waits {stall:.1f} times less. "
        f"The first save of a process takes its memory: {max(0.0, first):.3f} s more.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--megabytes", type=float, default=1200, help="of weights and moments")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--copies", action="store_true", help="the engine gives copies in host memory")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on the disk that is measured")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page")
    options = parser.parse_args()
    from pretrain.machine import use_cores

    use_cores(ALONE, torch.device(options.device))  # as a run does
    found = measure(options)
    text = section(found, options.rounds)
    print(json.dumps(found) if options.json else text)
    if options.write:
        from page import put

        put(options.write, f"saving-{'cpu' if options.device == 'cpu' else 'gpu'}", text)


if __name__ == "__main__":
    main()
