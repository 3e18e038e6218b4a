"""Every warning of the plan: a config that earns it, one beside it that does not, and the shipped ones."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pretrain.checkpoint.options import CheckpointOptions
from pretrain.config.load import load, names
from pretrain.laws.published import zhang_critical_batch
from pretrain.plan import Plan, plan
from pretrain.planning.disk import checkpoints
from pretrain.planning.machine import machine_for
from pretrain.planning.rules.all import RULES
from pretrain.planning.rules.cluster import interval

BIG = ("1b_dense", "1b_moe", "3b_dense", "3b_moe")
# A demonstration on a laptop trains too little for its size, and the dense one has small heads to be quick.
INTENDED = {
    "tiny_dense": ("stages: 0.63 tokens a parameter", "model.num_attention_heads: heads are 32 wide"),
    "tiny_moe": ("stages: 1.1 tokens a parameter",),
}


def planned(name: str, *overrides: str, ranks: int = 8, **machine) -> Plan:
    config = load(name, overrides)
    return plan(config, ranks, machine_for(config, **machine))


@pytest.mark.parametrize("name", names())
def test_shipped_configs_earn_none_but_those_intended(name: str) -> None:
    made = planned(name, ranks=8 if name in BIG else 1)
    intended = INTENDED.get(name, ())
    assert len(made.warnings) == len(intended), made.warnings
    assert all(word.startswith(start) for word, start in zip(made.warnings, intended, strict=True))


@pytest.mark.parametrize(
    ("name", "ranks", "starts"),
    [
        ("1b_dense", 1, ["checkpoint.every_steps"]),
        ("1b_dense", 128, []),
        ("1b_moe", 64, []),
        ("1b_moe", 128, ["--ranks 128"]),
        ("3b_dense", 1, ["memory", "checkpoint.every_steps"]),
        ("3b_dense", 4, ["checkpoint.every_steps"]),
        ("3b_dense", 256, ["--ranks 256"]),
        ("3b_moe", 2, ["checkpoint.every_steps"]),
        ("3b_moe", 4, []),
        ("3b_moe", 64, []),
        ("3b_moe", 128, ["--ranks 128"]),
    ],
)
def test_what_docs_planning_says_that_shipped_configs_earn(name: str, ranks: int, starts: list[str]) -> None:
    assert [word.partition(":")[0] for word in planned(name, ranks=ranks).warnings] == starts


# config, overrides that earn it, words of it, overrides beside it that do not
EARNED = [
    ("3b_dense", ["batch.micro_sequences=8"], "would fit", ["deepspeed.zero_optimization.stage=2"]),
    ("3b_moe", ["deepspeed.zero_optimization.stage=2"], "stage: 2 sums the gradients at each of 64", []),
    ("3b_moe", ["checkpoint.every_steps=5000"], "checkpoint.every_steps: 18 h 2", []),
    (
        "3b_moe",
        ["checkpoint.every_steps=2"],
        "is 1.49 GB a second for the disk",
        ["checkpoint.every_steps=4"],
    ),
    ("3b_moe", ["checkpoint.every_steps=1M"], "the only checkpoint is the last", []),
    (
        "3b_moe",
        ["checkpoint.every_steps=800", "checkpoint.keep_every=25000"],
        "only every 100,000 updates a checkpoint is kept for ever; checkpoint.keep_every=24800",
        ["checkpoint.every_steps=500"],
    ),
    (
        "proxy_36m",
        ["batch.sequences=1024", "checkpoint.every_steps=100"],
        "above the critical batch of a run of 32B tokens: 1.507M",
        ["batch.sequences=256"],
    ),
    (
        "1b_dense",
        [
            "stages.0.tokens=1B",
            "schedule.decay_tokens=1B",
            "stages.1.tokens=1B",
            "schedule.warmup_tokens=100M",
        ],
        "1.7 tokens a",
        [],
    ),
    ("proxy_12m", ["stages.0.tokens=300B"], "24,", []),
    ("3b_moe", ["model.num_local_experts=1280", "model.num_experts_per_tok=1"], "51 tokens an expert", []),
    ("3b_moe", ["evaluate.every_steps=2"], "evaluations are 8% on top", ["evaluate.every_steps=5"]),
    ("1b_dense", ["schedule.decay_tokens=50B"], "the decay is the last 5.0% of", None),
    ("1b_dense", ["schedule.decay_tokens=500B"], "the decay is 50% of the run", None),
    ("1b_dense", ["schedule.decay_tokens=200B"], "begins 100B tokens before the stage 'decay'", []),
    (
        "1b_dense",
        ["schedule.warmup_tokens=300B"],
        "the warm-up is 30% of the run",
        ["schedule.warmup_tokens=30B"],
    ),
    ("1b_dense", ["schedule.warmup_tokens=0"], "0 updates of warm-up", ["schedule.warmup_tokens=50M"]),
    ("1b_dense", ["schedule.lr_max=0.05"], "schedule.lr_max: 0.05 is above every", ["schedule.lr_max=0.025"]),
    ("1b_dense", ["schedule.amplitude=6"], "schedule.amplitude: 6 is outside", ["schedule.amplitude=4.6"]),
    (
        "1b_dense",
        ["schedule.exponent=-0.7"],
        "schedule.exponent: -0.7 is outside",
        ["schedule.exponent=-0.6"],
    ),
    (
        "1b_dense",
        ["batch.sequences=8", "batch.micro_sequences=1", "batch.sequence_length=2048"],
        "the run's rate never gets above",
        ["batch.sequences=64"],
    ),
    (
        "1b_dense",
        ["mup.enabled=false", "mup.init_std=0.02"],
        "mup.enabled: false, so that every matrix learns at up to 0.02",
        ["mup.enabled=false", "mup.init_std=0.02", "schedule.lr_max=0.001"],
    ),
    ("1b_dense", ["optimizer.weight_decay=0"], "optimizer.weight_decay: 0", []),
    ("1b_dense", ["optimizer.clip=null"], "optimizer.clip: null", []),
    ("1b_dense", ["optimizer.eps=1e-6"], "optimizer.eps: 1e-06", ["optimizer.eps=1e-8"]),
    ("1b_dense", ["optimizer.betas=[0.9,0.999]"], "remembers 1000 updates", ["optimizer.betas=[0.9,0.98]"]),
    (
        "1b_dense",
        ["model.attention_multiplier=0.125"],
        "0.125 is not µP's 1/head_dim = 1/64 = 0.01562",
        ["model.attention_multiplier=0.015625"],
    ),
    ("1b_dense", ["model.logits_scaling=1"], "hidden_size / base_width = 6", ["model.logits_scaling=6"]),
    ("1b_dense", ["model.num_attention_heads=12", "model.num_key_value_heads=12"], "heads are 128 wide", []),
    ("1b_dense", ["mup.base_width=128"], "mup.base_width: 128", ["mup.base_width=256"]),
    (
        "1b_dense",
        ["mup.enabled=false", "schedule.lr_max=0.001"],
        "mup.init_std: 0.1 without mup.enabled",
        ["mup.enabled=false", "schedule.lr_max=0.001", "mup.init_std=0.02"],
    ),
    ("1b_dense", ["model.vocab_size=50257"], "model.vocab_size=50304 pads it", ["model.vocab_size=50304"]),
    ("1b_dense", ["model.intermediate_size=4100"], "4096 is near", ["model.intermediate_size=4160"]),
    ("1b_dense", ["batch.sequence_length=1024", "batch.micro_sequences=16"], "promises positions", []),
    (
        "1b_dense",
        ["model.max_position_embeddings=16384", "batch.sequence_length=16384", "batch.sequences=256"],
        "model.rope_theta: 10000 with sequences of 16384",
        None,
    ),
    ("1b_moe", ["model.num_experts_per_tok=1"], "the router learns nothing from the loss", []),
    ("1b_moe", ["model.num_experts_per_tok=32"], "all 32 experts are used by every token", []),
    ("1b_moe", ["model.router_aux_loss_coef=0"], "nothing keeps experts in use", []),
    ("1b_moe", ["model.intermediate_size=500"], "500 is not a multiple of 8, which one product", None),
]


@pytest.mark.parametrize(("name", "overrides", "words", "beside"), EARNED)
def test_a_config_that_earns_a_warning(
    name: str, overrides: list[str], words: str, beside: list[str] | None
) -> None:
    found = planned(name, *overrides).warnings
    assert [text for text in found if words in text], found
    if beside is not None:
        start = words.split(" ")[0]
        others = planned(name, *beside).warnings
        assert not [text for text in others if words in text or (text.startswith(start) and ":" in start)]


def test_a_branch_writes_where_the_steps_of_its_whole_run_say() -> None:
    """From update 200 to 294: at 250 and at the end, or only there."""

    def said(every_steps: int) -> list[str]:
        options = CheckpointOptions(every_steps=every_steps)
        written = checkpoints(options, parameters=1000, first_step=200, steps=294, seconds_per_update=None)
        return list(interval(SimpleNamespace(checkpoints=written, steps_ahead=94)))  # type: ignore[arg-type]

    assert said(every_steps=250) == []
    assert said(every_steps=60) == []
    (words,) = said(every_steps=150)
    assert "the only checkpoint is the last" in words


def test_warnings_of_the_machine() -> None:
    for words, made in {
        "fp32 on a GPU": planned("1b_dense", "run.precision=fp32", gpu="a100-80"),
        "--mfu 0.9": planned("1b_dense", mfu=0.9),
        "no way to cut it fits": planned("3b_dense", ranks=1, gpu="rtx-4090"),
        "each rank would send": planned("1b_dense", "batch.micro_sequences=1", ranks=1024),
        "--ranks 6: no power of two": planned(
            "1b_dense", "deepspeed.zero_optimization.stage=3", "batch.sequences=1032", ranks=6
        ),
    }.items():
        assert [text for text in made.warnings if words in text], (words, made.warnings)
    assert not planned("1b_dense", mfu=0.5, gpu="a100-80").warnings
    assert not planned("1b_dense", "batch.sequences=1032", "batch.micro_sequences=2", ranks=6).warnings


def test_failures_cost_what_llama_3_says() -> None:
    """On 8,192 GPUs a job dies every 6.2 hours; half an interval of 31 min is 4 % of that."""
    steps = "checkpoint.every_steps=1000"
    made = planned("3b_dense", "batch.sequences=8192", steps, ranks=8192, mfu=0.4)
    (text,) = (text for text in made.warnings if text.startswith("checkpoint.every_steps"))
    assert "every 6 h 14 min" in text
    assert made.checkpoints.seconds_between is not None
    share = made.checkpoints.seconds_between / 2 * 8192 * 4.7e-4 / 86400
    assert f"{share:.1%} of the time" in text


@pytest.mark.parametrize(("millions", "measured"), [(85, 745.32), (151, 955.16), (302, 1393.73)])
def test_the_critical_batch_is_what_zhang_et_al_measured(millions: int, measured: float) -> None:
    """In sequences of 512 at 20 tokens a parameter, from their table of steps to a target loss."""
    assert zhang_critical_batch(20e6 * millions) / 512 == pytest.approx(measured, rel=0.06)


def test_no_rule_is_forgotten() -> None:
    assert len(set(RULES)) == len(RULES) > 20
