"""A schedule of one's own from an installed package: found by its entry point, and only where wanted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.config.derive import derive
from pretrain.config.load import load
from pretrain.errors import UserError


@pytest.fixture
def package(tmp_path: Path, staircase, forget, monkeypatch) -> Path:
    """A package as pip leaves it: modules beside a dist-info that names the entry point."""
    folder = tmp_path / "site"
    (folder / "stairs-1.0.dist-info").mkdir(parents=True)
    (folder / "stairs.py").write_text(staircase)
    (folder / "stairs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: stairs\n")
    points = "[pretrain.schedules]\nstaircase = stairs:Staircase\nbroken = stairs:Missing\nother = stairs\n"
    (folder / "stairs-1.0.dist-info" / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "stairs", raising=False)
    return folder


def problem(override: str) -> str:
    """The one line of the message below its first."""
    with pytest.raises(UserError) as caught:
        load("tiny_moe", [override])
    (line,) = str(caught.value).split("\n")[1:]
    return line.strip()


@pytest.mark.usefixtures("package")
def test_an_installed_package():
    lr = derive(load("tiny_moe", ["schedule={name: staircase, lr_max: 0.01}"])).lr
    assert [lr(n) for n in (0, 100_000, 250_000)] == [0.01, 0.005, 0.01 / 3]


@pytest.mark.usefixtures("package")
def test_packages_are_loaded_only_where_a_name_is_not_known():
    load("tiny_moe")
    assert "stairs" not in sys.modules
    answer = problem("schedule.name=stairkase")
    assert answer.endswith(", staircase. Did you mean 'staircase'?")


@pytest.mark.usefixtures("package")
def test_entry_points_that_keep_no_promise():
    answer = problem("schedule.name=broken")
    assert answer.startswith(
        "schedule.name: 'broken' is the entry point stairs:Missing of the package stairs, and"
    )
    assert "AttributeError" in answer
    answer = problem("schedule.name=other")
    assert answer.endswith("stairs of the package stairs, which registers no such schedule")


@pytest.mark.parametrize("way", ["plugin", "package"])
def test_from_the_command_line(way, plugin, package):
    chosen = (
        f"schedule={{plugin: {plugin}, name: staircase, lr_max: 0.01}}"
        if way == "plugin"
        else "schedule={name: staircase, lr_max: 0.01}"
    )
    command = ["-m", "pretrain.cli", "lr", "--config", "tiny_moe", chosen, "--at", "250K", "--json"]
    path = os.pathsep.join([str(package), str(Path(__file__).parents[3])])
    ended = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)[0]["lr"] == 0.01 / 3
