"""The source in docs/extending.md does what the page says, as it is printed there."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "extending.md"


@pytest.fixture
def printed() -> dict[str, Any]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    names: dict[str, Any] = {"__name__": "documented_source"}
    exec(compile(code, str(PAGE), "exec", dont_inherit=True), names)
    return names


def test_the_printed_source_yields_its_rows(printed: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "texts.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE texts (id INTEGER, body TEXT)")
        database.executemany("INSERT INTO texts VALUES (?, ?)", [(2, "second"), (1, "first"), (3, None)])
    query = "SELECT body FROM texts ORDER BY id"
    options = printed["SqliteSource"](kind="sqlite", path=str(path), query=query)
    reader = printed["SqliteReader"]("mine", options)
    items = list(reader.documents())
    assert [getattr(item, "text", None) for item in items] == ["first", "second", None]
    assert list(reader.documents()) == items
    (part,) = reader.parts(1)
    stream = reader.stream(part)
    assert next(iter(stream)) == items[0]
    assert list(reader.stream(part, stream.state())) == items[1:]  # goes on where it was left
    assert reader.identity() == [str(path), query, 3]
