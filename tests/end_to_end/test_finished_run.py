"""A run from the command line to its report: every file it leaves, and the numbers in them."""

from __future__ import annotations

import json
import math
import re

import pytest
from trial import UPDATES, RunFiles, Trial

pytestmark = [pytest.mark.dist, pytest.mark.timeout(300)]
TRAIN_KEYS = ["kind", "step", "tokens", "batch_tokens", "loss", "lr", "grad_norm"]
VALIDATION_KEYS = ["kind", "step", "tokens", "source", "loss", "bits_per_byte", "loss_se"]


@pytest.fixture(scope="module")
def dense(trial: Trial) -> RunFiles:
    return trial.finished("dense")


@pytest.fixture(scope="module")
def moe(trial: Trial) -> RunFiles:
    return trial.finished("moe", config="moe")


def test_every_file_of_a_run_folder_is_there(dense: RunFiles) -> None:
    files = dense.tree()
    named = {name for name in files if "/" not in name} - {".lock"}
    assert named == {
        "config.yaml",
        "metrics.jsonl",
        "timing.jsonl",
        "statistics.jsonl",
        "samples.jsonl",
        "events.jsonl",
        "summary.json",
        "report.html",
        "status.json",
        "curves.png",
    }
    assert dense.checkpoints == ["step_00000020", "step_00000030"]  # the newest two
    assert any(name.startswith("tensorboard/") for name in files)
    assert files["curves.png"].startswith(b"\x89PNG")
    assert all(files[name] for name in named)


def test_updates_are_counted_without_gap_or_repeat(dense: RunFiles) -> None:
    lines = dense.lines(kind="train")
    assert [line["step"] for line in lines] == list(range(1, UPDATES + 1))
    assert [line["tokens"] for line in lines] == [1024 * step for step in range(1, UPDATES + 1)]
    assert {line["batch_tokens"] for line in lines} == {1024}
    assert [list(line) for line in lines] == [TRAIN_KEYS] * UPDATES
    assert [line["step"] for line in dense.lines("timing.jsonl")] == [line["step"] for line in lines]


def test_a_mixture_of_experts_says_its_two_other_losses(moe: RunFiles) -> None:
    lines = moe.lines(kind="train")
    assert [list(line) for line in lines] == [[*TRAIN_KEYS, "balance_loss", "z_loss"]] * UPDATES
    # with equal use before the first update, E sum f P is 1 a layer
    assert lines[0]["balance_loss"] == pytest.approx(2, abs=1e-5)
    assert all(line["z_loss"] > 0 for line in lines)


def test_validation_lines_stand_where_they_were_asked_for(dense: RunFiles) -> None:
    lines = dense.lines(kind="validation")
    assert [(line["step"], line["tokens"]) for line in lines] == [(10, 10240), (20, 20480), (30, 30720)]
    assert [list(line) for line in lines] == [VALIDATION_KEYS] * 3
    assert {line["source"] for line in lines} == {"text"}
    # an update's validation follows its line
    assert [line["step"] for line in dense.lines()] == sorted(line["step"] for line in dense.lines())


def test_it_learns(dense: RunFiles, moe: RunFiles) -> None:
    for run in (dense, moe):
        assert run.losses[-1] < 0.8 * run.losses[0]
        held_out = [line["loss"] for line in run.lines(kind="validation")]
        assert held_out == sorted(held_out, reverse=True)


def test_the_summary_says_what_the_record_says(dense: RunFiles) -> None:
    summary, last = dense.summary, dense.lines(kind="validation")[-1]
    found = summary["validation"]["text"]
    assert {key: found[key] for key in ("loss", "bits_per_byte", "loss_se")} == {
        key: last[key] for key in ("loss", "bits_per_byte", "loss_se")
    }
    assert 0 < found["loss_se"] < 0.5  # of eight sequences
    assert (summary["tokens"], summary["steps"]) == (30720, 30)
    # 512 x 64 embedding (tied); a layer: two norms, 4 heads' worth of projections, gate, up and down
    total = 512 * 64 + 2 * (2 * 64 + 4 * 64 * 64 + 3 * 64 * 128) + 64
    assert summary["parameters"]["total"] == summary["parameters"]["active"] == total
    assert len(summary["samples"]) == 3
    assert all(sample["text"] for sample in summary["samples"])
    assert summary["tokens_per_second"] > 0
    assert dense.status == {"state": "finished", "step": 30, "reason": None}
    events = [line["event"] for line in dense.lines("events.jsonl")]
    assert events == ["start", "checkpoint", "checkpoint", "checkpoint", "finish"]


def test_the_report_stands_alone(dense: RunFiles) -> None:
    page = (dense.folder / "report.html").read_text()
    fetched = re.findall(r"""(?:src|href|url|srcset)\s*[=(]\s*["']?([^"')\s>]*)""", page)
    assert fetched
    assert all(address.startswith(("data:", "#")) for address in fetched)
    assert not re.search(r"@import|https?://(?!www\.w3\.org/)", page)
    assert f"{dense.summary['validation']['text']['loss']:.4f}" in page
    assert "<svg" in page


