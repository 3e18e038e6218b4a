"""What is run and how it is judged: written down before the first run.

find     WSD runs of one model at three batches and six token budgets over a factor of 32, each at learning
         rates a factor of 2^(2/3) apart, the middle batch with two seeds; a trunk a rate, with a decay branch
         at every budget. Where the best rate is at an edge, one beyond it is tried. On the results `pretrain
         laws fit-lr` gives the optima, gamma = lr / beta = a T^b, and the general law
         log lr = A log T + B log batch + const.
versus   At a budget twice the largest of `find`, at the middle batch, four schedules have three trials each:
         power with the constants found and with the paper's (amplitude and cap times a factor), WSD and
         cosine (lr_max, the rate that the general law gives for this budget, times a factor). The best trial
         of each is run again with two other seeds. Power with the constants found is capped at what they
         give at the smallest budget of the fit: below it the law was not seen.

Changed once five budgets had been seen: the sixth was added, and the smallest is left out of the fit. It has
25 updates of the largest batch, a third of them warm-up; its losses tell of the start of training more than
of the rate, and scatter by 0.1 nats over seeds. The page shows what the fit says with it, too.

Rules of decision, each with 95 % intervals
    T        the exponent of T agrees with the paper's -0.51 where its interval holds that
    batch    the batch enters linearly where the interval of its exponent in the general law holds 1
    winner   one schedule beats another where their mean losses over three seeds differ by more than Student's
             t of the pooled spread over seeds; else it is a tie
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SEQUENCE_LENGTH = 128
BATCHES = (4, 8, 16)  # sequences: 512, 1024 and 2048 tokens; beta 1/8, 1/4 and 1/2
BUDGETS = (50_000, 100_000, 200_000, 400_000, 800_000, 1_600_000)
FITTED_FROM = 100_000  # tokens: the budgets that the law is fitted to
STEP = 2 ** (2 / 3)  # from a rate to the next
LOWEST_RATE, NUM_RATES = {4: 0.001, 8: 0.0016, 16: 0.0025}, 7
REPEATED_BATCH = 8  # trained with a second seed, which shows the noise of a run
WARMUP_TOKENS = 16_000
DECAY_SHARE = 0.1  # as in the paper
PAPER, PAPER_CAP = (4.0, -0.51), 0.02

UNSEEN_BUDGET, UNSEEN_BATCH = 3_200_000, 8
FACTORS = (0.5, 1.0, 2.0)  # of the amplitude or the rate that is expected to be best
SEEDS = (0, 1, 2)  # the first is that of the search

# the default corpus, built once: what is installed on a machine changes, and with it the source
TOKENIZER = ("python", "--vocab-size", "1024", "--sample-bytes", "8M")
CORPUS = ("--source", "kind=python,max_bytes=60M", "--validation-share", "0.02")

# 0.2M parameters beside the embedding; µP and multipliers as in configs/proxy_*.yaml
BASE: Mapping[str, Any] = {
    "schema_version": 1,
    "run": {"name": "base", "precision": "fp32", "engine": "torch"},
    "model": {
        "architecture": "granite",
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 176,
        "max_position_embeddings": SEQUENCE_LENGTH,
        "embedding_multiplier": 12.0,
        "residual_multiplier": 0.26,
    },
    "mup": {"enabled": True, "base_width": 256, "init_std": 0.1},
    "optimizer": {"name": "adamw", "betas": [0.9, 0.95], "eps": 1e-10, "weight_decay": 0.1, "clip": 1.0},
    "schedule": {"name": "wsd", "lr_max": 0.01, "warmup_tokens": WARMUP_TOKENS, "decay": "exponential"},
    "batch": {"sequences": BATCHES[0], "sequence_length": SEQUENCE_LENGTH, "micro_sequences": BATCHES[0]},
    "stages": [{"name": "all", "tokens": BUDGETS[0], "mix": {"python": 1}}],
    "evaluate": {"every_steps": None, "sequences": 512},
    "kernels": {"compile": "none"},  # which would take longer than a run
    "trackers": {"tensorboard": False, "report": False},
}


def rates(batch: int) -> list[float]:
    """The learning rates of `find` at a batch; they are added to where the best is at an edge."""
    return [round(LOWEST_RATE[batch] * STEP**k, 6) for k in range(NUM_RATES)]
