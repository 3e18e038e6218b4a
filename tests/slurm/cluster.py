"""A real Slurm on one machine: a controller and nodes that have names, ports and cores of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from queued import SECONDS, Job
from settings import CONFIG, NODE
from trial import BIN, ROOT, RunFiles, Trial, free_port

SCRIPTS = ROOT / "launch" / "slurm"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo")
NODES = ("n1", "n2")
GPU_NODE = "g1"  # its GPUs are empty files: enough for Slurm to hand them out


def missing() -> str | None:
    """Why there can be no Slurm here, or None."""
    absent = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if absent:
        return f"no Slurm here ({', '.join(absent)} not found); .ci/slurm installs it on Debian"
    return None if os.geteuid() == 0 else "a Slurm of one's own needs root"


def _path() -> str:
    return f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"


class Cluster:
    """The daemons, and the commands that people give them."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: a socket's path has 107 letters
        self.environment = trial.environment | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": _path(),
            "VENV": str(BIN.parent),
        }
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.whole: dict[tuple[str, ...], RunFiles] = {}

    def start(self) -> None:
        """Everything, until the nodes are idle."""
        for name in ("state", *(f"spool/{node}" for node in (*NODES, GPU_NODE))):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        nodes = [NODE.format(name=name, port=free_port()) for name in (*NODES, GPU_NODE)]
        nodes[-1] += " Gres=gpu:2"
        text = CONFIG.format(folder=self.folder, port=free_port(), nodes="\n".join(nodes))
        (self.folder / "slurm.conf").write_text(text)
        for number in (0, 1):
            (self.folder / f"gpu{number}").touch()
        gres = f"NodeName={GPU_NODE} Name=gpu File={self.folder}/gpu[0-1]\n"
        (self.folder / "gres.conf").write_text(gres)
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        names = ("socket", "key-file", "pid-file", "log-file", "seed-file")
        files = [f"--{name}={self.folder}/munge.{name.removesuffix('-file')}" for name in names]
        self._daemon("munged", "munged", "--foreground", "--force", *files)
        self._daemon("slurmctld", "slurmctld", "-D", "-i", "-c")
        for node in (*NODES, GPU_NODE):
            self.start_node(node)
        self.until_idle()

    def _daemon(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True, cwd=self.folder
            )

    def start_node(self, node: str) -> None:
        """A node with one core, where the machine has as many."""
        cores = sorted(os.sched_getaffinity(0))
        core = cores[int(node[1:]) % len(cores)]
        self._daemon(node, "taskset", "--cpu-list", str(core), "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """The node is gone at once, with all that runs on it."""
        self.daemons[node].kill()
        self.daemons[node].wait()
        there = [one for one in self.processes() if one.environ().get("SLURMD_NODENAME") == node]
        watchers = {parent for one in there if (parent := one.parent()) and parent.name() == "slurmstepd"}
        for process in (*watchers, *there):  # first those that would tell
            process.kill()

    def processes(self) -> list[psutil.Process]:
        """Every process of this Slurm, its daemons and jobs."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def until_idle(self, *nodes: str) -> None:
        """Wait until these nodes can take a job; without a name both of the default partition."""
        end, names = time.monotonic() + SECONDS, nodes or NODES
        look = ("sinfo", "--noheader", "--partition=main", f"--nodes={','.join(names)}", "--format=%t %D")
        while self.ask(*look).strip() != f"idle {len(names)}":
            logs = "\n".join(path.read_text()[-1500:] for path in self.folder.glob("*.log"))
            assert time.monotonic() < end, logs
            time.sleep(0.2)

    def until_empty(self) -> None:
        """Wait until no job is queued or running."""
        end = time.monotonic() + SECONDS
        while jobs := self.ask("squeue", "--noheader", check=True):
            assert time.monotonic() < end, jobs
            time.sleep(0.2)

    def ask(self, *command: str, check: bool = False) -> str:
        """Give a command; its output."""
        ended = subprocess.run(
            command,
            env=self.environment,
            cwd=self.trial.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert not check or ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def submit(self, script: str | Path, *words: str, options: tuple[str, ...] = (), **variables: str) -> Job:
        """Submit a script of launch/slurm for nodes without GPUs, or one of one's own as it is."""
        for name, value in variables.items():
            options = (f"--export=ALL,{name}={value}", *options)
        gpus = () if isinstance(script, Path) else ("--gpus-per-node=0",)
        command = ["sbatch", "--parsable", *gpus, "--output=%j.log", *options]
        number = int(self.ask(*command, str(SCRIPTS / script), *words, check=True))
        return Job(number=number, log=self.trial.folder / f"{number}.log", ask=self.ask)

    def left_alone(self, *words: str) -> RunFiles:
        """The two-node run with these overrides that nothing happened to; made when first asked for."""
        if words not in self.whole:
            name = f"whole-{len(self.whole)}"
            job = self.submit(
                "many_nodes.sbatch",
                "--config",
                "dense.yaml",
                f"run.name={name}",
                *words,
                options=("--nodes=2",),
            )
            job.until("COMPLETED")
            self.whole[words] = self.trial.files(name)
            assert self.whole[words].status["state"] == "finished", job.output
        return self.whole[words]

    def stop(self) -> None:
        """Leave nothing behind."""
        if "slurmctld" in self.daemons:
            self.ask("scancel", "--user=root", "--signal=KILL", "--full")
            self.ask("scancel", "--user=root")
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for daemon in self.daemons.values():
            daemon.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)
