"""report.html: everything about a run on one page that needs no network, made from its run folder."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pretrain.errors import UserError
from pretrain.files import replace
from pretrain.monitor.goodput import Goodput
from pretrain.page import listed, page, section, text
from pretrain.report.curves import charts
from pretrain.report.facts import header, tiles, what_was_run
from pretrain.report.happenings import event_table, marks
from pretrain.report.hours import hours, known_goodput
from pretrain.report.layers import layers
from pretrain.report.look import SCRIPT, STYLE
from pretrain.report.results import benchmarks, validation_table
from pretrain.report.run import CONFIG, RunRecord, read_run
from pretrain.report.texts import samples

FILE = "report.html"


def write_report(run_folder: Path, out: Path | None = None) -> Path:
    """Write the report of a run, finished or not, into its folder or to `out`; its path.

    Raises UserError where there is no run, or where the file cannot be written.
    """
    return write_page(out or run_folder / FILE, run_page(read_run(run_folder)))


def write_page(path: Path, html: str) -> Path:
    """Replace a page in one go; UserError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, html)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); name another file with --out."
        ) from None
    return path


def run_page(run: RunRecord) -> str:
    """The page of a run."""
    found = known_goodput(run.folder)
    parts = [(title, name, content) for title, name, content in _parts(run, found) if content]
    links = "".join(f'<a href="#{name}">{text(title)}</a>' for title, name, _ in parts)
    return page(
        run.name,
        [
            header(run),
            tiles(run, found.share if found else None),
            f"<nav>{links}</nav>" if len(parts) > 2 else "",
            *(section(title, content, name=name) for title, name, content in parts),
            f'<footer class="note">Written {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.</footer>',
        ],
        style=STYLE,
        script=SCRIPT,
    )


def _parts(run: RunRecord, found: Goodput | None) -> Iterator[tuple[str, str, str]]:
    """Title, anchor and content of every section; what there is nothing of has no content."""
    happened = marks(run)
    yield "Damaged", "damaged", listed(run.damage) if run.damage else ""
    yield "Curves", "curves", charts(run, happened) or "<p>No update is recorded yet.</p>"
    yield "Layers and experts", "layers", layers(run, happened)
    yield "Benchmarks", "benchmarks", benchmarks(run)
    yield "Samples", "samples", samples(run)
    yield "What was run", "run", what_was_run(run)
    yield "Time", "time", hours(found)
    yield "Validation", "validation", validation_table(run)
    yield "Events", "events", event_table(run)
    yield "Config", "config", _config(run)


def _config(run: RunRecord) -> str:
    if not run.config_text:
        return ""
    return f"<details><summary>{CONFIG}</summary>\n<pre>{text(run.config_text)}</pre>\n</details>"
