from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from megatron_lite.model.parameters import flops_per_token
from pretrain.cli import app
from pretrain.config.derive import model_shape
from pretrain.config.load import load
from pretrain.errors import UserError
from pretrain.report.against import Against
from pretrain.report.compare import compare
from pretrain.report.compared import distinct
from pretrain.report.differences import ABSENT, differences
from pretrain.report.score_table import Scored, score_table

# Table 6 of Power Scheduler: PowerLM-3B and PowerMoE-3B; ARC stands there as one column
COLUMNS = ("arc", "boolq", "hellaswag", "openbookqa", "piqa", "winogrande")
TABLE_6 = {
    "PowerLM-3B": ((60.5, 72.0, 74.6, 43.6, 79.9, 70.0), 66.8),
    "PowerMoE-3B": ((58.1, 65.0, 71.5, 41.0, 79.1, 65.0), 63.3),
}


def task(value: float, main: str = "acc", shots: int = 0, **more: Any) -> dict[str, Any]:
    metrics = {main: {"value": value, "stderr": None}}
    return {"version": 1, "num_fewshot": shots, "samples": 10, "main": main, "metrics": metrics} | more


def scored(name: str, **tasks: dict[str, Any]) -> Scored:
    return Scored(name=name, parameters=None, tokens=None, tasks=tasks)


def test_the_papers_table_comes_out_with_its_averages_and_its_best() -> None:
    models = [
        scored(name, **{key: task(value / 100) for key, value in zip(COLUMNS, scores, strict=True)})
        for name, (scores, _) in TABLE_6.items()
    ]
    table = score_table(models)
    assert table is not None
    assert [c.label for c in table.columns] == ["ARC", "BoolQ", "HellaSwag", "OBQA", "PIQA", "WinoGrande"]
    for row, average, (scores, wanted) in zip(table.cells, table.averages, TABLE_6.values(), strict=True):
        assert [str(cell) for cell in row] == [f"{value:.1f}" for value in scores]
        assert average is not None
        assert average.value == pytest.approx(wanted, abs=0.05 + 1e-9)
    assert all(cell and cell.best for cell in table.cells[0])
    assert not any(cell and cell.best for cell in table.cells[1])


def test_both_halves_of_arc_are_one_column_and_count_once() -> None:
    table = score_table([scored("a", arc_easy=task(0.6), arc_challenge=task(0.4), piqa=task(0.8))])
    assert table is not None
    assert [(c.label, str(cell)) for c, cell in zip(table.columns, table.cells[0], strict=True)] == [
        ("ARC", "50.0"),
        ("PIQA", "80.0"),
    ]
    assert table.averages[0] is not None
    assert table.averages[0].value == pytest.approx(65)


def test_less_perplexity_is_better_and_in_no_average() -> None:
    a = scored("a", wikitext=task(14.0, "word_perplexity"), piqa=task(0.7))
    b = scored("b", wikitext=task(13.0, "word_perplexity"), piqa=task(0.7))
    table = score_table([a, b])
    assert table is not None
    assert [[cell and cell.best for cell in row] for row in table.cells] == [[False, True], [True, True]]
    assert [average and average.value for average in table.averages] == [pytest.approx(70)] * 2


def test_a_row_without_a_task_has_no_average_and_shots_part_columns() -> None:
    table = score_table([scored("a", mmlu=task(0.5, shots=5), piqa=task(0.7)), scored("b", piqa=task(0.6))])
    assert table is not None
    assert [c.label for c in table.columns] == ["PIQA", "MMLU 5s"]
    assert table.cells[1][1] is None
    assert table.averages[1] is None
    assert score_table([]) is None


def test_rows_that_cannot_be_compared_are_named() -> None:
    table = score_table([scored("a", piqa=task(0.5)), scored("b", piqa=task(0.6, version=2, samples=10))])
    assert table is not None
    assert table.notes[-1] == "piqa: rows differ in their versions (1, 2)."


def test_differences_are_by_key_and_item() -> None:
    a = {"run": {"name": "a", "seed": 0}, "stages": [{"tokens": 5}], "betas": [0.9, 0.95]}
    b = {"run": {"name": "b", "seed": 1}, "stages": [{"tokens": 5}, {"tokens": 6}], "betas": [0.9, 0.99]}
    assert differences([a, b]) == {
        "run.seed": [0, 1],
        "stages.1.tokens": [ABSENT, 6],
        "betas": [[0.9, 0.95], [0.9, 0.99]],
    }
    assert differences([a, a]) == {}


