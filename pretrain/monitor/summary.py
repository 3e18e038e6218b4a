"""summary.json, the results of a run, and the short table that shows them at its end."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from megatron_lite.model.parameters import Counts
from megatron_lite.options import format_count
from pretrain.files import replace
from pretrain.finite import finite
from pretrain.monitor.goodput import Goodput
from pretrain.monitor.words import duration, printable, short, size

FILE = "summary.json"
WORTH_NAMING = 0.005  # of the wall time, that a loss is named ...
MOST_NAMED = 4  # ... of so many


@dataclass(frozen=True, kw_only=True)
class Score:
    """Loss on held-out text: nats per token, and bits per byte, which no tokenizer can flatter."""

    loss: float
    bits_per_byte: float
    loss_se: float | None = None  # standard error of the loss over the held-out text; None: not known

    @property
    def perplexity(self) -> float:
        """e to the loss: among how many tokens the model is as unsure as that."""
        return math.exp(self.loss) if self.loss < 700 else math.inf  # beyond what a float holds

    def describe(self) -> str:
        """For people."""
        bits = f"{self.bits_per_byte:.4f} bits per byte"
        return f"loss {self.loss:.4f}, {bits}, perplexity {self.perplexity:.4g}"


def score_of(facts: Mapping[str, Any]) -> Score:
    """As files have it, which know no number that is not finite."""
    loss, bits_per_byte = (
        math.nan if facts[key] is None else facts[key] for key in ("loss", "bits_per_byte")
    )
    return Score(loss=loss, bits_per_byte=bits_per_byte, loss_se=facts.get("loss_se"))


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
    goodput: Goodput | None = None  # None: of a run that was finished before it was counted


def write_summary(run_folder: Path, summary: Summary) -> None:
    """Replace summary.json in one go."""
    values = asdict(summary)
    values["validation"] = {
        source: {key: value for key, value in score.items() if key != "loss_se" or value is not None}
        for source, score in values["validation"].items()
    }
    if summary.goodput is not None:
        values["goodput"] = {"share": summary.goodput.share, **values["goodput"]}
    else:
        del values["goodput"]
    replace(run_folder / FILE, json.dumps(finite(values), indent=2, allow_nan=False) + "\n")


def read_summary(run_folder: Path) -> Summary | None:
    """The summary of a run that has one."""
    path = run_folder / FILE
    if not path.exists():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    values["parameters"] = Counts(**values["parameters"])
    values["validation"] = {source: score_of(score) for source, score in values["validation"].items()}
    if "goodput" in values:
        values["goodput"].pop("share")  # follows from the rest
        values["goodput"] = Goodput(**values["goodput"])
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
        *_goodput(summary.goodput),
    ]


def _goodput(goodput: Goodput | None) -> list[tuple[str, str]]:
    """The share of wall time that trained, and the largest losses."""
    if goodput is None:
        return []
    starts = "1 start" if goodput.starts == 1 else f"{goodput.starts} starts"
    share = f"{goodput.share:.1%} of {duration(goodput.seconds)} since the first of {starts}"
    lost = sorted(goodput.lost_seconds.items(), key=lambda item: -item[1])
    worth = [(cause, seconds) for cause, seconds in lost if seconds >= WORTH_NAMING * goodput.seconds]
    named = [f"{cause.replace('_', ' ')} {duration(seconds)}" for cause, seconds in worth[:MOST_NAMED]]
    return [("goodput", share), *([("lost to", ", ".join(named))] if named else [])]


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
        if value:
            table.add_row(Text(name), Text(value))
    console = Console(file=unbroken(stream), highlight=False)
    console.print(table)
    for number, sample in enumerate(summary.samples, start=1):
        console.print(Text.assemble((f"Sample {number}", "bold")))
        text = Text.assemble((printable(sample.prompt), "bold cyan"), printable(sample.text).rstrip())
        console.print(text, "\n", sep="", soft_wrap=True)
