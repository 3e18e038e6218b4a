"""`pretrain lr`: what it answers against closed forms, where it prints what, what it refuses."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.cli import main

ROOT = Path(__file__).parents[2]
BATCH = 1024 * 4096
N = -(-(2_500_000_000_000) // BATCH) * BATCH + -(-(500_000_000_000) // BATCH) * BATCH
WARM, DECAY, CAP = 10_500_000_000, 500_000_000_000, 0.02
DOUBLING = ("batch.sequences=256", "batch.schedule={name: doubling, at_tokens: [100B, 400B, 1.5T]}")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as left:
        main(["lr", "--config", "3b_moe", *arguments])
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict]:
    """The JSON of a command that has nothing else to say."""
    code, out, err = run(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def power(tokens: int, sequences: int = 1024) -> float:
    return min(CAP, sequences * 4.0 * tokens**-0.51)


def exponential(tokens: int) -> float:
    x = max(0.0, (tokens - (N - DECAY)) / DECAY)
    return (math.exp(-x) - math.exp(-1)) / (1 - math.exp(-1))


def test_json_is_one_list_of_unrounded_values(capsys: pytest.CaptureFixture[str]) -> None:
    points = answer(capsys, "--at", "5.25B,100B", "--at", "1e12", "--at", "2_900_000_000_000")
    tokens = [5_250_000_000, 10**11, 10**12, 2_900_000_000_000]
    assert [set(point) for point in points] == [{"tokens", "batch_tokens", "lr"}] * 4
    assert [point["tokens"] for point in points] == tokens
    assert {point["batch_tokens"] for point in points} == {BATCH}
    closed = [CAP / 2, power(tokens[1]), power(tokens[2]), power(N - DECAY) * exponential(tokens[3])]
    assert [point["lr"] for point in points] == pytest.approx(closed, rel=1e-14)


def test_without_counts_20_points_from_the_first_token_to_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = answer(capsys)
    assert [point["tokens"] for point in points] == [index * N // 19 for index in range(20)]
    assert (points[0]["lr"], points[-1]["lr"]) == (0.0, 0.0)


def test_groups_have_their_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    (point,) = answer(capsys, "--at", "1T", "--groups")
    lr = pytest.approx(power(10**12), rel=1e-14)
    assert point["groups"]["embedding"] == point["groups"]["norm"] == lr
    assert (
        point["groups"]["hidden"] == point["groups"]["router"] == pytest.approx(power(10**12) / 6, rel=1e-14)
    )
    (standard,) = answer(capsys, "--at", "1T", "--groups", "mup.enabled=false")
    assert set(standard["groups"].values()) == {standard["lr"]}


def test_other_schedules_on_the_same_run(capsys: pytest.CaptureFixture[str]) -> None:
    """As figure 1 of the paper: WSD decays where power does, cosine falls over all of the run."""
    points = answer(
        capsys, "--at", "1T,2.9T", "--compare", "wsd,cosine:lr_max=0.01", "--compare", "cosine:lr_min=0.002"
    )
    for point in points:
        left = (1 + math.cos(math.pi * (point["tokens"] - WARM) / (N - WARM))) / 2
        closed = {
            "wsd": CAP * exponential(point["tokens"]),
            "cosine:lr_max=0.01": 0.01 * left,
            "cosine:lr_min=0.002": 0.002 + (CAP - 0.002) * left,
        }
        assert point["compare"] == pytest.approx(closed, rel=1e-12)


def test_a_run_that_began_elsewhere_is_shown_from_there(capsys: pytest.CaptureFixture[str]) -> None:
    points = answer(capsys, "run.init_from=elsewhere", "run.init_tokens=1T", "schedule.warmup_tokens=0")
    assert points[0]["tokens"] == 10**12
    assert points[0]["lr"] == pytest.approx(power(10**12), rel=1e-14)
    assert points[-1]["tokens"] == 10**12 + N
    code, out, err = run(capsys, "run.init_from=elsewhere", "run.init_tokens=1T", "--at", "1B", "--json")
    assert (code, len(json.loads(out))) == (0, 1)
    assert "the run begins at 1,000,000,000,000 tokens (1T), after 1B" in err


def test_beyond_the_end_the_schedule_says_and_a_line_warns(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--at", "10T", "--json", "schedule.decay_tokens=0")
    assert code == 0
    assert json.loads(out)[0]["lr"] == pytest.approx(power(10**13), rel=1e-14)
    assert err == f"pretrain: the run ends at {N:,} tokens (3T), before 10T\n"


def test_a_batch_that_grows_is_shown_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *DOUBLING)
    assert (code, err) == (0, "")
    assert "rises with the batch 3 times between 100B and 1.5T tokens, most at 1.5T tokens" in out
    rows = [line.split() for line in out.splitlines() if line.endswith("rises with the batch")]
    assert [row[1] for row in rows] == ["157.9B", "473.7B", "1.579T"]
    assert [row[2] for row in rows] == [f"{256 * 4096 * 2**power:,}" for power in (1, 2, 3)]
    assert "tokens in a batch" in out


def test_under_json_the_warning_stands_apart(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *DOUBLING, "--at", "1.6T", "--json")
    assert (code, json.loads(out)[0]["batch_tokens"]) == (0, 8 * 256 * 4096)
    assert json.loads(out)[0]["lr"] == pytest.approx(power(1_600_000_000_000, 8 * 256), rel=1e-14)
    assert err.count("\n") == 1
    assert "rises with the batch" in err


def test_a_batch_that_grows_under_another_schedule_raises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = run(capsys, *DOUBLING, "schedule={name: cosine, lr_max: 0.01, warmup_tokens: 1B}")
    assert "rises" not in out + err
    assert "8,388,608" in out


def test_a_batch_that_grows_within_the_warm_up(capsys: pytest.CaptureFixture[str]) -> None:
    """The update before has a rate of 0, and nothing can be divided by it."""
    code, _, err = run(
        capsys, "batch.schedule={name: doubling, at_tokens: [1]}", "schedule.warmup_tokens=1000"
    )
    assert (code, err) == (0, "")


def test_seesaw_follows_the_batch_and_a_rising_table_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    seesaw = (
        "schedule={name: cosine, lr_max: 0.01}",
        "batch.schedule={name: seesaw, max_sequences: 4096}",
    )
    assert "rises with the batch" in run(capsys, *seesaw)[1]
    rising = "schedule={name: from_file, points: [[0, 0.001], [3T, 0.02]]}"
    assert "rises" not in run(capsys, *DOUBLING, rising)[1]


def test_the_table_has_the_values_and_no_column_for_what_never_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, out, _ = run(capsys)
    assert "batch" not in out
    for index in range(1, 16):
        tokens = index * N // 19
        assert f"{tokens:,}" in out
        assert f"{power(tokens):.6g}" in out


@pytest.mark.parametrize("columns", ["30", "43", "80", "300"])
def test_no_number_is_lost_to_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    asked = ("--at", "100B,1T", "--groups", "--compare", "wsd,cosine,linear,inverse_sqrt,step")
    points = answer(capsys, *asked)
    _, out, _ = run(capsys, *asked)
    shown = [point["lr"] for point in points]
    shown += [value for point in points for value in (*point["groups"].values(), *point["compare"].values())]
    folded = "".join(out.split()) if columns == "30" else out
    assert [value for value in shown if f"{value:.6g}" not in folded] == []
    assert max(map(len, out.splitlines())) <= int(columns)


def test_outside_of_a_terminal_there_are_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in run(capsys, "--compare", "wsd")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--at", "ten"), "--at: 'ten' should be a whole number"),
        (("--at", "1B,,2B"), "--at: '' should be"),
        (("--at", "-3"), "--at: '-3' should not be negative"),
        (("--at", "1.5"), "not a fraction"),
        (("--plot", "lr.jpg"), "'lr.jpg' should end in .png, .svg, .pdf"),
        (("--plot", "no/such/lr.png"), "no folder 'no/such'"),
        (("--compare", "cosin"), "Did you mean 'cosine'?"),
        (("--compare", "wsd:lr_max"), "'wsd:lr_max' should be NAME or NAME:key=value"),
        (("--compare", "wsd:lr_mx=1"), "wsd:lr_mx=1: unknown key 'lr_mx'. Did you mean 'lr_max'?"),
        (("--compare", "wsd:lr_max=high"), "lr_max: 'high' should be a number"),
        (("--compare", "infinite:lr_constant=0.01"), "infinite:lr_constant=0.01:cooldown_tokens=VALUE"),
        (("--compare", "wsd:decay_tokens=4T"), "longer than the run"),
        (("--compare", "mine:plugin=no_such_file.py"), "no_such_file.py"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def started(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\nfrom pretrain.cli import main\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "lr", "--config", "3b_moe", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        check=True,
    )


def test_an_output_without_unicode_gets_ascii_and_nothing_heavy_is_loaded() -> None:
    """Everything that it can print but a picture."""
    ended = started(*DOUBLING, "--groups", "--compare", "wsd,cosine", PYTHONIOENCODING="ascii", COLUMNS="70")
    assert ended.stdout.isascii()
    assert "x hidden, router (x 0.1667)" in ended.stdout
    assert max(map(len, ended.stdout.splitlines()[:-1])) <= 70
    loaded = {name.split(".")[0] for name in ended.stderr.split()}
    assert "pretrain" in loaded
    assert not loaded & {"torch", "transformers", "deepspeed", "matplotlib", "numpy", "datasets"}


def test_the_picture_is_written_where_it_should_be(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "lr.PNG"
    code, out, _ = run(capsys, "--plot", str(file), "--at", "1T", "--json")
    assert (code, len(json.loads(out))) == (0, 1)
    assert [one.name for one in tmp_path.iterdir()] == ["lr.PNG"]
    assert file.read_bytes().startswith(b"\x89PNG")
