"""Figures: each shows what the fits say, and what the results do not hold is left out with a reason."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from pretrain.laws.figures import best_exponent, cost_of_rate, gamma, loss_and_rate, rate_and_tokens, style
from pretrain.laws.figures.draw import PICTURES, write
from pretrain.laws.figures.study import Study, read_study
from pretrain.laws.figures.words import short

ROOT = Path(__file__).parents[3]
DATA = Path(__file__).parent / "data"
COLUMNS = ("N", "D", "batch_tokens", "lr", "loss", "status", "schedule.amplitude", "schedule.exponent")


def results(
    path: Path,
    *,
    sizes: tuple[float, ...] = (6e6, 96e6),
    budgets: tuple[float, ...] = (1e9, 4e9, 16e9),
    betas: tuple[int, ...] = (16, 64, 256),
    constants: bool = False,
) -> Path:
    """A sweep of the paper's law, one run of every cell diverged, and perhaps one of the constants."""
    rows: list[tuple[object, ...]] = []
    for N in sizes:
        for T in budgets:
            for beta in betas:
                best = 4.6 * beta * T**-0.51
                for step in range(-3, 4):
                    lr = best * 2.0 ** (step + 0.3)
                    loss = (
                        3
                        + 0.02 * math.log(lr / best) ** 2
                        + 0.01 * math.log(beta / 40) ** 2
                        - 0.1 * math.log(T / 1e9)
                    )
                    rows.append((N, T, beta * 4096, lr, loss, "finished", "", ""))
                rows.append((N, T, beta * 4096, best * 12, "", "diverged", "", ""))
    for T in budgets if constants else ():
        for beta in betas:
            for a in (3, 4, 5):
                for b in np.linspace(-0.6, -0.4, 5):
                    loss = 3 + (b + 0.51) ** 2 + 0.001 * (a - 4) ** 2
                    rows.append((sizes[0], T, beta * 4096, 0.02, loss, "finished", a, b))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return path


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    folder = tmp_path_factory.mktemp("figures")
    study = read_study(results(folder / "sweep.csv", constants=True), 100)
    write(study, folder / "out")
    return study, folder / "out"


def test_a_whole_sweep_gives_every_figure(full: tuple[Study, Path]) -> None:
    study, out = full
    assert [one.name for one in PICTURES if one.lacks(study)] == []
    names = {f"{one.name}.{kind}" for one in PICTURES for kind in ("svg", "pdf", "png")}
    assert {path.name for path in out.iterdir()} == {*names, "figures.html"}
    for one in PICTURES:
        assert (out / f"{one.name}.pdf").read_bytes().startswith(b"%PDF")
        ElementTree.parse(out / f"{one.name}.svg")
        picture = matplotlib.image.imread(io.BytesIO((out / f"{one.name}.png").read_bytes()), format="png")
        assert picture.shape[1] >= 700
        assert 0.01 < (picture[..., :3].mean(axis=2) < 0.6).mean() < 0.4, one.name  # neither blank nor black


