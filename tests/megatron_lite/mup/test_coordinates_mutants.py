"""Errors planted into µP: each makes the coordinate check fail, and at the place where it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest

from megatron_lite.model.options import ModelOptions
from megatron_lite.model.parameters import parameters
from megatron_lite.model.shape import ModelShape, resolve_shape
from megatron_lite.mup.coordinates.check import Verdict, check, seeds_by_width
from megatron_lite.mup.coordinates.recipe import Parametrisation, Recipe, parametrisation
from megatron_lite.mup.coordinates.tokens import text_like
from megatron_lite.mup.groups import Group
from megatron_lite.mup.options import MupOptions
from megatron_lite.mup.roles import Role
from megatron_lite.mup.rules import Rule
from megatron_lite.optim.options import AdamWOptions

WIDTHS = (64, 256)
HEAD_DIM = 32
VOCABULARY = 64
NARROWEST = WIDTHS[0]

Shape = Callable[[int], ModelShape]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A family of models over widths."""

    experts: int | None = None
    tied: bool = True
    router: str = "hidden"

    @property
    def mup(self) -> MupOptions:
        return MupOptions.model_validate({"router": self.router})

    def shape(self, width: int, mup: MupOptions | None = None) -> ModelShape:
        """Two layers; every fourth number of the shape grows with the width."""
        options = ModelOptions(
            architecture="granitemoe" if self.experts else "granite",
            hidden_size=width,
            num_hidden_layers=2,
            num_attention_heads=width // HEAD_DIM,
            num_key_value_heads=width // HEAD_DIM // 2,
            intermediate_size=width if self.experts else 2 * width,
            num_local_experts=self.experts,
            num_experts_per_tok=2 if self.experts else None,
            tie_word_embeddings=self.tied,
        )
        return resolve_shape(options, mup or self.mup, VOCABULARY)


DENSE, UNTIED = Model(), Model(tied=False)
SPARSE, SPARSE_OUTPUT = Model(experts=8), Model(experts=8, router="output")


def verdicts(
    model: Model,
    *,
    rules: Parametrisation | None = None,
    shape: Shape | None = None,
    widths: tuple[int, ...] = WIDTHS,
    updates: int = 1,
    seed: int = 0,
) -> tuple[Verdict, ...]:
    """A small check; `rules` and `shape` are where errors are planted."""
    recipe = Recipe(
        batch=text_like(VOCABULARY, sequences=8, sequence_length=64),
        num_updates=updates,
        lr=1e-3,
        optimizer=AdamWOptions(),
        balance_coefficient=0.01,
        z_coefficient=0.001,
    )
    shapes = [(shape or model.shape)(width) for width in widths]
    return check(
        shapes,
        rules or parametrisation(model.mup, 0.1),
        recipe,
        seeds=seeds_by_width(shapes, seed, 1),
        mup=model.mup,
    )


def left(found: tuple[Verdict, ...]) -> set[tuple[str, str]]:
    """Kind and quantity of what has left its band."""
    return {(str(one.place.kind), one.place.quantity) for one in found if one.left}


@cache
def left_by_the_right_model(model: Model) -> set[tuple[str, str]]:
    return left(verdicts(model))


def by_role(model: Model, change: Callable[[Role, ModelShape, Rule], Rule]) -> Parametrisation:
    """The right rules, changed; a group a role, so that every role can have its own error."""
    right = parametrisation(model.mup, 0.1)

    def rule(role: Role, shape: ModelShape) -> Rule:
        return change(role, shape, right.rule(role, shape))

    def groups(shape: ModelShape) -> list[Group]:
        members: dict[Role, list[str]] = {}
        for parameter in parameters(shape):
            members.setdefault(parameter.role, []).append(parameter.name)
        return [
            Group(
                name=str(role),
                lr_ratio=rule(role, shape).lr_ratio,
                weight_decay=rule(role, shape).weight_decay,
                parameters=tuple(names),
            )
            for role, names in members.items()
        ]

    return Parametrisation(rule=rule, groups=groups)


def power_of_width(shape: ModelShape, power: float) -> float:
    return float((shape.hidden_size / NARROWEST) ** power)


def wrong_init(wrong: Role, power: float) -> Callable[[Role, ModelShape, Rule], Rule]:
    """The std of one role times a power of the width; gains, which start at one, get one too."""

    def change(role: Role, shape: ModelShape, rule: Rule) -> Rule:
        factor = power_of_width(shape, power)
        return replace(rule, init_std=(rule.init_std or 1.0) * factor) if role is wrong else rule

    return change


def wrong_lr(wrong: Role, power: float) -> Callable[[Role, ModelShape, Rule], Rule]:
    """The learning rate of one role times a power of the width."""

    def change(role: Role, shape: ModelShape, rule: Rule) -> Rule:
        factor = power_of_width(shape, power)
        return replace(rule, lr_ratio=rule.lr_ratio * factor) if role is wrong else rule

    return change


