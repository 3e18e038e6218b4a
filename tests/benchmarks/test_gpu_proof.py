"""The proof on a GPU, without one: what it would try, that no failure is lost, and its page."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # benchmarks are not installed

from benchmarks.gpu import outcome, proof  # noqa: E402
from benchmarks.gpu.page import HEAD, page  # noqa: E402
from benchmarks.gpu.trials import trials, why_not  # noqa: E402
from pretrain.config.load import load  # noqa: E402
from pretrain.monitor.peak import gpu_flops  # noqa: E402

H200 = 150_000_000_000
FACTS = {
    "gpu": "NVIDIA H200",
    "memory_bytes": H200,
    "flash-attn": "not installed",
    "data_sheet_flops": gpu_flops("NVIDIA H200"),
    "measured_flops": 800e12,
    "measured_copy_bytes_per_second": 4e12,
}
RESULT = {
    "tokens_per_second": 35000.0,
    "mfu": 0.231,
    "memory": {"planned_bytes": 80_000_000_000, "peak_allocated_bytes": 88_000_000_000},
    "warm_up_seconds": 31.4,
    "losses": [25.4, 24.9, 16.7],
}
TESTS = """<testsuites><testsuite><testcase classname="tests.a.test_on_gpu" name="test_swiglu"/>
<testcase classname="tests.a.test_on_gpu" name="test_attention[flash]"><skipped message="not installed"/>
</testcase>
<testcase classname="tests.a.test_on_gpu" name="test_rows"><failure message="far off"/></testcase>
</testsuite></testsuites>"""


def answers(monkeypatch: pytest.MonkeyPatch, **of_trials: dict[str, Any]) -> list[dict[str, Any]]:
    """Findings of a proof whose processes answer as told, by the override that a trial has, else RESULT."""

    def run(arguments: list[str], seconds: float) -> dict[str, Any]:
        assert seconds > 0
        if "benchmarks.gpu.facts" in arguments:
            return {"state": "ran", "result": dict(FACTS)}
        for override, answer in of_trials.items():
            if any(override in argument for argument in arguments):
                return answer
        return {"state": "ran", "result": json.loads(json.dumps(RESULT)), "seconds": 40.0}

    monkeypatch.setattr(proof, "run", run)
    monkeypatch.setattr(proof, "parity", lambda seconds: outcome.counted(ET.fromstring(TESTS)))
    unequal = {"state": "ran", "equal": False, "largest_relative_difference": 2e-3}
    monkeypatch.setattr(proof, "repeatable", lambda seconds: unequal)
    return [json.loads(json.dumps(found)) for found in proof.proof(30, "the command", quick=False)]


def test_without_a_gpu_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert proof.main(["--json", str(tmp_path / "a.json"), "--page", str(tmp_path / "a.md")]) == 2
    assert "needs a CUDA device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("memory", "configs"), [(H200, 2), (24_000_000_000, 4)])
def test_every_trial_is_a_config_that_loads(memory: int, configs: int) -> None:
    """Each once, four micro-steps an update; both 3B models as shipped come first."""
    asked = trials(memory)
    assert len({trial.config for trial in asked}) == configs
    assert len({(trial.config, trial.overrides) for trial in asked}) == len(asked)
    assert [(trial.config, trial.variant) for trial in asked[:2]] == [
        ("3b_moe", "as shipped"),
        ("3b_dense", "as shipped"),
    ]
    for trial in asked:
        batch = load(trial.config, trial.overrides).batch
        assert (batch.micro_sequences, batch.sequences) == (trial.micro_sequences, 4 * trial.micro_sequences)
    engines = {load(trial.config, trial.overrides).run.engine for trial in asked}
    assert engines == {"deepspeed", "torch"}


def test_what_cannot_fit_is_not_tried_on_a_small_gpu() -> None:
    """And the reason has both numbers; a large GPU tries all."""
    assert {why_not(trial, H200) for trial in trials(H200)} == {None}
    small = 40_000_000_000
    reasons = {(trial.config, trial.micro_sequences): why_not(trial, small) for trial in trials(small)}
    assert "GB, and the GPU has 40.0 GB" in (reasons["3b_moe", 1] or "")
    assert reasons["1b_moe", 4] is not None
    assert reasons["1b_moe", 1] is None


def test_every_failure_is_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that fails, one without memory, one that learns nothing; a test that fails and one skipped."""
    found = answers(
        monkeypatch,
        **{
            "attention=varlen": {"state": "failed", "error": "RuntimeError: no kernel | here"},
            "attention=by_document": {"state": "out of memory", "error": "OutOfMemoryError: Tried 2 GiB"},
            "compile=none": {"state": "ran", "result": RESULT | {"losses": [25.0, float("nan")]}},
            "engine=torch": {"state": "ran", "result": RESULT | {"losses": [25.0, 26.0], "mfu": None}},
        },
    )[-1]
    text = page(found)
    assert proof.failed(found)
    for expected in (
        "    the command",
        "**Failed: attention varlen, 3b_moe** (failed): `RuntimeError: no kernel / here`",
        "**Failed: attention by_document, 3b_dense** (out of memory): `OutOfMemoryError: Tried 2 GiB`",
        "**Not finite: losses of compile none, 3b_moe.**",
        "The loss did not fall: engine torch, 3b_dense.",
        "**Failed: parity.** 1 passed, 1 failed, 1 skipped",
        "- failed: `test_on_gpu::test_rows`",
        "- skipped: test_on_gpu::test_attention[flash]: not installed",
        "they differ by up to 2.0e-03",
        "| flash-attn | not installed |",
        "| memory | 150.0 GB |",
        "16 of 20 trials ran, 0 were not run, 4 failed.",
    ):
        assert expected in text
    rows = [line for line in text.splitlines() if line.startswith("| as shipped | 2 |")]
    assert rows[0].startswith("| as shipped | 2 | 35,000 | 23.1% |")
    assert rows[0].endswith("| 88.0 | 1.10 | 31 | 25.40 to 16.70 |")
    columns = HEAD.splitlines()[0].count("|")
    table = text[text.index("### 3b_moe") :].splitlines()
    assert {line.count("|") for line in table if line.startswith("|")} == {columns}


