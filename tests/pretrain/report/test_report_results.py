"""Damaged results are named, differences that are not known are not none, errors stand beside losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pretrain.errors import UserError
from pretrain.monitor.record import Record
from pretrain.report.against import Against
from pretrain.report.compare import compare
from pretrain.report.results import validation_table
from pretrain.report.run import read_run
from pretrain.report.write import write_report

DAMAGED = [
    3,
    None,
    {"metrics": 1},
    {"metrics": {}, "main": ["acc"]},
    {"metrics": {"acc": {"value": 0.5}}, "main": "acc", "num_fewshot": "five"},
]


@pytest.mark.parametrize("task", DAMAGED)
def test_a_file_with_a_damaged_task_is_refused_by_name(make_run, tmp_path: Path, task: Any) -> None:
    file = tmp_path / "model.json"
    file.write_text(json.dumps({"tasks": {"piqa": task}}))
    with pytest.raises(UserError, match=r"model\.json: tasks\.piqa: "):
        compare([make_run("a", steps=3), file], Against.TOKENS)


@pytest.mark.parametrize("task", DAMAGED)
def test_a_damaged_task_of_a_run_is_named_and_the_others_shown(make_run, task: Any) -> None:
    folder = make_run("a", steps=4)
    for path in (folder / "evaluations").iterdir():
        found = json.loads(path.read_text())
        path.write_text(json.dumps(found | {"tasks": found["tasks"] | {"piqa": task}}))
    html = write_report(folder).read_text(encoding="utf-8")
    assert "evaluations/step_00000004.json: the task piqa is damaged and left out" in html
    assert "boolq (version 1.0)" in html
    assert "piqa (version" not in html
    compared = compare([folder, make_run("b", steps=4)], Against.TOKENS)
    assert compared.scores is not None
    assert compared.scores.cells[0][-1] is None
    assert compared.scores.cells[1][-1] is not None


@pytest.mark.parametrize("damage", [{"tokens": "many"}, {"step": "last"}])
def test_results_at_no_place_are_left_out(make_run, damage: dict[str, str]) -> None:
    folder = make_run("a", steps=4)
    path = folder / "evaluations" / "step_00000004.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    assert "step_00000004.json: cannot be read" in write_report(folder).read_text(encoding="utf-8")
    with pytest.raises(UserError, match="neither a run folder nor a file of `pretrain evaluate`"):
        compare([folder, path], Against.TOKENS)


@pytest.mark.parametrize("config", [None, "run: ["])
def test_configs_that_cannot_be_read_are_named_and_not_called_alike(make_run, config: str | None) -> None:
    folders = [make_run("a", steps=3), make_run("b", steps=3)]
    path = folders[1] / "config.yaml"
    path.unlink() if config is None else path.write_text(config)
    found = compare(folders, Against.TOKENS)
    assert found.differing is None
    assert found.to_json()["config"] is None
    html = found.html()
    assert "Not known: the config.yaml of b is missing or cannot be read." in html
    assert "None but their names" not in html


def test_configs_that_are_alike_are_called_so(make_run) -> None:
    found = compare([make_run("a", steps=3), make_run("b", steps=3)], Against.TOKENS)
    assert found.to_json()["config"] == {}
    assert "None but their names." in found.html()


def test_one_run_beside_a_file_differs_from_no_config(make_run) -> None:
    folder = make_run("a", steps=4)
    found = compare([folder, folder / "evaluations" / "step_00000004.json"], Against.TOKENS)
    assert found.to_json()["config"] is None
    assert "Differences of the configs" not in found.html()


def test_a_validation_has_its_standard_error_where_it_is_known(tmp_path: Path) -> None:
    record = Record(tmp_path)
    for step, error in ((1, {}), (2, {"loss_se": None}), (3, {"loss_se": 0.01234})):
        line = {"kind": "validation", "step": step, "tokens": step, "source": "python", "loss": 3.5}
        record.metrics.append(line | {"bits_per_byte": 1.5} | error)
        table = validation_table(read_run(tmp_path))
        assert ("±" in table) == (step == 3)
    assert table.count("<td></td>") == 2
    assert "<td>3.5000</td><td>0.012</td><td>1.5000</td>" in table
    assert "±: the standard error of the loss over the held-out text" in table
    record.close()
