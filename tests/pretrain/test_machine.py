"""What a container's limit leaves: files that it has read do not count, they make way."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrain.machine import _left_in_container


@pytest.mark.parametrize(("limit", "left"), [("1000", 700), ("500", 200), ("200", 0), ("max", 2**63)])
def test_what_a_container_still_allows(tmp_path: Path, limit: str, left: int) -> None:
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text("400\n")
    (tmp_path / "memory.stat").write_text("anon 250\nfile 150\ninactive_file 100\n")
    assert _left_in_container(tmp_path) == left


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert _left_in_container(tmp_path) == 2**63
