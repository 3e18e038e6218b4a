"""`pretrain laws fit-curve`, `predict` and `optimise`: from files to files, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from pretrain.commands.laws import fit_curve, optimise, predict
from pretrain.errors import UserError
from pretrain.laws.multi_power import MultiPower

LAW = MultiPower(L0=2.5, A=0.5, alpha=0.5, B=40.0, C=1.5, beta=0.5, gamma=0.6)
PEAK, BATCH = 2e-3, 64

app = typer.Typer()
app.command("fit-curve")(fit_curve.fit_curve)
app.command()(predict.predict)
app.command()(optimise.optimise)


def ask(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def answer(*words: object) -> dict:
    ended = ask(*words, "--json")
    assert ended.exit_code == 0, ended.output
    return json.loads(ended.stdout)


def refusal(*words: object) -> str:
    error = ask(*words).exception
    assert isinstance(error, UserError), error
    return str(error)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A cosine and a WSD run, as their metrics."""
    folder, x = tmp_path_factory.mktemp("runs"), np.arange(1500) / 1500
    shapes = {"cosine": (1 + np.cos(np.pi * x)) / 2, "wsd": np.minimum(1, (1 - x) / 0.2)}
    paths = []
    for name, shape in shapes.items():
        rates = np.concatenate([[0.0], PEAK * np.arange(100) / 100, PEAK * shape])
        steps = np.arange(8, 1601, 8)
        losses = LAW.losses(rates, steps)
        rows = [
            {"kind": "train", "step": int(s), "batch_tokens": BATCH, "lr": rates[s], "loss": loss}
            for s, loss in zip(steps, losses, strict=True)
        ]
        (folder / name).mkdir()
        paths.append(folder / name / "metrics.jsonl")
        paths[-1].write_text("\n".join(map(json.dumps, rows)))
    return paths


@pytest.fixture(scope="module")
def law(runs: list[Path]) -> Path:
    path = runs[0].parents[1] / "my_law.json"
    made = answer("fit-curve", *runs, "--out", path)
    assert made == json.loads(path.read_text())
    assert (made["law"], made["batch_tokens"]) == ("mpl", BATCH)
    assert [one["name"] for one in made["fitted"]] == ["cosine", "wsd"]
    assert [one["first_step"] for one in made["fitted"]] == [104, 104]
    return path


def test_the_loss_of_a_schedule(law: Path) -> None:
    section = f"{{name: wsd, lr_max: {PEAK}, warmup_tokens: 6400, decay_tokens: 32K, decay: linear}}"
    made = answer("predict", "--law", law, "--schedule", section, "--tokens", "128K", "--every", "12.8K")
    points = made["points"]
    assert [point["tokens"] for point in points] == list(range(12800, 128001, 12800))
    rates = np.concatenate([[0], PEAK * np.arange(100) / 100, np.full(1900, PEAK)])
    rates[1501:] = PEAK * (1 - np.arange(500) / 500)
    truth = LAW.losses(rates, np.array([point["step"] for point in points]))
    assert [point["loss"] for point in points] == pytest.approx(truth, abs=3e-3)
    assert [point["lr"] for point in points] == pytest.approx(rates[200::200])
    assert all(point["low"] <= point["loss"] <= point["high"] for point in points)


def test_a_curve_is_scored(law: Path, runs: list[Path]) -> None:
    made = answer("predict", "--law", law, "--curve", runs[1])
    assert made["scores"]["mae"] < 1e-3
    assert made["scores"]["r2"] > 0.999
    assert len(made["points"]) == 188


