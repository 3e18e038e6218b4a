from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from megatron_lite.model.parameters import Counts
from pretrain.monitor.record import Record
from pretrain.monitor.report import write_report
from pretrain.monitor.status import write_status
from pretrain.monitor.summary import Sample, Score, Summary, write_summary

VOID = {"meta", "img", "br"}
COUNTS = Counts(total=1_234_567, active=234_567, active_non_embedding=34_567, embedding=200_000)


class Page(HTMLParser):
    """Every tag closed in its place, all text, all addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def finished_run(folder: Path) -> None:
    record = Record(folder)
    record.event("start", ranks=2)
    for step in (1, 2):
        place = {"step": step, "tokens": 1000 * step, "batch_tokens": 1000}
        record.metrics.append({"kind": "train", **place, "loss": 3.0, "lr": 0.01})
    score = {"source": "<web>", "loss": 2.98766, "bits_per_byte": 1.23456}
    record.metrics.append({"kind": "validation", "step": 2, "tokens": 2000, **score})
    record.close()
    (folder / "config.yaml").write_text("run:\n  name: 'a & b'\n")
    summary = Summary(
        name=folder.name,
        parameters=COUNTS,
        tokens=2000,
        steps=2,
        validation={"<web>": Score(loss=2.98766, bits_per_byte=1.23456)},
        tokens_per_second=100.0,
        mfu=None,
        seconds=20.0,
        peak_memory_bytes=10**9,
        samples=(Sample(prompt="if a <", text="script>alert('&amp;')</pre>\x1b[31m"),),
        report="report.html",
        picture="curves.png",
    )
    write_summary(folder, summary)
    write_status(folder, "finished", 2)


def test_the_report_holds_everything_as_text(tmp_path: Path) -> None:
    finished_run(tmp_path)
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    for expected in (
        "finished at step 2",
        "1.235M (1,234,567)",
        "loss 2.9877, 1.2346 bits per byte",
        "<web>",
        "1.2346",
        "start, ranks: 2",
        "name: 'a & b'",
        "if a <",
        "script>alert('&amp;')</pre>\\x1b[31m",
    ):
        assert expected in page.text
    assert "script" not in page.tags


def test_the_report_needs_nothing_else(tmp_path: Path) -> None:
    finished_run(tmp_path)
    html = write_report(tmp_path).read_text(encoding="utf-8")
    addresses = Page(html).addresses
    assert [address[:22] for address in addresses] == ["data:image/png;base64,"]
    without_picture = html.replace(addresses[0], "")
    assert not re.search(r"https?:|//|url\(|@import|<link|<script", without_picture)
    assert len(without_picture) < 20_000


def test_a_run_that_has_just_begun_has_a_report(tmp_path: Path) -> None:
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "not started" in text
    write_status(tmp_path, "failed", 0, "out of <memory>")
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "failed at step 0: out of <memory>" in text
    assert "Results" not in text
    assert "Config" not in text


def test_a_loss_that_was_not_a_number_is_shown_as_such(tmp_path: Path) -> None:
    record = Record(tmp_path)
    score = {"source": "a", "loss": float("nan"), "bits_per_byte": float("inf")}
    record.metrics.append({"kind": "validation", "step": 2, "tokens": 2000, **score})
    record.close()
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.texts.count("not finite") == 2
