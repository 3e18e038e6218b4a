"""wandb: online where there is a key, else files that `wandb sync` sends later; it never asks."""

from __future__ import annotations

import netrc
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pretrain.files import replace
from pretrain.monitor.options import TrackerOptions
from pretrain.monitor.record import EVENTS, METRICS, STATISTICS, discarded, read

ID_FILE = "wandb.id"
SECONDS_TO_START = 60
SECONDS_TO_FINISH = 60  # a lost network must not keep a finished run; the files stay


class WandbTracker:
    """One wandb run for one run folder: a resumed run goes on under the same id.

    wandb numbers what it is sent, drops what is numbered lower than before, and numbers anew in every offline
    file. A run goes back when it is resumed or rewound, so that numbers of our own are used, which grow over
    all of its starts; the axis of every curve is `step`.
    """

    def __init__(
        self, run_folder: Path, options: TrackerOptions, config: Mapping[str, Any], say: Callable[[str], None]
    ) -> None:
        import wandb

        self._number = _lines_so_far(run_folder)
        online = options.wandb == "auto" and has_key(os.environ)
        self._run = wandb.init(
            project=options.wandb_project,
            name=run_folder.name,
            id=run_id(run_folder),
            resume="allow",
            dir=str(run_folder),
            config=dict(config),
            mode=None if online else "offline",  # None: wandb's own default, which WANDB_MODE may change
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=SECONDS_TO_START, finish_timeout=SECONDS_TO_FINISH
            ),
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        files = Path(self._run.dir).parent
        say(f"wandb: {f'offline, sent by: wandb sync {files}' if self._run.offline else self._run.url}")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send one point of every curve."""
        self._number += 1
        self._run.log({"step": step, **values}, step=self._number)

    def rewind(self, step: int) -> None:
        """What was sent stays there: the curves go back to this step and on beside it."""

    def close(self) -> None:
        """Send what is left."""
        import wandb

        self._run.finish()
        wandb.teardown()  # finish() may return before the file is written; wandb's process ends after it


def _lines_so_far(run_folder: Path) -> int:
    """What was sent so far, or more: a line of these files each, also of those that were taken back."""
    files = [run_folder / name for name in (METRICS, STATISTICS)]
    lines = sum(len(read(path)) for file in files for path in (file, discarded(file)))
    return lines + sum(event["event"] == "tasks" for event in read(run_folder / EVENTS))


def run_id(run_folder: Path) -> str:
    """The id of this run folder on wandb, made once: its name and something that no other run has."""
    path = run_folder / ID_FILE
    if not path.exists():
        replace(path, f"{run_folder.name}-{secrets.token_hex(4)}\n")
    return path.read_text(encoding="utf-8").strip()


def has_key(environment: Mapping[str, str]) -> bool:
    """Whether wandb can log in without asking: a key in the environment, or a login in the netrc file."""
    if environment.get("WANDB_API_KEY"):
        return True
    host = urlsplit(environment.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    try:
        return netrc.netrc(environment.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
