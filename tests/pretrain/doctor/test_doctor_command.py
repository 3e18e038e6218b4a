"""`pretrain doctor` for real, and checks that crash, hang, or find a folder they cannot write."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pretrain.cli import main
from pretrain.config.load import load
from pretrain.doctor import disk, examination, folders
from pretrain.doctor.examination import Needs, Patient
from pretrain.doctor.finding import Finding, note, ok, problem
from pretrain.doctor.limits import Check, Failed, carry_out, output_of
from pretrain.doctor.ranks import measured_by_starting
from pretrain.doctor.view import line, summary
from pretrain.layout import variables_of
from pretrain.plan import plan
from pretrain.planning.machine import machine_for
from pretrain.ranks import Ranks

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
} | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    captured = capsys.readouterr()
    return int(left.value.code or 0), captured.out, captured.err


def test_quick_loads_no_torch_and_takes_no_time(tmp_path: Path) -> None:
    code = (
        "import sys, time, pretrain.cli\n"
        "try: pretrain.cli.main()\n"
        "finally: print('torch' in sys.modules, time.process_time(), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "doctor", "--quick", "--folder", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    assert ended.returncode == int("\nproblem " in f"\n{ended.stdout}")
    loaded, seconds = ended.stderr.split()[-2:]
    assert loaded == "False"
    assert float(seconds) < 3
    for name in ("versions", "GPUs", "shared memory", "open files", "threads", "compiler", "run folder"):
        assert name in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert "\x1b" not in ended.stdout
    assert list(tmp_path.iterdir()) == []


GOOD = "NVIDIA A100-SXM4-80GB, 81920, 4, 580.159.04, 8.0"
LOST = "Unable to determine the device handle for GPU1: 0000:3B:00.0: Unknown Error"
NONE = "No devices were found"


def fake_driver(folder: Path, monkeypatch, *lines: str, code: int = 0) -> None:
    """An nvidia-smi that says these lines, before any other on the path."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "nvidia-smi"
    program.write_text("\n".join(["#!/bin/sh", "cat <<'END'", *lines, "END", f"exit {code}", ""]))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("lines", "code", "verdict", "words"),
    [
        ([GOOD, LOST], 0, "problem", LOST),
        ([GOOD, LOST], 15, "problem", LOST),
        ([NONE], 0, "note", "a driver, and no GPU"),
        ([NONE], 6, "note", "a driver, and no GPU"),
        ([GOOD, GOOD], 0, "ok", "2 x NVIDIA A100-SXM4-80GB"),
        (["", GOOD, ""], 0, "ok", "1 x NVIDIA A100-SXM4-80GB"),
    ],
)
def test_whatever_the_driver_says_is_a_line(
    lines, code, verdict, words, tmp_path: Path, capsys, monkeypatch
) -> None:
    fake_driver(tmp_path, monkeypatch, *lines, code=code)
    left, out, _ = run(capsys, "doctor", "--quick", "--json", "--folder", str(tmp_path))
    (one,) = (one for one in json.loads(out)["findings"] if one["check"] == "GPUs")
    assert one["verdict"] == verdict
    assert words in one["text"]
    assert bool(one["advice"]) == (verdict != "ok")
    assert left or verdict != "problem"


def needs(monkeypatch, *arguments: str) -> Needs:
    """What the command asks of the machine, which is not looked at."""
    patients: list[Patient] = []

    def take(patient: Patient, say: object) -> list[Finding]:
        patients.append(patient)
        return []

    monkeypatch.setattr(examination, "examine", take)
    with pytest.raises(SystemExit):
        main(["doctor", *arguments])
    return patients[0].needs


