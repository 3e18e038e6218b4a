"""What the doctor says of facts: bad ones become lines with advice, good ones are ok."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from pretrain.doctor import disk, folders, gpus, system, together, torch_works, versions
from pretrain.doctor.finding import Finding
from pretrain.doctor.folders import FolderFacts
from pretrain.doctor.measure import Measured
from pretrain.doctor.versions import Wanted

H100 = "NVIDIA H100 80GB HBM3"


def verdicts(found: Finding | Iterable[Finding]) -> list[str]:
    findings = [found] if isinstance(found, Finding) else list(found)
    assert all(one.advice for one in findings if one.verdict != "ok")
    assert all(one.text for one in findings)
    return sorted(one.verdict for one in findings)


def test_versions_in_and_out_of_range() -> None:
    wanted = (
        Wanted(name="torch", versions="==2.13.*"),
        Wanted(name="deepspeed", versions=">=0.19.6"),
        Wanted(name="lm-eval", versions=">=0.4", extra="eval"),
        Wanted(name="flash-attn", versions=">=2.6", extra="gpu"),
    )
    good = {"torch": "2.13.0+cpu", "deepspeed": "0.20.0rc1", "lm-eval": "0.4.13", "flash-attn": None}
    assert verdicts(versions.judge(wanted, good)) == ["ok"]
    old = list(versions.judge(wanted, good | {"torch": "2.11.0", "lm-eval": None}))
    assert verdicts(old) == ["note", "ok", "problem"]
    assert old[0].text == "torch 2.11.0, and ==2.13.* is needed"
    assert old[0].advice == "pip install 'torch==2.13.*'"
    assert verdicts(versions.judge(wanted, good | {"deepspeed": None})) == ["ok", "problem"]


def test_what_is_wanted_is_what_setup_asks_for() -> None:
    found = {one.name: one for one in versions.wanted_packages()}
    assert found["torch"].versions == "==2.13.*"
    assert found["lm-eval"].extra == "eval"
    assert found["deepspeed"].extra is None
    assert "ruff" not in found


def gpu(**changes):
    line = f"{H100}, 81559, 4, 580.159.04, 9.0"
    return replace(gpus.parse(line), **changes)


def test_gpus() -> None:
    assert gpu().memory_bytes == 81559 * 2**20
    assert gpu().capability == (9, 0)
    assert verdicts(gpus.judge([gpu()] * 8)) == ["ok"]
    assert verdicts(gpus.judge(None)) == ["note"]
    assert verdicts(gpus.judge([])) == ["note"]
    assert verdicts(gpus.judge([gpu(), gpu(name="NVIDIA A100-SXM4-80GB")])) == ["ok", "problem"]
    assert verdicts(gpus.judge([gpu(capability=(7, 0))])) == ["ok", "problem"]
    assert verdicts(gpus.judge([gpu(), gpu(used_bytes=20 * 2**30)])) == ["note", "ok"]
    assert gpus.parse("NVIDIA B200, [N/A], [N/A], 580.1, 10.0").memory_bytes == 0


def test_gpus_that_a_plan_knows_by_what_their_driver_calls_them() -> None:
    for name, expected in (
        (H100, "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA H200 NVL", None),
        ("A100-SXM4-40GB", "a100-40"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("Tesla V100-SXM2-16GB", None),
    ):
        assert gpus.planned_as([gpu(name=name)] * 8) == expected, name
    assert gpus.planned_as([]) is None
    assert gpus.planned_as([gpu(), gpu(name="NVIDIA H200")]) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (system.judge_shared_memory(2**36, 8), ["ok"]),
        (system.judge_shared_memory(2**26, 8), ["problem"]),
        (system.judge_shared_memory(2**26, 0), ["note"]),
        (system.judge_shared_memory(None, 8), ["note"]),
        (system.judge_open_files(65536, 65536), ["ok"]),
        (system.judge_open_files(-1, -1), ["ok"]),
        (system.judge_open_files(1024, 4096), ["note"]),
        (system.judge_open_files(256, 256), ["problem"]),
        (system.judge_threads(16, None, 2, 0), ["ok"]),
        (system.judge_threads(16, "8", 2, 0), ["ok"]),
        (system.judge_threads(16, "16", 2, 0), ["note"]),
        (system.judge_threads(16, "many", 2, 0), ["problem"]),
        (system.judge_threads(16, None, 8, 8), ["note"]),
        (system.judge_threads(64, None, 8, 8), ["ok"]),
        (system.judge_compiler("/usr/bin/g++", False, 0), ["ok"]),
        (system.judge_compiler(None, True, 0), ["note"]),
        (system.judge_compiler("/usr/bin/gcc", False, 1), ["note"]),
        (system.judge_compiler("/usr/bin/gcc", True, 1), ["ok"]),
        (system.judge_wandb(True), ["ok"]),
        (system.judge_wandb(False), ["ok"]),
        (torch_works.judge_flash("2.8.3", 8, None), ["ok"]),
        (torch_works.judge_flash("2.8.3", 8, "undefined symbol"), ["problem"]),
        (torch_works.judge_flash(None, 8, None), ["note"]),
        (torch_works.judge_flash(None, 0, None), ["ok"]),
        (disk.judge("disk", 2e9, 3e9, 40 * 10**9, 600.0), ["ok"]),
        (disk.judge("disk", 2e8, 3e9, 40 * 10**9, 300.0), ["problem"]),
        (disk.judge("disk", 2e7, 3e9, None, None), ["note"]),
    ],
)
def test_the_system(found, expected) -> None:
    assert verdicts(found) == expected


@pytest.mark.parametrize(
    ("told", "num_gpus", "seconds", "expected"),
    [
        ({}, 8, 3.0, ["ok"]),
        ({"gpus": 7}, 8, 3.0, ["problem"]),
        ({"cuda": None, "gpus": 0, "nccl": None}, 8, 3.0, ["problem"]),
        ({"cuda": None, "gpus": 0, "nccl": None}, 0, 3.0, ["ok"]),
        ({"nccl": None}, 8, 3.0, ["problem"]),
        ({}, 8, 60.0, ["note"]),
    ],
)
def test_torch(told, num_gpus, seconds, expected) -> None:
    facts = {"torch": "2.13.0", "cuda": "13.0", "gpus": 8, "nccl": "2.28.3", "gloo": True} | told
    assert verdicts(torch_works.judge(facts, num_gpus, seconds)) == expected


def test_folders() -> None:
    facts = FolderFacts(path="runs", error=None, free_bytes=10**12, free_inodes=10**6)
    for changes, needed, peak, expected in (
        ({}, 40 * 10**9, 10**11, "ok"),
        ({}, None, None, "ok"),
        ({"free_bytes": 10**9}, None, None, "note"),
        ({"free_bytes": 10**10}, 40 * 10**9, 10**11, "problem"),
        ({"free_bytes": 5 * 10**10}, 40 * 10**9, 10**11, "note"),
        ({"error": "Read-only file system"}, None, None, "problem"),
        ({"free_inodes": 3}, None, None, "problem"),
        ({"free_inodes": None}, None, None, "ok"),
    ):
        assert verdicts(folders.judge("run folder", replace(facts, **changes), needed, peak)) == [expected]


def ranks(number: int, machines: int = 1, **changes) -> list[Measured]:
    found = Measured(
        host="node0",
        device=H100,
        threads=8,
        versions={"torch": "2.13.0"},
        flops={"bf16": 7e14, "fp32": 5e13},
        reduced_bytes=2**28,
        seconds=2 * 2**28 / 200e9,
        clock_offset=0.0,
        clock_error=1e-5,
        shares={"runs": True},
        findings=[],
    )
    each = number // machines
    return [replace(found, host=f"node{rank // each}", **changes) for rank in range(number)]


def only(found: Iterable[Finding], check: str) -> Finding:
    (one,) = (finding for finding in found if finding.check == check)
    verdicts(one)
    return one


def test_a_healthy_cluster() -> None:
    assert set(verdicts(together.judge(ranks(16, 2), sent_bytes=10**10, update_seconds=10.0))) == {"ok"}


def test_bandwidth_is_what_a_ring_sends() -> None:
    """256 MB over 4 ranks in 10 ms: each sends 1.5 times that."""
    found = ranks(4, seconds=0.01)
    assert f"{1.5 * 2**28 / 0.01 / 1e9:.3g} GB/s a rank" in only(together.judge(found), together.REDUCE).text


@pytest.mark.parametrize(
    ("found", "check", "verdict", "words"),
    [
        (ranks(8, seconds=0.5), together.REDUCE, "problem", "1 machine(s)"),
        (ranks(16, 2, seconds=0.1), together.REDUCE, "note", "2 machine(s)"),
        (ranks(16, 2, seconds=1.0), together.REDUCE, "problem", "NCCL"),
        (ranks(1, seconds=None), together.REDUCE, "ok", "one rank"),
        (ranks(2, flops={"bf16": 5e14, "fp32": 5e13}), together.PRODUCTS, "note", "51% of the data sheet"),
        (ranks(2, flops={"bf16": 3e14, "fp32": 5e13}), together.PRODUCTS, "problem", "30% of the data sheet"),
        (
            [*ranks(7), replace(ranks(1)[0], host="bad", flops={"bf16": 5.6e14, "fp32": 5e13})],
            together.PRODUCTS,
            "problem",
            "rank 7 on bad has 80% of the fastest",
        ),
        (
            ranks(2, device="cpu", flops={"bf16": 1e9, "fp32": 2e9}),
            together.PRODUCTS,
            "note",
            "slower in bf16",
        ),
        (
            [*ranks(2), replace(ranks(1)[0], host="b", clock_offset=-9.0)],
            together.CLOCKS,
            "problem",
            "b against",
        ),
        (
            [*ranks(2), replace(ranks(1)[0], host="b", clock_offset=0.3)],
            together.CLOCKS,
            "note",
            "300 ms apart",
        ),
        (
            [*ranks(2), replace(ranks(1)[0], host="b", versions={"torch": "2.11.0"})],
            "versions",
            "problem",
            "torch 2.13.0 on node0; 2.11.0 on b",
        ),
        (
            [*ranks(2), replace(ranks(1)[0], host="b", shares={"runs": False})],
            "shared",
            "problem",
            "runs is not",
        ),
    ],
)
def test_what_ranks_measure_together(found, check, verdict, words) -> None:
    one = only(together.judge(found), check)
    assert one.verdict == verdict
    assert words in one.text


def test_sending_against_the_planned_update() -> None:
    found = ranks(16, 2, seconds=2 * 2**28 / 20e9)  # about 20 GB a second
    assert only(together.judge(found, 10**10, 10.0), together.REDUCE).verdict == "ok"
    slow = only(together.judge(found, 10**11, 10.0, "16 x h100"), together.REDUCE)
    assert slow.verdict == "note"
    assert slow.text.endswith("% of its planned time on 16 x h100")
    full = disk.judge("disk", 2e8, 3e9, 40 * 10**9, 300.0, "8 x h200 (an assumption)")
    assert full.text.endswith("and one is due every 5 min 00 s on 8 x h200 (an assumption)")
