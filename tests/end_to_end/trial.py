"""Real runs of the start script, small enough for a test, and what came of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "pretrain.py"
BIN = Path(sys.executable).parent
CORPUS_BYTES = 1_000_000
SECONDS = 240  # of any one run: many times what it takes

DENSE = """\
run: {name: dense, root: runs, precision: fp32}
model: {hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 128}
schedule: {name: power, lr_max: 0.01, warmup_tokens: 4096, decay_tokens: 10240}
batch: {sequences: 8, sequence_length: 128, micro_sequences: 1}
stages:
  - {name: stable, tokens: 20480, mix: {text: 1}}
  - {name: decay, tokens: 10240, mix: {text: 1}}
data:
  root: data
  sources: {text: {kind: jsonl, path: corpus.jsonl}}
  tokenizer: {vocab_size: 512, sample_bytes: 400K}
  validation_share: 0.05
checkpoint: {every_steps: 10, keep_last: 2}
evaluate: {every_steps: 10, sequences: 8}
"""
# A router decides between experts: where rounding differs by 1e-7, a near tie may fall the other way, and
# losses are then another run's. At this rate the weights hardly follow a difference within 30 updates.
MOE = DENSE.replace("name: dense", "name: moe").replace("lr_max: 0.01", "lr_max: 0.001")
MOE = MOE.replace(
    "intermediate_size: 128",
    "intermediate_size: 64, architecture: granitemoe, num_local_experts: 4, num_experts_per_tok: 2, "
    "balance_scope: lagged",
)
CONFIGS = {"dense": DENSE, "moe": MOE}
UPDATES = 30


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A process that is no more."""

    code: int
    output: str
    seconds: float


class RunFiles:
    """The folder of a run, read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lines(self, name: str = "metrics.jsonl", kind: str | None = None) -> list[dict[str, Any]]:
        """The lines of a file; of one kind."""
        path = self.folder / name
        raws = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        lines = [json.loads(raw) for raw in raws if raw.endswith(b"\n")]
        return [line for line in lines if kind is None or line["kind"] == kind]

    @property
    def losses(self) -> list[float]:
        """Of every update."""
        return [line["loss"] for line in self.lines(kind="train")]

    @property
    def status(self) -> dict[str, Any]:
        """What status.json says."""
        return json.loads((self.folder / "status.json").read_text())

    @property
    def summary(self) -> dict[str, Any]:
        """What summary.json says."""
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def metrics(self) -> bytes:
        """The bytes of metrics.jsonl."""
        return (self.folder / "metrics.jsonl").read_bytes()

    @property
    def checkpoints(self) -> list[str]:
        """Names of the checkpoints, and of whatever else lies among them but `latest`."""
        names = (path.name for path in (self.folder / "checkpoints").iterdir())
        return sorted(name for name in names if name != "latest")

    def tree(self) -> dict[str, bytes]:
        """Every file and its bytes."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}


class Started:
    """A launched run."""

    def __init__(self, command: list[str], folder: Path, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        self.began = time.monotonic()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group of its own, as a terminal gives it
            )

    def signal(self, number: signal.Signals) -> None:
        """To the launched process alone."""
        self.process.send_signal(number)

    def signal_group(self, number: signal.Signals) -> None:
        """To it and its children, as a terminal's Ctrl-C."""
        os.killpg(self.process.pid, number)

    def wait(self, seconds: float = SECONDS) -> Ended:
        """Until it ends."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"still running after {seconds} s:\n{self.output[-4000:]}") from None
        return Ended(code=code, output=self.output, seconds=time.monotonic() - self.began)

    @property
    def output(self) -> str:
        """All that it has said so far."""
        return self.log.read_text(errors="replace")

    def stop(self) -> None:
        """End whatever of it still lives."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


