"""A learning rate from a table: values at, between and beyond its points; each mistake is one sentence."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_lite.schedules.batch import ConstantBatch
from pretrain.config.derive import derive
from pretrain.config.document import parse
from pretrain.config.from_file import FromFile
from pretrain.config.load import dump, load, parse_config
from pretrain.config.lr_table import MAX_POINTS
from pretrain.errors import UserError

TABLE = "tokens,loss,lr\n0,9.9,0\n1K,5.5,0.01\n\n3000,4.4,1e-3\n"
BATCH = ConstantBatch(batch_tokens=512)


def bound(total_tokens: int = 10_000, **options):
    return FromFile(**options).bind(batch=BATCH, total_tokens=total_tokens)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "table.csv"
    file.write_text(TABLE)
    return file


def test_linear_between_the_points_of_a_csv(table):
    lr = bound(path=str(table))
    at = [0, 500, 1000, 2000, 3000, 99_999]
    assert [lr(n) for n in at] == pytest.approx([0, 0.005, 0.01, 0.0055, 0.001, 0.001], rel=1e-12)
    assert [lr(n) for n in (0, 1000, 3000)] == [0, 0.01, 0.001]


def test_log_between_the_points():
    lr = bound(points=[(1000, 0.01), (3000, 0.0001)], interpolation="log")
    assert [lr(n) for n in (0, 1000, 2000, 2500, 3000, 4000)] == pytest.approx(
        [0.01, 0.01, 0.001, 10**-3.5, 0.0001, 0.0001], rel=1e-12
    )
    with pytest.raises(ValueError, match="interpolation=log needs rates above 0; at 5 tokens it is 0"):
        bound(points=[(5, 0), (7, 1)], interpolation="log")


def test_a_table_under_a_warm_up_and_a_tail():
    lr = bound(points=[(0, 0.01)], warmup_tokens=100, decay_tokens=1000, decay="linear")
    assert [lr(n) for n in (0, 50, 100, 9000, 9500, 10_000)] == [0, 0.005, 0.01, 0.01, 0.005, 0]


def test_json_lines(tmp_path):
    file = tmp_path / "table.jsonl"
    file.write_text('{"lr": 0.5, "tokens": 10, "more": [1]}\n\n{"tokens": "2K", "lr": "1e-3"}\n')
    assert FromFile(path=str(file)).points == ((10, 0.5), (2000, 0.001))


def test_the_metrics_of_a_run_give_its_rates_again(tmp_path):
    """A line counts its own batch; its rate held before. Validations are no updates."""
    config = load("tiny_moe", ["schedule={name: cosine, lr_max: 0.01, lr_min: 0.001, warmup_tokens: 100K}"])
    derived, size = derive(config), config.batch.tokens
    lines = []
    for step in range(derived.steps):
        update = {
            "tokens": (step + 1) * size,
            "batch_tokens": size,
            "loss": 3.0,
            "lr": derived.lr(step * size),
        }
        lines.append({"kind": "train", "step": step + 1, **update})
        lines.append({"kind": "validation", "step": step + 1, "tokens": (step + 1) * size, "loss": 3.1})
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = derive(load("tiny_moe", [f"schedule={{name: from_file, path: {file}}}"]))
    assert again.steps == derived.steps > 100
    assert [again.lr(k * size) for k in range(again.steps)] == [
        derived.lr(k * size) for k in range(again.steps)
    ]


def test_the_config_keeps_the_table_that_it_read(table):
    config = load("tiny_moe", [f"schedule={{name: from_file, path: {table}}}"])
    written, _ = parse(dump(config))
    saved = json.loads(json.dumps(config.model_dump(mode="json")))
    table.write_text("tokens,lr\n0,1\n")
    for sections in (written, saved):
        assert parse_config(sections) == config
    changed = load("tiny_moe", [f"schedule={{name: from_file, path: {table}}}"])
    assert (derive(config).lr(1000), derive(changed).lr(1000)) == (0.01, 1)
    table.unlink()
    assert parse_config(written) == config


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tokens,rate\n0,1\n", "line 1: no column 'lr' in the header tokens,rate."),
        ("token,lr\n0,1\n", "line 1: no column 'tokens' in the header token,lr. Did you mean 'token'?"),
        ("tokens,lr,lr\n0,1,1\n", "line 1: several columns 'lr' in the header"),
        ("tokens,lr\n0,1\nten,1\n", "line 3: tokens 'ten' should be a whole number"),
        ("tokens,lr\n1.5,1\n", "line 2: tokens '1.5' should be a whole number such as"),
        ("tokens,lr\n-1,1\n", "line 2: tokens '-1' should not be negative"),
        ("tokens,lr\n0,fast\n", "line 2: lr 'fast' should be a number that is not negative"),
        ("tokens,lr\n0,nan\n", "line 2: lr 'nan' should be a number that is not negative"),
        ("tokens,lr\n0,-1\n", "line 2: lr '-1' should be a number that is not negative"),
        ("tokens,lr\n0\n", "line 2: lr is missing."),
        ("tokens,lr\n0,1\n0,2\n", "line 3: tokens should ascend, and 0 comes after 0"),
        ("tokens,lr\n\n9,1\n8,2\n", "line 4: tokens should ascend, and 8 comes after 9"),
        ("tokens,lr\n", ": no line has tokens and a learning rate"),
        ("", "line 1: no column 'tokens' in the header"),
        ('{"tokens": 1, "lr": 1}\n{"tokens": 2, "l', "line 2: not a JSON object"),
        ('{"tokens": 1, "lr": 1}\n[2, 1]\n', "line 2: not a JSON object"),
        ('{"tokens": 1, "lrs": 1}\n', "line 1: lr is missing. Did you mean 'lrs'?"),
        ('{"tokens": 1, "lr": null}\n', "line 1: lr is missing."),
        ('{"tokens": 1, "lr": true}\n', "line 1: lr True should be a number"),
        ('{"kind": "train", "tokens": 1, "lr": 1}\n', "line 1: batch_tokens is missing."),
        ('{"kind": "validation", "tokens": 1}\n', ": no line has tokens and a learning rate"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, sentence):
    file = tmp_path / "wrong"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load("tiny_moe", [f"schedule={{name: from_file, path: {file}}}"])
    (problem,) = str(caught.value).split("\n")[1:]
    assert problem.strip().startswith(f"schedule: {file}")
    assert sentence in problem


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("{name: from_file}", "schedule: from_file needs a path to a table, or the table itself as points"),
        ("{name: from_file, path: missing.csv}", "schedule: cannot read 'missing.csv' (No such file"),
        ("{name: from_file, path: .}", "schedule: cannot read '.' (Is a directory"),
        ("{name: from_file, path: 3}", "schedule.path: 3 should be text"),
        ("{name: from_file, points: [[5, 1], [5, 2]]}", "schedule.points: a list of 2 should have ascending"),
        ("{name: from_file, points: [[5, 1, 2]]}", "schedule.points.0: a list of 3 should have at most 2"),
        ("{name: from_file, points: [[5, -1]]}", "schedule.points.0.1: -1 should be greater than or equal"),
        (
            "{name: from_file, points: [[5, 1]], pth: x}",
            "schedule.pth: unknown key 'pth'. Did you mean 'path'?",
        ),
    ],
)
def test_options_that_are_refused(section, sentence):
    with pytest.raises(UserError) as caught:
        load("tiny_moe", [f"schedule={section}"])
    (problem,) = str(caught.value).split("\n")[1:]
    assert problem.strip().startswith(sentence)


def test_a_file_that_is_no_text_and_one_that_is_too_long(tmp_path):
    file = tmp_path / "wrong.csv"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="cannot read"):
        FromFile(path=str(file))
    file.write_text("tokens,lr\n" + "".join(f"{n},1\n" for n in range(2 * MAX_POINTS + 1)))
    with pytest.raises(ValueError, match=f"{2 * MAX_POINTS + 1} points, .* every 3th line would do"):
        FromFile(path=str(file))


RATES = st.floats(1e-300, 1e300)


@given(
    st.dictionaries(st.integers(0, 10**15), RATES, min_size=1, max_size=8),
    st.integers(0, 10**15),
    st.sampled_from(["linear", "log"]),
)
def test_between_its_neighbours_and_exact_at_its_points(table, tokens, interpolation):
    points = sorted(table.items())
    lr = bound(points=points, interpolation=interpolation)
    assert [lr(n) for n, _ in points] == [rate for _, rate in points]
    below = max((point for point in points if point[0] <= tokens), default=points[0])
    above = min((point for point in points if point[0] >= tokens), default=points[-1])
    low, high = sorted((below[1], above[1]))
    assert low <= lr(tokens) <= high
    if interpolation == "log" and below[0] < tokens < above[0]:
        x = (tokens - below[0]) / (above[0] - below[0])
        assert math.log(lr(tokens)) == pytest.approx((1 - x) * math.log(below[1]) + x * math.log(above[1]))
