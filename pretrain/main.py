"""One process of a run, from the command line to the exit code.

0  finished, or stopped so that the same command continues it (status.json says which)
2  a mistake in the config, the data or the machine's size: one message, nothing trained
1  a failure of the run itself
130  interrupted before training began
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence

from pretrain.config.derive import check_shares, model_shape
from pretrain.config.load import load
from pretrain.config.past import derived_of
from pretrain.config.schema import Config
from pretrain.errors import UserError
from pretrain.ranks import Ranks

# a launcher ends every rank with the first that ends, which should be the one that speaks
LAST_WORD_SECONDS = 5.0


def main(arguments: Sequence[str], ranks: Ranks) -> int:
    """Run the config that `arguments` name, as one of `ranks`; the exit code."""
    options = _parse(arguments)
    try:
        config = load(options.config, options.overrides)
        return _run(config, ranks, quiet=options.quiet)
    except UserError as mistake:
        if ranks.first:
            print(f"\n{mistake}", file=sys.stderr, flush=True)
        else:
            time.sleep(LAST_WORD_SECONDS)
        return 2
    except KeyboardInterrupt:
        if ranks.first:
            print("\nInterrupted before training began; the same command starts again.", file=sys.stderr)
        return 130
    except Exception:
        print(f"rank {ranks.rank} failed:\n{traceback.format_exc()}", file=sys.stderr)
        return 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="launch/pretrain.py",
        description="Train a decoder as a config says. The same command again continues where it stopped.",
        epilog="Started by deepspeed, torchrun, srun, or as it is. `pretrain plan --config NAME` says what "
        "a run needs before it is started.",
    )
    parser.add_argument(
        "--config", required=True, metavar="NAME_OR_PATH", help="a file, or a name in configs/"
    )
    parser.add_argument("--quiet", action="store_true", help="show the final summary and mistakes only")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # the deepspeed launcher adds it
    parser.add_argument(
        "overrides", nargs="*", metavar="section.key=value", help="values to change, e.g. run.seed=1"
    )
    return parser.parse_intermixed_args(arguments)


def _run(config: Config, ranks: Ranks, *, quiet: bool) -> int:
    from pretrain.loop.job import Job
    from pretrain.loop.train import Diverged
    from pretrain.machine import available_bytes, use_cores
    from pretrain.memory import check_fit, memory
    from pretrain.monitor.console import Console
    from pretrain.ranks import all_do, device_of, join

    check_shares(derived_of(config), ranks.size)  # batches that these ranks cannot share are refused here
    console = Console(quiet=quiet or not ranks.first, every_steps=config.trackers.console_every_steps)
    device = device_of(ranks)
    use_cores(ranks, device)
    needed, available = memory(config, model_shape(config), ranks.size).total, available_bytes(ranks, device)
    store = join(ranks, device)
    all_do(lambda: check_fit(needed, available, f"{config.run.name} on {ranks.size} rank(s)"), ranks)
    job = Job(config, ranks, device, store, console)
    try:
        return job.run()
    except Diverged as failure:
        job.failed(str(failure))
        console.say(f"Failed: {failure}")
        return 1
    except UserError as mistake:
        job.refused(str(mistake))
        raise
    except Exception as failure:
        job.failed(f"{type(failure).__name__}: {failure}")
        raise