def test_share_of_the_measured_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """MFU times the data sheet's peak over the measured one, were MFU of the same tokens a second."""
    found = answers(monkeypatch)[-1]
    row, trial = found["trials"][0], trials(H200)[0]
    assert row["share_of_measured"] == pytest.approx(35000 * trial.flops_per_token / 800e12)
    assert not [row for row in found["trials"] if row["state"] != "ran"]


def test_a_proof_that_is_cut_off_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """After every step there is a page, and what was not begun is listed."""
    steps = answers(monkeypatch)
    assert len(steps) == 3 + len(trials(H200))
    for number, found in enumerate(steps[2:]):
        assert [row["state"] for row in found["trials"]].count("ran") == number
    assert "not run: the proof was cut off" in page(steps[3])
    assert "Not run." in page(steps[0])
    clock = iter([0.0, *[1770.0] * 1000])
    monkeypatch.setattr(proof.time, "monotonic", lambda: next(clock))
    late = list(proof.proof(30, "the command", quick=False))[-1]
    assert {row["error"] for row in late["trials"]} == {"the 30 minutes were over"}


@pytest.mark.parametrize(
    ("code", "state", "error"),
    [
        ("print('talk'); print('[1]')", "ran", None),
        ("raise ValueError('so')", "failed", "ValueError: so"),
        (
            "import sys; sys.exit('torch.OutOfMemoryError: CUDA')",
            "out of memory",
            "torch.OutOfMemoryError: CUDA",
        ),
        ("import sys; sys.exit('E: why\\n[rank0]:[W1 destroy_process_group')", "failed", "E: why"),
        ("import time; time.sleep(60)", "out of time", "not done after 1 s"),
        ("print('no JSON')", "failed", "no JSON"),
        ("import os; os._exit(7)", "failed", "no word"),
    ],
)
def test_what_became_of_a_process(code: str, state: str, error: str | None) -> None:
    seconds = 1 if state == "out of time" else 60
    found = outcome.run(["-c", code], seconds)
    assert found["state"] == state
    assert found.get("error") == error


def test_two_runs_are_compared_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: list[str], seconds: float) -> dict[str, Any]:
        values.append((1.0 + 2.0**-52 * len(values)).hex())
        return {"state": "ran", "result": {"losses": [values[-1]], "grad_norms": [(2.0).hex()]}}

    values: list[str] = []
    monkeypatch.setattr(outcome, "run", run)
    found = outcome.repeatable(10)
    assert found["equal"] is False
    assert found["largest_relative_difference"] == 2.0**-52
