"""report.html: everything about a run in one file that needs no network, made from its run folder."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from pretrain.files import replace
from pretrain.monitor.curves import picture
from pretrain.monitor.page import facts_table, grid, page, section, text
from pretrain.monitor.record import EVENTS, METRICS, read
from pretrain.monitor.status import read_status
from pretrain.monitor.summary import Sample, facts, read_summary

FILE = "report.html"
CONFIG = "config.yaml"
SCORE_COLUMNS = ("step", "tokens", "source", "loss", "bits_per_byte")


def write_report(run_folder: Path) -> Path:
    """Write the report of a run, finished or not; its path."""
    path = run_folder / FILE
    replace(path, page(run_folder.resolve().name, _sections(run_folder)))
    return path


def _sections(run_folder: Path) -> Iterator[str]:
    """What is there of a run; before its end some of it is not."""
    summary = read_summary(run_folder)
    yield _header(run_folder)
    if summary:
        yield section("Results", facts_table(facts(summary)))
    yield section("Curves", _picture(run_folder))
    yield section("Validation", _validation(read(run_folder / METRICS)))
    if summary:
        yield section("Samples", "\n".join(_sample(sample) for sample in summary.samples))
    yield section("Events (UTC)", facts_table([_event(**event) for event in read(run_folder / EVENTS)]))
    if (run_folder / CONFIG).exists():
        yield section("Config", _config((run_folder / CONFIG).read_text(encoding="utf-8")))


def _header(run_folder: Path) -> str:
    status = read_status(run_folder)
    state = f"{status.state} at step {status.step:,}" if status else "not started"
    reason = f": {status.reason}" if status and status.reason else ""
    return f"<header><h1>{text(run_folder.resolve().name)}</h1><p>{text(state + reason)}</p></header>"


def _picture(run_folder: Path) -> str:
    data = base64.b64encode(picture(run_folder)).decode("ascii")
    return f'<img alt="Loss and learning rate against tokens" src="data:image/png;base64,{data}">'


def _validation(lines: list[dict[str, Any]]) -> str:
    rows = [
        [_cell(line[column]) for column in SCORE_COLUMNS] for line in lines if line["kind"] == "validation"
    ]
    return grid([column.replace("_", " ") for column in SCORE_COLUMNS], rows)


def _cell(value: Any) -> str:
    if value is None:  # what the record writes for NaN and infinity
        return "not finite"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _sample(sample: Sample) -> str:
    return f"<pre><b>{text(sample.prompt)}</b>{text(sample.text)}</pre>"


def _event(time: str, event: str, **more: Any) -> tuple[str, str]:
    moment = datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M:%S")
    return moment, ", ".join([event, *(f"{name}: {value}" for name, value in more.items())])


def _config(yaml: str) -> str:
    return f"<details><summary>{CONFIG}</summary>\n<pre>{text(yaml)}</pre>\n</details>"
