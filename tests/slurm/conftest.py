"""A Slurm of two nodes for the tests here, and a folder with a corpus where its jobs run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests here share cluster.py
sys.path.insert(0, str(Path(__file__).parents[1] / "end_to_end"))  # and trial.py

from cluster import Cluster, missing
from trial import Trial


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reason = missing()
    if reason:
        pytest.skip(reason)
    trial = Trial(tmp_path_factory.mktemp("slurm"))
    made = Cluster(trial)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        trial.close()
