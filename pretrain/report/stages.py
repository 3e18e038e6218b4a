"""Where the stages of a run's config end, counted as the run itself counts them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import ValidationError

from pretrain.config.history import Past
from pretrain.config.layout import is_whole_run
from pretrain.config.load import parse_config
from pretrain.config.past import past_of
from pretrain.config.schema import Config
from pretrain.errors import UserError
from pretrain.report.run import RunRecord


def stage_ends(run: RunRecord) -> np.ndarray | None:
    """The tokens at which each stage of the config ends but for rounding; None where that is not known."""
    stages = run.config.get("stages")
    begin = _begin(run)
    if not isinstance(stages, list) or not stages or begin is None:
        return None
    lengths = [float(stage.get("tokens") or 0) if isinstance(stage, Mapping) else 0.0 for stage in stages]
    return begin + np.cumsum(lengths)


def config_of(run: RunRecord) -> Config | None:
    """The typed config; None where there is none, or one of another version."""
    try:
        return parse_config(run.config) if run.config else None
    except (UserError, ValidationError):
        return None


def _begin(run: RunRecord) -> float | None:
    """Tokens before the config's first stage: all that a branch goes on from, unless the config has it."""
    options = run.config.get("run")
    if not isinstance(options, Mapping) or options.get("branch_from") is None:
        return float(run.first_tokens)
    config = config_of(run)
    past = _past(run, config) if config else None
    if config is None or past is None:
        return None
    return float(past.stages[0].first_tokens if is_whole_run(config, past) else past.here.tokens)


def _past(run: RunRecord, config: Config) -> Past | None:
    """As the run's own checkpoint has it or the trunk's, wherever this run's folder lies by now."""
    folder = run.folder.resolve()
    here = {"root": str(folder.parent), "name": folder.name, "branch_from": _trunk(run, config)}
    try:
        return past_of(config.model_copy(update={"run": config.run.model_copy(update=here)}))
    except (UserError, ValueError):
        return None


def _trunk(run: RunRecord, config: Config) -> str | None:
    """The checkpoint that the run noted when it began: a relative path says less, a run's newest moves on."""
    for event in run.events:
        parent = event.get("parent")
        if isinstance(parent, Mapping) and parent.get("checkpoint"):
            return str(parent["checkpoint"])
    return config.run.branch_from
