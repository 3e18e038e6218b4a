"""Sizes by layer under every engine and number of ranks, against plain autograd over hooked modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.dist
ENGINES = {
    "fp32": ("torch", "0", "1", "2", "3"),
    "bf16": ("torch", "1", "2", "3"),
}
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-2}


@pytest.fixture(
    scope="module",
    params=[
        ("moe", "fp32"),
        pytest.param(("dense", "fp32"), marks=pytest.mark.slow),
        pytest.param(("dense", "bf16"), marks=pytest.mark.slow),
        pytest.param(("moe", "bf16"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def seen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_ranks: Any
) -> tuple[str, str, Path]:
    model, precision = request.param
    folder = tmp_path_factory.mktemp(f"statistics-{model}-{precision}")
    for size in (1, 2):
        run_ranks("statistics_worker.py", size, folder, model, precision, *ENGINES[precision])
    return model, precision, folder


def found(seen: tuple[str, str, Path]) -> dict[str, Any]:
    _, precision, folder = seen
    files = sorted(folder.glob("*-*.json"))
    assert len(files) == 2 * len(ENGINES[precision])
    return {file.stem: json.loads(file.read_text()) for file in files}


def test_what_is_seen_is_what_plain_autograd_finds(seen: tuple[str, str, Path]) -> None:
    model, precision, folder = seen
    direct, close = json.loads((folder / "direct.json").read_text()), TOLERANCE[precision]
    for name, one in found(seen).items():
        first = one["statistics"][0]
        for number, layer in enumerate(first["layers"]):
            expected = pytest.approx(direct["activation_rms"][number], rel=close)
            assert layer["activation_rms"] == expected, name
            expected = pytest.approx(direct["gradient_rms"][str(number)], rel=close)
            assert layer["sizes"]["gradient_rms"] == expected, name
            if model == "moe":
                expected = pytest.approx(direct["router_entropy"][number], rel=close)
                assert layer["router_entropy"] == expected, name
                assert sum(layer["expert_load"]) == pytest.approx(1)
            else:
                assert layer["router_entropy"] is layer["expert_load"] is None
        expected = pytest.approx(direct["gradient_rms"]["embedding"], rel=close)
        assert first["embedding"]["gradient_rms"] == expected, name
        assert first["head"] is None


def test_updates_and_weights_are_those_of_the_state(seen: tuple[str, str, Path]) -> None:
    """The engine's own state, read whole before and after, moved by as much."""
    for name, one in found(seen).items():
        first, second = one["statistics"]
        for place, layer in [*enumerate(first["layers"]), ("embedding", {"sizes": first["embedding"]})]:
            assert layer["sizes"]["update_rms"] == pytest.approx(one["moved"][str(place)], rel=1e-4), name
        for layer in second["layers"]:  # left out: nothing moved, and none is claimed
            assert layer["sizes"]["update_rms"] is None
        assert second["layers"][0]["sizes"]["weight_rms"] == pytest.approx(
            first["layers"][0]["sizes"]["weight_rms"], rel=1e-9
        )


def test_weights_before_training_are_the_first_ones(seen: tuple[str, str, Path]) -> None:
    """An update at this rate moves a weight's size by less than it."""
    first = json.loads((seen[2] / "direct.json").read_text())["weight_rms"]
    for one in found(seen).values():
        for number, layer in enumerate(one["statistics"][0]["layers"]):
            sizes = layer["sizes"]
            assert sizes["weight_rms"] == pytest.approx(first[str(number)], abs=sizes["update_rms"])


def test_looking_changes_no_bit(seen: tuple[str, str, Path]) -> None:
    for name, one in found(seen).items():
        assert one["state"] == one["unwatched"], name


def test_load_is_what_was_counted(seen: tuple[str, str, Path]) -> None:
    model, _, _ = seen
    if model == "moe":
        loads = [one["statistics"][0]["layers"][0]["expert_load"] for one in found(seen).values()]
        assert all(load == loads[0] for load in loads)
        assert len(loads[0]) == 5
