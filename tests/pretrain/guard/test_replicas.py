"""One flipped bit on one rank: seen, and the rank and the parameter named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.guard.replicas import _mixed, _sum, describe

ROOT = Path(__file__).parents[3]
WORKER = Path(__file__).parent / "replica_rank.py"


def outcomes(num_ranks: int, odd: str) -> list[tuple[int, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    told = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(num_ranks)}
    base = os.environ | told | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), odd],
            env=base | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_ranks)
    ]
    try:
        said = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


@pytest.mark.dist
@pytest.mark.parametrize(
    ("num_ranks", "odd"),
    [(3, "1"), pytest.param(3, "none", marks=pytest.mark.slow)],
    ids=["flipped", "equal"],
)
def test_a_flipped_bit_of_one_rank_in_three_is_named_by_all(num_ranks: int, odd: str) -> None:
    said = "weights after update 7: rank 1 of 3 differs from the others, in layers.0.up\n"
    expected = (0, "") if odd == "none" else (3, said)
    assert outcomes(num_ranks, odd) == [expected] * num_ranks


def test_two_ranks_cannot_tell_who_is_right() -> None:
    text = describe([5, 6], [[1, 2, 3], [1, 9, 3]], ["a", "b", "c"], 40)
    assert (
        text == "weights after update 40: ranks 0 to 1 disagree, with no majority to tell who is right, in b"
    )


def test_several_odd_ranks_and_many_parameters() -> None:
    sums = [[0] * 5, [1] * 5, [0] * 5, [2] * 5, [0] * 5]
    text = describe([7, 8, 7, 9, 7], sums, list("abcde"), 1)
    assert "ranks 1, 3 of 5 differ from the others, in a, b, c and 2 more" in text


@given(st.integers(0, 31), st.integers(0, 59), st.integers(0, 1))
def test_every_bit_of_every_weight_counts(bit: int, index: int, which: int) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(60, generator=generator) for _ in range(2)]
    before = _mixed(torch.stack([_sum(tensor) for tensor in tensors]))
    tensors[which].view(torch.int32)[index] ^= (1 << bit) - (2**32 if bit == 31 else 0)
    assert _mixed(torch.stack([_sum(tensor) for tensor in tensors])) != before


def test_tensors_that_changed_places_differ() -> None:
    a, b = torch.ones(3), torch.zeros(3)
    first, second = ([_sum(tensor) for tensor in pair] for pair in ((a, b), (b, a)))
    assert _mixed(torch.stack(first)) != _mixed(torch.stack(second))
