"""Event files for TensorBoard, in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
SECONDS_BETWEEN_FLUSHES = 10


class TensorBoardTracker:
    """Writes scalars; a resumed run hides what it wrote after the checkpoint."""

    def __init__(self, run_folder: Path, step: int) -> None:
        self._folder = run_folder / FOLDER
        self._writer = _writer(self._folder, step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of every curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def rewind(self, step: int) -> None:
        """Go on in another file, which hides what later steps have had."""
        self._writer.close()
        self._writer = _writer(self._folder, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _writer(folder: Path, step: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    # of a new folder nothing is hidden
    purge = step + 1 if folder.exists() else None
    return SummaryWriter(str(folder), purge_step=purge, flush_secs=SECONDS_BETWEEN_FLUSHES)
