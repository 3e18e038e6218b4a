"""The model card: README.md of an exported folder, with the facts of the run and how to load it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import pretrain
from megatron_lite.model.parameters import count
from megatron_lite.options import format_count
from pretrain.checkpoint.format import SEAL
from pretrain.config.document import write
from pretrain.data.tokenizer import Tokenizer
from pretrain.exchange.config_json import TORCH_NAMES
from pretrain.exchange.keys import architecture, model_section
from pretrain.exchange.source import Source
from pretrain.monitor.summary import Summary, read_summary

LOADING = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
```"""


def card(source: Source, tokenizer: Tokenizer | None, dtype: str) -> str:
    """The card as Markdown."""
    name = _name(source)
    head = write(
        {
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": [architecture(source.shape)],
        }
    )
    facts = "\n".join(f"| {label} | {_cell(value)} |" for label, value in _facts(source, tokenizer, dtype))
    parts = [
        f"---\n{head}---\n\n# {name}",
        f"| | |\n|---|---|\n{facts}",
        f"## Loading\n\n{LOADING}",
        *_on_encoding(tokenizer),
        f"## Config\n\n```yaml\n{write(_config(source))}```",
    ]
    return "\n\n".join(parts) + "\n"


def _name(source: Source) -> str:
    run = source.config.get("run", {})
    return str(run.get("name") or source.checkpoint.state.get("imported", {}).get("from", "model"))


def _facts(source: Source, tokenizer: Tokenizer | None, dtype: str) -> Iterator[tuple[str, str]]:
    counts, position, state = count(source.shape), source.checkpoint.position, source.checkpoint.state
    yield "architecture", f"{architecture(source.shape)} of transformers"
    yield "parameters", f"{format_count(counts.total)} ({counts.total:,}), {counts.active:,} active"
    yield "weights", f"{TORCH_NAMES[dtype]}, from fp32 master weights" if dtype != "fp32" else "float32"
    if "imported" in state:
        yield (
            "imported from",
            f"{state['imported']['from']} (config.json {state['imported']['config_sha256'][:16]})",
        )
    else:
        yield "trained on", f"{format_count(position.tokens)} tokens ({position.tokens:,})"
        yield "updates", f"{position.step:,}"
    yield from _scores(source)
    for label, digest in sorted(state.get("fingerprint", {}).items()):
        yield f"sha256 of {label}", digest
    yield "sha256 of the checkpoint's state", state[SEAL]
    yield (
        "written by",
        f"pretrain {pretrain.__version__}, torch {version('torch')}, transformers {version('transformers')}",
    )


def _scores(source: Source) -> Iterator[tuple[str, str]]:
    """Losses at the end, where these are the weights of the end."""
    summary: Summary | None = read_summary(source.run_folder) if source.run_folder else None
    if summary and summary.steps == source.checkpoint.position.step:
        for name, score in summary.validation.items():
            yield (
                f"held-out loss, {name}",
                f"{score.loss:.4f} nats a token, {score.bits_per_byte:.4f} bits a byte",
            )


def _on_encoding(tokenizer: Tokenizer | None) -> Iterator[str]:
    if tokenizer:
        how = " (with `split_special_tokens=True`)" if tokenizer.kind == "transformers" else ""
        yield (
            "A text is encoded to the ids of the training tokenizer, whatever it holds: text that spells a "
            f"special token is text{how}. In training each document ended with id "
            f"{tokenizer.end_id} and began without any token."
        )


def _config(source: Source) -> dict[str, object]:
    """The run's config, with the model section that nothing has to be derived for."""
    return {**source.config, "model": source.config["model"] | model_section(source.shape)}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
