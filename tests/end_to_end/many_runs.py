"""Make many short runs in a row and count how they end: many_runs.py [N] [--launcher deepspeed --ranks 2].

A process that ends well can still be killed by a thread of a library while its interpreter shuts down. One
in forty is enough to fail a queue of jobs, and seldom enough for a test to miss.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from trial import Trial

SHORT = (
    "batch.sequences=2",
    "stages=[{name: all, tokens: 1024, mix: {text: 1}}]",
    "schedule.warmup_tokens=256",
    "schedule.decay_tokens=512",
    "evaluate.sequences=2",
)


def many_runs(trial: Trial, number: int, *, launcher: str = "python", ranks: int = 1) -> Counter[str]:
    """How often each kind of ending occurred; a failure's output is printed."""
    endings: Counter[str] = Counter()
    for index in range(number):
        name = f"short-{launcher}-{index:03d}"
        engine = ("run.engine=torch",) if index % 4 == 3 else ()
        ended = trial.run(name, *SHORT, *engine, launcher=launcher, ranks=ranks)
        files = trial.files(name)
        state = files.status["state"] if (files.folder / "status.json").exists() else "no status"
        endings[f"exit code {ended.code}, {state}"] += 1
        if (ended.code, state) != (0, "finished"):
            print(f"{name}: exit code {ended.code}, {state}\n{ended.output[-3000:]}", flush=True)
    return endings


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("number", type=int, nargs="?", default=50)
    parser.add_argument("--launcher", choices=("python", "torchrun", "deepspeed"), default="python")
    parser.add_argument("--ranks", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trial, began = Trial(Path(folder)), time.monotonic()
        try:
            endings = many_runs(trial, options.number, launcher=options.launcher, ranks=options.ranks)
        finally:
            trial.close()
    seconds = (time.monotonic() - began) / options.number
    print(f"{options.number} runs by {options.launcher} on {options.ranks} rank(s), {seconds:.1f} s each")
    for ending, count in endings.most_common():
        print(f"{count:4d}  {ending}")


if __name__ == "__main__":
    main()
