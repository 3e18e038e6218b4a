"""One update against autograd on the closed form of its objective, however the batch is cut."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.loss import IGNORE
from megatron_lite.model.options import ModelOptions
from megatron_lite.model.router import Router
from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.mup.groups import groups
from megatron_lite.mup.options import MupOptions
from megatron_lite.optim.options import AdamWOptions
from megatron_lite.optim.second_moment import SecondMoment
from pretrain.data.batch import Batch, batch_of
from pretrain.engine.torch_engine import TorchEngine
from pretrain.guard.spikes import Rejected
from pretrain.loop.build import build_model, initial_state
from pretrain.loop.step import StepResult, train_step
from pretrain.ranks import Ranks, join

VOCABULARY, END = 96, 3
SEQUENCES, LENGTH = 8, 16
LAYERS, EXPERTS, CHOSEN = 2, 5, 2
CPU = torch.device("cpu")
MUP = MupOptions(base_width=30)
OPTIMIZER = AdamWOptions(clip=0.25)
DENSE = ModelOptions(hidden_size=60, num_hidden_layers=LAYERS, num_attention_heads=3, intermediate_size=44)
MOE = ModelOptions.model_validate(
    DENSE.model_dump()
    | {
        "architecture": "granitemoe",
        "num_local_experts": EXPERTS,
        "num_experts_per_tok": CHOSEN,
        "balance_scope": "lagged",
        "router_aux_loss_coef": 0.5,  # large, so that its gradient matters beside the other
        "router_z_loss_coef": 0.2,
    }
)
MODELS = {"dense": DENSE, "moe": MOE}
COUNTS = [[7, 1, 4, 2, 2], [3, 3, 3, 3, 4]]


class Recording(TorchEngine):
    """The plain engine, which also remembers the gradient that it was asked to step with."""

    seen: dict[str, Tensor]

    def step(self, lr: float, second_moment: SecondMoment | None = None) -> None:
        self.seen = {name: gradient.clone() for name, gradient in self.gradient.items()}
        super().step(lr, second_moment)


@pytest.fixture(scope="module", autouse=True)
def _alone() -> Iterator[None]:
    join(Ranks(rank=0, size=1, local_rank=0, local_size=1, address="127.0.0.1", port=0), CPU)
    yield
    dist.destroy_process_group()


def shape_of(model: ModelOptions) -> ModelShape:
    return resolve_shape(model, MUP, VOCABULARY)


def engine_of(model: ModelOptions) -> Recording:
    shape = shape_of(model)
    engine = Recording(build_model(shape, "fp32", CPU), groups(shape, MUP, 0.1), OPTIMIZER)
    engine.load(initial_state(shape, MUP, seed=0), updates=0)
    return engine


def rows() -> np.ndarray:
    """One long document, many short ones, and end tokens alone, which predict nothing."""
    made = np.random.default_rng(0).integers(4, VOCABULARY, (SEQUENCES, LENGTH + 1))
    made[1, 2:15:3] = END
    made[2, ::2] = END
    made[5] = END
    return made


def cut(pieces: tuple[int, ...]) -> list[Batch]:
    ends = np.cumsum(pieces)
    assert ends[-1] == SEQUENCES
    return [batch_of(part, END, document_mask=True) for part in np.split(rows(), ends[:-1])]


def step(engine: TorchEngine, model: ModelOptions, batches: list[Batch], **how: object) -> StepResult:
    options = {
        "lr": 0.01,
        "previous_counts": COUNTS if model.num_local_experts else None,
        "stop": False,
    } | how
    return train_step(engine, batches, model=model, device=CPU, **options)  # type: ignore[arg-type]


def closed_form(
    decoder: Decoder, model: ModelOptions, fractions_LE: Tensor | None
) -> tuple[Tensor, float, list[Tensor]]:
    """The objective as the module's docstring states it; the loss alone; router logits, by layer."""
    batch, inputs = cut((SEQUENCES,))[0], []
    hooks = [
        module.register_forward_hook(lambda module, given, _: inputs.append((given[0], module.weight)))
        for module in decoder.modules()
        if isinstance(module, Router)
    ]
    logits_TV = decoder.logits(batch.tokens_T, batch.documents)
    for hook in hooks:
        hook.remove()
    loss = F.cross_entropy(logits_TV, batch.targets_T, ignore_index=IGNORE, reduction="sum") / batch.num_valid
    objective, routers = loss, [x_TH @ weight.T for x_TH, weight in inputs]
    for layer, logits_TE in enumerate(routers):
        if fractions_LE is None:
            chosen = logits_TE.topk(CHOSEN).indices.flatten()
            fractions_E = chosen.bincount(minlength=EXPERTS) / len(chosen)
        else:
            fractions_E = fractions_LE[layer]
        balance = EXPERTS * (fractions_E * logits_TE.softmax(-1).mean(0)).sum()
        z = logits_TE.logsumexp(-1).square().mean()
        objective = objective + model.router_aux_loss_coef * balance + model.router_z_loss_coef * z
    return objective, float(loss.detach()), routers


