"""Small runs with a tokenizer and their exports, and a folder of tasks of every kind."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from megatron_lite.model.decoder import Decoder
from megatron_lite.model.shape import ModelShape
from pretrain.checkpoint.format import SEAL, state_sha256
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.save import save_checkpoint
from pretrain.data.options import TokenizerOptions
from pretrain.data.progress import SilentProgress
from pretrain.data.tokenizer import load_tokenizer
from pretrain.data.tokenizer_training import train_tokenizer
from pretrain.exchange.keys import model_section
from pretrain.exchange.to_transformers import export_model

VOCABULARY = 400


class Made(NamedTuple):
    """A run and what `pretrain export` wrote of it."""

    run: Path
    export: Path


def shape(num_experts: int | None, *, max_positions: int = 48) -> ModelShape:
    return ModelShape(
        hidden_size=48,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        intermediate_size=32,
        num_experts=num_experts,
        experts_per_token=num_experts and 2,
        vocab_size=VOCABULARY,
        max_positions=max_positions,
        rope_theta=10_000.0,
        rms_norm_eps=1e-5,
        tied=True,
        embedding_multiplier=6.0,
        residual_multiplier=0.4,
        attention_multiplier=0.1,
        logits_scaling=1.5,
    )


class _Weights:
    def __init__(self, decoder: Decoder) -> None:
        self.tensors = {name: weight.detach() for name, weight in decoder.named_parameters()}

    def state(self) -> Any:
        for kind in ("weight", "exp_avg", "exp_avg_sq"):
            for name, tensor in self.tensors.items():
                yield kind, name, tensor if kind == "weight" else torch.ones_like(tensor)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a tokenizer in it, trained on Python."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "tokenizers" / "some"
    folder.mkdir(parents=True)
    texts = [inspect.getsource(inspect), inspect.getsource(json)]
    train_tokenizer(texts, TokenizerOptions.model_construct(vocab_size=VOCABULARY), folder)
    return root


@pytest.fixture(scope="session")
def write_checkpoint(data_root: Path) -> Callable[..., Path]:
    """Writes a checkpoint of random weights into a run folder."""

    def write(run: Path, step: int, num_experts: int | None = None, *, seed: int = 3) -> Path:
        decoder = Decoder(shape(num_experts))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in decoder.parameters():
                gain = weight.ndim == 1
                weight.normal_(1.0 if gain else 0.0, 0.1 if gain else 0.25, generator=generator)
        facts = {
            "config": {
                "model": model_section(decoder.shape),
                "run": {"name": run.name, "root": str(run.parent), "precision": "fp32"},
                "data": {"root": str(data_root)},
            },
            "fingerprint": {"tokenizer": load_tokenizer(data_root / "tokenizers" / "some").sha256},
        }
        engine: Any = _Weights(decoder)
        position = Position(step=step, tokens=step * 1000)
        return save_checkpoint(run / "checkpoints", engine, position, facts, first_rank=True)

    return write


@pytest.fixture(scope="session", params=[None, 4], ids=["dense", "moe"])
def made(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    write_checkpoint: Callable[..., Path],
) -> Made:
    """A run with one checkpoint, dense or with experts, and its export."""
    folder = tmp_path_factory.mktemp("made")
    write_checkpoint(folder / "runs" / "some", 7, request.param)
    export_model(folder / "runs" / "some", folder / "export", progress=SilentProgress())
    return Made(folder / "runs" / "some", folder / "export")


CHOICES = [
    # white space at the end of the context belongs to the answer
    {"question": "def first(values): ", "answers": ["return", "yield values", "pass"], "right": 0},
    {"question": "import", "answers": [" os", " sys", " not a module at all"], "right": 1},
    {"question": "", "answers": ["class", "def main():", "    x"], "right": 1},
    {"question": "", "answers": ["\n", "a", "b"], "right": 1},
    # answers of one token, and answers that begin alike
    {"question": "if x is", "answers": [" not", " not None", " not None:\n"], "right": 2},
    # longer than the model's positions: the beginning is left out
    {
        "question": "for name in names:\n    print(name)\n" * 12,
        "answers": ["    ", "return name"],
        "right": 0,
    },
    {"question": "x = 1  \n\n", "answers": ["y = 2", "z"], "right": 0},
]
TEXTS = [
    "import json\n",
    "",
    "def loads(text):\n    return decoder.decode(text)\n" * 9,  # several windows
    " leading and trailing white space \n\n",
    "naïve — “quotes” and 日本",
]
BEGINNINGS = [
    {"text": "def f(", "rest": "self)"},
    {"text": "class Some(object):\n    def", "rest": " __init__"},
    {"text": "x", "rest": ""},
    {"text": "return value\n" * 30, "rest": "return"},
]


def _task(folder: Path, name: str, documents: Sequence[Mapping[str, Any]], **fields: Any) -> None:
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(document) + "\n" for document in documents))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / ".cache")},
        "test_split": "test",
        "metadata": {"version": 1.0},
        **fields,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))


@pytest.fixture(scope="session")
def tasks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tasks: `choice`, `rolling` and `writing`."""
    folder = tmp_path_factory.mktemp("tasks")
    _task(
        folder,
        "choice",
        CHOICES,
        output_type="multiple_choice",
        doc_to_text="{{question}}",
        doc_to_choice="{{answers}}",
        doc_to_target="{{right}}",
        target_delimiter="",
        metric_list=[{"metric": "acc"}, {"metric": "acc_norm"}],
    )
    _task(
        folder,
        "rolling",
        [{"text": text} for text in TEXTS],
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{text}}",
        metric_list=[{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    )
    _task(
        folder,
        "writing",
        BEGINNINGS,
        output_type="generate_until",
        doc_to_text="{{text}}",
        doc_to_target="{{rest}}",
        target_delimiter="",
        generation_kwargs={"until": ["\n\n", "e"], "max_gen_toks": 12, "do_sample": False},
        metric_list=[{"metric": "exact_match"}],
    )
    return folder


@pytest.fixture
def only_our_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness's own index, which takes half a minute to read, is empty."""
    from lm_eval import tasks as theirs

    manager = theirs.TaskManager
    monkeypatch.setattr(
        theirs,
        "TaskManager",
        lambda include_path, include_defaults: manager(include_path=include_path, include_defaults=False),
    )


def reseal(checkpoint: Path, facts: Mapping[str, Any]) -> None:
    """Change what a checkpoint's state says, and seal it."""
    state = json.loads((checkpoint / "state.json").read_text()) | facts
    state.pop(SEAL)
    (checkpoint / "state.json").write_text(json.dumps(state | {SEAL: state_sha256(state)}))
