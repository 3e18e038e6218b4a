"""Loss curves: the rates between those that a file has, and what a file may not have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pretrain.errors import UserError
from pretrain.laws.curve_files import read_curve, read_curves
from pretrain.laws.curves import Curve, rates_between, warmup_steps


def curve(steps: list[int], losses: list[float], rates: list[float]) -> Curve:
    return Curve(name="a", rates=np.array(rates), steps=np.array(steps), losses=np.array(losses))


def test_rates_are_lines_between_and_a_warmup_before() -> None:
    found = rates_between([4, 6, 8], [0.4, 0.2, 0.0])
    assert found == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.3, 0.2, 0.1, 0])


def test_a_warmup_that_ends_before_the_file_begins_is_followed_by_a_plateau() -> None:
    assert rates_between([5, 6], [0.4, 0.2], warmup_steps=3) == pytest.approx(
        [0, 0.2, 0.4, 0.4, 0.4, 0.4, 0.2]
    )
    with pytest.raises(ValueError, match="does not fit"):
        rates_between([5, 6], [0.4, 0.2], warmup_steps=7)


def test_a_change_between_two_plateaus_is_sudden_and_lies_at_the_later_step() -> None:
    found = rates_between([0, 2, 4, 6], [0.4, 0.4, 0.1, 0.1])
    assert found.tolist() == [0.4, 0.4, 0.4, 0.4, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("rates", "step"),
    [([0, 0, 1, 2, 3, 3], 4), ([0, 1, 2, 1], 2), ([2, 2, 1], 0), ([0, 1, 2], 2), ([0, 2, 2, 3], 1)],
)
def test_the_end_of_a_warmup(rates: list[float], step: int) -> None:
    assert warmup_steps(np.array(rates, float)) == step


def test_thinned_losses_are_means_and_none_is_lost() -> None:
    whole = curve(list(range(1, 101)), list(np.linspace(5, 3, 100)), [0.1] * 101)
    thin = whole.thinned(10)
    assert len(thin.steps) == 10
    assert thin.losses.mean() == pytest.approx(whole.losses.mean())
    assert thin.losses == pytest.approx(np.interp(thin.steps, whole.steps, whole.losses), abs=0.02)
    assert whole.thinned(100) is whole


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_runs_metrics_are_its_updates_alone(tmp_path: Path) -> None:
    lines = [
        {"kind": "train", "step": 1, "tokens": 64, "batch_tokens": 64, "loss": 5.0, "lr": 0.0},
        {"kind": "train", "step": 2, "tokens": 128, "batch_tokens": 64, "loss": 4.0, "lr": 0.1},
        {"kind": "validation", "step": 2, "loss": 4.5},
        {"kind": "train", "step": 3, "tokens": 192, "batch_tokens": 64, "loss": 3.9, "lr": 0.05},
    ]
    folder = tmp_path / "my_run"
    folder.mkdir()
    path = write(folder / "metrics.jsonl", "\n".join(map(json.dumps, lines)) + "\n")
    found, batch_tokens = read_curve(path)
    assert (found.name, batch_tokens) == ("my_run", 64)
    assert found.steps.tolist() == [1, 2, 3]
    assert found.rates.tolist() == [0, 0, 0.1, 0.05]
    (later,), _ = read_curves([path])
    assert later.steps.tolist() == [2, 3]  # what was lost while the rate rose is not of the law
    (last,), _ = read_curves([path], from_step=3)
    assert last.losses.tolist() == [3.9]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("2,0.1,nan", r"line 3: loss is nan and should be a finite number above 0"),
        ("2,0.1,", r"line 3: loss is nan"),
        ("2,-0.1,3", r"line 3: lr is -0.1 and should be a finite number, not negative"),
        ("1,0.1,3", r"line 3: step is 1 and should be above the 1"),
        ("2.5,0.1,3", r"line 3: step is 2.5 and should be a whole number"),
        ("30000000,0.1,3", r"line 3: step is 30000000 and should be updates, not tokens"),
        ("2,0.1,many", r"line 3: loss is 'many'"),
    ],
)
def test_a_number_that_cannot_be_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    path = write(tmp_path / "my.csv", f"step,lr,loss\n1,0.1,4\n{row}\n")
    with pytest.raises(UserError, match=complaint):
        read_curve(path)


def test_perplexities_are_no_losses_but_a_large_first_loss_is_one(tmp_path: Path) -> None:
    head = "step,lr,loss\n1,0.1,114\n2,0.1,"
    assert len(read_curve(write(tmp_path / "a.csv", f"{head}4.1\n3,0.1,4.0\n"))[0].steps) == 3
    with pytest.raises(UserError, match="perplexities"):
        read_curve(write(tmp_path / "b.csv", f"{head}41\n3,0.1,40\n"))


def test_a_missing_column_is_named_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'loss'.*train_loss"):
        read_curve(write(tmp_path / "my.csv", "step,lr,train_loss\n1,0.1,4\n"))


def test_one_law_has_one_batch(tmp_path: Path) -> None:
    growing = write(tmp_path / "a.csv", "step,lr,loss,batch_tokens\n1,0.1,4,64\n2,0.1,3.9,128\n")
    with pytest.raises(UserError, match="the batch grows from 64 to 128"):
        read_curve(growing)
    small = write(tmp_path / "b.csv", "step,lr,loss,batch_tokens\n1,0.1,4,64\n2,0.1,3.9,64\n")
    large = write(tmp_path / "c.csv", "step,lr,loss,batch_tokens\n1,0.1,4,128\n2,0.1,3.9,128\n")
    with pytest.raises(UserError, match="different batches"):
        read_curves([small, large])


def test_curves_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        paths.append(write(tmp_path / folder / "my.csv", "step,lr,loss\n0,0.1,4\n2,0.1,3.9\n"))
    assert [one.name for one in read_curves(paths)[0]] == [str(path) for path in paths]