def assert_same_gradient(engine: Recording, expected: dict[str, Tensor]) -> None:
    assert engine.seen.keys() == expected.keys()
    for name, gradient in engine.seen.items():
        largest = float(expected[name].abs().max())
        assert largest > 0, name
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=2e-5 * largest, msg=name)


def gradient_of(model: ModelOptions, fractions_LE: Tensor | None) -> tuple[dict[str, Tensor], float]:
    decoder = engine_of(model).model
    assert isinstance(decoder, Decoder)
    objective, loss, _ = closed_form(decoder, model, fractions_LE)
    names, parameters = zip(*decoder.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(objective, parameters), strict=True)), loss


PREVIOUS = torch.tensor(COUNTS) / torch.tensor(COUNTS).sum(1, keepdim=True)
CUTS = [(8,), (2, 2, 2, 2), (1,) * 8, (5, 1, 2)]


@pytest.mark.parametrize("pieces", CUTS, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_is_that_of_the_closed_form_however_the_batch_is_cut(
    name: str, pieces: tuple[int, ...]
) -> None:
    model, engine = MODELS[name], engine_of(MODELS[name])
    batches = cut(pieces)
    if len(pieces) > 1:
        assert (
            len({batch.num_valid / len(batch.targets_T) for batch in batches}) > 1
        )  # else a mean of means would do
    result = step(engine, model, batches)
    expected, loss = gradient_of(model, PREVIOUS)
    assert_same_gradient(engine, expected)
    assert result.loss == pytest.approx(loss, rel=1e-6)
    norm = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    assert result.grad_norm == pytest.approx(float(norm), rel=1e-5)
    assert norm > OPTIMIZER.clip  # what is reported is the norm before clipping


def test_the_router_losses_and_counts_are_those_of_the_batch() -> None:
    engine = engine_of(MOE)
    assert isinstance(engine.model, Decoder)
    _, _, routers = closed_form(engine.model, MOE, PREVIOUS)
    result = step(engine, MOE, cut((2, 2, 2, 2)))
    counts = [
        logits_TE.topk(CHOSEN).indices.flatten().bincount(minlength=EXPERTS).tolist() for logits_TE in routers
    ]
    assert result.expert_counts == counts
    assert all(sum(layer) == SEQUENCES * LENGTH * CHOSEN for layer in counts)
    balance = sum(
        EXPERTS * float((fractions * logits.detach().softmax(-1).mean(0)).sum())
        for fractions, logits in zip(PREVIOUS, routers, strict=True)
    )
    assert result.balance_loss == pytest.approx(balance, rel=1e-5)
    z = sum(float(logits.detach().logsumexp(-1).square().mean()) for logits in routers)
    assert result.z_loss == pytest.approx(z, rel=1e-5)


def test_without_a_previous_update_equal_use_is_assumed_and_the_balance_loss_is_its_minimum() -> None:
    result = step(engine_of(MOE), MOE, cut((8,)), previous_counts=None)
    assert result.balance_loss == pytest.approx(LAYERS, rel=1e-6)  # 1 a layer


def test_a_router_that_knows_nothing_has_the_minimum_too_and_a_known_z_loss() -> None:
    engine = engine_of(MOE)
    with torch.no_grad():
        for name, parameter in engine.model.named_parameters():
            if "router" in name:
                parameter.zero_()
    result = step(engine, MOE, cut((2, 2, 2, 2)))
    assert result.balance_loss == pytest.approx(LAYERS, rel=1e-6)
    assert result.z_loss == pytest.approx(LAYERS * float(np.log(EXPERTS)) ** 2, rel=1e-6)


def test_the_micro_batch_scope_counts_each_micro_step_by_itself() -> None:
    own = MOE.model_copy(update={"balance_scope": "micro_batch"})
    whole = engine_of(own)
    step(whole, own, cut((8,)))
    expected, _ = gradient_of(own, None)
    assert_same_gradient(whole, expected)
    pieces = engine_of(own)
    step(pieces, own, cut((1,) * 8))
    router = "layers.0.channel.router.weight"
    assert not torch.allclose(pieces.seen[router], expected[router], rtol=1e-3)


def test_the_update_itself_does_not_depend_on_the_cut() -> None:
    one, four = engine_of(MOE), engine_of(MOE)
    for engine, pieces in ((one, (8,)), (four, (2, 2, 2, 2))):
        step(engine, MOE, cut(pieces))
    states = [
        {(kind, name): tensor.to("cpu", copy=True) for kind, name, tensor in engine.state()}
        for engine in (one, four)
    ]
    for key, tensor in states[0].items():
        if key[0] == "exp_avg":
            torch.testing.assert_close(states[1][key], tensor, rtol=0, atol=2e-5 * float(tensor.abs().max()))


def test_a_batch_that_predicts_nothing_moves_only_by_decay() -> None:
    engine = engine_of(DENSE)
    batches = cut((4, 4))
    for batch in batches:
        batch.targets_T.fill_(IGNORE)
    result = step(engine, DENSE, batches)
    assert (result.loss, result.grad_norm) == (0.0, 0.0)
    assert (result.balance_loss, result.z_loss, result.expert_counts) == (None, None, None)


@pytest.mark.parametrize("asked", [True, False])
def test_a_wish_to_stop_is_passed_on(asked: bool) -> None:
    assert step(engine_of(DENSE), DENSE, cut((8,)), stop=asked).stop is asked


def test_an_update_that_the_judge_rejects_is_left_out_and_told_why() -> None:
    engine, asked = engine_of(MOE), []
    why = Rejected(measure="loss", value=1.0)

    def judge(loss: float, grad_norm: float) -> Rejected:
        asked.append((loss, grad_norm))
        return why

    before = {(kind, name): tensor.to("cpu", copy=True) for kind, name, tensor in engine.state()}
    result = step(engine, MOE, cut((2, 2, 2, 2)), judge=judge)
    assert asked == [(result.loss, result.grad_norm)]
    assert result.rejected is why
    assert all(torch.equal(tensor, before[kind, name]) for kind, name, tensor in engine.state())
    made = step(engine, MOE, cut((2, 2, 2, 2)))
    assert (made.loss, made.grad_norm, made.rejected) == (result.loss, result.grad_norm, None)
    assert step(engine, MOE, cut((2, 2, 2, 2))).loss != made.loss


def test_without_a_judge_what_is_no_number_is_left_out() -> None:
    engine = engine_of(DENSE)
    with torch.no_grad():
        engine.master["norm.weight"][0] = float("nan")
    rejected = step(engine, DENSE, cut((8,))).rejected
    assert rejected is not None
    assert not rejected.finite
