from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pretrain.cli import app
from pretrain.errors import UserError
from pretrain.monitor.record import Record
from pretrain.monitor.status import write_status
from pretrain.report.run import read_run
from pretrain.report.write import write_report

VOID = {"meta", "img", "br"}


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
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def report(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def sections(folder: Path) -> list[str]:
    html = write_report(folder).read_text(encoding="utf-8")
    return re.findall(r'<section id="(\w+)">', html)


def test_a_run_with_everything_has_every_section(make_run) -> None:
    folder = make_run()
    wanted = ["curves", "layers", "benchmarks", "samples", "run", "time", "validation", "events", "config"]
    assert sections(folder) == wanted
    page = report(folder)
    for expected in (
        "finished at step 300",
        "2.299M (2,299,008), 1.119M active",
        "0123abcd",
        "torch: 2.13.0",
        "4 (the last of 2 starts)",
        "validation, web",
        "step 100 left out: loss 7.5, 10.5 deviations above the usual",
        "rewound from step 200 to 180: loss is nan at step 200",
        "stage decay begins at 921.6K tokens",
        "arc_easy (version 1.0)",
        "acc_norm *",
        " after 150 <b> & 'more'\n    pass",
        "vocab_size: 4096",
    ):
        assert expected in page.text
    assert page.tags.count("script") == 1


def test_the_page_needs_nothing_else(make_run) -> None:
    html = write_report(make_run()).read_text(encoding="utf-8")
    page = Page(html)
    assert page.addresses
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"https?:|url\(|@import|<link|<img", html)
    assert "default-src 'none'" in html
    assert len(html) < 400_000


def test_there_is_a_section_only_where_there_is_something_to_show(tmp_path: Path) -> None:
    write_status(tmp_path, "failed", 0, "out of <memory>")
    assert sections(tmp_path) == ["curves"]
    text = report(tmp_path).text
    assert "failed at step 0: out of <memory>" in text
    assert "No update is recorded yet." in text


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_of_a_few_updates_has_a_page(make_run, steps: int) -> None:
    assert f"{steps} updates" in report(make_run(steps=steps, moe=False)).text


def test_values_that_are_not_numbers_are_said_and_leave_gaps(tmp_path: Path) -> None:
    record = Record(tmp_path)
    for step, loss in enumerate((5.0, float("nan"), 3.0), start=1):
        place = {"kind": "train", "step": step, "tokens": 1000 * step, "batch_tokens": 1000}
        record.metrics.append(place | {"loss": loss, "lr": 0.01, "grad_norm": float("inf")})
    score = {"source": "a", "loss": float("nan"), "bits_per_byte": float("inf")}
    record.metrics.append({"kind": "validation", "step": 3, "tokens": 3000, **score})
    record.close()
    page = report(tmp_path)
    assert page.texts.count("not finite") == 3  # two in the table, the loss among the tiles
    assert "Gradient norm" not in page.text


def test_damaged_lines_are_named_and_the_others_shown(make_run) -> None:
    folder = make_run(steps=60)
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    lines[10] = b'{"kind": "train", "step": \x00\n'
    metrics.write_bytes(b"".join(lines) + b'{"kind":"train","st')  # a torn line is one that is being written
    (folder / "summary.json").write_text("{")
    (folder / "config.yaml").write_text("run: [")
    (folder / "evaluations" / "step_00000060.json").write_text("[]")
    text = report(folder).text
    assert "metrics.jsonl: 1 damaged lines are left out" in text
    for name in ("summary.json", "config.yaml", "evaluations/step_00000060.json"):
        assert f"{name}: " in text
    assert "60 updates" in text


def test_a_step_that_stands_twice_counts_once(tmp_path: Path) -> None:
    record = Record(tmp_path)
    for step, loss in ((1, 9.0), (2, 8.0), (2, 4.0), (3, 3.0)):
        line = {"kind": "train", "step": step, "tokens": 10 * step, "batch_tokens": 10, "loss": loss, "lr": 1}
        record.metrics.append(line)
    record.close()
    assert read_run(tmp_path).train["loss"].tolist() == [9.0, 4.0, 3.0]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my_run").mkdir()
    with pytest.raises(UserError, match="holds no run"):
        read_run(tmp_path / "my_run")
    with pytest.raises(UserError, match=r"no such folder\. Did you mean 'my_run'"):
        read_run(tmp_path / "my_rum")


def test_a_folder_that_cannot_be_written_asks_for_another_file(make_run, tmp_path: Path) -> None:
    folder = make_run(steps=3)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        write_report(folder, tmp_path / "file" / "report.html")
    assert write_report(folder, tmp_path / "new" / "page.html").is_file()


def test_the_command_writes_the_page_and_says_where(make_run, tmp_path: Path) -> None:
    folder = make_run(steps=3)
    told = CliRunner().invoke(app, ["report", str(folder), "--json"])
    assert json.loads(told.stdout) == {
        "report": str(folder / "report.html"),
        "bytes": (folder / "report.html").stat().st_size,
    }
    told = CliRunner().invoke(app, ["report", str(folder), "--out", str(tmp_path / "a.html")])
    assert told.stdout == f"{tmp_path / 'a.html'}\n"
    for wrong in (["report", str(folder), str(folder)], ["report", str(folder), "--against", "flops"]):
        assert isinstance(CliRunner().invoke(app, wrong).exception, UserError)
