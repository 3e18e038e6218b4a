"""One process of a run, from the command line to the exit code.

0    finished, or stopped so that the same command continues it (status.json says which)
2    a mistake in the config, the data or the machine's size: one message, nothing trained
75   start it again: a rank hung, was lost, or holds other weights than its replicas
1    a failure of the run itself
130  a second Ctrl-C: left at once
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pretrain.config.derive import check_shares, model_shape
from pretrain.config.load import load
from pretrain.config.past import derived_of
from pretrain.config.schema import Config
from pretrain.errors import UserError
from pretrain.guard.signals import Stopped, StopRequests
from pretrain.guard.watchdog import AGAIN
from pretrain.ranks import Ranks

if TYPE_CHECKING:
    from pretrain.loop.job import Job
    from pretrain.monitor.console import Console

# a launcher ends every rank with the first that ends, which should be the one that speaks
LAST_WORD_SECONDS = 5.0
LOST = "lost another rank"


def main(arguments: Sequence[str], ranks: Ranks, requests: StopRequests | None = None) -> int:
    """Run the config that `arguments` name, as one of `ranks`; the exit code."""
    options = parse(arguments)
    try:
        config = load(options.config, options.overrides)
        return _run(config, ranks, requests, quiet=options.quiet)
    except UserError as mistake:
        if ranks.first:
            print(f"\n{mistake}", file=sys.stderr, flush=True)
        else:
            time.sleep(LAST_WORD_SECONDS)
        return 2
    except Exception:
        print(f"rank {ranks.rank} failed:\n{traceback.format_exc()}", file=sys.stderr)
        return 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The words of a run: config, overrides and options; exits with code 2 where they are none."""
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


def _run(config: Config, ranks: Ranks, requests: StopRequests | None, *, quiet: bool) -> int:
    from pretrain.loop.job import Job
    from pretrain.machine import available_bytes, use_cores
    from pretrain.memory import check_fit, memory
    from pretrain.monitor.console import Console
    from pretrain.monitor.noise_scale import check_micro_batches
    from pretrain.ranks import all_do, device_of, join

    requests = requests or StopRequests()
    check_shares(derived_of(config), ranks.size)  # batches that these ranks cannot share are refused here
    check_micro_batches(
        config.trackers.noise_scale_every,
        sequences=config.batch.sequences,
        micro_sequences=config.batch.micro_sequences,
    )
    console = Console(quiet=quiet or not ranks.first, every_steps=config.trackers.console_every_steps)
    device = device_of(ranks)
    use_cores(ranks, device)
    needed, available = (
        memory(config, model_shape(config), ranks.size, on_host=device.type == "cpu").total,
        available_bytes(ranks, device),
    )
    store = join(ranks, device)
    all_do(lambda: check_fit(needed, available, f"{config.run.name} on {ranks.size} rank(s)"), ranks)
    return _done(Job(config, ranks, device, store, console, requests), console)


def _done(job: Job, console: Console) -> int:
    """Do the job; what ends it becomes a word in status.json and an exit code."""
    from pretrain.guard.lost import is_lost_peer
    from pretrain.guard.replicas import Corrupt
    from pretrain.loop.train import Diverged, NotSaved

    try:
        return job.run()
    except Stopped as stop:
        job.stopped(str(stop))
        return 0
    except (Diverged, NotSaved, Corrupt) as failure:
        job.failed(str(failure))
        console.say(f"Failed: {failure}")
        return AGAIN if isinstance(failure, Corrupt) else 1
    except UserError as mistake:
        job.refused(str(mistake))
        raise
    except Exception as failure:
        if is_lost_peer(failure):
            job.failed(LOST)  # this rank may be killed while it finds out which
            reason = f"{LOST}: {job.watchdog.missing()}"
            job.failed(reason, instead_of=LOST)
            print(f"rank {job.ranks.rank} {reason}\n({type(failure).__name__}: {failure})", file=sys.stderr)
            return AGAIN
        reason = f"{type(failure).__name__}: {failure}"
        job.failed(reason)
        job.watchdog.failed(reason)
        raise
