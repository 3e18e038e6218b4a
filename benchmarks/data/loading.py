"""Tokens per second of data loaders on one core, from page cache: ours and other people's, in alternation.

    python benchmarks/data/loading.py --write docs/data.md

Everybody reads the same three sources, mixed 5 : 3 : 2, in batches, in a process of its own that stays alive
and waits for its turns. Time is that of the processor in all threads of the process, so that a neighbour on
the machine takes none of it. Who is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1])]

from loaders import CONTENDERS, Case, make_pairs, prepare_litdata  # noqa: E402

SOURCE_TOKENS = 20_000_000
BATCH = 8
LENGTHS = (4096, 512)
PEERS = ("torch", "megatron-core", "datasets", "litdata")


def kibibytes(key: str) -> int:
    """A line of this process's status: VmRSS, the memory that it holds, or VmHWM, the most that it held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def work(name: str, case: Case) -> None:
    """A contender's process: builds, says what that took, then reads for so many seconds a line of input."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    out, sys.stdout = sys.stdout, sys.stderr  # for libraries that print
    if name == "litdata":
        prepare_litdata(case)
    CONTENDERS[name](
        Case(**vars(case) | {"sequences": 8 * BATCH})
    )()  # imports and files, before anything counts
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is what is held now
    memory, began = kibibytes("VmRSS"), time.process_time()
    read = CONTENDERS[name](case)
    read()
    built = {"seconds": time.process_time() - began, "mebibytes": max(0, kibibytes("VmHWM") - memory) / 1024}
    print(json.dumps(built), file=out, flush=True)
    for line in sys.stdin:
        end, tokens, began = float(line), 0, time.process_time()
        while (spent := time.process_time() - began) < end:
            tokens += read()
        print(json.dumps(tokens / spent), file=out, flush=True)


def start(name: str, case: Case) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--work", name, "--folder", str(case.folder)]
    command += ["--length", str(case.sequence_length), "--sequences", str(case.sequences)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.Popen(
        command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True, env=environment
    )


def measure(case: Case, rounds: int, seconds: float) -> dict[str, dict[str, float] | None]:
    """Of everybody: what building took, and the median speed; None for who cannot start."""
    processes, built = {}, {}
    for name in CONTENDERS:  # one after the other, so that nobody builds beside another
        processes[name] = start(name, case)
        built[name] = processes[name].stdout.readline()  # type: ignore[union-attr]
    able = [name for name in processes if built[name]]
    speeds: dict[str, list[float]] = {name: [] for name in able}
    for turn in range(rounds + 1):  # the first warms up
        for name in able:
            process = processes[name]
            print(seconds, file=process.stdin, flush=True)
            speed = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            if turn:
                speeds[name].append(speed)
    for process in processes.values():
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()
    return {
        name: {"tokens_per_second": statistics.median(speeds[name]), **json.loads(built[name])}
        if name in able
        else None
        for name in CONTENDERS
    }


def table(found: dict[str, dict[str, float] | None], length: int) -> str:
    lines = [
        f"Sequences of {length:,}:",
        "",
        "| loader | million tokens/s | build, seconds | build, MiB |",
        "|---|---:|---:|---:|",
    ]
    for name, figures in found.items():
        if figures is None:
            lines.append(f"| {name} | not installed | | |")
        else:
            speed, seconds, memory = (
                figures["tokens_per_second"] / 1e6,
                figures["seconds"],
                figures["mebibytes"],
            )
            lines.append(f"| {name} | {speed:,.1f} | {seconds:.3f} | {memory:,.1f} |")
    return "\n".join(lines) + "\n"


def versions() -> str:
    found = []
    for package in PEERS:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of everybody, after one to warm up")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    parser.add_argument("--sequences", type=int, default=1_000_000, help="of the run that is planned")
    parser.add_argument("--json", action="store_true", help="print one JSON value")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into this page")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        length, folder = options.length, options.folder
        case = Case(folder=folder, sequence_length=length, batch=BATCH, sequences=options.sequences)
        work(options.work, case)
        return
    found = {}
    for length in LENGTHS:
        with tempfile.TemporaryDirectory() as name:
            make_pairs(Path(name), SOURCE_TOKENS)
            case = Case(folder=Path(name), sequence_length=length, batch=BATCH, sequences=options.sequences)
            found[length] = measure(case, options.rounds, options.seconds)
    text = (
        f"One core, batches of {BATCH}, three sources of some {SOURCE_TOKENS * 1.65 / 1e6:.0f} million tokens"
        f" each, a run of {options.sequences:,} sequences;\nmedians of {options.rounds} turns of"
        f" {options.seconds:g} s of processor time. {versions()}.\n\n"
        + "\n".join(table(figures, length) for length, figures in found.items())
    )
    print(json.dumps(found) if options.json else text)
    if options.write:
        from page import put

        put(options.write, "loading", text)


if __name__ == "__main__":
    main()
