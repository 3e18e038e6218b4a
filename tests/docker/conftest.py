"""The image, built once for all tests that want it, and removed behind them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests here share image.py
sys.path.insert(0, str(Path(__file__).parents[1] / "end_to_end"))  # and trial.py

from image import Image, missing, no_room


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    folder = tmp_path_factory.mktemp("image")
    reason = missing() or no_room(folder)
    if reason:
        pytest.skip(reason)
    made = Image(folder)
    try:
        made.build()
        yield made
    finally:
        made.remove()
