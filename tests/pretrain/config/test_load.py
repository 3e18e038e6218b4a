"""Loading: shipped names, every mistake in one message, and the way back through `dump`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrain.config.load import dump, find, load, names
from pretrain.errors import UserError

MINIMAL = """
run: {name: small}
model: {hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 128}
batch: {sequences: 8, sequence_length: 128, micro_sequences: 4}
stages: [{name: only, tokens: 10K, mix: {python: 1}}]
data: {sources: {python: {kind: python}}}
"""


@pytest.fixture
def minimal(tmp_path: Path) -> str:
    file = tmp_path / "minimal.yaml"
    file.write_text(MINIMAL)
    return str(file)


def problems_of(name: str, *overrides: str) -> list[str]:
    """The lines of the message, without the first."""
    with pytest.raises(UserError) as caught:
        load(name, overrides)
    first, *lines = str(caught.value).split("\n")
    assert first.endswith("has a problem:" if len(lines) == 1 else f"has {len(lines)} problems:")
    return [line.strip() for line in lines]


def test_defaults_are_the_papers(minimal):
    config = load(minimal)
    assert (config.schedule.name, config.schedule.lr_max) == ("power", 0.02)
    assert (config.optimizer.eps, config.optimizer.betas) == (1e-10, (0.9, 0.95))
    assert config.deepspeed.zero_optimization.stage == 1


def test_found_by_path_or_name_with_or_without_suffix(minimal):
    assert find(minimal) == Path(minimal)
    assert find("tiny_moe") == find("tiny_moe.yaml")
    assert find("tiny_moe").name == "tiny_moe.yaml"


def test_a_name_that_is_none():
    with pytest.raises(UserError, match="Did you mean 'tiny_moe'") as caught:
        load("tinymoe.yaml")
    assert all(name in str(caught.value) for name in names())


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("model.hiden_size=3", "model.hiden_size: unknown key 'hiden_size'. Did you mean 'hidden_size'?"),
        ("modell.x=3", "modell: unknown key 'modell'. Did you mean 'model'?"),
        ("run.zzz=3", "run.zzz: unknown key 'zzz'. Known here: name, seed"),
        ("model.hidden_size=abc", "model.hidden_size: 'abc' should be a whole number such as 4096"),
        ("model.hidden_size=-1", "model.hidden_size: -1 should not be negative"),
        ("model.hidden_size=0", "model.hidden_size: 0 should be greater than 0"),
        ("stages.0.tokens=-2M", "stages.0.tokens: '-2M' should not be negative"),
        ("stages.0.mix.python=-1", "stages.0.mix.python: -1 should be greater than 0"),
        ("stages=3", "stages: 3 should be a list"),
        ("stages=[]", "stages: a list of 0 should have at least 1 item(s)"),
        ("run=", "run: null should be a mapping"),
        ("run={}", "run.name: missing, and required (the run folder is root/name)"),
        ("run.name=5", "run.name: 5 should be text"),
        ("run.precision=bf61", "run.precision: 'bf61' should be 'bf16' or 'fp32'. Did you mean 'bf16'?"),
        ("model.tie_word_embeddings=2", "model.tie_word_embeddings: 2 should be a valid boolean"),
        ("optimizer.betas=[0.9]", "optimizer.betas.1: missing"),
        ("optimizer.eps=.nan", "optimizer.eps: '.nan' should be a number"),
        (
            "schedule.name=pwer",
            "schedule.name: 'pwer' should be one of power, wsd, cosine, linear, constant, inverse_sqrt",
        ),
        (
            "optimizer.adam_beta2={half_life_tokens: 1, half_life: 7M}",
            "optimizer.adam_beta2.half_life: unknown key 'half_life'. Did you mean 'half_life_tokens'?",
        ),
        ("schedule.lr_maxx=1", "schedule.lr_maxx: unknown key 'lr_maxx'. Did you mean 'lr_max'?"),
        ("schedule={name: wsd}", "schedule.lr_max: missing, and required (height of the plateau"),
        (
            "schedule={name: wsd, lr_max: 1, amplitude: 4}",
            "schedule.amplitude: a key of power, not of wsd; replace the whole section by",
        ),
        ("data.sources.python.kind=pyton", "data.sources.python.kind: 'pyton' should be one of python, text"),
        (
            "data.sources.python.max_byte=1",
            "data.sources.python.max_byte: unknown key 'max_byte'. Did you mean",
        ),
        ("data.sources.more={path: x}", "data.sources.more.kind: missing, and required: one of python, text"),
        ("data.sources.more=x", "data.sources.more: 'x' should be a mapping"),
        ("deepspeed.optimizer={}", "deepspeed: optimizer is decided by our section `optimizer`"),
        (
            "deepspeed.managed_gradient_accumulation=false",
            "deepspeed: managed_gradient_accumulation is decided",
        ),
        ("deepspeed.zero_optimisation.stage=3", "deepspeed: zero_optimisation is no key that is passed on"),
        ("guard.stop_file=''", "guard.stop_file: '' should not be empty"),
        ("model.num_attention_heads=3", "model: hidden_size=64 is not a multiple of num_attention_heads=3"),
        (
            "stages.0.mix={pyton: 1}",
            "stages.0.mix.pyton: no such source; data.sources has python. Did you mean",
        ),
        (
            "batch.sequences=9",
            "batch.sequences: 9 is not a multiple of batch.micro_sequences=4; 8 or 12 would be",
        ),
        ("batch.sequences=3", "batch.sequences: 3 is not a multiple of batch.micro_sequences=4; 4 would be"),
        (
            "batch.sequence_length=8192",
            "batch.sequence_length: 8192 is more than model.max_position_embeddings=4096",
        ),
        (
            "deepspeed.zero_optimization.stage=0",
            "deepspeed.zero_optimization.stage: 0 has no fp32 master weights",
        ),
        ("schedule.decay_tokens=1M", "schedule: decay_tokens=1000000 is longer than the run of 10240 tokens"),
        (
            "schedule={name: cosine, lr_max: 1, warmup_tokens: 1M}",
            "schedule: warmup_tokens=1000000 must be less",
        ),
    ],
)
def test_one_mistake_one_line(minimal, override, line):
    (problem,) = problems_of(minimal, override)
    assert problem.startswith(line)


def test_all_mistakes_of_values_at_once(minimal):
    overrides = [
        "model.hiden_size=3",
        "run.seed=-1",
        "stages.0.tokens=x",
        "foo",
        "stages.7.tokens=1",
        "guardd={}",
    ]
    lines = problems_of(minimal, *overrides)
    assert len(lines) == len(overrides)
    for part in ("hiden_size", "run.seed", "stages.0.tokens:", "'foo'", "stages.7.tokens", "guardd"):
        assert sum(part in line for line in lines) == 1


def test_all_impossible_combinations_at_once(minimal):
    overrides = ["stages.0.mix={x: 1}", "batch.sequences=9", "deepspeed.zero_optimization.stage=0"]
    assert len(problems_of(minimal, *overrides)) == 3


def test_zero_0_is_possible_in_fp32_and_without_deepspeed(minimal):
    load(minimal, ["deepspeed.zero_optimization.stage=0", "run.precision=fp32"])
    load(minimal, ["deepspeed.zero_optimization.stage=0", "run.engine=torch"])


def test_stages_of_one_name_are_refused(tmp_path):
    file = tmp_path / "twins.yaml"
    stage = "{name: only, tokens: 10K, mix: {python: 1}}"
    file.write_text(MINIMAL.replace(f"[{stage}]", f"[{stage}, {stage}]"))
    assert problems_of(str(file)) == ["stages: 2 stages are named 'only'; each needs a name of its own"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("run: {name: a}\nrun: {name: b}\n", ", line 2: the key 'run' stands here a second time"),
        ("run: [", ", line 2: not YAML"),
        ("- a\n- b", "a config is a mapping of sections"),
        ("just text", "a config is a mapping of sections"),
        ("", "run: missing, and required"),
    ],
)
def test_files_that_are_no_config(tmp_path, text, line):
    file = tmp_path / "wrong.yaml"
    file.write_text(text + "\n")
    assert any(line in problem for problem in problems_of(str(file)))


def test_a_file_that_is_no_text(tmp_path):
    file = tmp_path / "binary.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot read"):
        load(str(file))


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(UserError, match="no config"):
        load(str(tmp_path / "missing.yaml"))
    with pytest.raises(UserError, match="no config"):
        load(str(tmp_path))


def test_dump_loads_again(tmp_path, minimal):
    overrides = [
        "deepspeed.comms_logger={enabled: true}",
        "trackers.wandb=off",
        "run.name=1e3x",
        "guard.stop_file='1e3'",
    ]
    for config in (load(minimal, overrides), *map(load, names())):
        file = tmp_path / "resolved.yaml"
        file.write_text(dump(config), encoding="utf-8")
        assert load(str(file)) == config
