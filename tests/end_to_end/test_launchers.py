"""One run, however it is launched and sharded: the loss of every update is the same to 1e-4."""

from __future__ import annotations

from itertools import pairwise

import pytest
from trial import UPDATES, RunFiles, Trial

pytestmark = [pytest.mark.dist, pytest.mark.timeout(300)]
SAME = 1e-4

# launcher, ranks, overrides
WAYS = {
    "deepspeed-2-zero1": ("deepspeed", 2, ()),
}
MORE_WAYS = {
    "deepspeed-1": ("deepspeed", 1, ()),
    "torchrun-1-torch": ("torchrun", 1, ("run.engine=torch",)),
    "python-zero0": ("python", 1, ("deepspeed.zero_optimization.stage=0",)),
    "python-zero2": ("python", 1, ("deepspeed.zero_optimization.stage=2",)),
    "python-zero3": ("python", 1, ("deepspeed.zero_optimization.stage=3",)),
    "python-micro4": ("python", 1, ("batch.micro_sequences=4",)),
    "torchrun-2-zero0": ("torchrun", 2, ("deepspeed.zero_optimization.stage=0",)),
    "torchrun-2-zero1": ("torchrun", 2, ()),
    "torchrun-2-zero2": ("torchrun", 2, ("deepspeed.zero_optimization.stage=2",)),
    "torchrun-2-zero3": ("torchrun", 2, ("deepspeed.zero_optimization.stage=3",)),
    "torchrun-2-torch": ("torchrun", 2, ("run.engine=torch",)),
    "deepspeed-2-zero3": ("deepspeed", 2, ("deepspeed.zero_optimization.stage=3",)),
    "python-compiled": ("python", 1, ("kernels.compile=blocks",)),
    "torchrun-2-zero3-full": (
        "torchrun",
        2,
        ("deepspeed.zero_optimization.stage=3", "kernels.activation_checkpointing=full"),
    ),
    "python-selective": ("python", 1, ("kernels.activation_checkpointing=selective", "kernels.experts=loop")),
}
DEFAULT = [("dense", way) for way in WAYS]
SLOW = [
    (config, way) for config in ("dense", "moe") for way in WAYS | MORE_WAYS if (config, way) not in DEFAULT
]
CASES = DEFAULT + [pytest.param(*case, marks=pytest.mark.slow) for case in SLOW]


def made(trial: Trial, config: str, way: str) -> RunFiles:
    launcher, ranks, overrides = (WAYS | MORE_WAYS)[way]
    return trial.finished(f"{config}-{way}", *overrides, config=config, launcher=launcher, ranks=ranks)


@pytest.mark.parametrize(("config", "way"), CASES)
def test_losses_do_not_depend_on_the_way(trial: Trial, config: str, way: str) -> None:
    plain, other = trial.finished(config, config=config), made(trial, config, way)
    ours, theirs = plain.lines(), other.lines()
    assert [(line["kind"], line["step"]) for line in theirs] == [
        (line["kind"], line["step"]) for line in ours
    ]
    assert len(other.losses) == UPDATES
    for ours_line, theirs_line in zip(ours, theirs, strict=True):
        assert theirs_line["loss"] == pytest.approx(ours_line["loss"], abs=SAME), ours_line["step"]
    exact = ("tokens", "lr", "batch_tokens")
    assert [[line.get(key) for key in exact] for line in theirs] == [
        [line.get(key) for key in exact] for line in ours
    ]


@pytest.mark.parametrize(("config", "way"), CASES)
def test_gradient_norms_and_router_losses_do_not_either(trial: Trial, config: str, way: str) -> None:
    plain, other = trial.finished(config, config=config), made(trial, config, way)
    for key in ("grad_norm", *(("balance_loss", "z_loss") if config == "moe" else ())):
        ours, theirs = ([line[key] for line in run.lines(kind="train")] for run in (plain, other))
        assert theirs[0] == pytest.approx(ours[0], rel=1e-5), key
        assert theirs == pytest.approx(ours, rel=5e-3), key


def test_a_loss_that_is_another_ones_would_be_seen(trial: Trial) -> None:
    """Losses of neighbouring updates differ by far more than the tolerance above."""
    losses = trial.finished("dense").losses
    assert min(abs(a - b) for a, b in pairwise(losses)) > 2 * SAME


def test_the_deepspeed_command_says_the_results_once(trial: Trial) -> None:
    made(trial, "dense", "deepspeed-2-zero1")
    said = trial.made["dense-deepspeed-2-zero1"].output
    assert said.count("Sample 1") == 1
    assert "Traceback" not in said
