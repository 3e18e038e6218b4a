"""A user's mistakes end with exit code 2 and one message that names the place; nothing is changed."""

from __future__ import annotations

import fcntl
import os
import random
import resource

import psutil
import pytest
from trial import Ended, RunFiles, Trial

pytestmark = [pytest.mark.dist, pytest.mark.timeout(120)]
SECONDS = 15  # two or three when the machine is idle; nothing was built or trained
TEXT = "data.sources.text"


def assert_refused(ended: Ended, *named: str) -> None:
    assert ended.code == 2, ended.output
    assert "Traceback" not in ended.output
    for name in named:
        assert name in ended.output, ended.output
    assert ended.seconds < SECONDS


def changed(before: dict[str, bytes], run: RunFiles) -> set[str]:
    after = run.tree()
    return {name for name in before | after if before.get(name) != after.get(name)} - {".lock"}


IN_THE_CONFIG = {
    "misspelt section": (["optimzer.clip=1"], ["optimzer", "Did you mean 'optimizer'?"]),
    "misspelt key": (["model.hiden_size=8"], ["model.hiden_size", "'hidden_size'"]),
    "negative count": (["stages.0.tokens=-5"], ["stages.0.tokens", "-5"]),
    "not a number": (["schedule.lr_max=fast"], ["schedule.lr_max", "fast"]),
    "key of another schedule": (["schedule.lr_min=0.1"], ["schedule", "lr_min"]),
    "decay beyond the run": (["schedule.decay_tokens=1B"], ["decay_tokens", "1000000000"]),
    "unknown source": (["stages.0.mix={nothing: 1}"], ["stages.0.mix", "nothing", "text"]),
    "micro batch": (["batch.micro_sequences=3"], ["batch.sequences", "6 or 9"]),
    "decided elsewhere": (["deepspeed.train_batch_size=4"], ["deepspeed", "batch.sequences"]),
    "several at once": (
        ["model.hiden_size=8", "run.precision=fp8", "stages.1.tokens=x"],
        ["3 problems", "model.hiden_size", "run.precision", "stages.1.tokens"],
    ),
}


@pytest.mark.parametrize("mistake", IN_THE_CONFIG)
def test_a_mistake_in_the_config(trial: Trial, mistake: str) -> None:
    overrides, named = IN_THE_CONFIG[mistake]
    assert_refused(trial.run("mistaken", *overrides), *named)
    assert not trial.files("mistaken").folder.exists()


def test_a_config_that_is_not_there(trial: Trial) -> None:
    (trial.folder / "tiny_mo.yaml").unlink(missing_ok=True)
    ended = trial.run("mistaken", config="tiny_mo")
    assert_refused(ended, "tiny_mo.yaml", "Did you mean 'tiny_moe'?")


def test_a_config_that_is_no_yaml(trial: Trial) -> None:
    (trial.folder / "broken.yaml").write_text("run: {name: x\nmodel: [")
    assert_refused(trial.run("mistaken", config="broken"), "broken.yaml, line 2")


@pytest.fixture(scope="module")
def bad_files(trial: Trial) -> None:
    (trial.folder / "empty.jsonl").touch()
    (trial.folder / "random.jsonl").write_bytes(random.Random(0).randbytes(100_000))
    lines = (trial.folder / "corpus.jsonl").read_bytes().splitlines(keepends=True)
    (trial.folder / "short.jsonl").write_bytes(b"".join(lines[:2]))


IN_THE_DATA = {
    "missing file": (
        [f"{TEXT}.path=corpsu.jsonl"],
        [f"{TEXT}.path", "'corpsu.jsonl' does not exist", "Did you mean 'corpus.jsonl'?"],
    ),
    "empty corpus": ([f"{TEXT}.path=empty.jsonl"], [TEXT, "no usable text"]),
    "random bytes": ([f"{TEXT}.path=random.jsonl"], [TEXT, "no usable text", "not valid UTF-8"]),
    "missing column": ([f"{TEXT}.column=body"], [f"{TEXT}.column", "'body'", "text"]),
    "vocabulary too large": (
        [f"{TEXT}.path=short.jsonl", "data.tokenizer.vocab_size=60000"],
        ["data.tokenizer.vocab_size", "60000"],
    ),
    "corpus too short": (
        [f"{TEXT}.path=short.jsonl", "batch.sequence_length=65536", "model.max_position_embeddings=65536"],
        [TEXT, "too little text", "65536"],
    ),
    "embedding too small": (["model.vocab_size=500"], ["model.vocab_size", "500", "512"]),
    "run.root is a file": (["run.root=dense.yaml"], ["run.root", "dense.yaml"]),
    "data.root is a file": (["data.root=dense.yaml"], ["data.root", "dense.yaml"]),
}


