"""What a rank may use of a machine: a container's limit without what makes way; what malloc keeps."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest

from pretrain.machine import MMAP_THRESHOLD, TRIM_THRESHOLD, _keep_freed_memory, _left_in_container


@pytest.mark.parametrize(("limit", "left"), [("1000", 700), ("500", 200), ("200", 0), ("max", 2**63)])
def test_what_a_container_still_allows(tmp_path: Path, limit: str, left: int) -> None:
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "memory.current").write_text("400\n")
    (tmp_path / "memory.stat").write_text("anon 250\nfile 150\ninactive_file 100\n")
    assert _left_in_container(tmp_path) == left


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert _left_in_container(tmp_path) == 2**63


@pytest.mark.parametrize(("most", "own_pages"), [(2**40, 2**26), (2**25, 2**25)])
def test_where_malloc_takes_no_large_threshold_a_smaller_one_is_set(
    monkeypatch: pytest.MonkeyPatch, most: int, own_pages: int
) -> None:
    """Else the second setting would end the growth of the first: every large block would be mapped anew."""
    taken: dict[int, int] = {}

    def mallopt(which: int, value: int) -> int:
        refused = which == MMAP_THRESHOLD and value > most
        taken.update({} if refused else {which: value})
        return int(not refused)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    _keep_freed_memory()
    assert taken == {MMAP_THRESHOLD: own_pages, TRIM_THRESHOLD: 2**30}
