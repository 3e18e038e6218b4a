"""The page of all keys: as the schema is now, and nothing that a shipped config says is missing from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "config.md"
NAMED = ("data.sources", "stages.mix", "data.max_epochs", "evaluate.sets")  # whose keys are the user's own


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As the command makes it: in a process that knows no schedules of other tests."""
    path = tmp_path_factory.mktemp("reference") / "config.md"
    subprocess.run([sys.executable, "-m", "pretrain.config.reference", str(path)], cwd=ROOT, check=True)
    return path.read_text(encoding="utf-8")


def test_the_page_is_of_this_schema(page: str) -> None:
    assert PAGE.read_text(encoding="utf-8") == page, (
        "the schema has changed: python -m pretrain.config.reference docs/config.md"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_of_a_shipped_config_is_explained(path: Path, page: str) -> None:
    for key in _keys(yaml.safe_load(path.read_text(encoding="utf-8")), ()):
        section, _, last = key.rpartition(".")
        if section and section not in NAMED:
            assert f"\n| `{last}` |" in page or f".{last}: `" in page, key


def test_what_a_union_chooses_is_shown_with_its_own_keys(page: str) -> None:
    power = page.index("**schedule.name: `power`**")
    assert page.index("| `amplitude` |") > power
    assert "| `exponent` | number ≤ 0 | `-0.51` |" in page
    assert page.index("**schedule.name: `from_file`**") > power
    assert "**data.sources.NAME.kind: `jsonl`" in page or "`jsonl`, `parquet`**" in page


def _keys(section: Any, above: tuple[str, ...]) -> Iterator[str]:
    """Every key of a config by its path, without the indices of lists."""
    if isinstance(section, list):
        for item in section:
            yield from _keys(item, above)
    if isinstance(section, Mapping):
        for key, value in section.items():
            yield ".".join((*above, str(key)))
            yield from _keys(value, (*above, str(key)))
