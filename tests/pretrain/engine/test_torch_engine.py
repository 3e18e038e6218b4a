"""The plain engine: what it says of its groups, a resume among changing batches, miscounted micro-steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from megatron_lite.model.options import ModelOptions
from megatron_lite.model.shape import resolve_shape
from megatron_lite.mup.audit import audit
from megatron_lite.mup.groups import groups
from megatron_lite.mup.options import MupOptions
from megatron_lite.optim.options import AdamWOptions, Beta2Options
from megatron_lite.optim.second_moment import SecondMoment, second_moment
from pretrain.engine.torch_engine import TorchEngine
from pretrain.loop.build import build_model, initial_state
from pretrain.ranks import Ranks, join

CPU = torch.device("cpu")
MUP = MupOptions(base_width=8, weight_decay_rule="scaled")
SHAPE = resolve_shape(
    ModelOptions(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24), MUP, 32
)
BY_TOKENS = AdamWOptions(adam_beta2=Beta2Options(half_life_tokens=1000))
GROUPS = groups(SHAPE, MUP, BY_TOKENS.weight_decay)
SIZES = (64, 512, 64, 2048, 128, 1024)
LR = 0.01


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Iterator[None]:
    join(Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0), CPU)
    yield
    dist.destroy_process_group()


def engine_of(options: AdamWOptions) -> TorchEngine:
    engine = TorchEngine(build_model(SHAPE, "fp32", CPU), GROUPS, options)
    engine.load(initial_state(SHAPE, MUP, seed=0), updates=0)
    return engine


def moment_of(update: int) -> SecondMoment | None:
    return second_moment(
        BY_TOKENS, step=update + 1, tokens_before=sum(SIZES[:update]), batch_tokens=SIZES[update]
    )


def train(engine: TorchEngine, updates: range) -> None:
    """Updates on gradients of their own, of one micro-step each."""
    for update in updates:
        generator = torch.Generator().manual_seed(update)
        engine.accumulate(1)
        engine.backward(
            sum(
                (weight * torch.randn(weight.shape, generator=generator)).sum()
                for weight in engine.model.parameters()
            )
        )
        engine.gradient_norm()
        engine.step(LR * (update + 1), moment_of(update))


def state_of(engine: TorchEngine) -> dict[tuple[str, str], Tensor]:
    return {(kind, name): tensor.to("cpu", copy=True) for kind, name, tensor in engine.state()}


def test_groups_and_rates_are_the_rules_after_rescaled_updates() -> None:
    engine = engine_of(BY_TOKENS)
    assert set(engine.rates().values()) == {0.0}
    train(engine, range(4))
    assert abs(engine.optimizer.param_groups[0]["scale"] - 1) > 0.05, "nothing was rescaled"
    audit(GROUPS, engine.groups())
    expected = {group.name: 4 * LR * group.lr_ratio for group in GROUPS}
    assert engine.rates() == pytest.approx(expected, rel=1e-12)


def test_rates_show_that_something_overwrote_one() -> None:
    engine = engine_of(BY_TOKENS)
    train(engine, range(4))
    before, name = engine.rates(), engine.optimizer.param_groups[1]["name"]
    engine.optimizer.param_groups[1]["lr"] *= 2
    assert engine.rates() == before | {name: pytest.approx(2 * before[name])}


def test_rates_are_exactly_those_asked_for_where_nothing_is_rescaled() -> None:
    engine = engine_of(AdamWOptions())
    engine.backward(next(iter(engine.model.parameters())).sum())
    engine.gradient_norm()
    engine.step(0.3)
    assert engine.rates() == {group.name: 0.3 * group.lr_ratio for group in GROUPS}


def test_a_resume_among_changing_batches_changes_nothing() -> None:
    whole, first = engine_of(BY_TOKENS), engine_of(BY_TOKENS)
    train(whole, range(6))
    train(first, range(3))
    saved, second = state_of(first), engine_of(BY_TOKENS)
    second.load(lambda kind, name: saved[kind, name], updates=3)
    train(second, range(3, 6))
    expected = state_of(whole)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in state_of(second).items())


def test_a_miscounted_update_is_refused() -> None:
    engine = engine_of(AdamWOptions())
    engine.accumulate(2)
    engine.backward(next(iter(engine.model.parameters())).sum())
    with pytest.raises(AssertionError, match="announced"):
        engine.gradient_norm()
    with pytest.raises(AssertionError, match="before a step"):
        engine.step(LR)
    with pytest.raises(AssertionError, match="within an update"):
        engine.accumulate(1)
