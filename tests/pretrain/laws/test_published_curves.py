"""The loss-curve laws on excerpts of the Multi-Power Law's published curves, and its published numbers."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import numpy as np
import pytest

from pretrain.laws.curve_files import read_curve
from pretrain.laws.curve_scores import mean_score, score
from pretrain.laws.curves import Curve, Floats
from pretrain.laws.fit_curves import fit_law
from pretrain.laws.multi_power import MultiPower
from pretrain.laws.optimised import optimise

DATA = Path(__file__).parent / "data" / "multi_power_law"
FIT = ("cosine_24000", "constant_24000", "wsdcon_9")
TEST = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18")
WARM, PEAK, END = 2160, 3e-4, 3e-5


def rates_of(name: str, last: int) -> Floats:
    """The authors' schedule, whose warm-up has its peak at its last update."""
    kind, *numbers = name.split("_")
    steps = np.arange(last + 1.0)
    rates = np.full(last + 1, PEAK)
    x = np.clip((steps - 20000) / 4000, 0, 1)
    if kind == "cosine":
        rates = END + (PEAK - END) * (1 + np.cos(np.pi * (steps - WARM) / (int(numbers[0]) - WARM))) / 2
    elif kind == "wsd":
        rates = PEAK ** (1 - x) * END**x
    elif kind == "wsdld":
        rates = PEAK * (1 - x) + END * x
    elif kind == "wsdcon":
        rates[8000:] = int(numbers[0]) * 1e-5
    rates[:WARM] = np.linspace(0, PEAK, WARM)
    return rates


def exact(size: int, name: str) -> Curve:
    found, _ = read_curve(DATA / f"csv_{size}" / f"{name}.csv")
    rates = rates_of(name, int(found.steps[-1]))
    with (DATA / f"csv_{size}" / f"{name}.csv").open() as file:
        written = [float(row["lr"]) for row in csv.DictReader(file)]
    assert rates[found.steps] == pytest.approx(written, rel=1e-12)
    return Curve(name=name, rates=rates, steps=found.steps, losses=found.losses)


def published(size: int) -> MultiPower:
    with (DATA / "published_params.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["model_M"] == str(size))
    return MultiPower(**{name: float(value) for name, value in row.items() if name != "model_M"})


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # of the rows in these excerpts, computed from the law's definition with other code
        (25, (0.9988111, 0.0040707, 0.0053523, 0.0011818, 0.0040946)),
        (100, (0.9983296, 0.0046776, 0.0066711, 0.0015281, 0.0057918)),
    ],
)
def test_the_published_constants_score_as_they_should(size: int, expected: tuple[float, ...]) -> None:
    curves = [exact(size, name) for name in TEST]
    law = published(size)
    found = mean_score([score(law.losses(one.rates, one.steps), one.losses) for one in curves])
    assert [found.r2, found.mae, found.rmse, found.pred_e, found.worst_e] == pytest.approx(expected, abs=6e-8)


@pytest.mark.parametrize(
    ("name", "predicted", "measured"),
    [
        ("cosine_72000", 2.86176, 2.8632),
        ("wsd_20000_24000", 2.93602, 2.9514),
        ("wsdcon_3", 3.07710, 3.0676),
    ],
)
def test_the_last_point_of_a_published_curve(name: str, predicted: float, measured: float) -> None:
    one = exact(100, name)
    assert one.losses[-1] == measured
    assert published(100).losses(one.rates, one.steps)[-1] == pytest.approx(predicted, abs=6e-6)


@pytest.mark.parametrize("size", [25, 100])
def test_three_curves_predict_six_and_better_than_the_annealing_law(size: int) -> None:
    """As a user has them: the rates between a file's rows are not known but filled in."""
    started = time.process_time()
    curves = {name: read_curve(DATA / f"csv_{size}" / f"{name}.csv")[0] for name in (*FIT, *TEST)}
    found = {}
    for law in ("mpl", "annealing"):
        fitted = fit_law([curves[name] for name in FIT], law, num_refits=0).law
        unseen = [curves[name] for name in TEST]
        found[law] = mean_score([score(fitted.losses(one.rates, one.steps), one.losses) for one in unseen])
    assert time.process_time() - started < 60
    assert found["mpl"].mae <= 0.007
    assert found["mpl"].r2 is not None
    assert found["mpl"].r2 >= 0.996
    assert found["annealing"].mae > found["mpl"].mae


@pytest.mark.parametrize(
    ("size", "constant", "best"), [(25, 3.23753, 3.151), (100, 2.90247, 2.796), (400, 2.66095, 2.535)]
)
def test_the_optimised_schedule_is_as_good_as_the_authors(size: int, constant: float, best: float) -> None:
    found = optimise(published(size), steps=24000, peak=PEAK, warmup_steps=WARM)
    assert found.constant_loss == pytest.approx(constant, abs=6e-6)
    assert found.searched_loss <= best
    assert 0.86 <= found.flat_share <= 0.92
    assert 0.002 <= found.last_share <= 0.008
    tail = found.rates[int(24000 * 0.93) : int(24000 * 0.99)] / PEAK
    left = 1 - np.arange(int(24000 * 0.93), int(24000 * 0.99)) / 24000
    slope = np.polyfit(np.log(left), np.log(tail), 1)[0]
    assert 1.2 < slope < 1.8  # about (1 - x)^1.5
