"""The picture holds the numbers of the schedule, in a file that two runs make alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from pretrain.config.load import load
from pretrain.errors import UserError
from pretrain.rates import plot
from pretrain.rates.rates import Rates, rates_of
from pretrain.rates.samples import places

SEESAW = (
    "batch.sequences=256",
    "batch.schedule={name: seesaw, max_sequences: 1024}",
    "schedule={name: cosine, lr_max: 0.01}",
)
LINEAR = (
    "batch.sequences=64",
    "batch.schedule={name: linear_in_tokens, from_tokens: 10B, max_sequences: 8192, multiple_of: 2}",
)


def rates(*overrides: str, config: str = "3b_moe", compare: str | None = None) -> Rates:
    return rates_of(load(config, overrides), compare=[compare] if compare else [])


@contextmanager
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The figure that is drawn within, to be looked into."""
    kept, save = SimpleNamespace(figure=None), Figure.savefig

    def keep(self: Figure, *args: object, **options: object) -> None:
        kept.figure = self
        save(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", keep)
        yield kept


def test_lines_hold_the_schedules_values(monkeypatch: pytest.MonkeyPatch) -> None:
    run = rates(compare="wsd,cosine")
    with drawn(monkeypatch) as kept:
        plot.picture(run, [run.at(10**12)], ".png")
    linear, log = kept.figure.axes
    for axes in (linear, log):
        for line, other in zip(axes.lines, run.lines(), strict=False):
            assert line.get_label() == other.label
            tokens, values = line.get_xdata(), line.get_ydata()
            np.testing.assert_array_equal(values, [other.value(int(count)) for count in tokens])
        marked = axes.lines[3]
        assert marked.get_xydata().tolist() == [[10**12, run.derived.lr(10**12)]]
    assert linear.get_ylim()[0] == 0
    assert (linear.get_xlim(), log.get_xlim()[1]) == ((0, run.last), run.last)
    assert "1T: 0.003107" in [text.get_text() for text in linear.texts]


def test_a_power_law_is_a_line_on_log_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(monkeypatch) as kept:
        plot.picture(rates(), [], ".png")
    log = kept.figure.axes[1]
    assert (log.get_xscale(), log.get_yscale()) == ("log", "log")
    tokens, values = log.lines[0].get_data()
    law = (tokens > 30e9) & (tokens < 2.5e12)
    slopes = np.diff(np.log(values[law])) / np.diff(np.log(tokens[law]))
    assert law.sum() > 100
    np.testing.assert_allclose(slopes, -0.51, atol=1e-6)


def test_curves_differ_without_colour_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(monkeypatch) as kept:
        plot.picture(rates(compare="wsd,cosine,linear,step,constant"), [], ".png")
    styles = [str(line._dash_pattern) for line in kept.figure.axes[0].lines[:6]]
    assert len(set(styles)) == 6
    (legend,) = kept.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "power, this run",
        *("wsd", "cosine", "linear", "step", "constant"),
        "warm-up and decay",
    ]


def test_stages_are_named_where_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    run = rates()
    with drawn(monkeypatch) as kept:
        plot.picture(run, [], ".png")
    axes = kept.figure.axes[0]
    named = {text.get_text().strip(): text.get_position()[0] for text in axes.texts}
    assert named == {"stable": 0, "decay": run.derived.stages[1].first_tokens}
    assert axes.lines[-1].get_xdata() == [named["decay"]] * 2


@pytest.mark.parametrize("overrides", [SEESAW, LINEAR], ids=["seesaw", "linear_in_tokens"])
def test_a_batch_that_changes_has_panels_of_its_own(
    monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    run = rates(*overrides)
    with drawn(monkeypatch) as kept:
        plot.picture(run, [], ".png")
    _, _, linear, log = kept.figure.axes
    assert linear.get_shared_x_axes().joined(linear, kept.figure.axes[0])
    assert log.get_shared_x_axes().joined(log, kept.figure.axes[1])
    line = linear.lines[0]
    assert line.get_drawstyle() == "steps-post"
    for tokens, size in line.get_xydata()[:: 1 + len(line.get_xdata()) // 10]:
        assert run.derived.timeline.update_at_tokens(min(int(tokens), run.last - 1)).batch_tokens == size


def test_a_jump_is_looked_at_on_both_sides() -> None:
    run = rates("batch.sequences=512", "batch.schedule={name: doubling, at_tokens: [1T]}")
    found = places(run)
    first = run.segments[1].first_tokens
    last = first - 512 * 4096
    assert found[found.index(last) + 1] == first
    assert run.derived.lr(first) / run.derived.lr(last) == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        LINEAR,
        ("schedule.warmup_tokens=0",),
        ("run.init_from=x", "run.init_tokens=4T", "schedule.warmup_tokens=0"),
    ],
)
def test_places_ascend_from_the_first_token_to_the_last(overrides: tuple[str, ...]) -> None:
    run = rates(*overrides)
    found = places(run)
    assert list(found) == sorted(set(found))
    assert (found[0], found[-1]) == (run.first, run.last)
    assert 400 <= len(found) < 2000


def test_a_run_far_from_0_needs_no_log_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    with drawn(monkeypatch) as kept:
        plot.picture(rates("run.init_from=x", "run.init_tokens=4T", "schedule.warmup_tokens=0"), [], ".png")
    (axes,) = kept.figure.axes
    assert axes.get_xlim()[0] == 4 * 10**12


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_every_format_and_the_same_bytes_again(tmp_path: Path, suffix: str, magic: bytes) -> None:
    file, run = tmp_path / f"lr{suffix}", rates(config="tiny_moe")
    plot.draw(file, run)
    first = file.read_bytes()
    plot.draw(file, run)
    assert first.startswith(magic)
    assert file.read_bytes() == first
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


def test_a_file_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "lr.png").mkdir()
    with pytest.raises(UserError, match=r"--plot: cannot write '.*lr.png' \(Is a directory\)"):
        plot.draw(tmp_path / "lr.png", rates(config="tiny_moe"))


@pytest.mark.parametrize("first", [0.01, 0])
def test_a_rate_of_0_can_be_drawn(monkeypatch: pytest.MonkeyPatch, first: float) -> None:
    run = rates(f"schedule={{name: from_file, points: [[0, {first}], [1T, 0]]}}")
    with drawn(monkeypatch) as kept:
        assert plot.picture(run, [], ".png").startswith(b"\x89PNG")
    low, high = kept.figure.axes[1].get_ylim()
    assert 0 < low < high
