"""What sizes by layer cost: updates with and without them in alternation, the same batch at the same rate.

    python benchmarks/watching.py
    python benchmarks/watching.py --config tiny_dense --rounds 30

In each round an update without, one with and one without again; the ratio is of the middle one to the mean of
its neighbours. The cost of a run is that of an update divided by trackers.statistics_every. On a CPU the time
is what this process computed, which its neighbours on the machine change least. Plain engine, one rank,
random tokens: nothing of it depends on what they say.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402

from pretrain.config.derive import model_shape  # noqa: E402
from pretrain.config.load import load  # noqa: E402
from pretrain.data.batch import Batch, batch_of  # noqa: E402
from pretrain.loop.build import build_engine, set_state  # noqa: E402
from pretrain.loop.layers import Layers  # noqa: E402
from pretrain.loop.step import train_step  # noqa: E402
from pretrain.ranks import Ranks, join  # noqa: E402

ALONE = Ranks(rank=0, size=1, local_rank=0, local_size=1, address="", port=0)
WARMUP = 2


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--config", default="tiny_moe", help="whose model and batch are timed")
    parser.add_argument("--sequences", type=int, help="of the global batch (default: the config's)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    join(ALONE, device)
    print(json.dumps(measure(options, device), indent=2))


def measure(options: argparse.Namespace, device: torch.device) -> dict[str, object]:
    """Medians of the rounds, in milliseconds, and the cost of a run."""
    config = load(options.config, ["run.engine=torch", "model.vocab_size=4096"])
    shape = model_shape(config)
    engine = build_engine(config, shape, ALONE, device)
    set_state(engine, config, shape, None)
    batches = random_batches(options.sequences or config.batch.sequences, config.batch)

    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def update(*, watched: bool) -> float:
        began = clock()
        train_step(
            engine,
            batches,
            lr=0.0,
            model=config.model,
            previous_counts=None,
            device=device,
            stop=False,
            layers=Layers(engine, shape, device) if watched else None,
        )
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - began

    for _ in range(WARMUP):
        update(watched=True)
    rounds = [[update(watched=watched) for watched in (False, True, False)] for _ in range(options.rounds)]
    ratios = [with_it / ((before + after) / 2) for before, with_it, after in rounds]
    every = config.trackers.statistics_every
    assert every is not None
    more = statistics.median(ratios) - 1
    return {
        "config": options.config,
        "tokens": sum(len(batch.tokens_T) for batch in batches),
        "parameters": sum(parameter.numel() for parameter in engine.working_parameters()),
        "update_ms": 1000 * statistics.median(before for before, _, _ in rounds),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": statistics.quantiles(ratios, n=4)[::2],
        "every": every,
        "cost_of_a_run": more / every,
    }


def random_batches(sequences: int, batch: object) -> list[Batch]:
    """Of tokens without an end."""
    length, micro = batch.sequence_length, batch.micro_sequences  # type: ignore[attr-defined]
    rows = np.random.default_rng(0).integers(4, 4096, (sequences, length + 1))
    return [
        batch_of(rows[first : first + micro], 3, document_mask=True) for first in range(0, sequences, micro)
    ]


if __name__ == "__main__":
    main()