@pytest.mark.usefixtures("bad_files")
@pytest.mark.parametrize("mistake", IN_THE_DATA)
def test_a_mistake_in_the_data_or_its_place(trial: Trial, mistake: str) -> None:
    overrides, named = IN_THE_DATA[mistake]
    ended = trial.run("mistaken-data", *overrides, "run.engine=torch")
    assert_refused(ended, *named)
    run = trial.files("mistaken-data")
    assert not (run.folder / "checkpoints").exists()
    assert not run.lines()


def test_a_run_that_does_not_fit_says_so_before_it_allocates(trial: Trial) -> None:
    if psutil.virtual_memory().available > 60 * 2**30:
        pytest.skip("it would fit")
    (trial.folder / "3b_moe.yaml").unlink(missing_ok=True)
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # what a child's peak begins with
    started = trial.start("large", config="3b_moe")
    _, status, usage = os.wait4(started.process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 2, started.output
    assert usage.ru_maxrss <= max(2**20, inherited)  # KiB; the weights alone would be six times as much
    assert "GiB" in started.output
    assert "deepspeed.zero_optimization.stage" in started.output
    assert "Traceback" not in started.output
    assert not trial.files("large").folder.exists()


def test_a_batch_that_does_not_divide_among_the_ranks(trial: Trial) -> None:
    ended = trial.run("mistaken", "batch.micro_sequences=8", launcher="torchrun", ranks=2)
    assert ended.code == 1  # torchrun's, for any failing rank
    assert ended.output.count("batch.sequences: 8 is not a multiple of batch.micro_sequences x ranks") == 1
    assert "batch.micro_sequences=4 would do" in ended.output
    assert not trial.files("mistaken").folder.exists()


def test_a_mistake_that_only_the_first_rank_can_find_ends_all(trial: Trial) -> None:
    ended = trial.run("mistaken", f"{TEXT}.path=nothing.jsonl", launcher="deepspeed", ranks=2)
    assert ended.code == 2
    assert ended.output.count("'nothing.jsonl' does not exist") == 1
    assert "Traceback" not in ended.output


def test_a_run_folder_that_another_job_holds(trial: Trial) -> None:
    run = trial.copy("dense", "held", step=20)
    before = run.tree()
    with (run.folder / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = trial.run("held", "run.seed=5")
    assert_refused(ended, "runs/held", "another job")
    assert not changed(before, run)


@pytest.mark.slow
def test_the_other_jobs_status_is_not_ours_to_write(trial: Trial) -> None:
    """The first rank finds the folder held; the second must not take the running job's status for its own."""
    run = trial.copy("dense", "held-by-two", step=20)
    running = '{"state": "running", "step": 25, "reason": null}'
    (run.folder / "status.json").write_text(running)
    with (run.folder / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = trial.run("held-by-two", launcher="torchrun", ranks=2)
    assert ended.output.count("another job") == 1
    assert (run.folder / "status.json").read_text() == running


def flip(run: RunFiles, file: str) -> None:
    path = run.folder / "checkpoints" / "step_00000020" / file
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_in_a_checkpoint(trial: Trial) -> None:
    run = trial.copy("dense", "flipped", step=20)
    flip(run, "exp_avg-00000.safetensors")
    before = run.tree()
    assert_refused(trial.run("flipped"), "step_00000020/exp_avg-00000.safetensors", "damaged")
    assert not changed(before, run)


REFUSED = {
    "run.seed": ("0", "1"),
    "run.precision": ("'fp32'", "'bf16'"),
    "model.intermediate_size": ("128", "64"),
    "model.tie_word_embeddings": ("True", "False"),
    "mup.base_width": ("256", "64"),
    "optimizer.weight_decay": ("0.1", "0.2"),
    "batch.sequences": ("8", "4"),
    "data.document_mask": ("True", "False"),
}


def test_a_config_that_would_not_have_trained_the_same_is_refused_whole(trial: Trial) -> None:
    run = trial.copy("dense", "changed", step=20)
    before = run.tree()
    overrides = [f"{key}={new.strip(chr(39)).lower()}" for key, (_, new) in REFUSED.items()]
    ended = trial.run("changed", *overrides, "schedule.lr_max=0.005")
    assert_refused(ended, *(f"{key}: was {old}, is {new}" for key, (old, new) in REFUSED.items()))
    assert "was made at lr" in ended.output
    assert not changed(before, run)


@pytest.mark.parametrize(
    "override", ["data.tokenizer.vocab_size=600", "data.validation_share=0.2", f"{TEXT}.path=other.jsonl"]
)
def test_other_data_or_another_tokenizer_is_refused_before_anything_changes(
    trial: Trial, override: str
) -> None:
    lines = (trial.folder / "corpus.jsonl").read_bytes().splitlines(keepends=True)
    (trial.folder / "other.jsonl").write_bytes(b"".join(lines[2:]))
    name = "other-" + override.split(".")[1].split("=")[0]
    run = trial.copy("dense", name, step=20)
    (run.folder / "status.json").write_text('{"state": "finished", "step": 20, "reason": null}')
    before = run.tree()
    ended = trial.run(name, override)
    assert_refused(ended, "new run with another run.name")
    assert not changed(before, run)