def test_names_tell_runs_apart() -> None:
    assert distinct([Path("runs/a"), Path("runs/b")]) == ["a", "b"]
    assert distinct([Path("one/a"), Path("two/a")]) == ["one/a", "two/a"]
    with pytest.raises(UserError, match="twice"):
        distinct([Path("runs/a"), Path("runs/a")])


def test_what_a_run_spent(make_run) -> None:
    folders = [make_run("a", steps=20, moe=False), make_run("b", steps=20)]
    by = {against: compare(folders, against).runs for against in Against}
    for number, name in enumerate(("tiny_dense", "tiny_moe")):
        tokens = by[Against.TOKENS][number].x
        np.testing.assert_array_equal(tokens, 4096 * np.arange(1, 21))
        shape = model_shape(load(name))
        np.testing.assert_allclose(by[Against.FLOPS][number].x, tokens * flops_per_token(shape, 512))
        timing = [json.loads(line) for line in (folders[number] / "timing.jsonl").read_text().splitlines()]
        wanted = np.cumsum([line["seconds"] for line in timing])
        np.testing.assert_allclose(by[Against.SECONDS][number].x, wanted)


def test_a_run_that_does_not_say_what_it_spent_is_named(make_run) -> None:
    folders = [make_run("a", steps=20), make_run("b", steps=20)]
    (folders[1] / "config.yaml").unlink()
    (folders[1] / "timing.jsonl").unlink()
    assert len(compare(folders, Against.TOKENS).runs) == 2
    for against in (Against.FLOPS, Against.SECONDS):
        with pytest.raises(UserError, match=f"--against {against.value}: .*b has no"):
            compare(folders, against)


def test_the_command_compares_runs_and_files(make_run, tmp_path: Path) -> None:
    runs = [str(make_run("a", steps=60)), str(make_run("b", steps=60, shift=-0.2))]
    file = tmp_path / "granite.json"
    found = json.loads((Path(runs[0]) / "evaluations" / "step_00000060.json").read_text())
    file.write_text(json.dumps(found | {"name": "granite", "tokens": None}))
    out = tmp_path / "compare.html"
    command = ["report", "--compare", *runs, str(file), "--out", str(out), "--against", "flops"]
    answer = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert answer["report"] == str(out)
    assert [run["name"] for run in answer["runs"]] == ["a", "b"]
    assert answer["runs"][1]["training_loss"] < answer["runs"][0]["training_loss"]
    assert [row["name"] for row in answer["results"]["rows"]] == ["a", "b", "granite"]
    assert answer["results"]["rows"][1]["values"][1] == {
        "value": pytest.approx(41),
        "stderr": pytest.approx(1.42 / 2**0.5),
        "best": True,
    }
    assert answer["config"] == {}
    html = out.read_text(encoding="utf-8")
    assert "FLOPs" in html
    assert "None but their names." in html
    told = CliRunner().invoke(app, command).stdout
    assert "Wiki ppl" in told
    assert "granite" in told


def test_models_that_are_no_runs_are_compared_too(make_run, tmp_path: Path) -> None:
    """By name, in a terminal however narrow; a large perplexity keeps five digits."""
    found = json.loads((make_run("a", steps=60) / "evaluations" / "step_00000060.json").read_text())
    found["tasks"]["wikitext"]["metrics"]["word_perplexity"]["value"] = 5210625.1
    for name in ("granite", "olmo"):
        (tmp_path / f"{name}.json").write_text(json.dumps(found | {"name": name}))
    files = [str(tmp_path / f"{name}.json") for name in ("granite", "olmo")]
    out = tmp_path / "compare.html"
    told = CliRunner(env={"COLUMNS": "40"}).invoke(app, ["report", "--compare", *files, "--out", str(out)])
    assert told.exit_code == 0, told.output
    assert re.search(r"Wiki ppl +5.2106e\+06 +5.2106e\+06", told.stdout)
    html = out.read_text(encoding="utf-8")
    assert "granite · olmo" in html
    assert "Training loss" not in html


@pytest.mark.parametrize("paths", [["a"], ["a", "a"], ["a", "missing"], ["a", "file.json"]])
def test_what_cannot_be_compared_is_refused(make_run, tmp_path: Path, paths: list[str]) -> None:
    make_run("a", steps=3)
    (tmp_path / "file.json").write_text("{}")
    with pytest.raises(UserError):
        compare([tmp_path / path for path in paths], Against.TOKENS)
