"""Init, learning-rate ratio and decay of every parameter of two models, against tables that are checked in.

After a change that is meant, write the tables again and read the difference:

    python tests/megatron_lite/mup/test_golden_table.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megatron_lite.model.parameters import parameters
from megatron_lite.model.shape import ModelShape
from megatron_lite.mup.coordinates.recipe import Parametrisation, parametrisation
from megatron_lite.mup.roles import Role
from megatron_lite.mup.rules import Rule
from pretrain.config.derive import model_shape
from pretrain.config.load import load

HERE = Path(__file__).parent
CONFIGS = ("tiny_moe", "3b_moe")
MULTIPLIERS = ("embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling")


def table(shape: ModelShape, rules: Parametrisation) -> dict[str, Any]:
    """Multipliers of the model, and a row a parameter: its ratio and decay are those of its group."""
    group_of = {name: group for group in rules.groups(shape) for name in group.parameters}
    return {
        "multipliers": {name: getattr(shape, name) for name in MULTIPLIERS},
        "parameters": {
            parameter.name: {
                "shape": list(parameter.shape),
                "role": str(parameter.role),
                "init_std": _rounded(rules.rule(parameter.role, shape).init_std),
                "lr_ratio": _rounded(group_of[parameter.name].lr_ratio),
                "weight_decay": group_of[parameter.name].weight_decay,
            }
            for parameter in parameters(shape)
        },
    }


def of_config(name: str) -> tuple[ModelShape, Parametrisation]:
    config = load(name)
    return model_shape(config), parametrisation(config.mup, config.optimizer.weight_decay)


def _rounded(number: float | None) -> float | None:
    """Twelve digits: readable, and more than any rule is meant to."""
    return None if number is None else float(f"{number:.12g}")


def golden(name: str) -> dict[str, Any]:
    return json.loads(_file(name).read_text(encoding="utf-8"))


def _file(name: str) -> Path:
    return HERE / f"golden_{name}.json"


def _text(content: dict[str, Any]) -> str:
    """A row a line."""
    rows = ",\n".join(f'    "{name}": {json.dumps(row)}' for name, row in content["parameters"].items())
    multipliers = json.dumps(content["multipliers"])
    return f'{{\n  "multipliers": {multipliers},\n  "parameters": {{\n{rows}\n  }}\n}}\n'


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_and_multiplier(name: str) -> None:
    made, kept = table(*of_config(name)), golden(name)
    assert made["multipliers"] == pytest.approx(kept["multipliers"], rel=1e-12)
    assert list(made["parameters"]) == list(kept["parameters"])
    for parameter, row in made["parameters"].items():
        assert row == kept["parameters"][parameter], parameter


def test_the_table_says_what_the_paper_says() -> None:
    """PowerMoE-3B, by hand: width 1536 is six times the base, 32 layers."""
    kept = golden("3b_moe")
    assert kept["multipliers"] == pytest.approx(
        {
            "embedding_multiplier": 12,
            "residual_multiplier": 0.22,
            "attention_multiplier": 1 / 64,
            "logits_scaling": 6,
        }
    )
    rows = kept["parameters"]
    assert len(rows) == 2 + 32 * 7
    assert rows["embedding"]["init_std"] == 0.1
    for name, std in {
        "mixer.qkv.weight": 0.1 / 6**0.5,
        "mixer.output.weight": 0.1 / (6 * 64) ** 0.5,
        "channel.experts.down": 0.1 / (6 * 64) ** 0.5,
        "channel.router.weight": 0.1 / 6**0.5,
    }.items():
        row = rows[f"layers.31.{name}"]
        assert row["init_std"] == pytest.approx(std)
        assert row["lr_ratio"] == pytest.approx(1 / 6)


def times(what: str, factor: float, *roles: Role) -> Callable[[Role, ModelShape, Rule], Rule]:
    """One number of the rules times a factor, for some roles."""

    def change(role: Role, _: ModelShape, rule: Rule) -> Rule:
        value = getattr(rule, what)
        return replace(rule, **{what: value * factor}) if role in roles and value is not None else rule

    return change


# errors that are the same at every width, so that no coordinate check can see them
MUTANTS_OF_THE_SHAPE = {
    "embedding_multiplier": 1 / 12,
    "residual_multiplier": 1 / 0.22,
    "attention_multiplier": 8.0,  # 1/sqrt(head_dim) in place of 1/head_dim
    "logits_scaling": 2.0,
}
MUTANTS_OF_THE_RULES = {
    "embedding std 0.02": times("init_std", 0.2, Role.EMBEDDING),
    "hidden std 0.02": times("init_std", 0.2, Role.HIDDEN),
    "router std 0.02": times("init_std", 0.2, Role.ROUTER),
    "sqrt(2L) missing": times("init_std", 8.0, Role.OUTPUT),
    "sqrt(L) for sqrt(2L)": times("init_std", 2**0.5, Role.OUTPUT),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("multiplier", MUTANTS_OF_THE_SHAPE)
def test_a_wrong_constant_of_the_model_is_seen(name: str, multiplier: str) -> None:
    shape, rules = of_config(name)
    wrong = replace(shape, **{multiplier: getattr(shape, multiplier) * MUTANTS_OF_THE_SHAPE[multiplier]})
    assert table(wrong, rules)["multipliers"] != pytest.approx(golden(name)["multipliers"], rel=1e-12)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("mutant", MUTANTS_OF_THE_RULES)
def test_a_wrong_constant_of_the_rules_is_seen(name: str, mutant: str) -> None:
    shape, right = of_config(name)
    change = MUTANTS_OF_THE_RULES[mutant]
    wrong = replace(right, rule=lambda role, of: change(role, of, right.rule(role, of)))
    assert table(shape, wrong)["parameters"] != golden(name)["parameters"]


if __name__ == "__main__":
    for config_name in CONFIGS:
        _file(config_name).write_text(_text(table(*of_config(config_name))), encoding="utf-8")
