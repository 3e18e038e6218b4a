"""How many ranks a run has, on which machines, and where they meet: by the variables of whoever starts it.

Every way to start a run asks here. A process that torchrun, deepspeed, srun or mpirun started asks which rank
it is; launch/ranks.py, started once on each machine (Docker, Kubernetes, by hand), asks which ranks to start;
the Slurm scripts ask how many tasks a node has. The variables are handed in: the doors alone read them.

What people say counts before what a scheduler says: NODES, NODE_RANK, RANKS_PER_NODE, MASTER_ADDR and
MASTER_PORT.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pretrain.errors import UserError
from pretrain.ranks import Ranks

HERE, PORT, LAST_PORT = "127.0.0.1", 29500, 65535
RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = range(4)
MPI = (
    (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),  # MPICH's and Intel's
)
Environ = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All ranks of a run, seen from one of its machines."""

    nodes: int  # machines
    node: int  # which of them this is, from 0
    gpus: int  # of each machine
    per_node: int  # ranks of each machine
    address: str
    port: int  # 0: any that is free, where there is one machine
    by: str  # who said how many machines there are

    @property
    def size(self) -> int:
        """The number of all ranks."""
        return self.nodes * self.per_node

    def here(self) -> list[Ranks]:
        """The ranks of this machine."""
        return [
            Ranks(
                rank=self.node * self.per_node + local,
                size=self.size,
                local_rank=local,
                local_size=self.per_node,
                address=self.address,
                port=self.port,
            )
            for local in range(self.per_node)
        ]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a scheduler says of the machines of a job; None: nothing."""

    by: str
    nodes: int | None
    node: int | None
    gpus: int | None = None
    per_node: int | None = None
    address: str | None = None
    port: int = PORT


def variables_of(ranks: Ranks) -> dict[str, str]:
    """What tells a process its place, in torchrun's words: `ranks_from` reads it back."""
    return {
        "RANK": str(ranks.rank),
        "WORLD_SIZE": str(ranks.size),
        "LOCAL_RANK": str(ranks.local_rank),
        "LOCAL_WORLD_SIZE": str(ranks.local_size),
        "MASTER_ADDR": ranks.address,
        "MASTER_PORT": str(ranks.port),
    }


def ranks_from(environ: Environ) -> Ranks:
    """This process's place among all: by torchrun's and deepspeed's variables, Slurm's, MPI's, else alone.

    Raises UserError where MPI started ranks on several machines and nobody said where they meet.
    """
    if "RANK" in environ and "WORLD_SIZE" in environ:
        local = environ.get("LOCAL_WORLD_SIZE") or environ.get("LOCAL_SIZE") or environ["WORLD_SIZE"]
        return Ranks(
            rank=int(environ["RANK"]),
            size=int(environ["WORLD_SIZE"]),
            local_rank=int(environ.get("LOCAL_RANK", 0)),
            local_size=int(local),
            address=environ.get("MASTER_ADDR", HERE),
            port=int(environ.get("MASTER_PORT", PORT)),
            served=environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=int(environ.get("TORCHELASTIC_RESTART_COUNT", 0)),
        )
    if int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:  # srun's own: a batch script has SLURM_NTASKS too
        size, nodes = int(environ["SLURM_STEP_NUM_TASKS"]), int(environ.get("SLURM_STEP_NUM_NODES", 1))
        return Ranks(
            rank=int(environ["SLURM_PROCID"]),
            size=size,
            local_rank=int(environ.get("SLURM_LOCALID", 0)),
            local_size=size // nodes,
            address=environ.get("MASTER_ADDR") or first_host(environ.get("SLURM_STEP_NODELIST", HERE)),
            port=int(environ.get("MASTER_PORT", _slurm_port(environ))),
        )
    told = _mpi(environ)
    if told and told[SIZE] > 1:
        alone = HERE if told[SIZE] == told[LOCAL_SIZE] else None
        return Ranks(
            rank=told[RANK],
            size=told[SIZE],
            local_rank=told[LOCAL_RANK],
            local_size=told[LOCAL_SIZE],
            address=_meeting_point(environ, alone, "MPI"),
            port=int(environ.get("MASTER_PORT", PORT)),
        )
    return Ranks(rank=0, size=1, local_rank=0, local_size=1, address=HERE, port=0)


def layout_from(environ: Environ, count_gpus: Callable[[], int]) -> Layout:
    """The ranks of a run, asked once on each machine; `count_gpus` is asked where no scheduler says how many.

    Raises UserError, naming the variable, where one is missing or they do not fit together.
    """
    said = _slurm(environ) or _kubernetes(environ) or _mpi_machines(environ)
    said = said or Said(by="this machine", nodes=1, node=None)
    nodes, node = _number(environ, "NODES", said.nodes, 1), _number(environ, "NODE_RANK", said.node, 0)
    if nodes is None:
        raise UserError(f"NODES: {said.by} does not say how many machines there are: set it to that number")
    if node is None and nodes > 1:
        raise UserError(f"NODE_RANK: of {nodes} machines, nobody says which one this is: 0 to {nodes - 1}")
    if (node or 0) >= nodes:
        raise UserError(f"NODE_RANK: {node} of {nodes} machines, which are counted from 0")
    gpus = count_gpus() if said.gpus is None else said.gpus
    alone = HERE if nodes == 1 else None
    port = _number(environ, "MASTER_PORT", 0 if alone and said.port == PORT else said.port, int(nodes > 1))
    if port and port > LAST_PORT:
        raise UserError(f"MASTER_PORT: {port} is no port, which are up to {LAST_PORT}")
    return Layout(
        nodes=nodes,
        node=node or 0,
        gpus=gpus,
        per_node=_per_node(environ, said, gpus),
        address=_meeting_point(environ, said.address or alone, said.by),
        port=port or 0,
        by="NODES" if environ.get("NODES") else said.by,
    )


