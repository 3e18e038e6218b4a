"""Learning rates and batches of real runs against a pocket calculator: grown, killed, branched."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from typing import Any

import pytest
from trial import RunFiles, Trial

pytestmark = [pytest.mark.dist, pytest.mark.timeout(500)]
LENGTH = 128
N_W, N_D = 4096, 10240
RAMP = "batch.schedule={name: ramp, max_sequences: 24, tokens: 16K, multiple_of: 4}"
GROWING = (RAMP, "optimizer.adam_beta2={half_life_tokens: 14K}", "run.debug=true", "checkpoint.every_steps=4")
STABLE = "{name: stable, tokens: 20480, mix: {text: 1}}"
DECAY = "{name: decay, tokens: 10240, mix: {text: 1, other: 1}}"
SOURCES = "data.sources={text: {kind: jsonl, path: corpus.jsonl}, other: {kind: jsonl, path: corpus.jsonl}}"


def ramp(n: int) -> int:
    """Sequences in the batch that is trained after n tokens."""
    return min(24, 8 + 16 * n // 16_000) // 4 * 4


def exponential(x: float) -> float:
    return (math.exp(-x) - math.exp(-1)) / (1 - math.exp(-1))


def power(n: int, total: int, batch: Callable[[int], int]) -> float:
    """The paper's eq. 8, with the batch of N_w in the warm-up and of N - N_d in the tail."""

    def body(at: int) -> float:
        return min(0.01, batch(at) * LENGTH / 4096 * 4.0 * at**-0.51)

    if n < N_W:
        return n / N_W * body(N_W)
    start = total - N_D
    return body(n) if n <= start else body(start) * exponential((n - start) / N_D)


def assert_counted(run: RunFiles, first_tokens: int = 0, first_step: int = 0) -> list[dict[str, Any]]:
    """Steps and tokens follow from the batches; the lines of all updates."""
    lines = run.lines(kind="train")
    tokens = first_tokens
    for step, line in enumerate(lines, start=first_step + 1):
        tokens += line["batch_tokens"]
        assert (line["step"], line["tokens"]) == (step, tokens)
    return lines


@pytest.mark.slow
def test_a_growing_batch_under_power_also_when_it_is_killed(trial: Trial) -> None:
    whole = trial.finished("grown", *GROWING)
    lines = assert_counted(whole)
    for line in lines:
        n = line["tokens"] - line["batch_tokens"]
        assert line["batch_tokens"] == ramp(n) * LENGTH
        assert line["lr"] == pytest.approx(power(n, lines[-1]["tokens"], ramp), rel=1e-12, abs=0)
    assert len({line["batch_tokens"] for line in lines}) == 5
    started = trial.start("grown_killed", *GROWING)
    trial.until(started, "grown_killed", step=7)
    started.signal(signal.SIGKILL)
    started.wait()
    ended = trial.run("grown_killed", *GROWING)
    assert ended.code == 0, ended.output
    assert "after step 4 of" in ended.output
    assert trial.files("grown_killed").metrics == whole.metrics


@pytest.mark.slow
def test_a_growing_batch_is_the_same_run_on_two_ranks_and_without_deepspeed(trial: Trial) -> None:
    whole = trial.finished("grown", *GROWING)
    for name, how in (
        ("grown_plain", {"overrides": ("run.engine=torch",)}),
        ("grown_two", {"launcher": "torchrun", "ranks": 2}),
        (
            "grown_three",
            {"launcher": "torchrun", "ranks": 2, "overrides": ("deepspeed.zero_optimization.stage=3",)},
        ),
    ):
        overrides = how.pop("overrides", ())
        other = trial.finished(name, *GROWING, *overrides, **how)
        for ours, theirs in zip(whole.lines(kind="train"), other.lines(kind="train"), strict=True):
            assert [ours[key] for key in ("step", "tokens", "batch_tokens", "lr")] == [
                theirs[key] for key in ("step", "tokens", "batch_tokens", "lr")
            ]
            assert theirs["loss"] == pytest.approx(ours["loss"], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "batch"),
    [("branch", ()), pytest.param("branch_grown", GROWING, marks=pytest.mark.slow)],
)
def test_a_branch_is_the_run_that_would_have_decayed_there(
    trial: Trial, name: str, batch: tuple[str, ...]
) -> None:
    """From a checkpoint of a run that knows nothing of it, on another mixture: equal to the byte."""
    common = (SOURCES, *batch)
    trunk = trial.finished(
        f"{name}_trunk",
        *common,
        f"stages=[{STABLE.replace('20480', '40960')}]",
        "schedule.decay_tokens=0",
        "checkpoint.keep_last=100",
    )
    checkpoint = trunk.folder / "checkpoints" / ("step_00000020" if not batch else "step_00000012")
    at = json.loads((checkpoint / "state.json").read_text())["position"]
    before = trunk.tree()
    branched = trial.finished(name, *common, f"stages=[{DECAY}]", f"run.branch_from={checkpoint}")
    assert trunk.tree() == before
    lines = assert_counted(branched, at["tokens"], at["step"])
    single = trial.finished(
        f"{name}_single", *common, f"stages=[{STABLE.replace('20480', str(at['tokens']))}, {DECAY}]"
    )
    # the single run evaluates at the same steps, so all lines behind the branch are the same
    raws = zip(single.metrics.splitlines(keepends=True), single.lines(), strict=True)
    assert branched.metrics == b"".join(raw for raw, line in raws if line["step"] > at["step"])
    assert [line["lr"] for line in lines] == sorted((line["lr"] for line in lines), reverse=True)
    parent = json.loads((branched.folder / "parent").read_text())
    assert (parent["run"], parent["step"]) == (str(trunk.folder), at["step"])
    assert parent["sha256"] == json.loads((checkpoint / "state.json").read_text())["sha256"]