def test_the_page_stands_alone_and_says_the_numbers(full: tuple[Study, Path]) -> None:
    study, out = full
    text = (out / "figures.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#)', text)
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert text.count("<svg") == len(PICTURES)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    assert study.fit.together is not None
    assert f"{study.fit.together.exponent:.4f}" in text
    assert "one law for all sizes: " in text
    assert "amplitude: 4.6" in text
    assert text.count("<tr>") > len(study.fit.optima)


def test_the_same_results_make_the_same_bytes(full: tuple[Study, Path], tmp_path: Path) -> None:
    study, out = full
    content = gamma.PICTURE.draw(study), gamma.PICTURE.draw(study)
    from pretrain.laws.figures.files import rendered

    first, second = (rendered(figure, gamma.PICTURE.name) for figure in content)
    assert first == second
    assert first["svg"] == (out / f"{gamma.PICTURE.name}.svg").read_bytes()


def drawn(figure: Figure, panel: int = 0) -> dict[float, float]:
    """Every point of a panel, by its place."""
    points: dict[float, float] = {}
    for line in figure.axes[panel].lines:
        points |= {float(x): float(y) for x, y in zip(*line.get_data(), strict=True)}
    return points


def test_the_line_of_figure_4_is_the_planted_law(full: tuple[Study, Path]) -> None:
    figure = gamma.PICTURE.draw(full[0])
    line = next(one for one in figure.axes[2].lines if one.get_color() == style.LAW)
    T, values = (np.asarray(one, float) for one in line.get_data())
    assert values == pytest.approx(4.6 * T**-0.51, rel=1e-5)


def test_the_stars_of_figure_2_are_the_planted_optima(full: tuple[Study, Path]) -> None:
    figure = loss_and_rate.PICTURE.draw(full[0])
    stars = [float(one.get_xdata()[0]) for one in figure.axes[0].lines if one.get_marker() == "*"]
    assert sorted(stars) == pytest.approx(sorted(4.6 * 64 * T**-0.51 for T in (1e9, 4e9, 16e9)), rel=1e-4)


def test_the_points_of_the_other_figures(full: tuple[Study, Path]) -> None:
    study = full[0]
    assert list(drawn(best_exponent.PICTURE.draw(study)).values()) == pytest.approx([-0.51] * 3, abs=1e-9)
    costs = [cost.rise for cost in study.sensitivity.costs]
    assert drawn(cost_of_rate.PICTURE.draw(study))[1e9] == pytest.approx(np.mean(costs), rel=1e-4)
    assert "T^-0.510" in rate_and_tokens.PICTURE.says(study)


def test_series_are_told_apart_without_colour() -> None:
    looks = [style.look(rank, 8) for rank in range(8)]
    assert len({look["marker"] for look in looks}) == 8
    shades = [float(np.dot(look["color"][:3], (0.2126, 0.7152, 0.0722))) for look in looks]
    assert all(dark < light for dark, light in pairwise(shades))
    assert shades[-1] < 0.63


@pytest.mark.parametrize(
    ("sweep", "missing"),
    [
        ({"budgets": (1e9,)}, {"figure_1", "figure_4", "figure_5", "figure_6", "time_a"}),
        ({"betas": (64,)}, {"figure_3", "figure_5", "figure_6", "time_b"}),
        ({"sizes": (6e6,)}, {"figure_5", "figure_6", "time_d"}),
        (
            {"sizes": (6e6,), "betas": (64,), "budgets": (1e9,)},
            {
                "figure_1",
                "figure_3",
                "figure_4",
                "figure_5",
                "figure_6",
                "time_a",
                "time_b",
                "time_c",
                "time_d",
            },
        ),
    ],
)
def test_what_a_sweep_lacks_is_left_out_with_a_reason(
    tmp_path: Path, sweep: dict[str, tuple[float, ...]], missing: set[str]
) -> None:
    study = read_study(results(tmp_path / "sweep.csv", **sweep), 100)  # type: ignore[arg-type]
    lacks = {"_".join(one.name.split("_")[:2]): one.lacks(study) for one in PICTURES}
    assert {name for name, why in lacks.items() if why} == missing
    for one in PICTURES:
        if not one.lacks(study):
            assert one.says(study)
            assert one.draw(study).axes


def test_a_file_of_constants_alone(tmp_path: Path) -> None:
    whole = results(tmp_path / "whole.csv", constants=True).read_text().splitlines()
    path = tmp_path / "constants.csv"
    path.write_text(
        "\n".join(
            [whole[0], *(line for line in whole if not line.endswith(",,"))][0:1]
            + [line for line in whole[1:] if not line.endswith(",,")]
        )
    )
    study = read_study(path, 100)
    assert [one.name for one in PICTURES if not one.lacks(study)] == [
        "figure_5_constants",
        "figure_6_best_exponent",
    ]


def test_published_runs_show_their_one_valley(tmp_path: Path) -> None:
    """Of 124M models at three lengths (arXiv 2501.18965) only the longest was run at rates on both sides."""
    study = read_study(DATA / "lr_scheduling" / "wsd_124m.csv", 100)
    written = write(study, tmp_path / "out")
    assert [one["name"] for one in written.figures] == ["figure_2_loss_and_rate"]
    assert len(written.left_out) == 9
    (one,) = study.found
    assert 0.0005 < one.lr < 0.003
    assert one.loss < 2.967


def test_the_command(tmp_path: Path) -> None:
    path = results(tmp_path / "sweep.csv", sizes=(6e6,), budgets=(1e9,))
    code = "from pretrain.commands.laws.figures import figures\nimport typer\ntyper.run(figures)"
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            str(path),
            str(tmp_path / "a" / "out"),
            "--json",
            "--repetitions",
            "100",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    answer = json.loads(ended.stdout)
    assert {one["name"] for one in answer["figures"]} >= {"figure_2_loss_and_rate", "time_b_loss_and_batch"}
    for one in answer["figures"]:
        assert all((tmp_path / "a" / "out" / file).exists() for file in one["files"].values())
    assert "left out Figure 4" in ended.stderr
    assert answer["fit"]["missing"]
    assert answer["sensitivity"]["costs"]


@pytest.mark.parametrize(
    ("count", "text"), [(24.1e6, "24.1M"), (999_999, "1M"), (512, "512"), (2.56e11, "256B")]
)
def test_counts(count: float, text: str) -> None:
    assert short(count) == text
