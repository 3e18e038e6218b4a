"""Event files for TensorBoard, in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FOLDER = "tensorboard"
SECONDS_BETWEEN_FLUSHES = 10


class TensorBoardTracker:
    """Writes scalars; a resumed run hides what it wrote after the checkpoint."""

    def __init__(self, run_folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(
            str(run_folder / FOLDER),
            purge_step=step + 1 if step else None,
            flush_secs=SECONDS_BETWEEN_FLUSHES,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of every curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
