"""The GPU's path, without one: nothing waits for the device, and a block is compiled once for all layers."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from megatron_lite.kernels import attention as attention_module
from megatron_lite.kernels.choice import Kernels
from megatron_lite.model.decoder import Decoder
from megatron_lite.model.documents import documents

ROOT = Path(__file__).parents[3]
FAKE = Path(__file__).parent / "fake_gpu"
TORCH = Path(torch.__file__).parent


def case(config: str = "3b_moe", *, planted: str | None = None, **kernels: Any) -> dict[str, Any]:
    """A forward and backward pass with documents of 300 tokens, as step.py takes it."""
    asked = {"config": config, "document_tokens": 300, "kernels": {"attention": "varlen"} | kernels}
    return asked if planted is None else asked | {"planted": planted}


FREE = {
    "moe": case(),
    "moe, flash-attn": case(attention="flash_attn"),
    "moe, a call a document": case(attention="by_document"),
    "moe, selective": case(activation_checkpointing="selective"),
    "moe, full": case(activation_checkpointing="full"),
    "dense": case("3b_dense"),
}
WAITING = {
    "a product an expert": (case(grouped_experts=False), "aten._local_scalar_dense.default"),
    "item": (case(planted="item"), "aten._local_scalar_dense.default"),
    "to the host": (case(planted="to the host"), "aten._to_copy.default"),
    "nonzero": (case(planted="nonzero"), "aten.nonzero.default"),
    "mask": (case(planted="mask"), "aten.index.Tensor"),
    "copied into the host": (case(planted="copied into the host"), "aten.copy_.default"),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each case gave, in a process of its own: torch must believe in a CUDA device there."""
    library = (
        "" if torch.backends.cuda.is_built() else str(built(tmp_path_factory.mktemp("fake") / "device.so"))
    )
    cases = FREE | {name: asked for name, (asked, _) in WAITING.items()}
    ended = subprocess.run(
        [sys.executable, str(FAKE / "step.py"), library],
        input=json.dumps(list(cases.values())),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    return dict(zip(cases, json.loads(ended.stdout), strict=True))


def built(library: Path) -> Path:
    """device.cpp as a library."""
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    include, libraries = TORCH / "include", TORCH / "lib"
    command = [compiler, "-std=c++20", "-shared", "-fPIC", f"-I{include}", str(FAKE / "device.cpp")]
    command += [f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-lc10", "-ltorch_cpu", "-o", str(library)]
    subprocess.run(command, check=True)
    return library


@pytest.mark.parametrize("name", FREE)
def test_nothing_waits_for_the_device(name: str, found: dict[str, dict[str, Any]]) -> None:
    """Two layers of a 3B model on fake CUDA tensors: the host needs no number of theirs."""
    assert found[name]["waits"] == []


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_is_found(name: str, found: dict[str, dict[str, Any]]) -> None:
    """The experts' loop, and waits planted before the last norm."""
    _, operator = WAITING[name]
    assert operator in found[name]["waits"]


def test_the_kernels_asked_for_are_called(found: dict[str, dict[str, Any]]) -> None:
    """Once a layer in the forward pass; a grouped product is three with its backward pass."""
    grouped = {"_grouped_mm": 2 * 2 * 3}
    assert found["moe"]["called"] == {"_varlen_attn": 4} | grouped
    assert found["moe, flash-attn"]["called"] == {"flash_stand_in": 2} | grouped
    assert found["moe, selective"]["called"] == found["moe"]["called"], "kept, not computed again"
    assert found["moe, full"]["called"] == {"_varlen_attn": 6, "_grouped_mm": 2 * 2 * 4}
    assert found["dense"]["called"] == {"_varlen_attn": 4}


@torch.library.custom_op("tests::opaque_attention", mutates_args=())
def opaque_attention(q: Tensor, k: Tensor, v: Tensor, cu_lengths: Tensor, longest: int) -> Tensor:
    """As opaque to the compiler as flash-attn, and as little a function of the lengths."""
    return q.clone()


@opaque_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, cu_lengths: Tensor, longest: int) -> Tensor:
    assert isinstance(longest, int), "a length that follows the batch: code is compiled again for it"
    return torch.empty_like(q)


def called_as_flash(q: Tensor, k: Tensor, v: Tensor, **how: Any) -> Tensor:
    """The stand-in under flash-attn's names."""
    return opaque_attention(q, k, v, how["cu_seqlens_q"], how["max_seqlen_q"])


def batch(num_documents: int) -> tuple[Tensor, Any]:
    """Two sequences of 32 tokens, the second of two documents; the longest one is another in every batch."""
    tokens_BS = torch.ones(2, 32, dtype=torch.long)
    tokens_BS[0, torch.arange(num_documents - 3) * 3 + 1] = 0
    tokens_BS[1, 15] = 0
    where = documents(tokens_BS, 0)
    assert len(where.boundaries) == num_documents + 1
    return tokens_BS.flatten(), where


@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
@pytest.mark.parametrize("experts", [None, 8], ids=["dense", "moe"])
@pytest.mark.parametrize("kind", ["by_document", "flash_attn"])
def test_a_block_is_one_graph_for_all_layers_and_documents(
    kind: str,
    experts: int | None,
    checkpointing: str,
    make_shape: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No graph break (refused where blocks are compiled), and once more at most when documents change."""
    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counter))
    monkeypatch.setattr(attention_module, "flash_attention", lambda: called_as_flash)
    kernels = Kernels(attention=kind, compile_blocks=True, activation_checkpointing=checkpointing)  # type: ignore[arg-type]
    model = Decoder(make_shape(num_experts=experts, num_layers=6), kernels)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    graphs = []
    for num_documents in (4, 4, 6, 8, 3, 10, 12):
        tokens_T, where = batch(num_documents)
        model(tokens_T, tokens_T, where)
        graphs.append(counter.frame_count)
    assert graphs[0] == graphs[1] == 1, "the first layer's serves all"
    assert graphs[-1] <= 2, graphs
