"""`pretrain laws fit-lr | advise | batch | scale`: what is printed, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from typer.testing import CliRunner

from megatron_lite.schedules.power import Power
from pretrain.commands.laws import advise, batch, fit_lr, scale
from pretrain.errors import UserError

ROOT = Path(__file__).parents[3]
DATA = Path(__file__).parent / "data"
STEPS = str(DATA / "critical_batch_size" / "steps_to_target.csv")
ISOFLOP = str(DATA / "resolving_scaling_law_discrepancies" / "isoflop_tuned.csv")
LADDER = str(DATA / "OLMo_ladder" / "ladder_final.csv")

laws = typer.Typer(pretty_exceptions_enable=False)
laws.command("fit-lr")(fit_lr.fit_lr)
laws.command()(advise.advise)
laws.command()(batch.batch)
laws.command()(scale.scale)


def told(*arguments: str) -> str:
    """What a command prints."""
    ended = CliRunner().invoke(laws, list(arguments), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def refused(*arguments: str) -> str:
    """What a command says to a user's mistake."""
    with pytest.raises(UserError) as raised:
        CliRunner().invoke(laws, list(arguments), catch_exceptions=False)
    return str(raised.value)


@pytest.fixture
def results(tmp_path: Path) -> str:
    """A sweep that follows the paper's law."""
    lines = ["N,D,batch_tokens,lr,loss,seed,status"]
    for T in 1e9 * 4.0 ** np.arange(4):
        for beta in (16, 32, 64):
            best = beta * 4.6 * T**-0.51
            for lr in best * 2.0 ** (np.arange(-3, 4) + 0.2):
                loss = 3 + 0.02 * np.log(lr / best) ** 2
                lines.append(f"6e6,{T},{beta * 4096},{lr},{loss},0,finished")
            lines.append(f"6e6,{T},{beta * 4096},{best * 64},,0,diverged")
    (tmp_path / "results.csv").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "results.csv")


def test_a_fit_as_json(results: str) -> None:
    found = json.loads(told("fit-lr", results, "--json"))
    assert found["schedule"] == {"name": "power", "amplitude": 4.6, "exponent": -0.51}
    assert len(found["optima"]) == 12
    assert found["verdict"]["one_law"]["holds"] is None
    assert any("12 of 96 runs" in note for note in found["notes"])


def test_a_fit_ends_with_a_section_that_a_config_takes(results: str) -> None:
    text = told("fit-lr", results)
    section = yaml.safe_load(text[text.index("schedule:") :])["schedule"]
    assert Power(**section).amplitude == 4.6
    assert "lr in proportion to the batch: nothing here speaks against it" in text


def test_a_sweep_of_one_budget_gets_no_section(results: str) -> None:
    path = Path(results)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line for line in lines if ",1000000000.0," in line)]) + "\n")
    text = told("fit-lr", results)
    assert "schedule:" not in text
    assert "missing: 1 token budget(s)" in text


def test_advice_as_json_and_in_words() -> None:
    asked = ("advise", "--params", "3e9", "--tokens", "1T", "--batch", "4M", "--width-ratio", "9")
    found = json.loads(told(*asked, "--json"))
    by_name = {law["law"]: law for law in found["laws"]}
    assert by_name["Power"]["lr"] == pytest.approx(4e6 / 4096 * 4 * 1e12**-0.51)
    assert by_name["Power"]["lr_of"] == "group with ratio 1"
    assert by_name["Bjorck"]["lr"] is None
    assert "a factor" in told(*asked)


def test_critical_batches_as_json_and_in_words() -> None:
    asked = ("batch", STEPS, "--sequence-length", "512", "--linear-from", "131072", "--loss", "3")
    found = json.loads(told(*asked, "--json"))
    sequences = [one["overhead"] / 512 for one in found["measured"]["results"]]
    assert sequences == pytest.approx([745.32, 955.16, 1393.73], abs=0.005)
    assert found["by_loss"]["kaplan"] == pytest.approx(1.069e6, rel=1e-3)
    assert "half_efficiency" in told(*asked)
    assert json.loads(told("batch", "--loss", "2.5", "--json"))["measured"] is None


def test_scale_as_json_and_in_words() -> None:
    found = json.loads(told("scale", ISOFLOP, "--isoflop", "--by", "dataset", "--json"))
    assert [one["size_exponent"] for one in found] == pytest.approx([0.497, 0.518], abs=1e-3)
    asked = ("scale", LADDER, "--loss-column", "c4_ce", "--refits", "0", "--at", "7B:4T")
    found = json.loads(told(*asked, "--json"))
    assert found[0]["predicted"][0]["loss"] == pytest.approx(2.43, abs=0.05)
    assert "N 7e+09, D 4e+12" in told(*asked)
    assert "D* ~ C^" in told("scale", ISOFLOP, "--isoflop", "--by", "dataset", "--interpolate", "parabola")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("advise", "--params", "3x", "--tokens", "1T"), "--params 3x: should be"),
        (("advise", "--params", "0", "--tokens", "1T"), "above 0"),
        (("advise", "--params", "3B", "--tokens", "1M", "--batch", "4M"), "longer than the run"),
        (("advise", "--params", "3B", "--tokens", "1T", "--layers", "3"), "go together"),
        (("advise", "--params", "3B", "--tokens", "1T", "--tuned-lr", "0.1"), "go together"),
        (("advise", "--params", "3B", "--tokens", "1T", "--width-ratio", "-1"), "width_ratio is -1"),
        (("batch",), "give a table, or --loss"),
        (("batch", "--loss", "-3"), "a loss in nats"),
        (("batch", STEPS), "--sequence-length"),
        (("batch", STEPS, "--start-batch", "1M"), "go together"),
        (("scale", ISOFLOP, "--by", "datasets"), "Did you mean 'dataset'"),
        (("scale", LADDER), "no column 'loss'"),
        (("scale", LADDER, "--loss-column", "c4_ce", "--at", "7B"), "such as 7B:2T"),
        (("scale", "my_absent.csv"), "no such file"),
        (("fit-lr", STEPS), "no column 'N'"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(*arguments)


def test_the_laws_load_no_torch() -> None:
    code = (
        "import sys\nfrom pretrain.commands.laws import advise, batch, fit_lr, scale\n"
        "import pretrain.laws.lr_view, pretrain.laws.advice_view, pretrain.laws.batch_view\n"
        "import pretrain.laws.scale_report, pretrain.laws.noise_scale\n"
        "print({'torch', 'matplotlib', 'transformers'} & {name.split('.')[0] for name in sys.modules})"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"
