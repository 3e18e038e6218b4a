"""One model in every form that can be named, and what transformers writes with it; the command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.shape import ModelShape
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.save import save_checkpoint
from pretrain.cli import main
from pretrain.data.options import TokenizerOptions
from pretrain.data.progress import SilentProgress
from pretrain.data.tokenizer import Tokenizer, load_tokenizer
from pretrain.data.tokenizer_training import train_tokenizer
from pretrain.errors import UserError
from pretrain.evaluate.generate import generate
from pretrain.evaluate.opened import device_named, open_model
from pretrain.exchange.from_transformers import import_model
from pretrain.exchange.keys import model_section
from pretrain.exchange.to_transformers import export_model

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
PROMPTS = ["abc", "the quick brown fox, jumps", "z", "ab abc abcd abcde fox"]


def shape_of(experts: int | None) -> ModelShape:
    return ModelShape(
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        intermediate_size=48,
        num_experts=experts,
        experts_per_token=experts and 2,
        vocab_size=300,
        max_positions=128,
        rope_theta=10_000.0,
        rms_norm_eps=1e-6,
        tied=False,
        embedding_multiplier=3.0,
        residual_multiplier=0.4,
        attention_multiplier=0.2,
        logits_scaling=1.5,
    )


class Weights:
    """The state of a run that a test did not train."""

    def __init__(self, shape: ModelShape, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.tensors = {}
        for name, weight in Decoder(shape).named_parameters():
            gain = weight.ndim == 1
            mean, spread = (1.0, 0.1) if gain else (0.0, 0.3)
            self.tensors[name] = torch.empty_like(weight).normal_(mean, spread, generator=generator).detach()

    def state(self) -> Iterator[Any]:
        for kind in ("weight", "exp_avg", "exp_avg_sq"):
            for name, tensor in self.tensors.items():
                yield kind, name, tensor


def make_run(root: Path, experts: int | None, steps: tuple[int, ...] = (9,)) -> Path:
    """A run folder as a run leaves it, with its tokenizer below data.root."""
    shape, words = shape_of(experts), root / "data" / "tokenizers" / "abc"
    if not words.exists():
        words.mkdir(parents=True)
        letters = ["".join(map(chr, range(97 + n, 97 + n + m))) for n in range(20) for m in range(2, 7)]
        train_tokenizer([" ".join(letters) * 9], TokenizerOptions.model_construct(vocab_size=300), words)
    facts = {
        "config": {
            "model": model_section(shape),
            "run": {"name": "some", "root": "runs", "precision": "fp32"},
            "data": {"root": "data"},
        },
        "fingerprint": {"tokenizer": load_tokenizer(words).sha256},
    }
    for step in steps:
        engine: Any = Weights(shape, step)
        position = Position(step=step, tokens=step * 1000)
        save_checkpoint(root / "runs" / "some" / "checkpoints", engine, position, facts, first_rank=True)
    return root / "runs" / "some"


@pytest.fixture(scope="module", params=[None, 4], ids=["dense", "moe"])
def forms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of one model."""
    root = tmp_path_factory.mktemp("forms")
    run = make_run(root, request.param)
    export_model(run, root / "out", progress=SilentProgress())
    import_model(root / "out", root / "in", progress=SilentProgress())
    checkpoint = run / "checkpoints" / "step_00000009"
    return {"run": run, "checkpoint": checkpoint, "export": root / "out", "import": root / "in"}