def first_host(nodes: str) -> str:
    """The first of Slurm's list of nodes: `gpu[03-05,9],cpu1` begins with `gpu03`."""
    found = re.match(r"([^,\[]+)(?:\[(\d+))?", nodes)
    return "".join(found.groups(default="")) if found else nodes


def _slurm(environ: Environ) -> Said | None:
    if "SLURM_JOB_NUM_NODES" not in environ:
        return None
    nodes = int(environ["SLURM_JOB_NUM_NODES"])
    tasks = _number(environ, "SLURM_NTASKS_PER_NODE", None, 1)
    if "SLURM_STEP_NUM_TASKS" in environ:  # started by srun: its tasks are machines
        nodes, tasks = int(environ.get("SLURM_STEP_NUM_NODES", nodes)), None
        if int(environ["SLURM_STEP_NUM_TASKS"]) != nodes:
            raise UserError(_once("srun", f"{environ['SLURM_STEP_NUM_TASKS']} tasks on {nodes} nodes"))
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST")
    return Said(
        by="Slurm",
        nodes=nodes,
        node=int(environ.get("SLURM_NODEID", 0)),
        gpus=_slurm_gpus(environ),
        per_node=tasks,
        address=first_host(hosts) if hosts else None,
        port=_slurm_port(environ),
    )


def _slurm_gpus(environ: Environ) -> int:
    """Of each machine: `8`, `a100:8` or `h100:4,l4:1`; none where none were asked for, seen or not."""
    name = "SLURM_GPUS_PER_NODE" if environ.get("SLURM_GPUS_PER_NODE") else "SLURM_GPUS_ON_NODE"
    counts = [part.rpartition(":")[2] for part in environ.get(name, "").split(",")]
    if counts == [""]:
        return 0
    if not all(count.isdecimal() for count in counts):
        raise UserError(f"{name}: {environ[name]!r} is no number of GPUs, such as 8, a100:8 or h100:4,l4:1")
    return sum(map(int, counts))


def _slurm_port(environ: Environ) -> int:
    """Below the ports that the system gives to outgoing connections, and another one for every job."""
    return 10000 + int(environ.get("SLURM_JOB_ID", 0)) % 20000


def _kubernetes(environ: Environ) -> Said | None:
    """A pod of an indexed job, named JOB-INDEX, behind a headless service that has the job's name."""
    if "JOB_COMPLETION_INDEX" not in environ:
        return None
    index = environ["JOB_COMPLETION_INDEX"]
    node = _number(environ, "JOB_COMPLETION_INDEX", None, 0)
    job = environ.get("HOSTNAME", "").removesuffix(f"-{index}")
    return Said(by="Kubernetes", nodes=None, node=node, address=f"{job}-0.{job}" if job else None, port=PORT)


def _mpi_machines(environ: Environ) -> Said | None:
    told = _mpi(environ)
    if told is None:
        return None
    if told[LOCAL_SIZE] > 1:
        raise UserError(_once("mpirun", f"{told[LOCAL_SIZE]} processes on this machine"))
    return Said(by="MPI", nodes=told[SIZE], node=told[RANK])


def _mpi(environ: Environ) -> tuple[int, int, int, int] | None:
    """Rank, size, local rank and local size."""
    for names in MPI:
        if all(name in environ for name in names):
            rank, size, local_rank, local_size = (int(environ[name]) for name in names)
            return rank, size, local_rank, local_size
    return None


def _once(launcher: str, started: str) -> str:
    return (
        f"{launcher} started {started}: launch/ranks.py is started once on each machine and starts the ranks "
        f"itself; let {launcher} start launch/pretrain.py where it starts them all"
    )


def _per_node(environ: Environ, said: Said, gpus: int) -> int:
    """One a GPU, one on a machine without; or as many as somebody says."""
    wished = _number(environ, "RANKS_PER_NODE", said.per_node, 1)
    if wished is not None and 0 < gpus < wished:
        name = "RANKS_PER_NODE" if environ.get("RANKS_PER_NODE") else "--ntasks-per-node"
        raise UserError(f"{name}: {wished} tasks cannot share {gpus} GPUs; leave it out for one a GPU")
    return wished or max(gpus, 1)


def _meeting_point(environ: Environ, known: str | None, by: str) -> str:
    address = environ.get("MASTER_ADDR") or known
    if not address:
        raise UserError(f"MASTER_ADDR: {by} does not say where the ranks meet: set it to the first machine")
    return address


def _number(environ: Environ, name: str, otherwise: int | None, least: int) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return otherwise
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{name}: {text!r} is no whole number from {least}")
    return int(text)