@pytest.mark.parametrize(
    ("gpu", "arguments", "ranks", "planned_for"),
    [
        (GOOD, [], 8, "8 x a100-80"),
        (GOOD, ["--ranks", "2"], 2, "2 x a100-80"),
        (GOOD, ["batch.sequences=4"], 1, "1 x a100-80"),  # which eight cannot share
        ("Tesla V100, 16384, 4, 580.159.04, 7.0", [], 8, "8 x h100 (an assumption)"),
    ],
)
def test_a_config_is_planned_for_the_gpus_that_are_here(
    gpu, arguments, ranks, planned_for, tmp_path: Path, monkeypatch
) -> None:
    fake_driver(tmp_path, monkeypatch, *[gpu] * 8)
    found = needs(monkeypatch, "--config", "1b_moe", *arguments)
    config = load("1b_moe", [one for one in arguments if "=" in one])
    known = None if "assumption" in planned_for else "a100-80"
    made = plan(config, ranks, machine_for(config, gpu=known))
    assert found.planned_for == planned_for
    assert found.sent_bytes == (made.own.sent_bytes or None)
    assert (found.sent_bytes is None) == (ranks == 1)
    assert made.time is not None
    assert found.update_seconds == made.time.seconds_per_update
    assert found.seconds_between == made.checkpoints.seconds_between


def test_without_gpus_a_config_is_planned_for_one_that_is_assumed(tmp_path: Path, monkeypatch) -> None:
    fake_driver(tmp_path, monkeypatch, NONE)
    assert needs(monkeypatch, "--config", "1b_moe").planned_for == "1 x h100 (an assumption)"
    assert needs(monkeypatch, "--config", "tiny_moe").planned_for is None


@pytest.mark.dist
def test_two_ranks_measure_together(tmp_path: Path) -> None:
    found = measured_by_starting(2, [tmp_path], ENVIRONMENT, 120)
    assert [one.device for one in found] == ["cpu", "cpu"]
    assert all(one.flops["fp32"] > 1e8 for one in found)
    assert all(one.seconds and one.seconds > 0 for one in found)
    assert all(one.shares == {str(tmp_path): True} for one in found)
    assert abs(found[1].clock_offset) < 0.05  # it is the same clock
    assert found[0].clock_offset == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.dist
