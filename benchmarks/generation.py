"""Seconds to write 512 tokens: with what was read remembered, without, and by transformers on the export.

    python benchmarks/generation.py

Random weights of a shipped shape, greedy, fp32 on a CPU; no text ends before its last token. The three take
turns in one process, and a ratio is of two turns of one round: the medians stand in the table. On a CPU it is
processor time that counts, which a busy neighbour changes little. In fp32 their texts have to be the same,
token for token.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from megatron_lite.model.cache import Reader  # noqa: E402
from megatron_lite.model.decoder import Decoder  # noqa: E402
from megatron_lite.model.documents import in_a_row  # noqa: E402
from pretrain.checkpoint.position import Position  # noqa: E402
from pretrain.checkpoint.save import save_checkpoint  # noqa: E402
from pretrain.config.derive import model_shape  # noqa: E402
from pretrain.config.load import load  # noqa: E402
from pretrain.data.progress import SilentProgress  # noqa: E402
from pretrain.evaluate.opened import DTYPES  # noqa: E402
from pretrain.exchange.keys import model_section  # noqa: E402
from pretrain.exchange.to_transformers import export_model  # noqa: E402
from pretrain.loop.build import build_model, initial_state  # noqa: E402

PROMPT_TOKENS = 16
Ids = list[list[int]]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--config", nargs="+", default=["tiny_dense", "tiny_moe"])
    parser.add_argument("--tokens", type=int, default=512, help="tokens to write")
    parser.add_argument("--prompts", type=int, nargs="+", default=[1], help="prompts at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


@torch.inference_mode()
def remembered(model: Decoder, prompts: Ids, tokens: int) -> Ids:
    texts: Ids = [[] for _ in prompts]
    reader = Reader(model)
    logits_BV = reader.begin(prompts)
    for number in range(tokens):
        chosen = logits_BV.argmax(-1).tolist()
        for text, token in zip(texts, chosen, strict=True):
            text.append(token)
        if number + 1 < tokens:
            logits_BV = reader.advance(chosen)
    return texts


@torch.inference_mode()
def recomputed(model: Decoder, prompts: Ids, tokens: int) -> Ids:
    """Every token from all before it; of the head, only the row that is needed."""
    texts: Ids = [[] for _ in prompts]
    for _ in range(tokens):
        rows = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
        row = in_a_row([len(one) for one in rows]).to(model.embedding.device)
        tokens_T = torch.tensor([token for one in rows for token in one], device=model.embedding.device)
        h_TH, _ = model._hidden(tokens_T, row)
        last_BH = h_TH[row.cu_lengths[1:].long() - 1]
        for text, token in zip(texts, model.logits_of(last_BH).argmax(-1).tolist(), strict=True):
            text.append(token)
    return texts


@torch.inference_mode()
def theirs(model: Any, prompts: Ids, tokens: int) -> Ids:
    ids_BT = torch.tensor(prompts, device=model.device)
    out = model.generate(
        ids_BT,
        attention_mask=torch.ones_like(ids_BT),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[:, len(prompts[0]) :].tolist()


def models(name: str, options: argparse.Namespace) -> tuple[Decoder, Any]:
    """A decoder of the config's shape and transformers' model of its export."""
    from transformers import AutoModelForCausalLM

    config = load(name)
    shape = replace(model_shape(config), max_positions=PROMPT_TOKENS + options.tokens)
    ours = build_model(shape, options.precision, torch.device(options.device))
    state = initial_state(shape, config.mup, seed=0)
    with torch.no_grad():
        for key, parameter in ours.named_parameters():
            parameter.copy_(state("weight", key))
    with TemporaryDirectory() as folder:
        facts = {"config": {"model": model_section(shape)}}
        save_checkpoint(Path(folder), _Weights(ours), Position(), facts, first_rank=True)
        export_model(Path(folder), Path(folder) / "out", progress=SilentProgress())
        model = AutoModelForCausalLM.from_pretrained(Path(folder) / "out", dtype=DTYPES[options.precision])
    return ours.eval(), model.to(options.device).eval()


class _Weights:
    """A state without moments worth keeping."""

    def __init__(self, model: Decoder) -> None:
        self._model = model

    def state(self) -> Any:
        for kind in ("weight", "exp_avg", "exp_avg_sq"):
            for name, parameter in self._model.named_parameters():
                yield kind, name, parameter.detach().float()


def seconds(write: Callable[[int], Ids], options: argparse.Namespace) -> tuple[float, Ids]:
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    began = clock()
    texts = write(options.tokens)  # lists of numbers: a device has nothing left to do
    return clock() - began, texts


def measure(
    name: str, num_prompts: int, options: argparse.Namespace, say: Callable[[str], None]
) -> dict[str, Any]:
    ours, other = models(name, options)
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(ours.shape.vocab_size, (num_prompts, PROMPT_TOKENS), generator=generator).tolist()
    contenders: dict[str, Callable[[int], Ids]] = {
        "remembered": lambda tokens: remembered(ours, prompts, tokens),
        "recomputed": lambda tokens: recomputed(ours, prompts, tokens),
        "transformers": lambda tokens: theirs(other, prompts, tokens),
    }
    for write in contenders.values():
        write(4)
    rounds = []
    for number in range(options.rounds):
        found = {who: seconds(write, options) for who, write in contenders.items()}
        texts = {who: text for who, (_, text) in found.items()}
        if options.precision == "fp32":
            assert texts["remembered"] == texts["recomputed"] == texts["transformers"], "the texts differ"
        rounds.append({who: taken for who, (taken, _) in found.items()})
        say(f"{name}, {num_prompts} prompts, round {number + 1}: {rounds[-1]}")
    return {"config": name, "prompts": num_prompts, "rounds": rounds, **medians(rounds)}


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    def ratio(who: str) -> float:
        return statistics.median(one[who] / one["remembered"] for one in rounds)

    return {
        "seconds": statistics.median(one["remembered"] for one in rounds),
        "times_recomputed": ratio("recomputed"),
        "times_transformers": ratio("transformers"),
    }


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads)
    progress = Console(stderr=True)
    found = [
        measure(name, num_prompts, options, lambda text: progress.print(text, highlight=False))
        for name in options.config
        for num_prompts in options.prompts
    ]
    table = Table("model", "prompts", "seconds", "faster than without", "than transformers", box=None)
    for one in found:
        ratios = (f"{one[key]:.1f}x" for key in ("times_recomputed", "times_transformers"))
        table.add_row(one["config"], str(one["prompts"]), f"{one['seconds']:.2f}", *ratios)
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
