"""A folder with a corpus and sweeps of very small runs, and the sweeps that several tests look at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests here share small_sweep.py
sys.path.insert(0, str(Path(__file__).parents[2] / "end_to_end"))  # and trial.py

from small_sweep import Sweeps


@pytest.fixture(scope="session")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweeps]:
    made = Sweeps(tmp_path_factory.mktemp("sweeps"))
    yield made
    made.close()
