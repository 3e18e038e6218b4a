"""Tables of results: what is read, and how every mistake is answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretrain.errors import UserError
from pretrain.laws.results import from_arrays, read_results
from pretrain.laws.table import read

HEADER = "N,D,batch_tokens,lr,loss"
GOOD = {"N": 1e6, "D": 1e9, "batch_tokens": 65536, "lr": 1e-3, "loss": 3.0}


def write(path: Path, *lines: str) -> Path:
    file = path / "results.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_columns_in_any_order_and_case_with_counts_as_people_write_them(tmp_path: Path) -> None:
    found = read_results(
        write(tmp_path, "Loss,lr,batch_tokens,d,n,seed", "3.5,2e-3,64K,1.5B,12M,0", ",2e-3,64K,1.5B,12M,1")
    )
    assert found.N.tolist() == [12e6, 12e6]
    assert found.D.tolist() == [1.5e9, 1.5e9]
    assert found.beta.tolist() == [64000 / 4096] * 2
    assert found.loss[0] == 3.5
    assert np.isnan(found.loss[1])
    assert found.notes == ("1 of 2 runs diverged, failed or have no loss: left out",)


@pytest.mark.parametrize("loss", ["nan", "inf", "", "-1", "None"])
def test_a_run_without_a_usable_loss_is_a_failed_one(tmp_path: Path, loss: str) -> None:
    found = read_results(write(tmp_path, HEADER, "1e6,1e9,65536,1e-3,3", f"1e6,1e9,65536,2e-3,{loss}"))
    assert found.failed.tolist() == [0, 1]


@pytest.mark.parametrize(("status", "failed"), [("finished", 0), ("", 0), ("diverged", 1), ("killed", 1)])
def test_only_runs_that_ended_well_count(tmp_path: Path, status: str, failed: int) -> None:
    found = read_results(write(tmp_path, HEADER + ",status", f"1e6,1e9,65536,1e-3,3,{status}"))
    assert found.failed.tolist() == [failed]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["N,D,batch_tokens,Lr_peak,loss", "1,1,1,1,1"], "no column 'lr'"),
        ([HEADER, "1e6,1e9,65536,0,3"], "line 2: lr is '0' and should be a finite number above 0"),
        ([HEADER, "1e6,1e9,65536,1e-3,3", "1e6,1e9,65536,nan,3"], "line 3: lr is 'nan'"),
        ([HEADER, "1e6,lots,65536,1e-3,3"], "line 2: D is 'lots'"),
        ([HEADER, "1e6,1e9,65536,1e-3,three"], "line 2: loss is 'three'"),
        ([HEADER, "1e6,1e9,65536,1e-3"], "line 2: 4 values for 5 columns"),
        ([HEADER], "a header but no rows"),
        ([""], "empty"),
        (["N,N,D", "1,1,1"], "column 'N' appears twice"),
        ([HEADER, "1e6,32,65536,1e-3,3"], "less than one batch"),
        ([HEADER, "1e6,1e9,65536,16,3"], "lr is 16"),
        ([HEADER, "1e6,1e9,65536,1e-3,40"], "not perplexity"),
    ],
)
def test_a_mistake_is_answered_with_its_place(tmp_path: Path, lines: list[str], told: str) -> None:
    file = write(tmp_path, *lines)
    with pytest.raises(UserError) as raised:
        read_results(file)
    assert told in str(raised.value)
    assert str(file) in str(raised.value)


def test_the_nearest_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Did you mean 'batch_token'\?"):
        read_results(write(tmp_path, "N,D,batch_token,lr,loss", "1,1,1,1,1"))


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "absent.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="not a readable CSV file"):
        read(tmp_path / "image.csv")


def test_signs_of_wrong_units_are_doubts() -> None:
    assert from_arrays(**GOOD).doubts == ()
    assert "sequences" in from_arrays(**GOOD | {"batch_tokens": 256}).doubts[0]
    assert "millions" in from_arrays(**GOOD | {"N": 12}).doubts[0]
