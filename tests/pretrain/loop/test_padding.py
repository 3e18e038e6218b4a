"""Padding is as if it were not there: in the loss, in the router's losses and counts, in every gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.distributed as dist
from test_step import CPU, END, MODELS, MUP, OPTIMIZER, VOCABULARY, Recording, shape_of

from megatron_lite.kernels.choice import Kernels
from megatron_lite.mup.groups import groups
from pretrain.data.batch import Batch, batch_of
from pretrain.data.packing import PADDING
from pretrain.loop.build import build_model, initial_state
from pretrain.loop.layers import Layers
from pretrain.loop.step import StepResult, train_step
from pretrain.ranks import Ranks, join

LENGTH, PADDED = 10, 16
KERNELS = [
    Kernels(),
    Kernels(activation_checkpointing="full"),
    pytest.param(Kernels(compile_blocks=True), marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Iterator[None]:
    join(Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0), CPU)
    yield
    dist.destroy_process_group()


def trained(name: str, scope: str, kernels: Kernels, batches: list[Batch]) -> tuple[Recording, StepResult]:
    model = MODELS[name].model_copy(update={"balance_scope": scope})
    shape = shape_of(model)
    engine = Recording(build_model(shape, "fp32", CPU, kernels), groups(shape, MUP, 0.1), OPTIMIZER)
    engine.load(initial_state(shape, MUP, seed=0), updates=0)
    layers = Layers(engine, shape, CPU)
    result = train_step(
        engine, batches, lr=0.01, model=model, previous_counts=None, device=CPU, stop=False, layers=layers
    )
    return engine, result


@pytest.mark.parametrize("kernels", KERNELS, ids=["plain", "full", "compiled"])
@pytest.mark.parametrize(("name", "scope"), [("dense", "lagged"), ("moe", "lagged"), ("moe", "micro_batch")])
def test_a_batch_with_padding_is_the_batch_without(name: str, scope: str, kernels: Kernels) -> None:
    torch.compiler.reset()
    rows = np.random.default_rng(1).integers(4, VOCABULARY, (6, LENGTH + 1))
    rows[2, 4] = rows[5, 9] = END
    padded = np.full((6, PADDED + 1), PADDING)
    padded[:, : LENGTH + 1] = rows
    padded[:, LENGTH + 1 :] = PADDING
    short = [batch_of(part, END, document_mask=True) for part in np.split(rows, [2])]
    long = [batch_of(part, END, document_mask=True) for part in np.split(padded, [2])]
    # the row's last token is an input of the longer rows, and predicts nothing there
    for batch in long:
        assert batch.documents.real_T is not None
        batch.documents.real_T.view(-1, PADDED)[:, LENGTH] = False
    plain, wanted = trained(name, scope, Kernels(), short)
    engine, found = trained(name, scope, kernels, long)
    assert found.loss == pytest.approx(wanted.loss, rel=1e-6)
    assert found.balance_loss == (wanted.balance_loss and pytest.approx(wanted.balance_loss, rel=1e-5))
    assert found.z_loss == (wanted.z_loss and pytest.approx(wanted.z_loss, rel=1e-5))
    assert found.expert_counts == wanted.expert_counts
    for key, gradient in plain.seen.items():
        limit = 2e-5 * float(gradient.abs().max())
        assert float((engine.seen[key] - gradient).abs().max()) <= limit, key
    if name == "moe":
        assert found.statistics is not None
        assert wanted.statistics is not None
        for mine, other in zip(found.statistics.layers, wanted.statistics.layers, strict=True):
            assert mine.router_entropy == pytest.approx(other.router_entropy, rel=1e-5)
            assert mine.expert_load == pytest.approx(other.expert_load)


def test_only_batches_with_padding_say_what_is_real() -> None:
    rows = np.array([[5, 6, 7, 8], [9, END, PADDING, PADDING]])
    batch = batch_of(rows, END, document_mask=True)
    assert batch.documents.real_T is not None
    assert batch.documents.real_T.tolist() == [True] * 5 + [False]
    assert batch.num_real == 5
    assert batch_of(rows[:1], END, document_mask=True).documents.real_T is None
    assert batch_of(rows[:1], END, document_mask=True).num_real == 3