@pytest.mark.slow
def test_a_branch_goes_on_by_itself_when_its_trunk_is_gone(trial: Trial) -> None:
    trunk = trial.copy("dense", "felled", step=20)
    overrides = ("stages=[{name: more, tokens: 10240, mix: {text: 1}}]", "schedule.decay=linear")
    branch = (*overrides, f"run.branch_from={trunk.folder}", "checkpoint.every_steps=3")
    whole = trial.finished("sprout", *branch)
    started = trial.start("sprout_killed", *branch)
    trial.until(started, "sprout_killed", step=5)
    started.signal(signal.SIGKILL)
    started.wait()
    trunk.folder.rename(trunk.folder.with_name("felled_away"))
    try:
        ended = trial.run("sprout_killed", *branch)
    finally:
        trunk.folder.with_name("felled_away").rename(trunk.folder)
    assert ended.code == 0, ended.output
    assert trial.files("sprout_killed").metrics == whole.metrics
    events = [line["event"] for line in trial.files("sprout_killed").lines("events.jsonl")]
    assert (events[0], events.count("resume")) == ("branch", 1)


def test_a_branch_reads_a_new_source_by_the_tokenizer_of_its_trunk(trial: Trial) -> None:
    """One trained anew, on both sources, would be another; what the trunk built is read as it is."""
    trunk = trial.finished("dense").folder
    texts = (f"number {number}: zebra and yacht {number * 7}\n" * 20 for number in range(200))
    (trial.folder / "two.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    tokenizers = sorted((trial.folder / "data" / "tokenizers").iterdir())
    branch = trial.finished(
        "two_sources",
        f"run.branch_from={trunk}",
        "stages=[{name: rest, tokens: 10240, mix: {text: 1, two: 2}}]",
        "data.sources.two={kind: jsonl, path: two.jsonl}",
    )
    assert sorted((trial.folder / "data" / "tokenizers").iterdir()) == tokenizers
    scores = branch.summary["validation"]
    assert set(scores) == {"text", "two"}
    ended = trial.run("two_sources", f"run.branch_from={trunk}", "stages.0.mix={text: 1}")
    assert ended.code == 2  # that config is another run's


@pytest.mark.slow
def test_imported_weights_may_count_as_trained_on(trial: Trial) -> None:
    start = trial.finished("dense").folder
    run = trial.finished(
        "begun_at", f"run.init_from={start}", "run.init_tokens=1M", "schedule.warmup_tokens=0"
    )
    lines = assert_counted(run, first_tokens=1_000_000)
    for line in lines:
        n, total = line["tokens"] - line["batch_tokens"], lines[-1]["tokens"]
        body = 1024 / 4096 * 4.0 * min(n, total - N_D) ** -0.51
        tail = exponential((n - (total - N_D)) / N_D) if n > total - N_D else 1.0
        assert line["lr"] == pytest.approx(min(0.01, body) * tail, rel=1e-12)


def test_what_a_branch_refuses(trial: Trial) -> None:
    trunk = trial.finished("dense").folder
    for overrides, sentence in (
        (["model.num_hidden_layers=3"], "holds another model"),
        (["data.tokenizer.vocab_size=600"], "was trained on other data"),
        (
            ["stages=[{name: more, tokens: 5120, mix: {text: 1}}]"],
            "decay_tokens=10240 would begin at 25600 tokens",
        ),
        (["schedule.decay_tokens=0"], "nothing is left to train behind 30720 tokens"),
    ):
        stages = (
            []
            if any("stages" in text or "decay_tokens" in text for text in overrides)
            else ["stages=[{name: more, tokens: 10240, mix: {text: 1}}]"]
        )
        ended = trial.run("refused", *stages, *overrides, f"run.branch_from={trunk}")
        assert ended.code == 2, ended.output
        assert sentence in ended.output
    ended = trial.run("refused", "run.branch_from=runs/dence")
    assert ended.code == 2
    assert "run.branch_from: runs/dence: no such folder. Did you mean 'dense'" in ended.output


PLUGIN = '''
import math
from typing import Literal

from pydantic import Field

from megatron_lite.schedules.base import Schedule
from megatron_lite.schedules.registry import register


@register
class Sawtooth(Schedule):
    """Falls by half and springs back."""

    name: Literal["sawtooth"] = Field("sawtooth", description="which schedule")
    period_tokens: int = Field(gt=0, description="tokens between two springs")

    def body(self, tokens: int, batch_tokens: int, end_tokens: int) -> float:
        return 0.001 * (1 - tokens % self.period_tokens / self.period_tokens / 2)
'''


def rates(run: RunFiles) -> dict[int, float]:
    """Learning rate by tokens before the update."""
    return {line["tokens"] - line["batch_tokens"]: line["lr"] for line in assert_counted(run)}


@pytest.mark.slow
def test_a_schedule_of_ones_own_and_a_table(trial: Trial) -> None:
    (trial.folder / "mine.py").write_text(PLUGIN)
    own = "schedule={plugin: mine.py, name: sawtooth, period_tokens: 5000}"
    for n, lr in rates(trial.finished("own", own, "stages.0.tokens=8192", "stages.1.tokens=1024")).items():
        assert lr == pytest.approx(0.001 * (1 - n % 5000 / 10_000), rel=1e-12)
    (trial.folder / "table.csv").write_text("tokens,lr\n0,0\n4000,0.001\n9000,0.0005\n")
    table = "schedule={name: from_file, path: table.csv}"
    for n, lr in rates(
        trial.finished("table", table, "stages.0.tokens=8192", "stages.1.tokens=1024")
    ).items():
        due = n / 4000 * 0.001 if n < 4000 else 0.001 - (n - 4000) / 5000 * 0.0005
        assert lr == pytest.approx(max(due, 0.0005 if n >= 9000 else 0.0), rel=1e-12)
    ended = trial.run("own", own.replace("period", "perod"))
    assert ended.code == 2
    assert "schedule.perod_tokens: unknown key 'perod_tokens'. Did you mean 'period_tokens'" in ended.output


def falling(f: Callable[[float], float], total: int) -> Callable[[int], float]:
    return lambda n: 0.001 * (n / N_W if n < N_W else f((n - N_W) / (total - N_W)))


TOTAL = 30 * 1024
EVERY: dict[str, tuple[str, Callable[[int], float]]] = {
    "constant": ("{name: constant, lr_max: 0.001}", lambda n: 0.001),
    "wsd": (
        "{name: wsd, lr_max: 0.001, warmup_tokens: 4096, decay_tokens: 10240, decay: one_minus_sqrt}",
        lambda n: 0.001 * min(1, n / N_W) * (1 - math.sqrt(max(0, n - TOTAL + N_D) / N_D)),
    ),
    "cosine": (
        "{name: cosine, lr_max: 0.001, lr_min: 0.0001, warmup_tokens: 4096}",
        falling(lambda x: 0.1 + 0.9 * (1 + math.cos(math.pi * x)) / 2, TOTAL),
    ),
    "linear": ("{name: linear, lr_max: 0.001, warmup_tokens: 4096}", falling(lambda x: 1 - x, TOTAL)),
    "inverse_sqrt": (
        "{name: inverse_sqrt, lr_max: 0.001, warmup_tokens: 4096}",
        lambda n: 0.001 * (n / N_W if n < N_W else math.sqrt(N_W / n)),
    ),
    "infinite": (
        "{name: infinite, lr_max: 0.001, lr_constant: 0.0005, warmup_tokens: 4096, cooldown_tokens: 8192, "
        "decay_tokens: 10240, decay_to: 0.01}",
        lambda n: (
            0.001 * n / N_W
            if n < N_W
            else (0.0005 + 0.00025 * (1 + math.cos(math.pi * min(1, (n - N_W) / 8192))))
            * 0.01 ** (max(0, n - TOTAL + N_D) / N_D)
        ),
    ),
    "step": (
        "{name: step, lr_max: 0.001}",
        lambda n: 0.001 * math.sqrt(0.1) ** ((n >= 0.8 * TOTAL) + (n >= 0.9 * TOTAL)),
    ),
    "power_law_optimised": (
        "{name: power_law_optimised, lr_max: 0.001, flat_share: 0.5}",
        lambda n: 0.001 * min(1, (1 - n / TOTAL) / 0.5) ** 1.5,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_schedule_in_a_run(trial: Trial, name: str) -> None:
    schedule, due = EVERY[name]
    found = rates(
        trial.finished(f"with_{name}", f"schedule={schedule}", "run.engine=torch", "run.debug=true")
    )
    assert len(found) == 30
    for n, lr in found.items():
        assert lr == pytest.approx(due(n), rel=1e-9, abs=1e-15)


@pytest.mark.slow
def test_seesaw_in_a_run(trial: Trial) -> None:
    run = trial.finished(
        "seesaw",
        "schedule={name: step, lr_max: 0.001, at: [0.5], factor: 0.5}",
        "batch.schedule={name: seesaw, max_sequences: 32}",
        "run.debug=true",
    )
    lines = assert_counted(run)
    for line in lines:
        fallen = line["tokens"] - line["batch_tokens"] >= 0.5 * TOTAL  # of the first batch throughout
        assert line["batch_tokens"] == (2048 if fallen else 1024)
        assert line["lr"] == pytest.approx(0.001 * (math.sqrt(0.5) if fallen else 1), rel=1e-12)
