"""summary.json, the results of a run, and the short table that shows them at its end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from megatron_lite.model.parameters import Counts
from megatron_lite.options import format_count
from pretrain.files import replace
from pretrain.monitor.words import duration, printable, short, size

FILE = "summary.json"


@dataclass(frozen=True, kw_only=True)
class Score:
    """Loss on held-out text: nats per token, and bits per byte, which no tokenizer can flatter."""

    loss: float
    bits_per_byte: float

    @property
    def perplexity(self) -> float:
        """e to the loss: among how many tokens the model is as unsure as that."""
        return math.exp(self.loss) if self.loss < 700 else math.inf  # beyond what a float holds

    def describe(self) -> str:
        """For people."""
        bits = f"{self.bits_per_byte:.4f} bits per byte"
        return f"loss {self.loss:.4f}, {bits}, perplexity {self.perplexity:.4g}"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A prompt and what the model wrote after it."""

    prompt: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What came of a run."""

    name: str
    parameters: Counts
    tokens: int
    steps: int
    validation: Mapping[str, Score]  # by source
    tokens_per_second: float
    mfu: float | None
    seconds: float
    peak_memory_bytes: int
    samples: tuple[Sample, ...]
    report: str
    picture: str


def write_summary(run_folder: Path, summary: Summary) -> None:
    """Replace summary.json in one go."""
    replace(run_folder / FILE, json.dumps(asdict(summary), indent=2) + "\n")


def read_summary(run_folder: Path) -> Summary | None:
    """The summary of a run that has one."""
    path = run_folder / FILE
    if not path.exists():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    values["parameters"] = Counts(**values["parameters"])
    values["validation"] = {source: Score(**score) for source, score in values["validation"].items()}
    values["samples"] = tuple(Sample(**sample) for sample in values["samples"])
    return Summary(**values)


def facts(summary: Summary) -> list[tuple[str, str]]:
    """The summary in words: a name and a value each."""
    counts = summary.parameters
    mfu = "" if summary.mfu is None else f" (MFU {summary.mfu:.1%})"
    scores = [(f"validation, {source}", score.describe()) for source, score in summary.validation.items()]
    return [
        ("parameters", f"{format_count(counts.total)} ({counts.total:,})"),
        ("active parameters", f"{format_count(counts.active)} ({counts.active:,})"),
        ("tokens", f"{format_count(summary.tokens)} in {summary.steps:,} steps"),
        *scores,
        ("speed", f"{short(summary.tokens_per_second)} tokens/s{mfu}"),
        ("peak memory", size(summary.peak_memory_bytes)),
        ("time", duration(summary.seconds)),
    ]


def show_summary(summary: Summary, stream: TextIO) -> None:
    """Print the table, then the samples."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pretrain.monitor.stream import unbroken

    table = Table(title=Text(summary.name), title_justify="left", box=SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in [*facts(summary), ("report", summary.report), ("picture", summary.picture)]:
        table.add_row(Text(name), Text(value))
    console = Console(file=unbroken(stream), highlight=False)
    console.print(table)
    for number, sample in enumerate(summary.samples, start=1):
        console.print(Text.assemble((f"Sample {number}", "bold")))
        text = Text.assemble((printable(sample.prompt), "bold cyan"), printable(sample.text).rstrip())
        console.print(text, "\n", sep="", soft_wrap=True)
