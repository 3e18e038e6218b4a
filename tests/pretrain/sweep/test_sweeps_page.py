"""docs/sweeps.md speaks of what is there: its commands, its file, its keys and its columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pretrain.cli import main
from pretrain.sweep.load import names
from pretrain.sweep.options import SweepOptions
from pretrain.sweep.results import FACTS

PAGE = Path(__file__).parents[3] / "docs" / "sweeps.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    pretrain sweep (.*?)(?: +#.*)?$", TEXT, re.M)


def first_column(head: str) -> set[str]:
    """Backticked words in the first column of the table with this heading."""
    table = TEXT.split(head)[1].split("\n\n")[0]
    cells = [line.split("|")[1] for line in table.split("\n")[2:] if line.startswith("|")]
    return {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_ones(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["sweep", *command.split(), "--dry-run"])
    assert not left.value.code, capsys.readouterr().err


def test_its_file_is_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TEXT.split("## The file\n\n")[1].split("\n\n")[0]
    path = tmp_path / "my.yaml"
    path.write_text("\n".join(line[4:] for line in text.split("\n")))
    with pytest.raises(SystemExit) as left:
        main(["sweep", str(path), "--dry-run"])
    assert not left.value.code
    assert "6 settings, 18 points" in capsys.readouterr().out


def test_every_key_and_column_is_explained() -> None:
    assert first_column("| key | meaning |") == set(SweepOptions.model_fields)
    assert first_column("| column | |") - {"grid", "list"} == set(FACTS)


def test_every_shipped_sweep_is_listed() -> None:
    assert COMMANDS
    for name in names():
        assert f"`{name}`" in TEXT or f"configs/sweeps/{name}.yaml" in TEXT
