"""How many ranks, where: by the variables of each launcher and scheduler, as pure functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import UserError
from pretrain.layout import Layout, layout_from, ranks_from, variables_of
from pretrain.ranks import Ranks

CASES = {
    "alone": (
        {"PATH": "/bin"},
        Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0),
    ),
    "torchrun": (
        {
            "RANK": "5",
            "WORLD_SIZE": "8",
            "LOCAL_RANK": "1",
            "LOCAL_WORLD_SIZE": "4",
            "MASTER_ADDR": "node7",
            "MASTER_PORT": "1234",
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "2",
        },
        Ranks(rank=5, size=8, local_rank=1, local_size=4, address="node7", port=1234, served=True, attempt=2),
    ),
    "deepspeed": (
        {
            "RANK": "9",
            "WORLD_SIZE": "16",
            "LOCAL_RANK": "1",
            "LOCAL_SIZE": "8",
            "CROSS_RANK": "1",
            "MASTER_ADDR": "10.0.0.1",
            "MASTER_PORT": "29500",
        },
        Ranks(rank=9, size=16, local_rank=1, local_size=8, address="10.0.0.1", port=29500),
    ),
    "slurm, two nodes": (
        {
            "SLURM_STEP_NUM_TASKS": "16",
            "SLURM_PROCID": "11",
            "SLURM_LOCALID": "3",
            "SLURM_STEP_NUM_NODES": "2",
            "SLURM_STEP_NODELIST": "gpu[03-04]",
            "SLURM_JOB_ID": "54321",
        },
        Ranks(rank=11, size=16, local_rank=3, local_size=8, address="gpu03", port=10000 + 54321 % 20000),
    ),
    "slurm, told where to meet": (
        {
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_PROCID": "1",
            "SLURM_LOCALID": "1",
            "MASTER_ADDR": "a",
            "MASTER_PORT": "7",
        },
        Ranks(rank=1, size=2, local_rank=1, local_size=2, address="a", port=7),
    ),
    "a batch script inside an allocation, without srun": (
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "3"},
        Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0),
    ),
    "Open MPI, two machines": (
        {
            "OMPI_COMM_WORLD_RANK": "3",
            "OMPI_COMM_WORLD_SIZE": "4",
            "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
            "MASTER_ADDR": "first",
        },
        Ranks(rank=3, size=4, local_rank=1, local_size=2, address="first", port=29500),
    ),
    "MPICH, one machine": (
        {
            "PMI_RANK": "1",
            "PMI_SIZE": "2",
            "MPI_LOCALRANKID": "1",
            "MPI_LOCALNRANKS": "2",
            "MASTER_PORT": "8",
        },
        Ranks(rank=1, size=2, local_rank=1, local_size=2, address="127.0.0.1", port=8),
    ),
    "srun that speaks MPI's language, too": (
        {
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_PROCID": "1",
            "SLURM_LOCALID": "1",
            "SLURM_STEP_NODELIST": "n1",
            "PMI_RANK": "0",
            "PMI_SIZE": "9",
        },
        Ranks(rank=1, size=2, local_rank=1, local_size=2, address="n1", port=10000),
    ),
    "one process of mpirun": (
        {
            "OMPI_COMM_WORLD_RANK": "0",
            "OMPI_COMM_WORLD_SIZE": "1",
            "OMPI_COMM_WORLD_LOCAL_RANK": "0",
            "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
        },
        Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0),
    ),
    "a launcher's variables before Slurm's": (
        {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"},
        Ranks(rank=1, size=2, local_rank=1, local_size=2, address="127.0.0.1", port=29500),
    ),
}


@pytest.mark.parametrize("launcher", CASES)
def test_the_place_among_ranks(launcher: str) -> None:
    environ, ranks = CASES[launcher]
    assert ranks_from(environ) == ranks


def gpus(number: int) -> Any:
    return lambda: number


def never() -> int:
    raise AssertionError("the scheduler says how many GPUs there are")


OMPI = (
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
)
SLURM = {"SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_ID": "20017", "SLURM_JOB_NODELIST": "gpu[07-09]"}
STEP = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_NUM_NODES": "3", "SLURM_STEP_NODELIST": "gpu[07-09]"}
POD = {"JOB_COMPLETION_INDEX": "2", "HOSTNAME": "train-2", "NODES": "4"}
MANY = {"NODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "first"}
# variables, GPUs (None: nobody may count) -> nodes, node, ranks of each, address, port, who says so
LAYOUTS: dict[str, tuple[dict[str, str], int | None, tuple[Any, ...]]] = {
    "a machine with GPUs": ({}, 8, (1, 0, 8, "127.0.0.1", 0, "this machine")),
    "a machine without": ({}, 0, (1, 0, 1, "127.0.0.1", 0, "this machine")),
    "fewer ranks than GPUs": ({"RANKS_PER_NODE": "2"}, 8, (1, 0, 2, "127.0.0.1", 0, "this machine")),
    "several ranks on a CPU": ({"RANKS_PER_NODE": "3"}, 0, (1, 0, 3, "127.0.0.1", 0, "this machine")),
    "a port that is wanted": ({"MASTER_PORT": "7"}, 1, (1, 0, 1, "127.0.0.1", 7, "this machine")),
    "an empty variable says nothing": (
        {"NODES": "", "RANKS_PER_NODE": ""},
        1,
        (1, 0, 1, "127.0.0.1", 0, "this machine"),
    ),
    "by hand on two machines": (MANY, 4, (2, 1, 4, "first", 29500, "NODES")),
    "another port": (MANY | {"MASTER_PORT": "7"}, 4, (2, 1, 4, "first", 7, "NODES")),
    "a batch script": (SLURM | {"SLURM_GPUS_PER_NODE": "a100:4"}, None, (3, 0, 4, "gpu07", 10017, "Slurm")),
    "a node without GPUs": (SLURM, None, (3, 0, 1, "gpu07", 10017, "Slurm")),
    "tasks that are asked for": (
        SLURM | {"SLURM_NTASKS_PER_NODE": "2", "SLURM_GPUS_ON_NODE": "8"},
        None,
        (3, 0, 2, "gpu07", 10017, "Slurm"),
    ),
    "srun, one task a node": (
        SLURM | STEP | {"SLURM_NODEID": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_NTASKS_PER_NODE": "1"},
        None,
        (3, 2, 8, "gpu07", 10017, "Slurm"),
    ),
    "one node of Slurm's": (SLURM | {"SLURM_JOB_NUM_NODES": "1"}, None, (1, 0, 1, "gpu07", 10017, "Slurm")),
    "a pod": (POD, 8, (4, 2, 8, "train-0.train", 29500, "NODES")),
    "the only pod": (
        {"JOB_COMPLETION_INDEX": "0", "HOSTNAME": "a-0", "NODES": "1"},
        1,
        (1, 0, 1, "a-0.a", 0, "NODES"),
    ),
    "a pod that is told where to meet": (POD | {"MASTER_ADDR": "db"}, 1, (4, 2, 1, "db", 29500, "NODES")),
    "mpirun, one process a machine": (
        dict(zip(OMPI, "1201", strict=True)) | {"MASTER_ADDR": "first"},
        8,
        (2, 1, 8, "first", 29500, "MPI"),
    ),
    "people before schedulers": (
        SLURM
        | {"NODES": "2", "NODE_RANK": "1", "RANKS_PER_NODE": "5", "MASTER_ADDR": "x", "MASTER_PORT": "1"},
        None,
        (2, 1, 5, "x", 1, "NODES"),
    ),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_the_ranks_that_a_machine_starts(case: str) -> None:
    environ, counted, expected = LAYOUTS[case]
    made = layout_from(environ, never if counted is None else gpus(counted))
    assert (made.nodes, made.node, made.per_node, made.address, made.port, made.by) == expected


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"NODES": "two"}, "NODES: 'two' is no whole number from 1"),
        ({"NODES": "0"}, "NODES: '0' is no whole number from 1"),
        (
            {"NODES": "2", "MASTER_ADDR": "a"},
            "NODE_RANK: of 2 machines, nobody says which one this is: 0 to 1",
        ),
        ({"NODES": "2", "NODE_RANK": "1"}, "MASTER_ADDR: this machine does not say where the ranks meet"),
        (MANY | {"NODE_RANK": "2"}, "NODE_RANK: 2 of 2 machines"),
        ({"RANKS_PER_NODE": "9"}, "RANKS_PER_NODE: 9 tasks cannot share 8 GPUs"),
        (
            SLURM | {"SLURM_NTASKS_PER_NODE": "4", "SLURM_GPUS_PER_NODE": "2"},
            "--ntasks-per-node: 4 tasks cannot share 2 GPUs",
        ),
        (SLURM | STEP | {"SLURM_STEP_NUM_TASKS": "24"}, "srun started 24 tasks on 3 nodes"),
        ({"JOB_COMPLETION_INDEX": "0", "HOSTNAME": "a-0"}, "NODES: Kubernetes does not say how many"),
        (POD | {"NODES": "2"}, "NODE_RANK: 2 of 2 machines"),
        (dict(zip(OMPI, "0401", strict=True)), "MASTER_ADDR: MPI does not say"),
        (dict(zip(OMPI, "0414", strict=True)), "mpirun started 4 processes on this machine"),
        (MANY | {"NODE_RANK": "0", "MASTER_PORT": "0"}, "MASTER_PORT: '0' is no whole number from 1"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT: 99999 is no port"),
        ({"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX: 'x' is no whole number from 0"),
        (SLURM | {"SLURM_GPUS_PER_NODE": "gpu"}, "SLURM_GPUS_PER_NODE: 'gpu' is no number of GPUs"),
        (SLURM | {"SLURM_NTASKS_PER_NODE": "2x"}, "SLURM_NTASKS_PER_NODE: '2x' is no whole number from 1"),
    ],
)
def test_variables_that_do_not_fit_are_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match="^" + words):
        layout_from(environ, gpus(8))


def test_mpi_on_several_machines_must_be_told_where_to_meet() -> None:
    with pytest.raises(UserError, match=r"^MASTER_ADDR: MPI"):
        ranks_from(dict(zip(OMPI, "0402", strict=True)))


@given(nodes=st.integers(1, 9), per_node=st.integers(1, 9))
def test_the_machines_together_start_every_rank_once(nodes: int, per_node: int) -> None:
    told = {"NODES": str(nodes), "RANKS_PER_NODE": str(per_node), "MASTER_ADDR": "a", "MASTER_PORT": "5"}
    layouts = [layout_from(told | {"NODE_RANK": str(node)}, gpus(0)) for node in range(nodes)]
    ranks = [one for layout in layouts for one in layout.here()]
    assert [one.rank for one in ranks] == list(range(nodes * per_node))
    assert {one.size for one in ranks} == {layouts[0].size}
    assert all(one.local_rank == one.rank % per_node for one in ranks)
    assert all(ranks_from(variables_of(one)) == one for one in ranks)


def test_a_layout_is_seen_the_same_from_every_machine() -> None:
    seen = {
        layout_from(POD | {"JOB_COMPLETION_INDEX": str(n), "HOSTNAME": f"train-{n}"}, gpus(8))
        for n in range(4)
    }
    assert {(one.nodes, one.per_node, one.address, one.port) for one in seen} == {
        (4, 8, "train-0.train", 29500)
    }
    assert {one.node for one in seen} == {0, 1, 2, 3}
    assert all(isinstance(one, Layout) for one in seen)


@pytest.mark.parametrize(("said", "count"), [("4", 4), ("a100:8", 8), ("h100:4,l4:1", 5)])
def test_slurm_says_how_many_gpus_a_machine_has(said: str, count: int) -> None:
    assert layout_from(SLURM | {"SLURM_GPUS_PER_NODE": said}, never).gpus == count
