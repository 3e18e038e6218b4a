"""The documents' list of events is what the code writes; of very many the page has the first and the last."""

from __future__ import annotations

import re
from pathlib import Path

from pretrain.monitor.record import Record
from pretrain.report.happenings import event_table
from pretrain.report.run import read_run

ROOT = Path(__file__).parents[3]


def test_every_kind_of_event_is_in_the_list() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pretrain").rglob("*.py"))
    written = {*re.findall(r'\.event\(\s*"(\w+)"', code), *re.findall(r'"event": "(\w+)"', code)}
    begun = re.findall(
        r'return "(\w+)", \{', (ROOT / "pretrain/loop/announce.py").read_text(encoding="utf-8")
    )
    (row,) = re.findall(r"^\| `events\.jsonl` \|(.*)\|.*\|$", (ROOT / "docs/watching.md").read_text(), re.M)
    assert set(re.findall(r"`(\w+)`", row)) == written | set(begun)


def test_of_very_many_events_the_first_and_the_last_hundred_are_shown(tmp_path: Path) -> None:
    record = Record(tmp_path)
    for step in range(250):
        record.event("skip" if step % 2 else "epoch", step=step)
    record.close()
    table = event_table(read_run(tmp_path))
    shown = [int(step) for step in re.findall(r"step: (\d+)", table)]
    assert shown == [*range(100), *range(150, 250)]
    assert "left out here: 25 × epoch, 25 × skip" in table