# where a role's first weights and its learning rate show
SHOWS = {
    (DENSE, Role.EMBEDDING): ("embedding", "embedding"),
    (UNTIED, Role.HEAD): ("logits", "head"),
    (DENSE, Role.NORM): ("mixer norm", "mixer_norm.weight"),
    (DENSE, Role.HIDDEN): ("gate_up", "mixer.qkv.weight"),
    (DENSE, Role.OUTPUT): ("channel", "channel.down.weight"),
    (SPARSE, Role.HIDDEN): ("expert gate_up", "channel.experts.gate_up"),
    (SPARSE, Role.OUTPUT): ("expert output", "channel.experts.down"),
    (SPARSE, Role.ROUTER): ("router logits", "channel.router.weight"),
    (SPARSE_OUTPUT, Role.ROUTER): ("router logits", "channel.router.weight"),
}


def name(value: object) -> str:
    if isinstance(value, Model):
        words = ["sparse" if value.experts else "dense", "" if value.tied else "untied", value.router]
        return "-".join(word for word in words if word)
    return str(value)


@pytest.mark.parametrize("power", [-0.5, 0.5])
@pytest.mark.parametrize(("model", "role"), SHOWS, ids=name)
def test_init_that_goes_wrong_with_the_width(model: Model, role: Role, power: float) -> None:
    """18 mutants: half a power too much or too little."""
    where = ("initial", SHOWS[model, role][0])
    assert where not in left_by_the_right_model(model)
    assert where in left(verdicts(model, rules=by_role(model, wrong_init(role, power))))


@pytest.mark.parametrize("power", [-0.5, 0.5])
@pytest.mark.parametrize(("model", "role"), SHOWS, ids=name)
def test_learning_rate_that_goes_wrong_with_the_width(model: Model, role: Role, power: float) -> None:
    """18 mutants: half a power too much or too little."""
    where = ("update", SHOWS[model, role][1])
    assert where not in left_by_the_right_model(model)
    assert where in left(verdicts(model, rules=by_role(model, wrong_lr(role, power))))


MULTIPLIERS = {
    "logits_scaling": ("change", "target logits", -1.0),  # as if it were missing
    "embedding_multiplier": ("initial", "embedding", 0.5),  # sqrt(width), as in other models
    "residual_multiplier": ("initial", "mixer branch", -0.5),
    "attention_multiplier": ("initial", "attention logits", -0.5),
}


@pytest.mark.parametrize("model", [DENSE, UNTIED, SPARSE], ids=name)
@pytest.mark.parametrize("multiplier", MULTIPLIERS)
def test_multiplier_that_goes_wrong_with_the_width(model: Model, multiplier: str) -> None:
    """12 mutants."""
    kind, quantity, power = MULTIPLIERS[multiplier]

    def shape(width: int) -> ModelShape:
        right = model.shape(width)
        return replace(right, **{multiplier: getattr(right, multiplier) * power_of_width(right, power)})

    assert (kind, quantity) not in left_by_the_right_model(model)
    assert (kind, quantity) in left(verdicts(model, shape=shape))


@pytest.mark.parametrize("model", [DENSE, SPARSE], ids=name)
def test_the_ratio_that_is_missing(model: Model) -> None:
    """2 mutants: matrices of the width with the learning rate of the others."""

    def change(_: Role, __: ModelShape, rule: Rule) -> Rule:
        return replace(rule, lr_ratio=1.0)

    found = left(verdicts(model, rules=by_role(model, change)))
    channel = "channel.experts.down" if model.experts else "channel.down.weight"
    assert {("update", "mixer.qkv.weight"), ("update", channel)} <= found


@pytest.mark.parametrize("model", [DENSE, SPARSE], ids=name)
def test_standard_parametrisation_leaves_the_bands(model: Model) -> None:
    """Also in the changes themselves, not only in the first sizes."""
    standard = MupOptions(enabled=False)
    found = left(
        verdicts(
            model,
            rules=parametrisation(standard, 0.1),
            shape=lambda width: model.shape(width, standard),
        )
    )
    assert {("change", "target logits"), ("change", "queries"), ("update", "mixer.qkv.weight")} <= found


SEEDS = 20
AT_ONCE = 1  # of them in the default suite


def seeds_of(model: Model, default: int) -> list[object]:
    """The first few in the default suite."""
    return [
        pytest.param(
            model, seed, id=f"{name(model)}-{seed}", marks=[pytest.mark.slow] if seed >= default else []
        )
        for seed in range(SEEDS)
    ]


@pytest.mark.parametrize(
    ("model", "seed"),
    [
        *seeds_of(DENSE, AT_ONCE),
        *seeds_of(SPARSE, AT_ONCE),
        *seeds_of(UNTIED, 0),
        *seeds_of(SPARSE_OUTPUT, 0),
    ],
)
def test_the_right_model_stays_in_every_band(model: Model, seed: int) -> None:
    found = verdicts(model, widths=(64, 128, 256), updates=3, seed=1000 * seed)
    assert sum(one.band is not None for one in found) > 100
    assert [(one.place, one.slope) for one in found if one.left] == []
