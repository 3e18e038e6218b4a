from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from pretrain.monitor import curves
from pretrain.monitor.curves import BLUE, SOURCE_COLOURS, draw, picture
from pretrain.monitor.record import JsonLines


def record(folder: Path, losses: list[float], validation: dict[int, dict[str, float]] | None = None) -> None:
    with JsonLines(folder / "metrics.jsonl") as file:
        for step, loss in enumerate(losses, start=1):
            place = {"step": step, "tokens": 1000 * step, "batch_tokens": 1000}
            file.append({"kind": "train", **place, "loss": loss, "lr": 0.01 / step})
            for source, value in (validation or {}).get(step, {}).items():
                file.append(
                    {"kind": "validation", **place, "source": source, "loss": value, "bits_per_byte": 1.0}
                )


def pixels(folder: Path) -> np.ndarray:
    return matplotlib.image.imread(BytesIO(picture(folder)), format="png")


def shows(image: np.ndarray, colour: str) -> bool:
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return bool((np.abs(image[..., :3] - wanted).max(axis=-1) < 0.02).any())


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn, to be looked into."""
    drawn: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *args: object, **options: object) -> None:
        drawn.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return drawn


@pytest.mark.parametrize("losses", [[], [24.0], [24.0, 3.0], [math.nan] * 3, [3.0] * 150, [math.nan] * 150])
def test_any_record_can_be_drawn(tmp_path: Path, losses: list[float]) -> None:
    record(tmp_path, losses)
    image = pixels(tmp_path)
    assert image.shape[:2] == (6 * curves.DOTS_PER_INCH, 8 * curves.DOTS_PER_INCH)


def test_a_run_folder_without_a_record_can_be_drawn(tmp_path: Path) -> None:
    assert pixels(tmp_path).size


def test_training_and_every_source_have_their_colour(tmp_path: Path) -> None:
    record(tmp_path, [5.0, 4.0, 3.0], {2: {"python": 4.5, "web": 4.6}, 3: {"python": 3.5, "web": 3.6}})
    image = pixels(tmp_path)
    assert [shows(image, colour) for colour in (BLUE, *SOURCE_COLOURS[:3])] == [True, True, True, False]


def test_the_same_record_makes_the_same_bytes(tmp_path: Path) -> None:
    record(tmp_path, [5.0, 4.0, 3.0])
    draw(tmp_path, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes() == picture(tmp_path)


def test_the_lines_hold_the_numbers_of_the_record(tmp_path: Path, figure: list[Figure]) -> None:
    record(tmp_path, [5.0, math.nan, 3.0], {3: {"python": 3.5}})
    draw(tmp_path, tmp_path / "curves.png")
    loss, rate = figure[0].axes
    training, validation = loss.lines
    np.testing.assert_array_equal(training.get_xydata(), [[1000, 5.0], [2000, np.nan], [3000, 3.0]])
    np.testing.assert_array_equal(validation.get_xydata(), [[3000, 3.5]])
    np.testing.assert_array_equal(rate.lines[0].get_ydata(), [0.01, 0.005, 0.01 / 3])
    assert "nats" in loss.get_ylabel()
    assert rate.get_xlabel() == "tokens"
    assert loss.get_title(loc="left") == tmp_path.name


def test_a_start_far_above_the_rest_is_left_out_and_named(tmp_path: Path, figure: list[Figure]) -> None:
    losses = [28.25, 12.0, *np.linspace(4, 3, 98)]
    record(tmp_path, losses)
    draw(tmp_path, tmp_path / "curves.png")
    loss = figure[0].axes[0]
    assert loss.get_ylim()[1] < 5
    assert "28.2" in loss.get_title(loc="right")


def test_a_spike_after_the_start_stays_in_the_picture(tmp_path: Path, figure: list[Figure]) -> None:
    losses = [5.0, *np.linspace(4, 3, 99)]
    losses[50] = 20.0
    record(tmp_path, losses)
    draw(tmp_path, tmp_path / "curves.png")
    loss = figure[0].axes[0]
    assert loss.get_ylim()[1] > 20
    assert loss.get_title(loc="right") == ""


def test_the_mean_is_centred_on_its_updates(tmp_path: Path, figure: list[Figure]) -> None:
    record(tmp_path, [float(step) for step in range(1, 201)])  # the centred mean of a line is the line
    draw(tmp_path, tmp_path / "curves.png")
    single, mean = figure[0].axes[0].lines
    assert mean.get_label() == "training, mean of 5 updates"
    np.testing.assert_allclose(mean.get_ydata() * 1000, mean.get_xdata())
    assert len(single.get_xdata()) == 200
    assert len(mean.get_xdata()) == 196
