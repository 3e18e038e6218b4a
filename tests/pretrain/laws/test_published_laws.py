"""Published laws at the numbers that their papers, repositories and users print."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from pretrain.laws import ema, published
from pretrain.laws.advise import advise
from pretrain.laws.advisers import LAWS, Advice, Question

PRINTED = {
    "step law 7B lr": (published.step_law_lr(7e9, 1.4e12), "9.166e-4"),
    "step law 7B batch": (published.step_law_batch(1.4e12), "4.999e6"),
    "step law 1B lr": (published.step_law_lr(1e9, 1e11), "1.6325e-3"),
    "step law 1B batch": (published.step_law_batch(1e11), "1.1077e6"),
    "deepseek 7B C": (published.deepseek_compute(2e12, 30, 4096, 4096), "8.456e22"),
    "deepseek 7B lr": (published.deepseek_lr(8.456e22), "4.246e-4"),
    "deepseek 7B batch": (published.deepseek_batch(8.456e22), "9.223e6"),
    "deepseek 67B C": (published.deepseek_compute(2e12, 95, 8192, 4096), "9.946e23"),
    "deepseek 67B lr": (published.deepseek_lr(9.946e23), "3.120e-4"),
    "deepseek 67B batch": (published.deepseek_batch(9.946e23), "2.065e7"),
    "porian lr": (published.porian_lr(1.08e8), "4.74e-3"),
    "porian batch": (published.porian_batch(1.08e8) / 2048, "164"),
    "olmo ladder lr": (published.olmo_ladder_lr(371262464), "7.78548e-4"),
    "power lines tau 1": (published.power_lines_timescale(1), "1.084"),
    "power lines tau 20": (published.power_lines_timescale(20), "0.2236"),
    "power lines tau 234": (published.power_lines_timescale(234), "0.0612"),
    "tau of a 610M run": (ema.timescale(504 * 2048, 1.62e-2 / 8, 0.1, 80 * 610e6), "0.1045"),
    "power lines batch": (published.power_lines_batch(4e10), "0.7205e6"),
    "kaplan batch 3": (published.kaplan_critical_batch(3), "1.069e6"),
    "kaplan batch 2.5": (published.kaplan_critical_batch(2.5), "2.547e6"),
    "kaplan lr 1e8": (published.kaplan_lr(1e8), "6.693e-4"),
    "kaplan lr 1e9": (published.kaplan_lr(1e9), "3.481e-4"),
    "minicpm batch 3": (published.minicpm_batch(3), "1.275e6"),
    "minicpm batch 2.5": (published.minicpm_batch(2.5), "3.978e6"),
    "beta2 at an eighth": (published.beta2_for_batch(0.95, 524288, 524288 / 8), "0.993609"),
    "horizon of four": (published.horizon_factor(1e9, 4e9), "0.6417"),
    "scion at 2^31 tokens, 128 sequences": (published.scion_lr(128 * 4096, 2**31), "0.1073"),
}


@pytest.mark.parametrize("case", PRINTED)
def test_every_printed_digit(case: str) -> None:
    found, printed = PRINTED[case]
    assert found is not None
    unit = 10.0 ** int(Decimal(printed).as_tuple().exponent)
    assert abs(found - float(printed)) <= 0.5001 * unit


def test_kaplan_has_no_rate_for_models_of_ten_billion() -> None:
    assert published.kaplan_lr(1e10) is not None
    assert published.kaplan_lr(1.3e10) is None


def test_adamw_as_an_average_of_its_updates() -> None:
    constant, left = ema.average_weights(np.full(1000, 0.01), 0.1)
    assert (constant.sum(), left) == pytest.approx((0.632305, 0.367695), abs=5e-7)
    linear, left = ema.average_weights(0.01 * (1 - np.arange(1000) / 1000), 0.1)
    assert (linear.sum(), left) == pytest.approx((0.393874, 0.606126), abs=5e-7)
    assert linear.sum() + left == pytest.approx(1, abs=1e-12)


def test_an_average_is_what_adamw_does() -> None:
    generator = np.random.default_rng(0)
    rates, updates = generator.uniform(0, 0.5, 20), generator.standard_normal(20)
    theta = start = 1.7
    for rate, update in zip(rates, updates, strict=True):
        theta = (1 - rate * 0.3) * theta - rate * update
    weights, left = ema.average_weights(rates, 0.3)
    assert theta == pytest.approx(left * start + np.sum(weights * -updates / 0.3), abs=1e-12)


def test_the_weight_decay_of_a_window_has_that_window() -> None:
    decay = ema.weight_decay_for(0.1, 1e6, 2e-3, 5e10)
    assert ema.timescale(1e6, 2e-3, decay, 5e10) == pytest.approx(0.1)
    assert ema.weight_decay_for(0.1, 2e6, 2e-3, 5e10) == pytest.approx(2 * decay)  # linear in the batch


def by_name(question: Question) -> dict[str, Advice]:
    return {law.source.name: law for law in advise(question).laws}


def test_every_law_answers_in_tokens_with_its_source_and_trap() -> None:
    found = advise(Question(N=3e9, D=1e12, batch_tokens=4194304, width_ratio=9))
    assert len(found.laws) == len(LAWS) == 11
    for law in found.laws:
        assert law.source.paper.startswith("arXiv ")
        assert law.source.trap
        assert law.batch_tokens is None or 1e6 < law.batch_tokens < 2e7
    assert any("a factor" in note for note in found.notes)


def test_power_is_the_schedule_at_the_end_of_the_run() -> None:
    law = by_name(Question(N=3e9, D=1e12, batch_tokens=4194304, width_ratio=9))["Power"]
    assert law.lr == pytest.approx(0.0031071, rel=1e-4)
    assert law.hidden_lr == pytest.approx(0.0031071 / 9, rel=1e-4)
    capped = by_name(Question(N=3e9, D=1e9, batch_tokens=4194304))["Power"]
    assert capped.lr == 0.02


def test_a_mup_rate_is_divided_by_the_width_and_another_is_not() -> None:
    laws = by_name(Question(N=5e8, D=1e10, batch_tokens=524288, width_ratio=4))
    assert laws["MiniCPM"].hidden_lr == 0.0025
    assert laws["Step Law"].hidden_lr == laws["Step Law"].lr
    assert laws["Scion"].hidden_lr is None
    for law in laws.values():
        if law.hidden_lr is not None and law.window_weight_decay is not None:
            tau = ema.timescale(524288, law.hidden_lr, law.window_weight_decay, 1e10)
            assert tau == pytest.approx(published.power_lines_timescale(20))
    assert by_name(Question(N=5e8, D=1e10))["Power"].hidden_lr is None


def test_the_released_rates_of_deepseek() -> None:
    laws = by_name(Question(N=6.5e9, D=2e12, layers=30, hidden=4096))
    assert laws["DeepSeek"].lr == pytest.approx(4.2e-4, rel=0.02)
    assert not laws["DeepSeek"].remarks
    assert by_name(Question(N=6.5e9, D=2e12))["DeepSeek"].remarks


def test_outside_of_a_range_is_said() -> None:
    inside = by_name(Question(N=5e7, D=2e10, batch_tokens=524288))
    assert inside["Power"].outside == ()
    assert any(place.startswith("N ") for place in inside["Step Law"].outside)
    outside = by_name(Question(N=3e9, D=1e12, batch_tokens=4194304))
    assert len(outside["Power"].outside) == 3


def test_the_horizon_rule_moves_a_tuned_rate() -> None:
    laws = by_name(Question(N=5e8, D=4e10, known_lr=1e-3, known_tokens=1e10))
    assert laws["Bjorck"].lr == pytest.approx(6.417e-4, rel=1e-4)
    assert by_name(Question(N=5e8, D=4e10))["Bjorck"].lr is None


def test_disagreement_is_the_ratio_of_the_ends() -> None:
    found = advise(Question(N=5e8, D=1e10, batch_tokens=524288, width_ratio=4))
    rates = [law.hidden_lr for law in found.laws if law.hidden_lr is not None]
    factor = max(rates) / min(rates)
    assert any("all laws" in note and f"a factor {factor:.3g}" in note for note in found.notes)
    assert not math.isclose(factor, 1)
