"""Tensors over ranks and files: every one once, balanced, files within their size, the same on every rank."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from pretrain.checkpoint.sharing import Place, Sharing
from pretrain.engine.base import KINDS

SIZES = st.lists(st.integers(0, 500), min_size=1, max_size=60)


def places(sizes: list[int], num_ranks: int, limit: int) -> dict[tuple[str, int], Place]:
    sharing = Sharing(num_ranks, limit)
    placed = {(kind, at): sharing.place(kind, size) for kind in KINDS for at, size in enumerate(sizes)}
    assert sharing.bytes == 3 * sum(sizes)
    return placed


@given(SIZES, st.integers(1, 9), st.integers(1, 600))
def test_shares_are_balanced_and_files_bounded(sizes: list[int], num_ranks: int, limit: int) -> None:
    placed = places(sizes, num_ranks, limit)
    assert placed == places(sizes, num_ranks, limit)
    loads, files = [0] * num_ranks, defaultdict(list)
    for (kind, at), place in placed.items():
        loads[place.rank] += sizes[at]
        files[place.file].append((place.rank, kind, sizes[at]))
    # no rank has more than an equal share and one tensor
    assert max(loads) <= sum(loads) / num_ranks + max(sizes)
    for name, held in files.items():
        ranks, kinds, held_sizes = zip(*held, strict=True)
        assert len(set(ranks)) == len(set(kinds)) == 1
        assert name.startswith(f"{kinds[0]}-")
        assert sum(held_sizes) <= limit or len([size for size in held_sizes if size]) == 1


@given(SIZES, st.integers(1, 9))
def test_files_of_a_kind_are_numbered_without_gaps(sizes: list[int], num_ranks: int) -> None:
    names = {place.file for place in places(sizes, num_ranks, 400).values()}
    for kind in KINDS:
        own = sorted(name for name in names if name.startswith(f"{kind}-"))
        assert own == [f"{kind}-{number:05d}.safetensors" for number in range(len(own))]


def test_one_rank_writes_everything_in_order() -> None:
    placed = places([100, 300, 50, 900], 1, 400)
    weights = [placed["weight", at].file[-17:-12] for at in range(4)]
    assert weights == ["00000", "00000", "00001", "00002"]