class Trial:
    """A folder with a corpus and configs, where runs are started from. Runs asked for twice are made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[str, Ended] = {}
        self.started: list[Started] = []
        write_corpus(folder / "corpus.jsonl")
        for name, text in CONFIGS.items():
            (folder / f"{name}.yaml").write_text(text)

    def files(self, name: str) -> RunFiles:
        """The run folder of this name."""
        return RunFiles(self.folder / "runs" / name)

    def start(
        self, name: str, *overrides: str, config: str = "dense", launcher: str = "python", ranks: int = 1
    ) -> Started:
        """Start a run and return at once."""
        arguments = ["--config", f"{config}.yaml", f"run.name={name}", *overrides]
        command = launch_command(launcher, ranks) + arguments
        log = self.folder / f"{name}.{len(self.started)}.log"
        started = Started(command, self.folder, log, self.environment)
        self.started.append(started)
        return started

    def run(self, name: str, *overrides: str, **how: Any) -> Ended:
        """Start a run and wait for its end."""
        return self.start(name, *overrides, **how).wait()

    def finished(self, name: str, *overrides: str, **how: Any) -> RunFiles:
        """The run of this name, made when first asked for; it must have finished."""
        if name not in self.made:
            self.made[name] = self.run(name, *overrides, **how)
        ended = self.made[name]
        assert ended.code == 0, ended.output[-6000:]
        assert self.files(name).status["state"] == "finished"
        return self.files(name)

    def until(self, started: Started, name: str, step: int) -> None:
        """Wait until the run of this name has made `step` updates; it must still be running then."""
        end = time.monotonic() + SECONDS
        while len(self.files(name).lines(kind="train")) < step:
            assert started.process.poll() is None, started.output[-4000:]
            assert time.monotonic() < end, started.output[-4000:]
            time.sleep(0.005)

    def until_saved(self, started: Started, name: str, step: int) -> None:
        """Wait until the checkpoint of `step`, which is written behind the training, has its name."""
        end, folder = time.monotonic() + SECONDS, self.files(name).folder / "checkpoints" / f"step_{step:08d}"
        while not folder.exists():
            assert started.process.poll() is None, started.output[-4000:]
            assert time.monotonic() < end, started.output[-4000:]
            time.sleep(0.005)

    @cached_property
    def environment(self) -> dict[str, str]:
        """Of every run. Nothing that would let it import the project but its own start script."""
        left_out = ("PYTHONPATH", "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
        inherited = {key: value for key, value in os.environ.items() if key not in left_out}
        path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
        return inherited | {
            "PATH": path,
            "DS_ACCELERATOR": "cpu",
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": "1",
            "TORCH_EXTENSIONS_DIR": str(self.folder / "extensions"),  # stays empty: nothing is compiled
        }

    def copy(self, name: str, new: str, *, step: int) -> RunFiles:
        """A copy of a finished run as it stood at a checkpoint, its record not yet taken back."""
        self.finished(name)
        target = self.folder / "runs" / new
        shutil.copytree(self.folder / "runs" / name, target)
        for file in ("summary.json", "report.html", "status.json"):
            (target / file).unlink()
        for checkpoint in (target / "checkpoints").iterdir():
            if checkpoint.name > f"step_{step:08d}":
                shutil.rmtree(checkpoint)
        return self.files(new)

    def close(self) -> None:
        """Leave no process behind."""
        for started in self.started:
            started.stop()


def launch_command(launcher: str, ranks: int) -> list[str]:
    """How each launcher is called."""
    if launcher == "python":
        assert ranks == 1
        return [sys.executable, str(SCRIPT)]
    if launcher == "torchrun":
        command = ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks)]
    else:
        assert launcher == "deepspeed"
        command = [str(BIN / "deepspeed"), "--num_accelerators", str(ranks)]
    return [sys.executable, *command, "--master_port", str(free_port()), str(SCRIPT)]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_corpus(path: Path) -> None:
    """Modules of the standard library, a document each."""
    size = 0
    with path.open("w", encoding="utf-8") as file:
        for module in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
            text = module.read_text(encoding="utf-8", errors="ignore")
            if len(text) < 60_000 and size < CORPUS_BYTES:
                file.write(json.dumps({"text": text}) + "\n")
                size += len(text)
