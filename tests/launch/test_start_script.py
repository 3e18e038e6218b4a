"""The start script: what it may import, and how it ends where the launcher said too little."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "pretrain.py"


def started(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=folder, env=environ, capture_output=True, text=True
    )


def test_it_finds_the_package_and_not_itself_from_any_folder(tmp_path: Path) -> None:
    ended = started("--help", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "--config" in ended.stdout
    assert "local_rank" not in ended.stdout  # the launcher's, not the user's


def test_it_finds_the_package_from_its_own_folder() -> None:
    assert started("--help", folder=SCRIPT.parent).returncode == 0


def test_nothing_beside_the_script_shadows_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "pretrain.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "yaml.py").write_text("raise SystemExit('shadowed')")
    ended = started("--config", "absent", folder=tmp_path)
    assert ended.returncode == 2
    assert "no config 'absent'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_a_launcher_left_out_is_a_mistake_with_one_message(tmp_path: Path) -> None:
    names = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")
    told = {f"OMPI_COMM_WORLD_{name}": value for name, value in zip(names, "0201", strict=True)}
    ended = started("--config", "tiny_dense", folder=tmp_path, **told)
    assert ended.returncode == 2
    assert "MASTER_ADDR: MPI does not say" in ended.stderr
    assert "Traceback" not in ended.stderr
