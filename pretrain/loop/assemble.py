"""A run put together: rows, engine, state, saver, and where it stands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch

from pretrain.checkpoint.load import Checkpoint
from pretrain.checkpoint.position import Position
from pretrain.checkpoint.saver import Saver
from pretrain.config.derive import Derived, passes
from pretrain.config.schema import Config
from pretrain.data.corpus import Corpus
from pretrain.loop.build import build_engine, kernel_choice, set_state
from pretrain.loop.folder import find_checkpoint
from pretrain.loop.origin import shape_for
from pretrain.loop.reading import open_rows
from pretrain.loop.run import OWED, Run
from pretrain.monitor.console import Console
from pretrain.monitor.profiling import Inspector
from pretrain.ranks import Ranks

if TYPE_CHECKING:
    import torch.distributed as dist


def assemble(
    config: Config,
    derived: Derived,
    corpus: Corpus,
    origin: Checkpoint | None,
    *,
    ranks: Ranks,
    device: torch.device,
    store: dist.Store,
    console: Console,
) -> Run:
    """The run that goes on from `origin`, or begins. Collective."""
    shape, folder = shape_for(config, corpus), config.run.folder
    training, validation = open_rows(config, derived, corpus)
    if ranks.first:
        console.say("Kernels: " + "; ".join(kernel_choice(config, device).reasons) + ".")
    position = origin.position if origin else Position(tokens=derived.first_tokens)
    first_passes = _passes(derived, position.step, ranks.size)
    engine = build_engine(config, shape, ranks, device, first_passes=first_passes)
    set_state(engine, config, shape, origin)
    warn = console.say if ranks.first else _to_standard_error
    return Run(
        config=config,
        shape=shape,
        derived=derived,
        ranks=ranks,
        device=device,
        folder=folder,
        corpus=corpus,
        training=training,
        validation=validation,
        engine=engine,
        saver=Saver(folder / "checkpoints", config.checkpoint, ranks, store),
        inspector=Inspector(config.trackers, folder, rank=ranks.rank, device=device, warn=warn),
        position=position,
        save_owed=bool(origin and origin.state.get(OWED) and find_checkpoint(config)),
    )


def _passes(derived: Derived, step: int, num_ranks: int) -> int:
    """Forward passes of a rank for an update; behind the end, for the last one."""
    step = min(step, derived.steps - 1)
    return passes(derived.timeline.update(step).sequences, derived.stage_at(step).micro_sequences, num_ranks)


def _to_standard_error(text: str) -> None:
    """The word of a rank whose console is quiet."""
    print(text, file=sys.stderr, flush=True)