def test_everything_with_two_ranks(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pretrain.cli", "doctor", "--json", "--config", "tiny_moe"]
    command += ["--folder", str(tmp_path), "--ranks", "2", f"data.root={tmp_path / 'data'}"]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    found = json.loads(ended.stdout)
    assert found["ok"] == (ended.returncode == 0)
    by_check = {one["check"]: one for one in found["findings"]}
    assert {"torch", "disk", "products", "all-reduce", "clocks", "data folder"} <= set(by_check)
    assert "2 ranks on 1 machine(s)" in by_check["all-reduce"]["text"]
    assert "a checkpoint of 27.6 MB takes" in by_check["disk"]["text"]
    assert by_check["clocks"]["verdict"] == "ok"  # it is the same clock
    assert not [one for one in found["findings"] if "the check itself failed" in one["text"]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.dist
def test_ranks_of_a_launcher_measure_together_and_the_first_one_tells(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "pretrain.cli"]
    command += ["doctor", "--folder", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert ended.returncode in (0, 1), ended.stderr
    assert ended.stdout.count("all-reduce") == 1
    assert "2 ranks on 1 machine(s)" in ended.stdout
    assert ended.stdout.count(" note") <= 3


@pytest.mark.slow
@pytest.mark.dist
def test_what_another_machine_finds_of_itself_is_told(tmp_path: Path) -> None:
    """Two processes that each are the first of their machine; the second's has a bad setting."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = []
    for rank, threads in ((0, "1"), (1, "several")):
        place = Ranks(rank=rank, size=2, local_rank=0, local_size=1, address="127.0.0.1", port=port)
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "pretrain.cli", "doctor", "--json", "--folder", str(tmp_path)],
                env=ENVIRONMENT | variables_of(place) | {"OMP_NUM_THREADS": threads},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    (told, errors), (silent, _) = (process.communicate(timeout=400) for process in processes)
    assert processes[1].returncode == 1
    assert silent == ""
    findings = json.loads(told)["findings"]
    (bad,) = (one for one in findings if one["check"] == "threads" and one["verdict"] == "problem")
    assert bad["text"] == "OMP_NUM_THREADS is 'several'", errors
    assert bad["host"] == socket.gethostname()
    assert processes[0].returncode == 1


def test_a_check_that_crashes_is_a_line() -> None:
    def broken():
        yield ok("it", "so far so good")
        raise RuntimeError("no such thing")

    (one,) = carry_out(Check(name="it", work=broken, seconds=5))
    assert (one.check, one.verdict) == ("it", "problem")
    assert "RuntimeError: no such thing" in one.text


def test_a_check_that_hangs_is_a_line() -> None:
    forever = threading.Event()

    def hangs():
        forever.wait()
        yield ok("it", "at last")

    start = time.monotonic()
    (one,) = carry_out(Check(name="it", work=hangs, seconds=0.2, if_hung="pull the plug"))
    assert time.monotonic() - start < 5
    assert (one.verdict, one.text, one.advice) == ("problem", "no answer within 0.2 s", "pull the plug")
    forever.set()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["no-such-command-at-all"], "no such command"),
        ([sys.executable, "-c", "raise ValueError('broken wheel')"], "ValueError: broken wheel"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "no answer within 1 s"),
        ([sys.executable, "-c", "import os; os.abort()"], "exit code -6"),
    ],
)
def test_children_that_fail(command, words) -> None:
    with pytest.raises(Failed, match=words):
        output_of(command, seconds=1 if "sleep" in command[-1] else 30)


def test_a_child_that_cannot_be_killed_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(subprocess.Popen, "kill", lambda self: None)
    start = time.monotonic()
    with pytest.raises(Failed, match=r"no answer within 0\.1 s"):
        output_of(["sleep", "60"], seconds=0.1)
    assert time.monotonic() - start < 30


def test_a_file_that_is_no_program_has_failed(tmp_path: Path) -> None:
    (tmp_path / "smi").write_text("")
    (tmp_path / "smi").chmod(0o755)
    with pytest.raises(Failed, match=r"smi: Exec format error"):
        output_of([str(tmp_path / "smi")], seconds=30)


def test_ranks_that_do_not_finish_are_ended(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"did not finish within 0\.2 s"):
        measured_by_starting(2, [tmp_path], ENVIRONMENT, 0.2)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    def refuse(self, content):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    (one,) = folders.folder("run folder", tmp_path / "runs", None, None)
    assert one.verdict == "problem"
    assert "cannot be written: Permission denied" in one.text
    assert f"to be made in {tmp_path}" in one.text


def test_a_disk_is_measured_and_left_clean(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(disk, "CHUNKS", 2)
    write, read = disk.measure(tmp_path)
    assert write > 0
    assert read > 0
    assert list(tmp_path.iterdir()) == []


def test_needs_of_a_config_that_does_not_fit(capsys, tmp_path: Path) -> None:
    """A checkpoint of 120 TB has room nowhere."""
    big = ["model.hidden_size=147456", "model.num_attention_heads=2304", "model.num_key_value_heads=2304"]
    code, out, _ = run(
        capsys, "doctor", "--quick", "--config", "3b_dense", "--folder", str(tmp_path), *big, "--json"
    )
    (one,) = (one for one in json.loads(out)["findings"] if one["check"] == "run folder")
    assert (code, one["verdict"]) == (1, "problem")
    assert "are needed" in one["text"]


def test_mistakes(capsys) -> None:
    assert run(capsys, "doctor", "run.name=x")[0] == 2
    code, out, err = run(capsys, "doctor", "--config", "3b_mo")
    assert (code, out) == (2, "")
    assert "Did you mean '3b_moe'" in err


def test_lines_fold_beside_their_name(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    told = line(problem("disk", "writes " + "very " * 20 + "slowly\x1b[2J", "buy another"))
    rows = told.splitlines()
    assert rows[0].startswith("problem  disk           writes very")
    assert all(row.startswith(" " * 24) for row in rows[1:])
    assert rows[-1].strip() == "-> buy another"
    assert max(map(len, rows)) <= 60
    assert "\x1b" not in told
    assert summary([note("a", "b", "c")]) == "\nNo problem, 1 note."
    assert summary([problem("a", "b", "c")] * 2) == "\n2 problems, 0 notes."
