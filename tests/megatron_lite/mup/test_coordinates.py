"""The parts of the coordinate check: tokens, slopes, and that what it measures is what it says."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.coordinates.bands import FLAT
from megatron_lite.mup.coordinates.check import MOST_ALLOWED, Verdict, seeds_by_width
from megatron_lite.mup.coordinates.places import Kind, Place, split
from megatron_lite.mup.coordinates.recipe import Recipe, parametrisation
from megatron_lite.mup.coordinates.slopes import Slope, slope
from megatron_lite.mup.coordinates.tokens import text_like
from megatron_lite.mup.coordinates.trial import trial
from megatron_lite.mup.options import MupOptions
from megatron_lite.optim.options import AdamWOptions

WIDTHS = (64, 128, 512)
VOCABULARY = 96  # of the shapes made here


@given(power=st.floats(-2, 2), scale=st.floats(1e-6, 1e6))
def test_a_power_law_has_its_power(power: float, scale: float) -> None:
    found = slope(WIDTHS, [[scale * width**power] * 2 for width in WIDTHS])
    assert found.value == pytest.approx(power, abs=1e-9)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_the_error_is_that_of_many_repetitions() -> None:
    """Sizes with lognormal noise whose variance falls as 1/width: the errors say how the slopes scatter."""
    generator = torch.Generator().manual_seed(0)

    def once() -> Slope:
        sizes = [
            (torch.randn(512 // width, generator=generator) / math.sqrt(width)).exp2().tolist()
            for width in WIDTHS
        ]
        return slope(WIDTHS, sizes)

    found = [once() for _ in range(2000)]
    scatter = math.sqrt(sum(one.value**2 for one in found) / len(found))
    told = math.sqrt(sum(one.error**2 for one in found) / len(found))
    assert told == pytest.approx(scatter, rel=0.05)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_a_size_that_is_none_leaves_every_band(bad: float) -> None:
    found = slope(WIDTHS, [[1.0], [bad], [1.0]])
    assert math.isnan(found.value)
    place = Place(Kind.CHANGE, "norm", None, 1)
    assert Verdict(place=place, sizes=(1, bad, 1), slope=found, band=FLAT).left
    assert not Verdict(place=place, sizes=(1, bad, 1), slope=found, band=None).left


@pytest.mark.parametrize(
    ("value", "error", "left"),
    [(0.15, 0.0, False), (0.16, 0.0, True), (0.2, 0.03, False), (-0.22, 0.03, True), (0.35, 9.0, True)],
)
def test_an_error_excuses_so_much_and_no_more(value: float, error: float, left: bool) -> None:
    verdict = Verdict(
        place=Place(Kind.CHANGE, "norm", None, 1),
        sizes=(1.0, 1.0),
        slope=Slope(value=value, error=error),
        band=FLAT,
    )
    assert verdict.left == left
    assert FLAT.high + MOST_ALLOWED < 0.5 - FLAT.high  # half a power of the width is seen through any noise


def test_names_of_layers() -> None:
    assert split("layers.12.mixer.qkv.weight") == ("mixer.qkv.weight", 12)
    assert split("norm.weight") == ("norm.weight", None)
    assert Place(Kind.CHANGE, "queries", 2, 1).where == "layer 2: queries"


def test_tokens_are_the_same_everywhere_and_like_text() -> None:
    """Targets are the tokens one further on; a few tokens and a few pairs make up most of it."""
    batch = text_like(64, sequences=32, sequence_length=128)
    assert torch.equal(batch.tokens_BS, text_like(64, 32, 128).tokens_BS)
    assert torch.equal(batch.tokens_BS[:, 1:], batch.targets_BS[:, :-1])
    counts = torch.bincount(batch.tokens_BS.flatten(), minlength=64).sort(descending=True).values
    assert counts[:16].sum() > counts.sum() / 2
    pairs = (batch.tokens_BS * 64 + batch.targets_BS).unique().numel()
    assert pairs < 0.5 * batch.tokens_BS.numel()


def recipe(updates: int, lr: float = 1e-3, **changes: object) -> Recipe:
    return Recipe(
        batch=text_like(VOCABULARY, sequences=2, sequence_length=16),
        num_updates=updates,
        lr=lr,
        optimizer=AdamWOptions(weight_decay=0.0),
        **changes,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("experts", [None, 4])
def test_every_parameter_and_layer_is_measured(
    make_shape: Callable[..., ModelShape], experts: int | None
) -> None:
    shape = make_shape(num_experts=experts)
    sizes = trial(shape, parametrisation(MupOptions(), 0.0), recipe(2), seed=0)
    names = {
        name.split(".", 2)[2] if name.startswith("layers.") else name
        for group in parametrisation(MupOptions(), 0.0).groups(shape)
        for name in group.parameters
    }
    assert {place.quantity for place in sizes if place.kind is Kind.GRADIENT} == names
    assert {place.quantity for place in sizes if place.kind is Kind.UPDATE} == names | {"head"}
    activations = {(p.quantity, p.layer) for p in sizes if p.kind is Kind.INITIAL}
    assert activations == {(p.quantity, p.layer) for p in sizes if p.kind is Kind.CHANGE and p.update == 2}
    assert {"queries", "attention logits", "stream", "logits"} <= {quantity for quantity, _ in activations}
    wanted = {"router logits", "expert output"} if experts else {"gate_up"}
    assert {(quantity, layer) for quantity in wanted for layer in (0, 1)} <= activations
    assert all(0 < size < math.inf for size in sizes.values())


def test_the_first_update_of_adam_in_numbers(make_shape: Callable[..., ModelShape]) -> None:
    """It moves every weight of a used row by lr: the embedding changes by lr times its multiplier."""
    shape = make_shape()
    sizes = trial(shape, parametrisation(MupOptions(), 0.0), recipe(1, lr=0.01), seed=0)
    wanted = pytest.approx(0.01 * shape.embedding_multiplier, rel=1e-3)
    assert sizes[Place(Kind.CHANGE, "embedding", None, 1)] == wanted
    assert sizes[Place(Kind.UPDATE, "embedding", None, 1)] == wanted
    gain = sizes[Place(Kind.UPDATE, "norm.weight", None, 1)]
    assert gain == pytest.approx(0.01, rel=1e-2)  # of inputs of size 1


def test_first_sizes_against_closed_forms(make_shape: Callable[..., ModelShape]) -> None:
    """Random matrices: the size of W x is std(W) · sqrt(inputs) · size(x)."""
    shape = make_shape(hidden_size=512, num_heads=8, num_kv_heads=4, intermediate_size=512)
    rules = parametrisation(MupOptions(), 0.0)
    sizes = trial(shape, rules, recipe(1), seed=0)
    std = 0.1 / math.sqrt(2)  # width 512 over the base of 256
    found = {
        place.quantity: size for place, size in sizes.items() if place.layer in (0, None) and not place.update
    }
    assert found["embedding"] == pytest.approx(0.1 * shape.embedding_multiplier, rel=0.05)
    assert found["mixer norm"] == pytest.approx(1.0, rel=0.01)
    assert found["queries"] == pytest.approx(std * math.sqrt(512), rel=0.05)
    assert found["gate_up"] == pytest.approx(std * math.sqrt(512), rel=0.05)
    assert found["mixer branch"] == pytest.approx(shape.residual_multiplier * found["mixer"], rel=1e-3)
    heads = math.sqrt(shape.head_dim) * (std * math.sqrt(512)) ** 2 * shape.attention_multiplier
    assert found["attention logits"] == pytest.approx(heads, rel=0.3)


def test_nothing_is_kept_between_trials(make_shape: Callable[..., ModelShape]) -> None:
    shape, rules = make_shape(num_experts=4), parametrisation(MupOptions(), 0.1)
    state = torch.get_rng_state()
    first = trial(shape, rules, recipe(2, balance_coefficient=0.01, z_coefficient=0.001), seed=3)
    assert first == trial(shape, rules, recipe(2, balance_coefficient=0.01, z_coefficient=0.001), seed=3)
    assert first != trial(shape, rules, recipe(2), seed=3)  # router losses count
    assert first != trial(shape, rules, recipe(2), seed=4)
    assert torch.equal(torch.get_rng_state(), state)


def test_narrow_models_get_more_seeds(make_shape: Callable[..., ModelShape]) -> None:
    shapes = [make_shape(hidden_size=width) for width in (64, 96, 256)]
    assert seeds_by_width(shapes, first=5, num=2) == [list(range(5, 13)), list(range(5, 11)), [5, 6]]


def test_the_objective_is_that_of_the_reference(make_shape: Callable[..., ModelShape]) -> None:
    """The first gradient of the embedding equals that of a cross-entropy over the logits."""
    from megatron_lite.model.decoder import Decoder
    from megatron_lite.model.documents import documents
    from megatron_lite.model.parameters import parameters
    from megatron_lite.mup.initial import initial_weight

    shape, rules, used = make_shape(), parametrisation(MupOptions(), 0.0), recipe(1)
    decoder = Decoder(shape)
    for parameter, weight in zip(parameters(shape), decoder.parameters(), strict=True):
        weight.data.copy_(initial_weight(parameter, rules.rule(parameter.role, shape), seed=0))
    tokens_T, targets_T = (part.flatten() for part in used.batch)
    F.cross_entropy(decoder.logits(tokens_T, documents(used.batch.tokens_BS, None)), targets_T).backward()
    assert decoder.embedding.grad is not None
    wanted = decoder.embedding.grad.square().mean().sqrt().item()
    found = trial(shape, rules, used, seed=0)[Place(Kind.GRADIENT, "embedding", None, 1)]
    assert found == pytest.approx(wanted, rel=1e-4)