def test_the_resolved_config_makes_the_same_run_again(trial: Trial, dense: RunFiles) -> None:
    from pretrain.config.load import load

    resolved = load(str(dense.folder / "config.yaml"))
    assert resolved == load(str(trial.folder / "dense.yaml"))


def test_the_last_words_are_the_results(trial: Trial, dense: RunFiles) -> None:
    said = trial.made["dense"].output
    assert f"{dense.summary['validation']['text']['loss']:.4f}" in said
    assert "report.html" in said
    assert "curves.png" in said
    assert said.count("Sample ") == 3
    assert "Traceback" not in said


def test_nothing_is_compiled(trial: Trial, dense: RunFiles) -> None:
    """DeepSpeed would build an extension that training does not use: a minute, and a lock a kill leaves."""
    extensions = trial.folder / "extensions"
    assert not extensions.exists() or not any(extensions.rglob("*.so"))


def test_a_second_start_says_it_is_finished_and_changes_nothing(trial: Trial, dense: RunFiles) -> None:
    before = dense.tree()
    ended = trial.run("dense")
    assert ended.code == 0
    assert "is finished" in ended.output
    after = dense.tree()
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {".lock"}


def paper(n: int, *, batch: int, lr_max: float, warm: int, decay: int, total: int) -> float:
    """Eq. 7 and 8 of arXiv 2408.13359, as on a pocket calculator."""

    def power(tokens: int) -> float:
        return min(lr_max, batch / 4096 * 4.0 * tokens**-0.51)

    if n < warm:
        return n / warm * power(warm)
    if n > total - decay:
        x = (n - (total - decay)) / decay
        return power(total - decay) * (math.exp(-x) - math.exp(-1)) / (1 - math.exp(-1))
    return power(n)


OTHER = ("batch.sequences=3", "batch.sequence_length=512", "stages.0.tokens=21000", "stages.1.tokens=9001")
SMALL = ("batch.sequences=2", "batch.sequence_length=512", "schedule.lr_max=0.008")
CASES = {
    "dense": ((), {"batch": 1024, "lr_max": 0.01, "total": 30720}),
    # rounded up: 21000 tokens are 14 updates of 1536, 9001 are 6
    "lr-3x512": (OTHER, {"batch": 1536, "lr_max": 0.01, "total": 20 * 1536}),
    "lr-2x512": (SMALL, {"batch": 1024, "lr_max": 0.008, "total": 30720}),
}


@pytest.mark.parametrize("name", ["dense", "lr-3x512", pytest.param("lr-2x512", marks=pytest.mark.slow)])
def test_the_learning_rate_is_the_papers_at_every_line(trial: Trial, name: str) -> None:
    overrides, numbers = CASES[name]
    engine = () if name == "dense" else ("run.engine=torch",)
    lines = trial.finished(name, *overrides, *engine).lines(kind="train")
    assert lines[-1]["tokens"] == numbers["total"]
    expected = [
        paper(line["tokens"] - line["batch_tokens"], warm=4096, decay=10240, **numbers) for line in lines
    ]
    assert [line["lr"] for line in lines] == pytest.approx(expected, rel=1e-12, abs=0)
    # every branch of the formula was seen: warm-up, cap, power law, tail
    assert expected[0] == 0
    assert numbers["lr_max"] in expected
    law = [4 * numbers["batch"] / 4096 * n**-0.51 for n in range(4096, numbers["total"] - 10240, 512)]
    assert set(law) & set(expected)
    assert 0 < expected[-1] < min(expected[1:-1])


def test_the_record_is_what_the_command_predicts(trial: Trial, dense: RunFiles) -> None:
    from pretrain.config.derive import derive
    from pretrain.config.load import load

    derived = derive(load(str(trial.folder / "dense.yaml")))
    assert derived.steps == UPDATES
    recorded = [line["lr"] for line in dense.lines(kind="train")]
    assert recorded == [derived.lr(1024 * k) for k in range(UPDATES)]
    assert json.loads(dense.metrics.splitlines()[0])["lr"] == 0


@pytest.mark.slow
def test_measuring_the_noise_scale_adds_its_lines_keys_and_changes_nothing_else(trial: Trial) -> None:
    plain = trial.finished("noise-off", "run.engine=torch")
    measured = trial.finished("noise-on", "run.engine=torch", "trackers.noise_scale_every=10")
    found = [line for line in measured.lines(kind="train") if "grad_sq" in line]
    assert [line["step"] for line in found] == [10, 20, 30]
    assert all(isinstance(line["noise_trace"], float) for line in found)
    added = ("grad_sq", "noise_trace")
    kept = [{key: line[key] for key in line if key not in added} for line in measured.lines()]
    assert kept == plain.lines()
