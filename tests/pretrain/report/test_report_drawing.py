from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pretrain.report.against import Against
from pretrain.report.axis import axis, log_ticks, round_ticks
from pretrain.report.chart import Chart, Curve, chart, dash_and_sign, sign_and_dash
from pretrain.report.compare import compare
from pretrain.report.heat import AROUND, RISING, Heat, colour, heat
from pretrain.report.marks import Mark, marks_legend
from pretrain.report.write import write_report


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_round_and_within(low: float, span: float) -> None:
    assume(span > 1e-6 * abs(low))  # closer together than that they differ in no label
    ticks = round_ticks(low, low + span)
    assert all(low - 1e-6 * span <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    assert 2 <= len(ticks) <= 7


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.4, 30, [0.5, 1, 2, 5, 10, 20]),
        (1e-3, 10, [1e-3, 1e-2, 0.1, 1, 10]),
        (1.0, 1.4, [1, 1.1, 1.2, 1.3, 1.4]),
    ],
)
def test_logarithmic_ticks(low: float, high: float, ticks: list[float]) -> None:
    np.testing.assert_allclose(log_ticks(low, high), ticks)


def test_an_axis_maps_its_ends_and_nothing_beyond() -> None:
    linear, log = axis(10, 20, 0, 100), axis(1, 100, 0, 100, log=True)
    np.testing.assert_allclose(linear(np.array([10, 15, 20, 21])), [0, 50, 100, np.nan])
    np.testing.assert_allclose(log(np.array([1, 10, 100, 0, -1])), [0, 50, 100, np.nan, np.nan])
    np.testing.assert_allclose(linear.clamped(np.array([0.0, 50.0])), [0, 100])
    assert axis(3, 3, 0, 1).low < 3 < axis(3, 3, 0, 1).high


def drawn(*curves: Curve, **more: object) -> str:
    return chart(Chart(title="Loss", curves=curves, **more))  # type: ignore[arg-type]


def test_a_curve_is_interrupted_where_it_has_no_number() -> None:
    curve = Curve(name="a", x=np.arange(5.0), y=np.array([1.0, 2.0, np.nan, 2.0, 1.0]))
    (path,) = re.findall(r'class="line" d="([^"]+)"', drawn(curve))
    assert re.sub(r"[\d.,]+", "", path) == "MLML"


def test_points_lie_where_their_values_are() -> None:
    curve = Curve(name="a", x=np.array([0.0, 5.0, 10.0]), y=np.array([0.0, 1.0, 4.0]))
    (path,) = re.findall(r'class="line" d="([^"]+)"', drawn(curve, from_zero=True))
    (x0, y0), (x1, y1), (x2, y2) = ((float(a), float(b)) for a, b in re.findall(r"([\d.]+),([\d.]+)", path))
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert (y0 - y1) * 4 == pytest.approx(y0 - y2, abs=0.3)


def test_what_is_pointed_at_tells_its_values() -> None:
    a = Curve(
        name="a",
        x=np.array([1.0, 2.0]),
        y=np.array([5.0, 6.0]),
        band=(np.array([4.0, 6.0]), np.array([7.0, 6.0])),
    )
    b = Curve(name="<b>", x=np.array([2.0]), y=np.array([8.5]), colour=1, shape=1)
    html = drawn(a, b)
    assert "<title>tokens 1; a 5 (4 to 7)" in html
    assert "tokens 2; a 6; &lt;b&gt; 8.5</title>" in html


def assert_apart_without_colours(html: str) -> None:
    """No two keys of a legend look alike in grey; width, dash and sign count."""
    for legend in re.findall(r'<ul class="legend">.*?</ul>', html, re.S):
        keys = re.findall(r'aria-hidden="true" style="[^"]*">(.*?)</svg>', legend)
        assert len(set(keys)) == len(keys), legend


@pytest.mark.parametrize("look", [dash_and_sign, lambda number: sign_and_dash(number)[::-1]])
def test_sixteen_curves_are_told_apart_without_their_colours(look) -> None:
    x = np.arange(3.0)
    looks = [look(number) for number in range(16)]
    curves = [Curve(name="a", x=x, y=x, dash=dash, shape=shape) for dash, shape in looks]
    assert_apart_without_colours(drawn(*curves))


def test_curves_of_pages_are_told_apart_without_their_colours(make_run) -> None:
    folders = [make_run("a", steps=300)]
    folders += [make_run(name, steps=12, moe=False) for name in "bcdef"]
    html = write_report(folders[0]).read_text(encoding="utf-8")
    assert "layer 6" in html
    assert_apart_without_colours(html)
    html = compare(folders, Against.TOKENS).html()
    assert "f, web" in html
    assert_apart_without_colours(html)


def test_a_source_has_one_sign_in_all_runs(make_run) -> None:
    folders = [make_run("a", steps=12), make_run("b", steps=12)]
    metrics = folders[1] / "metrics.jsonl"
    metrics.write_text("".join(line for line in metrics.open() if '"python"' not in line))
    html = compare(folders, Against.TOKENS).html()
    signs = {name: sign for sign, name in re.findall(r'<path d="([^"]+)" [^>]*></svg>([^<]+)</li>', html)}
    assert signs.keys() == {"a, python", "a, web", "b, web"}
    assert signs["a, web"] == signs["b, web"] != signs["a, python"]


def test_nothing_is_drawn_of_nothing() -> None:
    assert drawn() == ""
    assert drawn(Curve(name="a", x=np.array([1.0]), y=np.array([np.nan]))) == ""


def test_marks_at_one_place_are_one() -> None:
    marks = [Mark(kind="skip", x=x, says=f"at {x}") for x in (50.0, 50.1, 90.0)]
    html = drawn(Curve(name="a", x=np.array([0.0, 100.0]), y=np.array([1.0, 2.0])), marks=marks)
    assert html.count('class="mark skip"') == 2
    assert "at 50.0 (and 1 more beside it)" in html
    assert "update left out × 3" in marks_legend(marks)
    assert marks_legend([]) == ""


def test_colours_go_from_the_first_to_the_last() -> None:
    assert [colour(share, RISING) for share in (-1, 0, 1, 2)] == [
        RISING[0],
        RISING[0],
        RISING[-1],
        RISING[-1],
    ]
    assert colour(0.5, AROUND) == AROUND[3]
    assert colour(0.5, ("#000000", "#0a1464")) == "#050a32"


def test_a_field_has_a_cell_for_every_number() -> None:
    values = np.array([[1.0, 2.0], [np.nan, 4.0]])
    names = {"rows": ["layer 1", "layer 2"], "columns": ["a", "b"], "x_name": "expert"}
    what = Heat(title="Load", unit="", values=values, low=1.0, high=4.0, log=True, **names)
    html = heat(what)
    assert html.count("<rect") == 3
    assert f'fill="{colour(0.5, RISING)}"><title>layer 1; expert b; 2</title>' in html
