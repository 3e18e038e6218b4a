"""A few texts by the weights of now, so that one can read how a run learns to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pretrain.evaluate.generate import generate
from pretrain.monitor.summary import Sample

if TYPE_CHECKING:
    from megatron_lite.model.decoder import Decoder
    from pretrain.data.tokenizer import Tokenizer
    from pretrain.loop.run import Run

PROMPTS = ("def", "import", "class")
SAMPLE_TOKENS = 64


def samples_now(run: Run) -> tuple[Sample, ...]:
    """By the first rank, none on the others; what goes wrong is said, and stops no run. Collective."""
    with run.engine.whole_weights() as model:
        if not run.ranks.first:
            return ()
        try:
            return samples_of(model, run.corpus.tokenizer, run.config.run.seed)
        except Exception as error:  # logits that are no numbers, a GPU without room
            run.inspector.warn(f"Warning: no samples: {type(error).__name__}: {error}")
            return ()


def samples_of(model: Decoder, tokenizer: Tokenizer, seed: int) -> tuple[Sample, ...]:
    """What a model writes after each of the prompts."""
    texts = generate(
        model, tokenizer, PROMPTS, max_tokens=SAMPLE_TOKENS, temperature=0.8, top_p=0.95, seed=seed
    )
    return tuple(Sample(prompt=prompt, text=text) for prompt, text in zip(PROMPTS, texts, strict=True))
