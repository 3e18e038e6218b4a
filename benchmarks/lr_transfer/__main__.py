"""The command: prepare the text, plan, train what is missing, draw.

    python -m benchmarks.lr_transfer --prepare
    python -m benchmarks.lr_transfer --plan
    python -m benchmarks.lr_transfer
    python -m benchmarks.lr_transfer --report

Started again it goes on where it stopped: finished trials are lines of the results file, and that file alone
makes the report. The file of text is all that training reads, so that it can be made on one machine and used
on another.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process a core

from benchmarks.lr_transfer.cost import total_seconds
from benchmarks.lr_transfer.grid import Curve, Width, curves, missing
from benchmarks.lr_transfer.results import lines, outcomes
from benchmarks.lr_transfer.sweep import sweep
from benchmarks.lr_transfer.text import load_text, prepare_text
from benchmarks.lr_transfer.trial import Recipe

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main(arguments: list[str]) -> int:
    """Do one of the four; the exit code is 1 where a trial is still missing."""
    options = parser().parse_args(arguments)
    if options.prepare:
        return prepare(options)
    if options.report:
        return report(options, arguments)
    every = curves(recipe_of(options), widths_of(options))
    if options.plan:
        return plan(options, every)
    complete = sweep(
        every,
        options.results,
        options.data,
        device=options.device,
        jobs=options.jobs,
        max_seconds=options.max_seconds,
    )
    print("complete" if complete else "not complete: the same command goes on", file=sys.stderr)
    return 0 if complete else 1


def parser() -> argparse.ArgumentParser:
    """The options; those of the recipe are part of a trial's key."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.lr_transfer", description=__doc__)
    found.formatter_class = argparse.RawDescriptionHelpFormatter
    what = found.add_mutually_exclusive_group()
    what.add_argument("--prepare", action="store_true", help="write the text to --data")
    what.add_argument("--plan", action="store_true", help="say how many trials are missing, and for how long")
    what.add_argument("--report", action="store_true", help="write figure and page from --results")
    found.add_argument("--data", type=Path, default=Path("data/lr_transfer.npz"), help="the text")
    found.add_argument("--results", type=Path, default=DOCS / "lr_transfer.jsonl", help="finished trials")
    found.add_argument("--docs", type=Path, default=DOCS, help="where figure and page go")
    found.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    found.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    found.add_argument("--max-seconds", type=float, default=1e9, help="then start no further trial")
    grid = found.add_argument_group("grid: a number a width")
    grid.add_argument("--widths", default="64,128,256,512")
    grid.add_argument("--points", default="7,5,5,3", help="learning rates of a curve before it is extended")
    grid.add_argument("--seeds", default="2,2,1,1")
    add_recipe(found.add_argument_group("recipe"))
    text = found.add_argument_group("text (--prepare)")
    text.add_argument("--data-root", default="data", help="where tokenizer and shards are built")
    text.add_argument("--tokens", type=int, default=4_000_000)
    text.add_argument("--sequence-length", type=int, default=128)
    text.add_argument("--vocab-size", type=int, default=2048)
    return found


def add_recipe(group: argparse._ArgumentGroup) -> None:
    """What all trials share."""
    for name, default in (
        ("layers", 2),
        ("head-dim", 32),
        ("sequences", 16),
        ("updates", 200),
        ("warmup-updates", 20),
        ("base-width", 64),
        ("validation-sequences", 128),
    ):
        group.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    group.add_argument("--init-std", type=float, default=0.1, help="of µP, default 0.1")
    group.add_argument("--standard-init-std", type=float, default=0.1, help="of all matrices, default 0.1")


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The recipe, with what the text decides."""
    if not options.data.is_file():
        raise SystemExit(f"no text at {options.data}: --prepare writes it")
    text = load_text(options.data)
    return Recipe(
        data=text.sha256,
        vocab_size=text.vocab_size,
        sequence_length=text.sequence_length,
        layers=options.layers,
        head_dim=options.head_dim,
        sequences=options.sequences,
        updates=options.updates,
        warmup_updates=options.warmup_updates,
        base_width=options.base_width,
        init_std=options.init_std,
        standard_init_std=options.standard_init_std,
        validation_sequences=options.validation_sequences,
    )


def widths_of(options: argparse.Namespace) -> list[Width]:
    """What is spent on each width."""
    lists = [
        [int(part) for part in text.split(",")] for text in (options.widths, options.points, options.seeds)
    ]
    if len({len(numbers) for numbers in lists}) != 1:
        raise SystemExit("--widths, --points and --seeds need one number a width each")
    return [Width(width=w, points=p, seeds=s) for w, p, s in zip(*lists, strict=True)]


def prepare(options: argparse.Namespace) -> int:
    """Write the file of text."""
    text = prepare_text(
        options.data,
        data_root=options.data_root,
        tokens=options.tokens,
        sequence_length=options.sequence_length,
        vocab_size=options.vocab_size,
    )
    size = options.data.stat().st_size / 2**20
    print(f"{options.data}: {text.train.size:,} tokens, {size:.1f} MiB, {text.sha256}")
    return 0


def plan(options: argparse.Namespace, every: list[Curve]) -> int:
    """Say what is missing; curves that have to be extended come on top."""
    todo = missing(every, outcomes(options.results))
    seconds = total_seconds(todo, dict(lines(options.results)), options.device)
    share = f"about {seconds / 60 / options.jobs:.0f} minutes on {options.jobs} processes ({options.device})"
    print(f"{len(every)} curves, {len(todo)} trials missing, {share}, before any curve is extended")
    return 0


def report(options: argparse.Namespace, arguments: list[str]) -> int:
    """Write figure and page; to be given the options of the sweep as well, which the page repeats."""
    from benchmarks.lr_transfer.report import write_report

    words = [word for word in arguments if word != "--report"]
    command = " ".join(["python -m benchmarks.lr_transfer", *words])
    print("\n".join(write_report(options.docs, options.results, command)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
