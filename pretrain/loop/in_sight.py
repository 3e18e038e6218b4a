"""Training on the first rank, in sight: with a record, trackers, a console, and results at the end."""

from __future__ import annotations

import sys
import time
from functools import cache, partial

from megatron_lite.model.parameters import flops_per_token
from pretrain.guard.stop import StopWatch
from pretrain.guard.watchdog import Watchdog
from pretrain.loop.announce import announce
from pretrain.loop.build import DTYPES
from pretrain.loop.finish import finish
from pretrain.loop.folder import RunFolder
from pretrain.loop.run import Run
from pretrain.loop.train import train
from pretrain.loop.written import Written
from pretrain.monitor.console import Console
from pretrain.monitor.display import Training
from pretrain.monitor.meter import Meter
from pretrain.monitor.paging import Pages
from pretrain.monitor.peak import peak_flops
from pretrain.monitor.record import Record
from pretrain.monitor.status import write_status
from pretrain.monitor.summary import show_summary
from pretrain.monitor.trackers import Trackers, open_trackers
from pretrain.report.write import write_report


def train_in_sight(
    run: Run, claimed: RunFolder, stop_watch: StopWatch, watchdog: Watchdog, console: Console
) -> None:
    """Train, and leave behind what a finished run leaves."""
    began = stop_watch.requests.began
    record = Record(run.folder)
    trackers = open_trackers(
        run.config.trackers,
        run.folder,
        step=run.position.step,
        config=run.config.model_dump(mode="json"),
        say=console.say,
    )
    write_status(run.folder, "running", run.position.step)
    announce(run, claimed, record, console, setup_seconds=time.monotonic() - began)
    try:
        with console.training(run.derived.steps, run.position.step) as training:
            journal = _journal(run, record, console, training, trackers)
            finished = train(run, journal, stop_watch, watchdog)
        watchdog.close()
        if finished:
            journal.finished(run.position)
            show_summary(finish(run, seconds=time.monotonic() - began), sys.stdout)
    finally:
        trackers.close()
        record.close()


def _journal(run: Run, record: Record, console: Console, training: Training, trackers: Trackers) -> Written:
    peak = peak_flops(run.device, DTYPES[run.config.run.precision])
    return Written(
        run.folder,
        flops_per_token=cache(partial(flops_per_token, run.shape)),
        record=record,
        console=console,
        training=training,
        tracker=trackers,
        meter=Meter(peak_flops=peak, num_ranks=run.ranks.size),
        device=run.device,
        data=run.training,
        pages=Pages(write_report, run.folder, console.say) if run.config.trackers.report else None,
    )
