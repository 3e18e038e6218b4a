"""Sizes by layer under compiled and recomputed blocks, however the batch is cut, and their line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import pytest
import torch
import torch.distributed as dist
from test_step import CPU, EXPERTS, LAYERS, MODELS, MUP, OPTIMIZER, SEQUENCES, cut, shape_of, step

from megatron_lite.kernels.choice import Kernels
from megatron_lite.mup.groups import groups
from pretrain.engine.torch_engine import TorchEngine
from pretrain.loop.build import build_model, initial_state
from pretrain.loop.layers import Layers
from pretrain.monitor.statistics import Statistics, statistics_line, tracked_statistics
from pretrain.ranks import Ranks, join


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Iterator[None]:
    join(Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0), CPU)
    yield
    dist.destroy_process_group()


def engine_of(name: str, kernels: Kernels | None = None) -> TorchEngine:
    shape = shape_of(MODELS[name])
    engine = TorchEngine(build_model(shape, "fp32", CPU, kernels), groups(shape, MUP, 0.1), OPTIMIZER)
    engine.load(initial_state(shape, MUP, seed=0), updates=0)
    return engine


def measured(name: str, pieces: tuple[int, ...], kernels: Kernels | None = None) -> Statistics:
    engine = engine_of(name, kernels)
    layers = Layers(engine, shape_of(MODELS[name]), CPU)
    found = step(engine, MODELS[name], cut(pieces), layers=layers).statistics
    assert found is not None
    return found


def numbers(statistics: Statistics) -> dict[str, float]:
    return tracked_statistics(statistics_line(statistics, step=1, tokens=1))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "kernels",
    [
        Kernels(activation_checkpointing="selective"),
        Kernels(activation_checkpointing="full"),
        pytest.param(Kernels(compile_blocks=True), marks=pytest.mark.slow),
        pytest.param(Kernels(compile_blocks=True, activation_checkpointing="full"), marks=pytest.mark.slow),
    ],
    ids=["selective", "full", "compiled", "compiled-full"],
)
def test_what_is_computed_again_counts_once(name: str, kernels: Kernels) -> None:
    plain, other = numbers(measured(name, (4, 4))), numbers(measured(name, (4, 4), kernels))
    assert other == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_same_batch_however_it_is_cut(name: str) -> None:
    whole = numbers(measured(name, (SEQUENCES,)))
    assert numbers(measured(name, (1, 2, 5))) == pytest.approx(whole, rel=1e-4)
    assert len(whole) == LAYERS * (7 if name == "moe" else 4) + 3


def test_looking_changes_no_bit_and_leaves_nothing_behind() -> None:
    states = []
    for looks in (False, True):
        engine = engine_of("moe")
        for number in range(3):
            layers = Layers(engine, shape_of(MODELS["moe"]), CPU) if looks and number < 2 else None
            step(engine, MODELS["moe"], cut((3, 5)), layers=layers)
        states.append([tensor.clone() for _, _, tensor in engine.state()])
        assert engine.model._see is None
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))


def test_the_line_has_what_there_is() -> None:
    dense, moe = (statistics_line(measured(name, (8,)), step=3, tokens=30) for name in ("dense", "moe"))
    assert list(dense) == list(moe) == ["step", "tokens", "layers", "embedding"]  # tied: no head
    sizes = ["weight_rms", "update_rms", "gradient_rms"]
    assert list(dense["layers"][0]) == ["activation_rms", *sizes]
    assert list(moe["layers"][0]) == ["activation_rms", *sizes, "router_entropy", "expert_load"]
    assert len(moe["layers"]) == LAYERS
    assert len(moe["layers"][0]["expert_load"]) == EXPERTS
    assert sum(moe["layers"][0]["expert_load"]) == pytest.approx(1)
    assert 0 < moe["layers"][0]["router_entropy"] < torch.tensor(float(EXPERTS)).log()


def test_an_untied_head_is_a_place_of_its_own() -> None:
    model = MODELS["dense"].model_copy(update={"tie_word_embeddings": False})
    shape = shape_of(model)
    engine = TorchEngine(build_model(shape, "fp32", CPU), groups(shape, MUP, 0.1), OPTIMIZER)
    engine.load(initial_state(shape, MUP, seed=0), updates=0)
    found = step(engine, model, cut((8,)), layers=Layers(engine, shape, CPU)).statistics
    assert found is not None
    assert found.head is not None
    assert asdict(found.head).keys() == asdict(found.embedding).keys()
    head = dict(engine.model.named_parameters())["head"].detach()
    assert found.head.weight_rms == pytest.approx(float(head.square().mean().sqrt()), rel=1e-5)


def test_names_stand_in_their_order_beyond_a_hundred_layers() -> None:
    layer = {"activation_rms": 1.0, "update_rms": None}
    line = {"step": 1, "tokens": 1, "layers": [layer] * 101, "embedding": {}}
    names = list(tracked_statistics(line))
    assert names == sorted(names)
    assert names[0] == "layers/000/activation_rms"
