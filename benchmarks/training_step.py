"""Tokens per second and peak memory of a training step, ours and other people's, in alternation.

python benchmarks/training_step.py --write docs/speed.md
python benchmarks/training_step.py --shape moe --dtype bf16 --contenders "ours*; transformers*"
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

from rich.console import Console  # noqa: E402
from speed.cases import CASES, TIMED  # noqa: E402
from speed.contenders import CONTENDERS, chosen  # noqa: E402
from speed.machine import machine  # noqa: E402
from speed.report import page, show  # noqa: E402
from speed.rounds import measure  # noqa: E402
from speed.summary import Row, as_json, rows  # noqa: E402

from pretrain.errors import UserError  # noqa: E402
from pretrain.files import replace  # noqa: E402

ROUNDS, STEPS, WARMUP_STEPS = 7, 3, 3
QUICK = (2, 1, 2)
WIDTH = 100  # of tables in a file


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        epilog="Contenders: " + "; ".join(CONTENDERS),
    )
    parser.add_argument("--shape", choices=["all", *CASES], default="all", help="all: dense and moe")
    parser.add_argument("--dtype", choices=["all", "bf16", "fp32"], default="all")
    parser.add_argument("--contenders", metavar="NAMES", help="names or patterns, separated by ;")
    parser.add_argument("--rounds", type=int, help=f"times that everybody has a turn (default: {ROUNDS})")
    parser.add_argument("--steps", type=int, help=f"training steps of a turn (default: {STEPS})")
    parser.add_argument("--quick", action="store_true", help="few rounds and steps: does everything run?")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="threads on a CPU (default: one a core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write a page of Markdown there")
    return parser.parse_args(arguments)


def main() -> None:
    options = parsed()
    progress = Console(stderr=True)
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    rounds, steps, warmup_steps = QUICK if options.quick else (ROUNDS, STEPS, WARMUP_STEPS)
    rounds, steps = options.rounds or rounds, options.steps or steps
    groups: list[list[Row]] = []
    for shape in TIMED if options.shape == "all" else (options.shape,):
        for precision in ("bf16", "fp32") if options.dtype == "all" else (options.dtype,):
            measured = measure(
                shape,
                precision,
                chosen(options.contenders, shape),
                device=options.device,
                threads=options.threads,
                num_rounds=rounds,
                steps=steps,
                warmup_steps=warmup_steps,
                say=lambda text: progress.print(text, highlight=False, markup=False, style="dim"),
            )
            groups.append(rows(measured))
            show(groups[-1], console)
    command = shlex.join(["python", "benchmarks/training_step.py", *_said(sys.argv[1:])])
    write(options, groups, command, f"{rounds} rounds of {steps} steps after {warmup_steps} to warm up.")
    sys.exit(any(row.differs for group in groups for row in group))


def write(options: argparse.Namespace, groups: list[list[Row]], command: str, settings: str) -> None:
    facts = machine() | ({} if options.device == "cpu" else {"device": options.device})
    if options.json:
        everything = [row for group in groups for row in group]
        text = json.dumps({"command": command, "machine": facts, "rows": as_json(everything)}, indent=1)
        replace(options.json, text + "\n")
    if options.write:
        replace(options.write, page(groups, facts, command, settings))


def _said(arguments: list[str]) -> list[str]:
    """The arguments as they were given; of absolute paths, the name."""
    return [Path(word).name if Path(word).is_absolute() else word for word in arguments]


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