class Ids:
    """A tokenizer whose texts are shown as ids: libraries differ in how they show bytes that are no UTF-8."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.vocab_size, self.end_id = tokenizer.vocab_size, tokenizer.end_id
        self.encode = tokenizer.encode

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


def by_transformers(folder: Path, max_tokens: int) -> list[str]:
    """The ids of greedy texts of a batch with padding on the left, as its users write them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    words = AutoTokenizer.from_pretrained(folder)
    rows = [words(prompt)["input_ids"] for prompt in PROMPTS]
    longest, end = max(map(len, rows)), words.eos_token_id
    padded = torch.tensor([[end] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    written = model.generate(padded, attention_mask=mask, max_new_tokens=max_tokens, do_sample=False)
    texts = [row[longest:].tolist() for row in written]
    return [" ".join(map(str, text[: text.index(end)] if end in text else text)) for text in texts]


def test_greedy_texts_are_those_of_transformers_on_the_export(forms: dict[str, Path]) -> None:
    opened = open_model(forms["run"], precision=None, device=CPU)
    ours = generate(opened.model, Ids(opened.tokenizer), PROMPTS, max_tokens=48, temperature=0)
    assert ours == by_transformers(forms["export"], 48)
    assert len(set(ours)) == len(PROMPTS)


def test_every_form_is_the_same_model(forms: dict[str, Path]) -> None:
    opened = {form: open_model(path, precision=None, device=CPU) for form, path in forms.items()}
    weights = dict(opened["run"].model.named_parameters())
    for form, one in opened.items():
        assert one.precision == "fp32"
        assert not one.model.training
        assert not any(parameter.requires_grad for parameter in one.model.parameters())
        for name, parameter in one.model.named_parameters():
            assert torch.equal(parameter, weights[name]), (form, name)
        for prompt in PROMPTS:
            assert one.tokenizer.encode(prompt) == opened["run"].tokenizer.encode(prompt)
        assert one.tokenizer.end_id == opened["run"].tokenizer.end_id
    facts = {form: (one.name, one.step, one.tokens, one.source) for form, one in opened.items()}
    assert facts == {
        "run": ("some", 9, 9000, forms["checkpoint"]),
        "checkpoint": ("some", 9, 9000, forms["checkpoint"]),
        "export": ("out", None, None, forms["export"]),
        "import": ("out", None, None, forms["import"]),
    }


def test_precision_is_the_runs_or_the_one_that_is_asked_for(tmp_path: Path) -> None:
    run = make_run(tmp_path, None)
    assert open_model(run, precision="bf16", device=CPU).model.embedding.dtype == torch.bfloat16
    assert open_model(run, precision=None, device=CPU).model.embedding.dtype == torch.float32


def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, None, steps=(5, 9))
    newest = run / "checkpoints" / "step_00000009"
    file = next(newest.glob("weight-*"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    said: list[str] = []
    assert open_model(run, precision=None, device=CPU, say=said.append).step == 5
    assert len(said) == 1
    assert file.name in said[0]
    assert "step_00000005" in said[0]
    with pytest.raises(UserError, match="step_00000009"):
        open_model(newest, precision=None, device=CPU)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, None)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(UserError, match="--tokenizer"):
        open_model(run, precision=None, device=CPU)
    with pytest.raises(UserError, match="holds no whole checkpoint"):
        open_model(tmp_path, precision=None, device=CPU)
    with pytest.raises(UserError, match=r"no such folder\. Did you mean 'runs'"):
        open_model(tmp_path / "rins", precision=None, device=CPU)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="is a file"):
        open_model(tmp_path / "model.safetensors", precision=None, device=CPU)


def test_a_tokenizer_of_another_model_is_refused(forms: dict[str, Path], tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.mkdir()
    letters = " ".join(chr(97 + n % 26) * (n % 7 + 1) + chr(97 + n % 23) for n in range(900))
    train_tokenizer([letters], TokenizerOptions.model_construct(vocab_size=320), words)
    with pytest.raises(UserError, match="320 ids, the model 300"):
        open_model(forms["import"], precision=None, device=CPU, tokenizer=words)
    with pytest.raises(UserError, match="is not the run's"):
        open_model(forms["run"], precision=None, device=CPU, tokenizer=words)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_devices_that_are_not_here_are_named(name: str) -> None:
    with pytest.raises(UserError, match=f"--device: '{name}'"):
        device_named(name)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("commanded"), None)


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as left:
        main(["generate", *map(str, arguments)])
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


def test_the_command_shows_prompts_and_texts(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = open_model(run_folder, precision=None, device=CPU)
    asked = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    how = ("--max-tokens", "12", "--temperature", "0")
    texts = generate(opened.model, opened.tokenizer, PROMPTS, max_tokens=12, temperature=0)
    whole = [prompt + text for prompt, text in zip(PROMPTS, texts, strict=True)]
    assert command(capsys, run_folder, *asked, *how) == (0, "\n---\n".join(whole) + "\n", "")
    assert command(capsys, run_folder, *asked[:2], *how, "--stream") == (0, whole[0] + "\n", "")
    code, out, err = command(capsys, run_folder, *asked, *how, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert [text["text"] for text in found["texts"]] == texts
    assert (found["name"], found["step"], found["tokens"]) == ("some", 9, 9000)
    settings = {"max_tokens": 12, "temperature": 0.0, "top_p": 0.95, "seed": 0}
    assert found["settings"] == settings | {"precision": "fp32", "device": "cpu"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "there is no prompt"),
        (("--prompt", ""), "--prompt: is empty"),
        (("--prompt", "\udcff"), "not UTF-8"),
        (("--prompt", "a", "--temperature", "-1"), "--temperature: -1.0 is not 0 or more"),
        (("--prompt", "a", "--top-p", "1.5"), "--top-p: 1.5 is not above 0 and at most 1"),
        (("--prompt", "a", "--max-tokens", "0"), "--max-tokens: 0 should be at least 1"),
        (("--prompt", "a", "--seed", "-1"), "--seed: -1 should be"),
        (("--prompt", "a", "--prompt", "b", "--stream"), "--stream: shows the text of one prompt"),
        (("--prompt", "a", "--stream", "--json"), "--stream: is for people"),
        (("--prompt", "a", "--device", "tpu"), "--device: 'tpu'"),
    ],
)
def test_mistakes_are_one_message(
    run_folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = command(capsys, run_folder, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def begun(run_folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-m", "pretrain.cli", "generate", str(run_folder), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.mark.slow
def test_standard_input_has_a_prompt_a_line(run_folder: Path) -> None:
    process = begun(run_folder, "--stdin", "--prompt", "first", "--max-tokens", "3", "--json")
    out, err = process.communicate("abc\r\n\n  \n\u2603 z".encode())
    assert (process.returncode, err) == (0, b"")
    assert [text["prompt"] for text in json.loads(out)["texts"]] == ["first", "abc", "\u2603 z"]
    for data, message in ((b"", b"no line with text"), (b"a\n\xff\n", b"line 2 is not UTF-8")):
        process = begun(run_folder, "--stdin")
        out, err = process.communicate(data)
        assert (process.returncode, out) == (2, b"")
        assert message in err


@pytest.mark.slow
def test_a_stream_ends_quietly_when_nobody_reads_or_wants_it(run_folder: Path) -> None:
    endless = ("--prompt", "abc", "--stream", "--max-tokens", "1000000", "--temperature", "1000")
    interrupted = begun(run_folder, *endless)
    assert interrupted.stdout
    interrupted.stdout.read(10)
    interrupted.send_signal(signal.SIGINT)
    _, err = interrupted.communicate(timeout=300)
    assert (interrupted.returncode, err) in ((130, b""), (0, b""))  # 0: the model ended its document first
    unread = begun(run_folder, *endless)
    assert unread.stdout
    unread.stdout.read(10)
    unread.stdout.close()
    assert unread.wait(timeout=300) in (0, 1)
    assert unread.stderr
    assert unread.stderr.read() == b""