def test_an_optimised_schedule_becomes_a_table(law: Path, tmp_path: Path) -> None:
    table = tmp_path / "my_table.csv"
    made = answer(
        "optimise", "--law", law, "--steps", 1600, "--peak", PEAK, "--warmup-steps", 100, "--out", table
    )
    losses = {name: one["loss"] for name, one in made["predicted"].items()}
    assert min(losses, key=losses.__getitem__) == "optimised"
    tokens, rate = table.read_text().splitlines()[-1].split(",")
    assert int(tokens) == 1599 * BATCH
    assert float(rate) == pytest.approx(PEAK * made["last_share"], rel=1e-6)
    section = f"{{name: from_file, path: {table}}}"
    predicted = answer("predict", "--law", law, "--schedule", section, "--tokens", 1600 * BATCH)["points"][-1]
    assert predicted["loss"] == pytest.approx(losses["optimised"], abs=1e-4)


def test_people_get_tables(law: Path, runs: list[Path]) -> None:
    section = f"{{name: constant, lr_max: {2 * PEAK}}}"
    told = ask("predict", "--law", law, "--schedule", section, "--tokens", "64K")
    assert "predicted loss" in told.stdout
    assert "peak rate of 0.004 is outside" in told.stderr
    fitted = ask("fit-curve", *runs, "--law", "annealing").stdout
    assert "memory" in fitted
    assert "mean" in fitted
    assert "At the peak for" in ask("optimise", "--law", law, "--steps", 500, "--peak", PEAK).stdout


def test_long_names_that_differ_at_their_ends_are_told_apart(runs: list[Path], tmp_path: Path) -> None:
    copies = []
    for number, run in enumerate(runs):
        copies.append(tmp_path / f"a_name_that_is_as_long_as_those_of_sweeps_{number}" / "metrics.jsonl")
        copies[-1].parent.mkdir()
        copies[-1].write_bytes(run.read_bytes())
    fitted = ask("fit-curve", *copies, "--law", "annealing").stdout
    assert "…" not in fitted
    lines = "".join(line.split(" ")[0] for line in fitted.splitlines())
    assert all(copy.parent.name in lines for copy in copies)


def test_constants_alone_are_a_law_without_a_band(tmp_path: Path) -> None:
    path = tmp_path / "my.json"
    constants = {"L0": 2.0, "A": 0.5, "alpha": 0.5, "C": 0.1}
    path.write_text(json.dumps({"law": "annealing", "constants": constants}))
    words = ("predict", "--law", path, "--schedule", "{name: constant, lr_max: 0.01}", "--tokens", 6400)
    last = answer(*words, "--batch-tokens", 64)["points"][-1]
    assert last["loss"] == last["low"] == last["high"] == pytest.approx(2.0 + 0.5 * (0.01 * 101) ** -0.5)
    assert "--batch-tokens is missing" in refusal(*words)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--schedule", "{name: wsd}", "--tokens", "1M"), "schedule.lr_max: missing"),
        (("--schedule", "{name: wdd, lr_max: 1}", "--tokens", "1M"), "Did you mean 'wsd'?"),
        (("--schedule", "wsd", "--tokens", "1M"), "should be like"),
        (("--schedule", "{name: wsd, lr_max: 1}"), "--tokens is missing"),
        (
            ("--schedule", "{name: wsd, lr_max: 1}", "--tokens", "1M", "--batch-tokens", 128),
            "updates of 64 tokens",
        ),
        (("--schedule", "{name: wsd, lr_max: 1}", "--tokens", "1.5"), "--tokens 1.5"),
        (("--tokens", "1M"), "--schedule (or --curve) is missing"),
        (("--curve", "my.csv", "--tokens", "1M"), "--tokens means nothing with --curve"),
        (("--curve", "my.csv"), "my.csv: no such file"),
    ],
)
def test_a_mistake_is_named(law: Path, words: tuple[object, ...], complaint: str) -> None:
    assert complaint in refusal("predict", "--law", law, *words)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"law": "mpl", "constants": {}}', '{"law": "x", "constants": {}}']
)
def test_what_is_no_law_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "my.json"
    path.write_text(text)
    assert "my.json: not a" in refusal("optimise", "--law", path, "--steps", 100, "--peak", 0.1)
