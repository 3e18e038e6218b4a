"""What holds for every test: no deadlines on shared cores, and no GPU test where there is no GPU."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("shared cores", deadline=None, derandomize=True)
settings.load_profile("shared cores")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """GPU tests are reported as skipped, never counted as passed."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
