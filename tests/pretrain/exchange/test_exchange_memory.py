"""Both ways stream: memory holds one tensor at a time, however large the model is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from megatron_lite.model.shape import ModelShape
from pretrain.checkpoint.format import FORMAT, SEAL, file_sha256, state_sha256
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.tensor_file import header
from pretrain.config.derive import model_shape
from pretrain.config.load import load
from pretrain.exchange.config_json import config_json
from pretrain.exchange.keys import model_section
from pretrain.exchange.names import links
from pretrain.exchange.tensors import CODES, Planned, shards

ROOT = Path(__file__).parents[3]
MIB = 2**20
ALLOWANCE = 64 * MIB  # buffers, and what allocators keep
MEASURE = """
import json, sys
from pathlib import Path
from pretrain.data.progress import SilentProgress
from pretrain.exchange.to_transformers import export_model
from pretrain.exchange.from_transformers import import_model

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

small, large = map(Path, sys.argv[1:3])
options = {"dtype": sys.argv[4]} if sys.argv[3] == "export" else {}
call = export_model if options else import_model
call(small, small.with_name("small.out"), progress=SilentProgress(), **options)
before = peak()  # all is imported
call(large, large.with_name("large.out"), progress=SilentProgress(), **options)
print(json.dumps([before, peak()]))
"""


def sparse_files(folder: Path, planned: Sequence[Planned], max_bytes: int) -> dict[str, list[Planned]]:
    """Safetensors of zeros that take no room on the disk."""
    files = {f"weight-{n:05d}.safetensors": part for n, part in enumerate(shards(planned, max_bytes))}
    folder.mkdir()
    for name, part in files.items():
        head = header([(one.name, CODES[one.dtype], one.shape, one.bytes) for one in part])
        (folder / name).write_bytes(head)
        os.truncate(folder / name, len(head) + sum(tensor.bytes for tensor in part))
    return files


def our_checkpoint(folder: Path, shape: ModelShape) -> Path:
    planned = [Planned(name=link.name, shape=link.shape, dtype=torch.float32) for link in links(shape)]
    files = {
        name: {
            "bytes": (folder / name).stat().st_size,
            "sha256": file_sha256(folder / name),
            "tensors": sorted(tensor.name for tensor in part),
        }
        for name, part in sparse_files(folder, planned, 2**30).items()
    }
    facts = {"format": FORMAT, "position": asdict(Position()), "config": {"model": model_section(shape)}}
    state = facts | {"files": files}
    (folder / "state.json").write_text(json.dumps(state | {SEAL: state_sha256(state)}))
    return folder


def their_folder(folder: Path, shape: ModelShape) -> Path:
    planned = [
        Planned(name=part.name, shape=part.shape, dtype=torch.bfloat16)
        for link in links(shape)
        for part in link.parts
    ]
    files = sparse_files(folder, planned, 2**30)
    places = {tensor.name: name for name, part in files.items() for tensor in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text(config_json(shape, {}, "bf16"))
    return folder


def growth(tmp_path: Path, shape: ModelShape, way: str, dtype: str) -> tuple[int, int]:
    """Peak memory of a process before, and with, a model of this shape."""
    make = our_checkpoint if way == "export" else their_folder
    small = make(tmp_path / "small", model_shape(load("tiny_moe")))
    large = make(tmp_path / "large", shape)
    command = [sys.executable, "-c", MEASURE, str(small), str(large), way, dtype]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    shutil.rmtree(tmp_path / "large.out", ignore_errors=True)  # pytest would keep it for a while
    assert ended.returncode == 0, ended.stderr[-3000:]
    before, after = json.loads(ended.stdout)
    return before, after


def largest(shape: ModelShape) -> int:
    return max(4 * torch.Size(link.shape).numel() for link in links(shape))


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


@linux
@pytest.mark.parametrize(
    ("way", "dtype"),
    [("export", "fp32"), ("import", "bf16"), pytest.param("export", "bf16", marks=pytest.mark.slow)],
)
def test_memory_is_that_of_the_largest_tensor(tmp_path: Path, way: str, dtype: str) -> None:
    """429 MiB in tensors of at most 24: holding a file, or a quarter of it all, would show."""
    overrides = ["model.hidden_size=768", "model.num_attention_heads=12", "model.num_key_value_heads=12"]
    overrides += ["model.num_hidden_layers=15", "model.intermediate_size=2048", "model.vocab_size=8192"]
    shape = model_shape(load("tiny_dense", overrides))
    total = sum(4 * torch.Size(link.shape).numel() for link in links(shape))
    assert total > 400 * MIB > 15 * largest(shape)
    before, after = growth(tmp_path, shape, way, dtype)
    assert after - before < 1.5 * largest(shape) + ALLOWANCE


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", ["3b_moe", "3b_dense"])
@pytest.mark.parametrize("way", ["export", "import"])
def test_the_models_of_the_paper_stream(tmp_path: Path, name: str, way: str) -> None:
    """2 GiB and the largest tensor, for the process as a whole."""
    shape = model_shape(load(name))
    if shutil.disk_usage(tmp_path).free < 16 * 2**30:
        pytest.skip("writes 14 GB")
    before, after = growth(tmp_path, shape, way, "fp32")
    print(
        f"{name} {way}: {before / MIB:.0f} MiB before, {after / MIB:.0f} at the peak,",
        f"{largest(shape) / MIB:.0f} the largest tensor",
    )
    assert after < 2**31 + largest(shape)
    assert after - before < 1.5 * largest(shape) + ALLOWANCE
